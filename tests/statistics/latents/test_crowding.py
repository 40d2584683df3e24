"""Crowds in a class, against scikit-learn's neighbours and known densities."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from art_plugins.statistics.latents.crowding import (
    class_crowding,
    kth_squared_distance,
    neighbours_of,
    smaller_group,
    whiten_within,
)

K, D = 4, 6


def clean(random, sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return random.normal(size=(len(labels), D)), labels


def excess_of(x, labels, seed=0):
    nb_classes = labels.max() + 1
    return class_crowding(*whiten_within(x, labels, nb_classes, D), labels, nb_classes, np.random.default_rng(seed)).excess


@pytest.mark.parametrize("k", [1, 3, 20])
def test_kth_squared_distance_agrees_with_scikit_learn(random, k, monkeypatch):
    monkeypatch.setattr("art_plugins.statistics.latents.crowding.BLOCK", 50)  # several blocks
    x, reference = random.normal(size=(30, D)), random.normal(size=(20, D))
    theirs = NearestNeighbors(n_neighbors=k).fit(reference).kneighbors(x)[0][:, -1]
    np.testing.assert_allclose(kth_squared_distance(x, reference, k), theirs**2, rtol=1e-9)


def test_whiten_within_brings_the_variance_within_classes_to_one_and_the_medians_along(random):
    labels = np.repeat(np.arange(K), 500)
    x = random.normal(size=(len(labels), D)) @ random.normal(size=(D, D)) + 30 * random.normal(size=(K, D))[labels]
    # A sample that lies at its class's median leaves the median where it is, and is whitened to the whitened median.
    at_medians = np.stack([np.median(x[labels == label], axis=0) for label in range(K)])
    x, labels = np.concatenate([x, at_medians]), np.concatenate([labels, np.arange(K)])
    white, medians = whiten_within(x, labels, K, D)
    np.testing.assert_allclose(medians, white[-K:], atol=1e-5)
    assert np.linalg.norm(medians[0] - medians[1]) > 1
    within = np.concatenate([white[labels == label] - white[labels == label].mean(axis=0) for label in range(K)])
    variances = np.linalg.eigvalsh(within.T @ within / len(within))
    assert variances[-1] == pytest.approx(1, abs=0.1)  # the weaker directions are below, for the floor
    assert whiten_within(x, labels, K, 2)[0].shape == (len(labels), 2)


def test_class_crowding_a_tight_crowd_has_the_logarithm_of_its_distances(random):
    x, labels = clean(random, [400] * K)
    crowd = np.flatnonzero(labels == 2)[:20]
    x[crowd] = 0.05 * random.normal(size=(20, D)) + 3.0
    found = class_crowding(x, np.zeros((K, D)), labels, K, np.random.default_rng(0))
    assert np.argmax(found.excess) == 2
    outside = np.setdiff1d(np.flatnonzero(labels == 2), crowd)
    assert found.crowding[crowd].min() > found.crowding[outside].max() + 1
    # By hand: nobody else is near, so the k-th of the others is as far as they are; the crowd is nearer than the softening.
    others = x[labels != 2]
    there = np.sort(((others - x[crowd[0]]) ** 2).sum(axis=1))[round(neighbours_of(400) * 600 / 400) - 1]
    assert found.crowding[crowd[0]] == pytest.approx(0.5 * np.log(there / (0.02 * D)), abs=0.4)


def test_class_crowding_of_equal_densities_is_about_zero(random):
    x, labels = clean(random, [400] * K)
    found = class_crowding(x, np.zeros((K, D)), labels, K, np.random.default_rng(0))
    assert abs(np.median(found.crowding)) < 0.05


def test_class_crowding_a_class_that_lies_apart_as_a_whole_is_not_crowded(random):
    x, labels = clean(random, [200] * K)
    x[labels == 1] += 50
    assert excess_of(x, labels)[1] < 0.5


def test_class_crowding_in_a_class_moved_aside_by_much_poison_the_clean_samples_are_not_crowded(random):
    x, labels = clean(random, [200] * K)
    poison = (labels == 1) & (np.arange(len(labels)) % 10 < 6)
    x[poison] = 8 + 0.3 * random.normal(size=(poison.sum(), D))
    white, medians = whiten_within(x, labels, K, D)
    crowding = class_crowding(white, medians, labels, K, np.random.default_rng(0)).crowding
    assert np.median(crowding[(labels == 1) & ~poison]) < 0.2 < 0.5 < np.median(crowding[poison])


@pytest.mark.parametrize("share", [0.3, 0.6, 0.7])
def test_class_crowding_of_a_tight_group_is_found_whether_it_is_the_larger_or_the_smaller(random, share):
    x, labels = clean(random, [400] * K)
    poison = (labels == 1) & (random.uniform(size=len(labels)) < share)
    x[poison] = 4 + 0.4 * random.normal(size=(poison.sum(), D))
    medians = np.stack([np.median(x[labels == label], axis=0) for label in range(K)])
    found = class_crowding(x, medians, labels, K, np.random.default_rng(0))
    assert found.turned.tolist() == [False, share > 0.5, False, False]
    assert found.excess[1] > 1 > 2 * np.delete(found.excess, 1).max()
    assert found.crowding[poison].min() > np.median(found.crowding[(labels == 1) & ~poison]) + 0.5


def test_smaller_group_is_the_median_of_the_smaller_of_two_groups_that_lie_apart(random):
    x = random.normal(size=(200, D))
    x[:80, 0] += 6
    np.testing.assert_allclose(smaller_group(x), np.median(x[:80], axis=0), atol=1e-6)
    np.testing.assert_allclose(smaller_group(-x), np.median(-x[:80], axis=0), atol=1e-6)


def test_smaller_group_of_one_group_of_a_few_and_of_equal_samples_is_none(random):
    x = random.normal(size=(400, D))
    assert smaller_group(x) is None
    few = x.copy()
    few[:80, 0] += 8  # a fifth: the median of all lies in the rest
    assert smaller_group(few) is None
    assert smaller_group(np.ones((20, D))) is None


def test_class_crowding_digital_silence_in_all_classes_is_no_crowd(random):
    x, labels = clean(random, [200] * K)
    x[np.arange(len(labels)) % 10 < 3] = 0.0
    assert excess_of(x, labels).max() < 0.8


def test_class_crowding_too_small_classes_and_those_not_asked_for_are_not_judged(random):
    x, labels = clean(random, [100, 3, 100])
    found = class_crowding(x, np.zeros((3, D)), labels, 3, np.random.default_rng(0), only=[0, 1])
    assert np.isnan(found.excess).tolist() == [False, True, True]
    alone = class_crowding(x[:50], np.zeros((1, D)), np.zeros(50, dtype=int), 1, np.random.default_rng(0))
    assert np.isnan(alone.excess).all()


@pytest.mark.parametrize(("n_alike", "is_crowd"), [(5, False), (6, True), (12, True)])
def test_class_crowding_five_alike_are_no_crowd_and_six_are(random, n_alike, is_crowd):
    x, labels = clean(random, [400] * K)
    x[np.flatnonzero(labels == 2)[:n_alike]] = 0.05 * random.normal(size=(n_alike, D)) + 3.0
    excess = excess_of(x, labels)
    assert (excess[2] > np.delete(excess, 2).max() + 0.5) == is_crowd


def test_neighbours_of_a_class_are_a_tenth_of_small_five_and_one_in_120_of_large_ones():
    assert [neighbours_of(n) for n in (5, 20, 40, 50, 719, 720, 6_000)] == [2, 2, 4, 5, 5, 6, 50]
