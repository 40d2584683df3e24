from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import adjusted_rand_score

from art_plugins.errors import InvalidInputError
from art_plugins.statistics.latents import two_means
from art_plugins.statistics.latents.two_means import TwoMeans, align_to_first, refine_trials, repeated_two_means

pytestmark = pytest.mark.usefixtures("global_generators_untouched")


def blobs(random, n=60, d=5, gap=6.0, share=0.3):
    truth = (np.arange(n) < share * n).astype(int)
    return random.normal(size=(n, d)) + gap * truth[:, None], truth


def inertia_of(x, labels):
    """Sum of squared distances to the cluster means, from its definition."""
    return sum(((x[labels == side] - x[labels == side].mean(axis=0)) ** 2).sum() for side in np.unique(labels))


def best_possible_inertia(x):
    splits = itertools.product((0, 1), repeat=len(x) - 1)
    return min(inertia_of(x, np.array((0, *split))) for split in splits)


def test_repeated_two_means_blobs_are_split_as_scikit_learn_splits_them(random):
    x, truth = blobs(random)
    oracle = KMeans(2, n_init=10, random_state=0).fit(x)
    found = repeated_two_means(x)
    assert adjusted_rand_score(found.labels, truth) == 1
    assert adjusted_rand_score(found.labels, oracle.labels_) == 1
    np.testing.assert_allclose(found.inertia, oracle.inertia_, rtol=1e-9)


@pytest.mark.parametrize(("n", "d"), [(300, 2), (200, 24), (40, 40)])
def test_repeated_two_means_data_without_clusters_is_as_tight_as_scikit_learn(random, n, d):
    x = random.normal(size=(n, d)) + 100.0
    oracle = KMeans(2, n_init=10, random_state=0).fit(x)
    found = repeated_two_means(x, nb_trials=10, n_init=10)
    # Both are local searches: the best of all must match, and a single trial must not fall far behind.
    assert found.inertia.min() <= oracle.inertia_ * 1.002
    assert found.inertia.max() <= oracle.inertia_ * 1.02


def test_repeated_two_means_few_points_reach_the_best_of_all_splits(random):
    for _ in range(5):
        x = random.normal(size=(9, 2))
        assert repeated_two_means(x, nb_trials=3, n_init=30).inertia.min() == pytest.approx(best_possible_inertia(x))


@given(seed=st.integers(0, 10_000), n=st.integers(2, 40), d=st.integers(1, 4), offset=st.sampled_from([0.0, 1e3]))
@settings(max_examples=30, deadline=None)
def test_repeated_two_means_any_data_returns_a_converged_partition_with_its_inertia(seed, n, d, offset):
    x = np.random.default_rng(seed).normal(size=(n, d)) + offset
    found = repeated_two_means(x, nb_trials=3, n_init=2, random_state=seed)
    for labels, inertia in zip(found.trial_labels, found.inertia, strict=True):
        assert set(labels) == {0, 1}
        assert inertia == pytest.approx(inertia_of(x, labels), rel=1e-6, abs=1e-9)
        centres = np.array([x[labels == side].mean(axis=0) for side in (0, 1)])
        squared = ((x[:, None] - centres) ** 2).sum(axis=2)
        assert (squared[np.arange(n), labels] <= squared.min(axis=1) + 1e-6).all()


def test_repeated_two_means_soft_labels_are_the_mean_of_the_aligned_trials(random):
    found = repeated_two_means(random.normal(size=(50, 6)), nb_trials=7, n_init=1)
    assert found.trial_labels.shape == (7, 50)
    np.testing.assert_allclose(found.soft_labels, found.trial_labels.mean(axis=0))
    assert ((found.trial_labels == found.trial_labels[0]).mean(axis=1) >= 0.5).all()
    np.testing.assert_array_equal(found.labels, found.soft_labels > 0.5)


def test_align_to_first_flipped_trials_are_turned_back():
    first = np.array([0, 0, 0, 1, 1])
    nearly = np.array([0, 0, 1, 1, 1])
    np.testing.assert_array_equal(align_to_first(np.stack([first, 1 - first, 1 - nearly])), [first, first, nearly])


