"""Large classes are compared with a drawn part of themselves: against exact neighbours, in value, verdict and memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from art_plugins.statistics.latents import crowding
from art_plugins.statistics.latents.class_verdicts import judge_scores
from art_plugins.statistics.latents.crowding import class_crowding, neighbours_of, own_squared_distance
from art_plugins.statistics.latents.crowds import Crowds, find_crowds, split_crowd

D = 6


def exact_squared_distance(x: np.ndarray, k: int) -> np.ndarray:
    return NearestNeighbors(n_neighbors=k).fit(x).kneighbors()[0][:, -1] ** 2  # leaves each sample itself out


def test_own_squared_distance_of_a_class_up_to_the_limit_is_exact(random, monkeypatch):
    monkeypatch.setattr(crowding, "MAX_OWN_REFERENCE", 60)
    x = random.normal(size=(60, D))
    np.testing.assert_allclose(own_squared_distance(x, 4, random), exact_squared_distance(x, 4), rtol=1e-9)


def test_own_squared_distance_leaves_the_next_numbers_of_the_generator_as_they_are(random, monkeypatch):
    monkeypatch.setattr(crowding, "MAX_OWN_REFERENCE", 40)
    generator = np.random.default_rng(3)
    own_squared_distance(random.normal(size=(60, D)), 4, generator)
    assert generator.integers(2**40) == np.random.default_rng(3).integers(2**40)


def test_own_squared_distance_of_a_larger_class_is_that_to_the_drawn_samples_without_itself(random, monkeypatch):
    monkeypatch.setattr(crowding, "MAX_OWN_REFERENCE", 40)
    x, k = random.normal(size=(100, D)), 10
    found = own_squared_distance(x, k, np.random.default_rng(3))
    drawn = np.random.default_rng(3).spawn(1)[0].choice(100, size=40, replace=False)
    for row in range(100):
        others = np.setdiff1d(drawn, [row])
        expected = np.sort(((x[others] - x[row]) ** 2).sum(axis=1))[3]  # the rank 10 of 100 is the rank 4 of 40
        assert found[row] == pytest.approx(expected, rel=1e-9)


def test_own_squared_distance_one_more_sample_than_the_limit_changes_little(random, monkeypatch):
    x = random.normal(size=(1_001, D))
    exact = own_squared_distance(x, 20, random)
    monkeypatch.setattr(crowding, "MAX_OWN_REFERENCE", 1_000)
    assert (own_squared_distance(x, 20, random) == exact).mean() > 0.95


def test_own_squared_distance_to_drawn_samples_is_on_the_average_the_exact_one(random, monkeypatch):
    monkeypatch.setattr(crowding, "MAX_OWN_REFERENCE", 600)
    x = random.normal(size=(3_000, D))
    ratio = np.log(own_squared_distance(x, 100, random) / exact_squared_distance(x, 100))
    assert abs(ratio.mean()) < 0.02  # ranks of 20 vary by a fifth: squared distances in 6 dimensions by a fifteenth
    assert ratio.std() < 0.12


def test_a_large_class_of_equal_density_is_not_crowded_and_its_limit_follows_the_size_of_the_class(random):
    labels = np.repeat(np.arange(4), [6_000, 400, 400, 400])
    x = random.normal(size=(len(labels), D)).astype(np.float32)
    found = class_crowding(x, np.zeros((4, D), dtype=np.float32), labels, 4, random)
    assert abs(np.median(found.crowding[labels == 0])) < 0.1
    assert found.excess[0] == np.sort(found.crowding[labels == 0])[-neighbours_of(6_000)]


def planted(random: np.random.Generator, n: int, share: float) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Two views of five classes with heavy tails, and in the second class a crowd that has a place of its own."""
    labels = np.repeat(np.arange(5), n)
    member = (labels == 1) & (np.arange(5 * n) < n + round(share * n))
    views = []
    for _ in range(2):
        x = random.standard_t(5, size=(5 * n, 12)) + random.normal(size=(5, 12))[labels]
        x[member] = 0.3 * x[member] + 3 * random.normal(size=12)
        views.append(x.astype(np.float32))
    return views, labels, member


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.6])
def test_drawn_and_exact_references_call_the_same_classes_and_find_the_same_group(random, monkeypatch, share):
    views, labels, member = planted(random, 1_200, share)
    monkeypatch.setattr(crowding, "SAMPLES_PER_NEIGHBOUR", 60)  # as many neighbours as in classes of 2,400
    found: list[Crowds] = []
    for most in (1_200, 600):
        monkeypatch.setattr(crowding, "MAX_OWN_REFERENCE", most)
        found.append(find_crowds(views, labels, 5))
    called = [judge_scores(crowds.class_scores).poisoned_classes for crowds in found]
    assert called[0] == called[1] == ([1] if share else [])
    np.testing.assert_allclose(found[0].class_scores, found[1].class_scores, atol=0.1)
    if share:
        groups = [split_crowd(crowds, labels, 1).soft_labels > 0.5 for crowds in found]
        assert min((groups[0] != groups[1]).mean(), (groups[0] == groups[1]).mean()) <= 0.01
        assert min((groups[1] != member[labels == 1]).mean(), (groups[1] == member[labels == 1]).mean()) <= 0.02


def test_nothing_of_the_square_of_a_class_is_held(random):
    labels = np.repeat(np.arange(2), [15_000, 50])
    x = random.normal(size=(len(labels), 4)).astype(np.float32)
    tracemalloc.start()
    class_crowding(x, np.zeros((2, 4), dtype=np.float32), labels, 2, random, only=[0])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6  # all distances in the class would be 900 MB
