"""Crowds over several views, and who is in them: planted ones, and data without."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from art_plugins.statistics.latents.crowds import chance_excess, find_crowds, split_crowd
from art_plugins.statistics.latents.latent_classes import cluster_latent_classes

K, SIZE, D, TARGET, VIEW = 6, 200, 8, 4, 2


@pytest.fixture
def planted(random):
    """Five views of nuisances that all classes share; in one of them a tenth of a class has moved to one place."""
    labels = np.repeat(np.arange(K), SIZE)
    views = [random.normal(size=(K * SIZE, D)) @ random.normal(size=(D, D)) for _ in range(5)]
    is_poison = (labels == TARGET) & (np.arange(K * SIZE) % 10 == 0)
    scale = views[VIEW].std(axis=0)
    views[VIEW][is_poison] = (3 + 0.2 * random.normal(size=(is_poison.sum(), D))) * scale
    order = random.permutation(len(labels))
    return [view[order] for view in views], labels[order], is_poison[order]


def test_find_crowds_planted_crowd_has_the_highest_score_in_its_view(planted):
    views, labels, _ = planted
    crowds = find_crowds(views, labels, K)
    assert np.argmax(crowds.class_scores) == TARGET
    assert np.argmax(crowds.view_scores[TARGET]) == VIEW
    assert crowds.class_scores[TARGET] > 3 * np.delete(crowds.class_scores, TARGET).max()


def test_split_crowd_planted_crowd_is_found_sample_by_sample(planted):
    views, labels, is_poison = planted
    halves = split_crowd(find_crowds(views, labels, K), labels, TARGET)
    assert adjusted_rand_score(is_poison[labels == TARGET], halves.labels) > 0.95
    np.testing.assert_allclose(halves.soft_labels, halves.trial_labels.mean(axis=0))


def test_find_crowds_a_poison_of_more_than_half_of_the_class_is_the_crowd(random):
    labels = np.repeat(np.arange(K), SIZE)
    views = [random.normal(size=(K * SIZE, D)) for _ in range(3)]
    is_poison = (labels == TARGET) & (np.arange(K * SIZE) % 10 < 6)
    views[VIEW][is_poison] = 3 + 0.3 * random.normal(size=(is_poison.sum(), D))
    crowds = find_crowds(views, labels, K)
    assert [crowds.is_majority(label) for label in range(K)] == [label == TARGET for label in range(K)]
    assert crowds.of_views([VIEW]).is_majority(TARGET)
    assert not crowds.of_views([0, 1]).is_majority(TARGET)
    halves = split_crowd(crowds, labels, TARGET)
    np.testing.assert_array_equal(halves.labels == 1, is_poison[labels == TARGET])
    judged = cluster_latent_classes(np.concatenate(views, axis=1), labels, K, windows=views)
    assert judged.poisoned_classes == [TARGET]
    np.testing.assert_array_equal(judged.suspects[labels == TARGET], is_poison[labels == TARGET])


def test_split_crowd_of_a_class_below_zero_is_empty(planted):
    views, labels, _ = planted
    crowds = find_crowds(views, labels, K)
    low = crowds._replace(view_scores=np.full_like(crowds.view_scores, -0.1))
    assert not split_crowd(low, labels, 0).labels.any()


def test_find_crowds_of_views_is_what_those_views_alone_give(planted):
    views, labels, _ = planted
    crowds = find_crowds(views, labels, K)
    some = crowds.of_views([0, 1])
    np.testing.assert_array_equal(some.class_scores, crowds.view_scores[:, :2].max(axis=1))
    assert some.class_scores[TARGET] < 0.5


def test_find_crowds_known_and_changed_judges_only_those_anew(planted, random):
    views, labels, is_poison = planted
    before = [np.where(is_poison[:, None], random.normal(size=view.shape), view) for view in views]
    known = find_crowds(before, labels, K)
    after = find_crowds(views, labels, K, known=known, changed=[TARGET])
    full = find_crowds(views, labels, K)
    assert after.class_scores[TARGET] == pytest.approx(full.class_scores[TARGET], rel=0.15)
    np.testing.assert_array_equal(np.delete(after.over_chance, TARGET, 1), np.delete(known.over_chance, TARGET, 1))


@pytest.mark.slow
def test_find_crowds_without_poison_scores_do_not_depend_on_the_class_size():
    random = np.random.default_rng(1)
    sizes = [60, 120, 300, 1_500]
    labels = np.repeat(np.arange(4), sizes)
    scores = [
        find_crowds([random.normal(size=(len(labels), D)) for _ in range(3)], labels, 4, random_state=i).class_scores
        for i in range(8)
    ]
    assert np.ptp(np.mean(scores, axis=0)) < 0.15
    raw = chance_excess([random.normal(size=(len(labels), D))], labels, 4, D, random)
    assert raw[-1] > raw[0]  # the largest of many is larger: what is taken away


def test_find_crowds_one_seed_gives_equal_results(planted):
    views, labels, _ = planted
    first, second = (find_crowds(views, labels, K, random_state=3) for _ in range(2))
    np.testing.assert_array_equal(first.class_scores, second.class_scores)
    np.testing.assert_array_equal(first.crowding, second.crowding)


def test_find_crowds_renamed_classes_take_their_scores_along(planted, random, monkeypatch):
    monkeypatch.setattr("art_plugins.statistics.latents.crowding.MAX_REFERENCE", 10**6)  # no draw, which names would change
    views, labels, _ = planted
    renamed = random.permutation(K)
    before, after = find_crowds(views, labels, K), find_crowds(views, renamed[labels], K)
    assert renamed.tolist() != sorted(renamed)
    np.testing.assert_allclose(after.class_scores[renamed], before.class_scores, rtol=1e-4)
    np.testing.assert_allclose(after.crowding, before.crowding, rtol=1e-3, atol=1e-4)
