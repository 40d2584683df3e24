"""Gaussians in factor form equal those of full covariances, also in more dimensions than samples."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.covariance import OAS, LedoitWolf, ledoit_wolf_shrinkage
from sklearn.preprocessing import StandardScaler

from art_plugins.statistics.density import cross_fitted_log_likelihoods, fit_class_densities
from art_plugins.statistics.factor_densities import FactorDensities
from art_plugins.statistics.factor_gaussians import fit_bytes, shrinkage_of

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
K = 3


def samples(random, per_class, d):
    labels = np.repeat(np.arange(K), per_class)
    x = random.normal(size=(len(labels), 5)) @ random.normal(size=(5, d)) + random.normal(size=(len(labels), d))
    return x + 2 * random.normal(size=(K, d))[labels], labels


def full_covariance(family, tie, z, labels, label):
    """By scikit-learn, as a matrix."""
    own = z[labels == label]
    if family == "oas":
        covariance = OAS().fit(own).covariance_
        return covariance + 1e-6 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    means = np.stack([z[labels == one].mean(axis=0) for one in range(K)])
    common = LedoitWolf(assume_centered=True).fit(z - means[labels]).covariance_
    common += 1e-3 * np.trace(common) / len(common) * np.eye(len(common))
    return common if family == "tied" else (1 - tie) * np.cov(own, rowvar=False, bias=True) + tie * common


@pytest.mark.parametrize(("family", "tie"), [("tied", 1.0), ("regularised", 0.9), ("regularised", 0.2), ("oas", 1.0)])
@pytest.mark.parametrize(("per_class", "d"), [(6, 40), (6, 18), (6, 17), (30, 20)], ids=["wide", "square", "even", "long"])
def test_log_likelihoods_equal_scipy_with_full_covariances(random, family, tie, per_class, d):
    x, labels = samples(random, per_class, d)
    new = samples(random, 4, d)[0]
    scaler = StandardScaler().fit(x)
    z, z_new = scaler.transform(x), scaler.transform(new)
    expected = np.stack(
        [
            multivariate_normal(z[labels == label].mean(axis=0), full_covariance(family, tie, z, labels, label)).logpdf(
                z_new
            )
            for label in range(K)
        ],
        axis=1,
    )
    found = fit_class_densities(x, labels, K, family=family, tie=tie).log_likelihoods(new)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(40, 7), (7, 40)])
def test_shrinkage_equals_scikit_learns(random, shape):
    x = random.normal(size=shape) * random.uniform(0.2, 3, size=shape[1])
    values = np.linalg.svd(x, compute_uv=False) ** 2 / len(x)
    found = shrinkage_of(values, (x**2).sum(axis=1), shape[1])
    assert 0 < found < 1
    assert found == pytest.approx(ledoit_wolf_shrinkage(x, assume_centered=True), rel=1e-9)


def test_log_likelihoods_of_many_samples_do_not_depend_on_the_blocks(random, monkeypatch):
    x, labels = samples(random, 8, 60)
    densities = fit_class_densities(x, labels, K)
    expected = densities.log_likelihoods(x)
    monkeypatch.setattr("art_plugins.statistics.factor_densities.BLOCK", 7 * 60)
    np.testing.assert_allclose(densities.log_likelihoods(x), expected, rtol=1e-12)


def test_directions_are_as_many_as_the_samples_allow(random):
    x, labels = samples(random, 6, 500)
    densities = fit_class_densities(x, labels, K)
    assert isinstance(densities, FactorDensities)
    assert densities.basis.shape == (3 * 6 - 1, 500)
    assert densities.factors.shape == (3 * 5, 3 * 6 - 1)


def peak_bytes(call) -> int:
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_of_a_fit_is_a_few_copies_of_the_features(random):
    labels = np.arange(150) % K
    x = random.normal(size=(150, 20_000)).astype(np.float32)
    copy = 8 * x.size
    options = {"family": "regularised", "power": 0.5}
    assert peak_bytes(lambda: fit_class_densities(x, labels, K, **options)) < 3 * copy
    crossed = peak_bytes(lambda: cross_fitted_log_likelihoods(x, labels, K, **options))
    assert crossed < 5 * copy
    assert crossed < fit_bytes(*x.shape) < 8 * copy  # a covariance of each class would be 1,600 copies


def test_memory_of_a_fit_to_many_samples_is_a_few_copies_as_well(random):
    labels = np.arange(20_000) % K
    x = random.normal(size=(20_000, 20))
    assert peak_bytes(lambda: fit_class_densities(x, labels, K)) < 5 * x.nbytes


@pytest.mark.slow
def test_fit_of_a_thousand_samples_with_9344_features_takes_less_than_a_gigabyte(random):
    labels = np.arange(1_000) % 10
    x = np.maximum(random.normal(size=(1_000, 9_344)), 0).astype(np.float32)

    def fit() -> None:
        fit_class_densities(x, labels, 10, power=0.5)
        cross_fitted_log_likelihoods(x, labels, 10, power=0.5)

    assert peak_bytes(fit) < 1e9
    assert fit_bytes(*x.shape) < 1e9
