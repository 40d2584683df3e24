from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.covariance import OAS, LedoitWolf

from art_plugins.statistics.gaussian import SHRINKAGES
from art_plugins.statistics.latents.poison_likelihood import mean_poison_likelihood, poison_likelihood_score


def halves(random, n=40, d=4, gap=2.0):
    labels = np.repeat([0, 1], [n - n // 3, n // 3])
    return random.normal(size=(n, d)) + gap * labels[:, None], labels


def within(clusters):
    """Each cluster's covariance with the weight of its samples, W's with one sample per dimension; W a little widened."""
    d = clusters[0].shape[1]
    own = [np.cov(cluster, rowvar=False, bias=True).reshape(d, d) for cluster in clusters]
    residuals = np.concatenate([cluster - cluster.mean(axis=0) for cluster in clusters])
    pooled = residuals.T @ residuals / len(residuals)
    pooled = pooled + 1e-3 * pooled.trace() / d * np.eye(d)
    return [(len(c) * s + d * pooled) / (len(c) + d) for c, s in zip(clusters, own, strict=True)]


COVARIANCES = {
    "within": within,
    "oas": lambda clusters: [OAS().fit(cluster).covariance_ for cluster in clusters],
    "ledoit_wolf": lambda clusters: [LedoitWolf().fit(cluster).covariance_ for cluster in clusters],
    "none": lambda clusters: [np.atleast_2d(np.cov(cluster, rowvar=False, bias=True)) for cluster in clusters],
}
DIMENSIONS_BELOW_THE_SMALLER_CLUSTER = [1, 4, 10]


def test_poison_likelihood_score_four_points_on_a_line_by_hand():
    # Clusters {-1, 1} and {8, 12}: means 0 and 10, variances 1 and 4.
    # L1: 8 and 12 under N(0, 1): mean square 104; L2: -1 and 1 under N(10, 4): mean square 101 / 4.
    l1 = 0.5 * (math.log(2 * math.pi) + 104)
    l2 = 0.5 * (math.log(2 * math.pi) + math.log(4) + 101 / 4)
    found = poison_likelihood_score(np.array([[-1.0], [8.0], [1.0], [12.0]]), np.array([0, 1, 0, 1]), "none")
    assert found == pytest.approx((l1 + l2) / 2, rel=1e-6)


@pytest.mark.parametrize("d", DIMENSIONS_BELOW_THE_SMALLER_CLUSTER)
@pytest.mark.parametrize("shrinkage", SHRINKAGES)
def test_poison_likelihood_score_any_split_equals_equation_one_sample_by_sample(random, shrinkage, d):
    x, labels = halves(random, d=d)
    clusters = [x[labels == side] for side in (0, 1)]
    covariances = COVARIANCES[shrinkage](clusters)
    cross = [
        np.mean([-multivariate_normal(clusters[own].mean(axis=0), covariances[own]).logpdf(v) for v in clusters[1 - own]])
        for own in (0, 1)
    ]
    assert poison_likelihood_score(x, labels, shrinkage) == pytest.approx(np.mean(cross), rel=1e-4)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_poison_likelihood_score_swapped_clusters_and_permuted_samples_change_nothing(seed):
    random = np.random.default_rng(seed)
    x, labels = halves(random)
    order = random.permutation(len(x))
    score = poison_likelihood_score(x, labels)
    assert poison_likelihood_score(x, 1 - labels) == pytest.approx(score, rel=1e-9)
    assert poison_likelihood_score(x[order], labels[order]) == pytest.approx(score, rel=1e-9)


def test_poison_likelihood_score_wider_gap_is_higher(random):
    x, labels = halves(random, gap=0.0)
    scores = [poison_likelihood_score(x + gap * labels[:, None], labels) for gap in (0, 1, 2, 4)]
    assert scores == sorted(scores)


@pytest.mark.parametrize("n_second", [0, 1])
def test_poison_likelihood_score_cluster_of_fewer_than_two_is_nan(random, n_second):
    labels = np.arange(10) < n_second
    assert math.isnan(poison_likelihood_score(random.normal(size=(10, 2)), labels.astype(int)))


def test_mean_poison_likelihood_trials_are_averaged_one_by_one(random):
    x, labels = halves(random)
    other = np.roll(labels, 5)
    trials = np.stack([labels, other, labels])
    expected = np.mean([poison_likelihood_score(x, trial) for trial in trials])
    assert mean_poison_likelihood(x, trials) == pytest.approx(expected)


def test_mean_poison_likelihood_unusable_trials_are_left_out(random):
    x, labels = halves(random)
    alone = np.arange(len(x)) == 0
    trials = np.stack([labels, alone, alone]).astype(int)
    assert mean_poison_likelihood(x, trials) == pytest.approx(poison_likelihood_score(x, labels))


def test_mean_poison_likelihood_no_usable_trial_is_nan(random):
    assert math.isnan(mean_poison_likelihood(random.normal(size=(6, 2)), np.zeros((3, 6), dtype=int)))
