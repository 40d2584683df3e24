"""Quantum entropy scores against SciPy's matrix exponential, their limits in alpha, and the choice of k."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm
from sklearn.metrics import roc_auc_score

from art_plugins.statistics.peers.quantum_entropy import (
    n_removed,
    principal_projections,
    quantum_entropy_scores,
    spectre_scores,
)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 4.0])
def test_quantum_entropy_scores_equal_scipys_matrix_exponential(random, alpha):
    y = random.normal(size=(40, 3)) * [1.0, 2.0, 0.5]
    moments = y.T @ y / len(y)
    weights = expm(alpha * (moments - np.eye(3)) / (np.linalg.norm(moments, 2) - 1))
    expected = [row @ weights @ row / np.trace(weights) for row in y]
    np.testing.assert_allclose(quantum_entropy_scores(y, alpha), expected)


def test_quantum_entropy_scores_limits_are_the_length_and_the_top_direction(random):
    y = random.normal(size=(50, 4)) * [3.0, 1.0, 1.0, 0.5]
    np.testing.assert_allclose(quantum_entropy_scores(y, 0.0), (y**2).mean(axis=1))
    top = np.linalg.eigh(y.T @ y)[1][:, -1]
    np.testing.assert_allclose(quantum_entropy_scores(y, 1e4), (y @ top) ** 2, rtol=1e-6)


def test_quantum_entropy_scores_without_a_direction_that_varies_more_are_lengths():
    y = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # second moments I / 2
    np.testing.assert_allclose(quantum_entropy_scores(y), [0.5] * 4)
    np.testing.assert_allclose(quantum_entropy_scores(np.array([[3.0], [-1.0]])), [9.0, 1.0])


@pytest.fixture
def poisoned(random):
    """A class whose loudest directions are its own, and 60 of 600 that differ in a quiet one."""
    x = random.normal(size=(600, 12)) * np.linspace(6, 0.5, 12)
    x[:60, 9] += 16
    return x


def test_spectre_scores_find_poison_in_a_quiet_direction_where_the_top_one_does_not(poisoned):
    is_poison = np.arange(600) < 60
    found = spectre_scores(poisoned, 0.2)
    assert roc_auc_score(is_poison, found.scores) > 0.99
    top = np.abs((poisoned - poisoned.mean(axis=0)) @ np.linalg.svd(poisoned - poisoned.mean(axis=0))[2][0])
    assert roc_auc_score(is_poison, top) < 0.9
    assert found.strength > 3 * spectre_scores(poisoned[60:], 0.2).strength


@pytest.mark.parametrize(("n", "d"), [(80, 30), (30, 30), (30, 31), (40, 200)])
def test_principal_projections_are_those_of_the_covariance_also_with_more_features_than_samples(random, n, d):
    x = random.normal(size=(n, d)) * np.linspace(3, 0.1, d) + 5
    centred = x - x.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / n)
    rank = int((values > 1e-10 * values[-1]).sum())
    expected = centred @ vectors[:, ::-1][:, : min(25, rank)]
    found = principal_projections(x, 25)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-6, atol=1e-9)
    assert principal_projections(np.ones((n, d)), 25).shape == (n, 0)
    assert principal_projections(x, 1000).shape == (n, rank)


def test_spectre_scores_of_a_wide_class_are_those_of_its_rotation_into_as_many_features_as_samples(random):
    x = random.normal(size=(120, 40)) * np.linspace(4, 0.5, 40)
    x[:12, 30] += 9
    turn = np.linalg.qr(random.normal(size=(300, 40)))[0].T  # 40 x 300: lengths stay
    expected, found = spectre_scores(x, 0.1), spectre_scores(x @ turn, 0.1)
    assert found.n_dims == expected.n_dims
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-6)


def test_spectre_scores_order_shift_and_rotation_of_the_features_change_nothing(poisoned, random):
    order = random.permutation(600)
    turn = np.linalg.qr(random.normal(size=(12, 12)))[0]
    expected, found = spectre_scores(poisoned, 0.2), spectre_scores(poisoned[order] @ turn + 3, 0.2)
    assert found.n_dims == expected.n_dims
    np.testing.assert_allclose(found.scores, expected.scores[order], rtol=1e-4, atol=1e-6)


def test_spectre_scores_of_constant_features_are_0():
    found = spectre_scores(np.ones((30, 5)), 0.33)
    assert found.strength == 0
    np.testing.assert_array_equal(found.scores, 0)


def test_spectre_scores_dimensions_are_at_most_asked_and_a_quarter_of_the_samples(random):
    assert spectre_scores(random.normal(size=(20, 30)), 0.2).n_dims <= 5
    assert spectre_scores(random.normal(size=(100, 30)), 0.2, max_dims=3).n_dims <= 3


def test_n_removed_is_one_and_a_half_times_the_bound():
    assert [n_removed(n, 0.1) for n in (0, 10, 100)] == [0, 1, 15]
