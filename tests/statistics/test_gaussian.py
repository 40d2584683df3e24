from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.covariance import OAS, LedoitWolf, oas

from art_plugins.errors import InvalidInputError
from art_plugins.statistics.gaussian import (
    SHRINKAGES,
    fit_gaussian,
    fit_gaussian_pair,
    mean_negative_log_likelihood,
    oas_covariance,
)

OF_ONE_CLUSTER = [shrinkage for shrinkage in SHRINKAGES if shrinkage != "within"]


def correlated(random, n, d, shift=0.0):
    return random.normal(size=(n, d)) @ random.normal(size=(d, d)) + shift


@pytest.mark.parametrize("shrinkage", OF_ONE_CLUSTER)
@pytest.mark.parametrize("d", [1, 2, 7])
def test_mean_negative_log_likelihood_two_samples_equals_the_mean_over_samples_by_scipy(random, shrinkage, d):
    mine, other = correlated(random, 40, d, 2.0), correlated(random, 60, d)
    model = fit_gaussian(other, shrinkage)
    expected = -multivariate_normal(model.mean, model.covariance).logpdf(mine).mean()
    assert mean_negative_log_likelihood(fit_gaussian(mine, shrinkage), model) == pytest.approx(expected, rel=1e-9)


def test_mean_negative_log_likelihood_of_the_own_samples_is_the_entropy_of_the_gaussian(random):
    own = fit_gaussian(correlated(random, 50, 4), "none")
    expected = multivariate_normal(own.mean, own.covariance).entropy()
    assert mean_negative_log_likelihood(own, own) == pytest.approx(expected, rel=1e-6)


def test_mean_negative_log_likelihood_model_further_away_is_higher(random):
    samples = fit_gaussian(correlated(random, 50, 3))
    near, far = (samples._replace(mean=samples.mean + step) for step in (1.0, 2.0))
    assert mean_negative_log_likelihood(samples, far) > mean_negative_log_likelihood(samples, near)


