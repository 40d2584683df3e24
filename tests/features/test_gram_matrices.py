"""Gram matrices of several orders, by loops in double precision."""

from __future__ import annotations

import numpy as np
import pytest

from art_plugins.features.gram_matrices import gram_features


@pytest.mark.parametrize("shape", [(3, 4, 2, 5), (3, 4, 6), (3, 4)])
def test_gram_features_equal_products_of_channels_in_loops(random, shape):
    activations = random.normal(size=shape).astype(np.float32)
    maps = activations.reshape(3, 4, -1).astype(np.float64)
    orders = (1, 2, 5)
    for order, found in zip(orders, gram_features(activations, orders), strict=True):
        expected = []
        for image in maps:
            products = [(image[a] ** order * image[b] ** order).sum() for a in range(4) for b in range(a, 4)]
            expected.append([np.sign(one) * abs(one) ** (1 / order) for one in products])
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_gram_features_grow_with_the_square_of_the_activations_and_do_not_overflow(random):
    activations = random.uniform(size=(2, 3, 4, 4)).astype(np.float32)
    for small, large in zip(gram_features(activations, (8,)), gram_features(activations * 1e6, (8,)), strict=True):
        np.testing.assert_allclose(large, small * 1e12, rtol=1e-4)


def test_gram_features_of_nothing_but_zeros_are_0():
    assert not next(gram_features(np.zeros((2, 3, 4, 4), dtype=np.float32), (3,))).any()