def test_align_to_first_half_agreement_is_left_as_it_is():
    trials = np.array([[0, 0, 1, 1], [0, 1, 0, 1]])
    np.testing.assert_array_equal(align_to_first(trials), trials)


def test_repeated_two_means_one_seed_gives_equal_results_and_another_differs(random):
    x = random.normal(size=(80, 10))
    runs = [repeated_two_means(x, nb_trials=3, n_init=1, random_state=seed) for seed in (5, 5, 6)]
    for first, second in zip(runs[0], runs[1], strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(runs[0].trial_labels, runs[2].trial_labels)


@pytest.mark.parametrize("value", [0.0, 1e6])
def test_repeated_two_means_equal_points_stay_on_one_side(value):
    found = repeated_two_means(np.full((12, 3), value))
    assert found.labels.tolist() == [0] * 12
    np.testing.assert_array_equal(found.inertia, 0)


def test_repeated_two_means_duplicates_of_two_points_are_told_apart():
    x = np.repeat([[0.0, 0.0], [1.0, 2.0]], [9, 3], axis=0)
    found = repeated_two_means(x)
    assert adjusted_rand_score(found.labels, x[:, 0]) == 1
    np.testing.assert_allclose(found.inertia, 0, atol=1e-12)


def test_repeated_two_means_two_points_are_one_on_each_side():
    assert sorted(repeated_two_means(np.array([[0.0], [1.0]])).labels) == [0, 1]


def test_repeated_two_means_trials_one_by_one_find_the_same_partition(random, monkeypatch):
    x, truth = blobs(random)
    together = repeated_two_means(x, nb_trials=4)
    monkeypatch.setattr(two_means, "MAX_ELEMENTS", 1)
    apart = repeated_two_means(x, nb_trials=4)
    assert apart.trial_labels.shape == together.trial_labels.shape == (4, 60)
    assert apart.inertia.shape == (4,)
    assert adjusted_rand_score(apart.labels, truth) == 1
    np.testing.assert_allclose(apart.inertia, together.inertia)


def test_repeated_two_means_whose_starts_compete_on_a_part_is_as_tight_and_covers_all(random, monkeypatch):
    x = np.concatenate([random.normal(size=(300, 2)), random.normal(size=(100, 2)) + 6])
    whole = repeated_two_means(x, 3, 20)
    monkeypatch.setattr(two_means, "MOST_FOR_STARTS", 60)
    part = repeated_two_means(x, 3, 20)
    assert part.trial_labels.shape == (3, 400)
    np.testing.assert_allclose(part.inertia, whole.inertia, rtol=1e-9)
    assert adjusted_rand_score(whole.labels, part.labels) == 1


def test_starts_many_draws_follow_the_squared_distance_to_the_first_centre():
    """k-means++ against its own definition: the share of every second centre, given the first."""
    x = np.array([[0.0], [1.0], [3.0]])
    first, second = two_means._starts(x, 60_000, np.random.default_rng(0))
    for centre, weights in ((0.0, [0, 1, 9]), (1.0, [1, 0, 4]), (3.0, [9, 4, 0])):
        drawn = second[first[:, 0] == centre, 0]
        shares = [(drawn == value).mean() for value in x[:, 0]]
        np.testing.assert_allclose(shares, np.array(weights) / sum(weights), atol=0.01)


@pytest.mark.parametrize(("n", "nb_trials", "n_init"), [(1, 1, 1), (5, 0, 1), (5, 1, 0)])
def test_repeated_two_means_too_little_of_anything_is_refused(n, nb_trials, n_init):
    with pytest.raises(InvalidInputError, match="at least 2 samples"):
        repeated_two_means(np.zeros((n, 2)), nb_trials, n_init)


# Refinement by the discriminant


def one_trial(labels):
    labels = np.asarray(labels, dtype=np.int8)
    return TwoMeans(labels[None], labels.astype(float), labels, np.zeros(1))


def disc_and_ball(random, n=900, share=0.2):
    """A small cluster beside a large one, in directions of very different width: 2-means cuts in the wrong place."""
    truth = (np.arange(n) < share * n).astype(int)
    return random.normal(size=(n, 3)) * [2.0, 1.0, 0.3] + truth[:, None] * [1.0, 1.0, 2.0], truth


def test_refine_trials_one_step_equals_scikit_learns_discriminant(random):
    x, truth = disc_and_ball(random)
    # The clusters lean to different sides, so that it matters by what shares their covariances are pooled.
    x[truth == 1] = x[truth == 1] @ np.array([[1, 0, 2], [0, 1, 0], [0, 3, 1]])
    start = np.where(random.uniform(size=len(x)) < 0.1, 1 - truth, truth)
    refined = refine_trials(x, one_trial(start), max_iter=1)
    oracle = LinearDiscriminantAnalysis(solver="lsqr").fit(x, start).predict(x)
    # Ours shrinks each covariance by d samples in 900: only points on the cut itself may differ.
    assert (refined.labels == oracle).mean() > 0.995
    assert (start == oracle).mean() < 0.95


def test_refine_trials_stays_where_scikit_learns_discriminant_stays(random):
    x, _ = disc_and_ball(random)
    refined = refine_trials(x, repeated_two_means(x, nb_trials=1), max_iter=200).labels
    oracle = LinearDiscriminantAnalysis(solver="lsqr").fit(x, refined).predict(x)
    assert (refined == oracle).mean() > 0.99


def test_refine_trials_small_narrow_cluster_is_split_better_than_by_two_means(random):
    x, truth = disc_and_ball(random)
    x = x[:, [2, 1, 0]] * [1.2, 1, 0.5]
    plain = repeated_two_means(x, nb_trials=3)
    refined = refine_trials(x, plain)
    assert adjusted_rand_score(plain.labels, truth) < 0.96 < 0.99 < adjusted_rand_score(refined.labels, truth)
    np.testing.assert_array_equal(refined.inertia, plain.inertia)


def test_refine_trials_each_trial_is_refined_alone_and_aligned_again(random):
    x, truth = disc_and_ball(random)
    other = (x[:, 0] > 0).astype(np.int8)
    trials = np.stack([truth, other, 1 - truth, other]).astype(np.int8)
    refined = refine_trials(x, TwoMeans(trials, trials.mean(axis=0), truth, np.zeros(4)))
    alone = [refine_trials(x, one_trial(trial)).labels for trial in trials]
    for found, expected in zip(refined.trial_labels, alone, strict=True):
        assert adjusted_rand_score(found, expected) == 1
    np.testing.assert_array_equal(refined.trial_labels, align_to_first(refined.trial_labels))
    np.testing.assert_allclose(refined.soft_labels, refined.trial_labels.mean(axis=0))


def test_refine_trials_swapped_clusters_and_permuted_samples_change_nothing_else(random):
    x, _ = disc_and_ball(random)
    start = repeated_two_means(x, nb_trials=1).labels
    order = random.permutation(len(x))
    refined = refine_trials(x, one_trial(start)).labels
    np.testing.assert_array_equal(refine_trials(x[order], one_trial(start[order])).labels, refined[order])
    assert adjusted_rand_score(refine_trials(x, one_trial(1 - start)).labels, refined) == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n_second", [0, 1])
def test_refine_trials_cluster_of_fewer_than_two_is_left_as_it_is(random, n_second):
    start = np.arange(20) < n_second
    np.testing.assert_array_equal(refine_trials(random.normal(size=(20, 3)), one_trial(start)).labels, start)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("x", [np.zeros((8, 2)), np.repeat([[0.0, 0.0], [1.0, 1.0]], 4, axis=0), np.eye(8, 12)])
def test_refine_trials_singular_clusters_are_refined_without_a_crash(x):
    refined = refine_trials(x, one_trial([0] * 4 + [1] * 4))
    assert set(refined.labels) == {0, 1}
    assert np.bincount(refined.labels).min() >= 2
