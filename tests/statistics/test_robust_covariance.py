"""The filter against scikit-learn's covariance of the clean samples, and fourth moments against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from art_plugins.statistics.robust_covariance import inverse_root, largest_fourth_moment, robust_moments


def test_inverse_root_equals_scipys_and_gives_0_in_constant_directions(random):
    x = random.normal(size=(50, 4)) @ random.normal(size=(4, 4))
    covariance = np.cov(x.T)
    np.testing.assert_allclose(inverse_root(covariance), np.linalg.inv(sqrtm(covariance)).real, rtol=1e-6)
    np.testing.assert_allclose(inverse_root(np.diag([4.0, 0.0, 9.0])), np.diag([1 / 2, 0.0, 1 / 3]))
    np.testing.assert_array_equal(inverse_root(np.zeros((2, 2))), np.zeros((2, 2)))


@pytest.mark.parametrize("n_dims", [1, 2, 5])
def test_largest_fourth_moment_equals_that_of_the_whole_matrix(random, n_dims):
    y = random.normal(size=(300, n_dims)) ** 3
    y = (y - y.mean(axis=0)) @ inverse_root(np.atleast_2d(np.cov(y.T, bias=True)))
    products = np.stack([np.outer(row, row).ravel() for row in y])
    identity = np.eye(n_dims).ravel()
    expected = np.linalg.eigvalsh(products.T @ products / len(y) - np.outer(identity, identity))[-1]
    value, matrix = largest_fourth_moment(y)
    assert value == pytest.approx(expected, rel=0.05)
    np.testing.assert_allclose(matrix, matrix.T)
    forms = np.einsum("ni,ij,nj->n", y, matrix, y)
    assert np.linalg.norm(matrix) == pytest.approx(1)
    assert (forms**2).mean() - np.trace(matrix) ** 2 == pytest.approx(value, rel=0.05)


def test_largest_fourth_moment_of_a_normal_law_is_near_2(random):
    assert 2 <= largest_fourth_moment(random.normal(size=(50_000, 4)))[0] < 2.3


def test_robust_moments_of_normal_samples_are_the_plain_ones(random):
    x = random.normal(size=(2_000, 6)) @ random.normal(size=(6, 6)) + 5
    found = robust_moments(x, 0.1)
    assert found.kept.all()
    np.testing.assert_allclose(found.mean, x.mean(axis=0))
    np.testing.assert_allclose(found.covariance, np.cov(x.T, bias=True))


def test_robust_moments_with_foreign_samples_are_near_those_of_the_clean_ones(random):
    x = random.normal(size=(2_000, 5)) * [1, 2, 3, 1, 1]
    x[:80] = random.normal(size=(80, 5)) * 0.1 + [0, 0, 0, 15, 0]
    found, clean = robust_moments(x, 0.06), np.cov(x[80:].T)
    assert not found.kept[:80].any()
    assert found.kept[80:].mean() > 0.9
    assert np.linalg.norm(found.covariance - clean) < 0.2 * np.linalg.norm(np.cov(x.T) - clean)


@pytest.mark.parametrize(("fraction", "most"), [(0.1, 0.2), (0.4, 0.5)])
def test_robust_moments_never_remove_more_than_twice_the_fraction_or_half(random, fraction, most):
    x = random.standard_cauchy(size=(400, 3))
    kept = robust_moments(x, fraction).kept
    assert 1 - most <= kept.mean() < 1


def test_robust_moments_constant_and_few_samples_are_no_hindrance():
    for x in (np.zeros((5, 3)), np.arange(8.0).reshape(2, 4), np.ones((30, 1))):
        found = robust_moments(x, 0.33)
        assert np.isfinite(found.covariance).all()
        assert found.kept.sum() >= len(x) / 2
