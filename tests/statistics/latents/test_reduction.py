from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from art_plugins.errors import InvalidInputError
from art_plugins.statistics.latents.reduction import WHITENINGS, reduce_latents


def correlated(random, n=200, d=10):
    mixing = np.eye(d) + 0.3 * random.normal(size=(d, d))
    return random.normal(size=(n, d)) @ mixing + random.normal(size=d)


def assert_equal_up_to_sign(found, expected, **tolerance):
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found * signs, expected, **tolerance)


@pytest.mark.parametrize("nb_dims", [1, 4, 10])
def test_reduce_latents_after_pca_equals_scikit_learn_up_to_sign(random, nb_dims):
    x = correlated(random)
    oracle = PCA(nb_dims, whiten=True).fit_transform(StandardScaler().fit_transform(x))
    # scikit-learn divides by n - 1 when it whitens; here the components have unit variance over the n samples.
    assert_equal_up_to_sign(reduce_latents(x, nb_dims), oracle * np.sqrt(200 / 199), atol=1e-8)


def test_reduce_latents_without_whitening_equals_scikit_learn_up_to_sign(random):
    x = correlated(random)
    oracle = PCA(4).fit_transform(StandardScaler().fit_transform(x))
    assert_equal_up_to_sign(reduce_latents(x, 4, "none"), oracle, atol=1e-8)


def test_reduce_latents_after_pca_has_identity_covariance(random):
    reduced = reduce_latents(correlated(random), 6)
    np.testing.assert_allclose(reduced.T @ reduced / 200, np.eye(6), atol=1e-10)
    np.testing.assert_allclose(reduced.mean(axis=0), 0, atol=1e-12)


def test_reduce_latents_before_pca_has_nearly_identity_covariance(random):
    x = correlated(random, n=5_000)
    reduced = reduce_latents(x, 10, "before_pca")
    np.testing.assert_allclose(reduced.T @ reduced / len(x), np.eye(10), atol=0.1)


@pytest.mark.parametrize("whiten", WHITENINGS)
def test_reduce_latents_scale_and_offset_of_a_latent_change_nothing(random, whiten):
    x = correlated(random)
    moved = x * np.logspace(-3, 3, 10) + 50
    np.testing.assert_allclose(np.abs(reduce_latents(moved, 4, whiten)), np.abs(reduce_latents(x, 4, whiten)), atol=1e-6)


@pytest.mark.parametrize("whiten", ["after_pca", "none"])
def test_reduce_latents_permuted_samples_permute_the_rows(random, whiten):
    x = correlated(random)
    order = random.permutation(len(x))
    np.testing.assert_allclose(reduce_latents(x[order], 4, whiten), reduce_latents(x, 4, whiten)[order], atol=1e-8)


@pytest.mark.parametrize("whiten", WHITENINGS)
def test_reduce_latents_constant_columns_add_nothing(random, whiten):
    x = correlated(random, d=5).astype(np.float32)
    padded = np.concatenate([x, np.full((200, 3), 0.1, dtype=np.float32)], axis=1)
    reduced = reduce_latents(padded, 8, whiten)
    assert np.isfinite(reduced).all()
    np.testing.assert_allclose(reduced[:, 5:], 0, atol=1e-7)
    if whiten != "before_pca":  # there the shrinkage target depends on the number of columns
        np.testing.assert_allclose(np.abs(reduced[:, :5]), np.abs(reduce_latents(x, 5, whiten)), atol=1e-4)


@pytest.mark.parametrize("whiten", WHITENINGS)
@pytest.mark.parametrize("value", [0.0, 0.1, 1e8])
def test_reduce_latents_equal_samples_become_exactly_zero(whiten, value):
    reduced = reduce_latents(np.full((7, 4), value, dtype=np.float32), 3, whiten)
    assert reduced.shape == (7, 3)
    assert not reduced.any()


@pytest.mark.parametrize("whiten", WHITENINGS)
def test_reduce_latents_fewer_samples_than_latents_is_finite(random, whiten):
    reduced = reduce_latents(random.normal(size=(5, 12)), 10, whiten)
    assert reduced.shape == (5, 10)
    assert reduced.dtype == np.float64
    assert np.isfinite(reduced).all()
    assert np.abs(reduced).max() < 10


def test_reduce_latents_more_components_than_latents_keeps_all(random):
    assert reduce_latents(random.normal(size=(20, 3)), 24).shape == (20, 3)


def test_reduce_latents_input_is_not_changed(random):
    x = correlated(random)
    before = x.copy()
    reduce_latents(x, 4)
    np.testing.assert_array_equal(x, before)


def test_reduce_latents_unknown_whitening_is_refused(random):
    with pytest.raises(InvalidInputError, match=r"whiten must be one of .* received 'yes'"):
        reduce_latents(random.normal(size=(5, 2)), 1, "yes")
