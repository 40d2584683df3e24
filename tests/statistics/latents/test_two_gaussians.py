"""Expectation maximisation of two Gaussians: against scikit-learn's, and where the known covariance decides."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from art_plugins.statistics.latents.two_gaussians import two_gaussians

D = 8


@pytest.fixture
def two_groups(random):
    """300 samples about the origin with a covariance that is known; 30 more elsewhere, tight."""
    shape = random.normal(size=(D, D))
    own = np.concatenate([random.normal(size=(300, D)) @ shape, 4 + 0.3 * random.normal(size=(30, D))])
    return own, shape.T @ shape, np.arange(330) >= 300


def test_two_gaussians_grows_a_few_to_all_of_the_crowd(two_groups):
    own, within, truth = two_groups
    seed = np.zeros(330, dtype=bool)
    seed[300:308] = True
    np.testing.assert_array_equal(two_gaussians(own, seed, within, (5_000, 10 * D), 20), truth)


def test_two_gaussians_permuted_samples_permute_the_split(two_groups, random):
    own, within, truth = two_groups
    order = random.permutation(330)
    straight = two_gaussians(own, truth, within, (100, 10 * D), 20)
    np.testing.assert_array_equal(two_gaussians(own[order], truth[order], within, (100, 10 * D), 20), straight[order])


@pytest.mark.parametrize("n_seed", [0, 1, 329])
def test_two_gaussians_too_few_on_a_side_returns_the_first_split(two_groups, n_seed):
    own, within, _ = two_groups
    seed = np.arange(330) < n_seed
    np.testing.assert_array_equal(two_gaussians(own, seed, within, (100, 10 * D), 20), seed)


def test_two_gaussians_a_tight_core_finds_the_fainter_members_as_bayes_rule_does(random):
    truth = np.arange(330) >= 300
    own = random.normal(size=(330, 60))
    own[300:310] *= 0.2  # the core, from which the crowd is grown: in many directions its own covariance would fit it alone
    own[truth, 0] += 8
    found = two_gaussians(own, truth & (np.arange(330) < 310), np.eye(60), (5_000, 600), 20)
    # Two Gaussians of unit covariance at a distance of 8, one ten times as frequent.
    np.testing.assert_array_equal(found, own[:, 0] > 4 + np.log(300 / 30) / 8)
    np.testing.assert_array_equal(found, truth)


def test_two_gaussians_without_a_known_covariance_are_scikit_learns_mixture(random):
    x = np.concatenate(
        [random.normal(size=(200, 3)), random.normal(size=(100, 3)) @ np.diag([2.0, 0.5, 1.0]) + [2.5, 0, 0]]
    )
    first = x[:, 0] > 3
    groups = x[~first], x[first]
    mixture = GaussianMixture(
        2,
        tol=1e-9,
        reg_covar=0,
        max_iter=1_000,
        weights_init=[len(group) / len(x) for group in groups],
        means_init=[group.mean(axis=0) for group in groups],
        precisions_init=[np.linalg.inv(np.cov(group.T, bias=True)) for group in groups],
    ).fit(x)
    found = two_gaussians(x, first, np.eye(3), (1e-9, 1e-9), 1_000)
    assert (found != first).sum() > 10
    assert (found == (mixture.predict(x) == 1)).mean() > 0.99