@given(seed=st.integers(0, 10_000), n=st.integers(2, 30), d=st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_mean_negative_log_likelihood_rotation_of_the_space_changes_nothing(seed, n, d):
    random = np.random.default_rng(seed)
    mine, other = correlated(random, n, d), correlated(random, n + 3, d, 1.0)
    rotation = np.linalg.qr(random.normal(size=(d, d)))[0]
    straight = mean_negative_log_likelihood(fit_gaussian(mine), fit_gaussian(other))
    turned = mean_negative_log_likelihood(fit_gaussian(mine @ rotation), fit_gaussian(other @ rotation))
    assert turned == pytest.approx(straight, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("shrinkage", "estimator"), [("oas", OAS), ("ledoit_wolf", LedoitWolf)])
@pytest.mark.parametrize("n", [5, 100])
def test_fit_gaussian_shrunk_equals_scikit_learn(random, shrinkage, estimator, n):
    x = correlated(random, n, 8, 3.0)
    oracle = estimator().fit(x)
    fitted = fit_gaussian(x, shrinkage)
    np.testing.assert_allclose(fitted.covariance, oracle.covariance_, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(fitted.mean, oracle.location_)


def test_fit_gaussian_unshrunk_equals_numpy_and_keeps_the_plain_moments(random):
    x = correlated(random, 30, 5, -1.0)
    expected = np.cov(x, rowvar=False, bias=True)
    np.testing.assert_allclose(fit_gaussian(x, "none").covariance, expected, rtol=1e-6)
    np.testing.assert_allclose(fit_gaussian(x, "oas").sample_covariance, expected)


@pytest.mark.filterwarnings("ignore:Only one sample available")
@pytest.mark.parametrize("shrinkage", OF_ONE_CLUSTER)
@pytest.mark.parametrize(
    "x",
    [np.full((6, 4), 2.5), np.ones((1, 3)), np.zeros((5, 1)), np.outer(np.arange(5.0), np.ones(3)), np.eye(3, 40)],
    ids=["constant", "one_sample", "constant_one_column", "on_a_line", "fewer_samples_than_columns"],
)
def test_mean_negative_log_likelihood_singular_data_is_finite(x, shrinkage):
    fitted = fit_gaussian(x, shrinkage)
    assert np.isfinite(mean_negative_log_likelihood(fitted, fitted))
    assert np.linalg.eigvalsh(fitted.covariance).min() > 0


def test_mean_negative_log_likelihood_fewer_samples_than_columns_is_bounded_by_shrinkage(random):
    few, many = random.normal(size=(10, 24)), random.normal(size=(200, 24))
    explodes = mean_negative_log_likelihood(fit_gaussian(many), fit_gaussian(few, "none"))
    assert mean_negative_log_likelihood(fit_gaussian(many), fit_gaussian(few, "oas")) < 100 < explodes


@pytest.mark.parametrize("shrinkage", OF_ONE_CLUSTER)
def test_fit_gaussian_pair_shrinkage_of_one_cluster_fits_each_alone(random, shrinkage):
    first, second = correlated(random, 20, 3), correlated(random, 30, 3)
    for found, cluster in zip(fit_gaussian_pair(first, second, shrinkage), (first, second), strict=True):
        np.testing.assert_array_equal(found.covariance, fit_gaussian(cluster, shrinkage).covariance)


def test_fit_gaussian_pair_within_two_clusters_on_a_line_by_hand():
    # {-1, 1}: variance 1; {6, 10, 14, 10}: variance 8; pooled (2 * 1 + 4 * 8) / 6 = 17 / 3, widened by a thousandth.
    first, second = fit_gaussian_pair(np.array([[-1.0], [1.0]]), np.array([[6.0], [10.0], [14.0], [10.0]]), "within")
    pooled = 17 / 3 * 1.001
    np.testing.assert_allclose(first.covariance, [[(2 * 1 + pooled) / 3]], rtol=1e-8)
    np.testing.assert_allclose(second.covariance, [[(4 * 8 + pooled) / 5]], rtol=1e-8)
    np.testing.assert_allclose([first.sample_covariance.item(), second.sample_covariance.item()], [1, 8])


def test_fit_gaussian_pair_within_keeps_the_separating_direction_narrow(random):
    # Two thin discs, one above the other: a sphere of the mean variance would fill the gap between them.
    flat = np.array([1.0, 1.0, 1.0, 0.01])
    first = random.normal(size=(12, 4)) * flat
    second = random.normal(size=(12, 4)) * flat + [0, 0, 0, 0.2]
    shrunk = {kind: fit_gaussian_pair(first, second, kind)[0].covariance[3, 3] for kind in ("within", "oas")}
    assert shrunk["within"] < 0.002 < shrunk["oas"]


@pytest.mark.parametrize(
    ("first", "second"),
    [(np.ones((3, 4)), np.ones((5, 4))), (np.zeros((2, 6)), np.eye(2, 6)), (np.ones((2, 1)), np.zeros((2, 1)))],
    ids=["equal", "fewer_samples_than_columns", "two_constants"],
)
def test_fit_gaussian_pair_within_singular_data_is_finite(first, second):
    one, other = fit_gaussian_pair(first, second, "within")
    assert np.isfinite([mean_negative_log_likelihood(one, other), mean_negative_log_likelihood(other, one)]).all()


def test_fit_gaussian_unknown_shrinkage_is_refused(random):
    x = random.normal(size=(5, 2))
    with pytest.raises(InvalidInputError, match=r"oas.*ledoit_wolf.*none.*received 'mcd'"):
        fit_gaussian(x, "mcd")
    with pytest.raises(InvalidInputError, match=r"received 'mcd'"):
        fit_gaussian_pair(x, x, "mcd")


@pytest.mark.parametrize(("n", "d"), [(50, 3), (5, 20), (1, 4), (300, 40), (30, 1)])
def test_oas_covariance_equals_scikit_learns(n: int, d: int) -> None:
    x = np.random.default_rng(n).normal(size=(n, d)) * np.arange(1, d + 1)
    np.testing.assert_allclose(oas_covariance(x), oas(x, assume_centered=True)[0], rtol=1e-9, atol=1e-12)


def test_oas_covariance_of_equal_samples_is_zero() -> None:
    np.testing.assert_array_equal(oas_covariance(np.zeros((5, 3))), np.zeros((3, 3)))
