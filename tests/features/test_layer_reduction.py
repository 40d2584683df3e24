"""Pooling, projections, and class sums against NumPy on whole arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from art_plugins.features.layer_reduction import (
    ClassSums,
    channel_statistics,
    folding_signs,
    pool_activations,
    projected,
    projection_matrix,
)


def test_pool_activations_maps_are_means_over_a_grid(random):
    maps = random.normal(size=(2, 3, 8, 8)).astype(np.float32)
    expected = maps.reshape(2, 3, 4, 2, 4, 2).mean(axis=(3, 5)).reshape(2, -1)
    np.testing.assert_allclose(pool_activations(torch.from_numpy(maps)).numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "n_dims"),
    [
        ((2, 6, 28, 28), 96),
        ((2, 6, 3, 28), 72),  # a side that is shorter than the grid is not stretched
        ((2, 1280, 2, 2), 5120),
        ((2, 120), 120),
        ((2, 64, 100), 164),
        ((2, 3, 5_000), 1027),
        ((2, 2, 2, 2, 2), 16),
    ],
)
def test_pool_activations_length_depends_on_the_layer_alone(shape, n_dims):
    pooled = pool_activations(torch.ones(shape))
    assert pooled.shape == (2, n_dims)
    np.testing.assert_array_equal(pooled.numpy(), 1)


def test_pool_activations_sequences_give_both_means_whichever_axis_is_the_channels(random):
    tokens = random.normal(size=(2, 5, 7)).astype(np.float32)
    expected = np.concatenate([tokens.mean(axis=1), tokens.mean(axis=2)], axis=1)
    np.testing.assert_allclose(pool_activations(torch.from_numpy(tokens)).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_channel_statistics_maps_are_numpys_mean_and_deviation_of_each_channel_wherever_it_lies(random):
    maps = random.normal(size=(2, 3, 5, 6)).astype(np.float32)
    expected = np.concatenate([maps.mean(axis=(2, 3)), maps.std(axis=(2, 3))], axis=1)
    found = channel_statistics(torch.from_numpy(maps)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    moved = channel_statistics(torch.from_numpy(np.roll(maps, (2, 3), axis=(2, 3)))).numpy()
    np.testing.assert_allclose(moved, found, rtol=1e-5, atol=1e-6)


def test_channel_statistics_sequences_give_both_moments_over_either_axis(random):
    tokens = random.normal(size=(2, 5, 7)).astype(np.float32)
    expected = np.concatenate([moment(axis=axis) for axis in (1, 2) for moment in (tokens.mean, tokens.std)], axis=1)
    np.testing.assert_allclose(channel_statistics(torch.from_numpy(tokens)).numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "n_dims"),
    [((2, 6, 28, 28), 12), ((2, 6, 1, 1), 12), ((2, 120), 120), ((2, 64, 100), 328), ((2, 3, 5_000), 2054)],
)
def test_channel_statistics_length_depends_on_the_layer_alone(shape, n_dims):
    found = channel_statistics(torch.ones(shape))
    assert found.shape == (2, n_dims)
    assert set(found.unique().tolist()) <= {0.0, 1.0}


def test_projection_matrix_keeps_distances_and_is_the_same_for_one_seed(random):
    x = random.normal(size=(20, 3_000))
    matrix = projection_matrix(3_000, 512, random_state=3)
    assert matrix.shape == (3_000, 512)
    np.testing.assert_allclose(pdist(x @ matrix) / pdist(x), 1, atol=0.2)
    np.testing.assert_array_equal(matrix, projection_matrix(3_000, 512, random_state=3))
    assert not np.array_equal(matrix, projection_matrix(3_000, 512, random_state=4))
    assert projection_matrix(512, 512, random_state=3) is None


def test_folding_adds_signed_values_that_lie_a_multiple_apart():
    vectors = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]])
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0, -1.0])
    assert projected(vectors, signs, 2).tolist() == [[1 + 3 - 5, -2 - 4]]


def test_folding_keeps_distances_and_is_the_same_for_one_seed(random):
    x = random.normal(size=(20, 3_000))
    signs = folding_signs(3_000, 512, random_state=3)
    assert set(signs.tolist()) == {-1.0, 1.0}
    np.testing.assert_allclose(pdist(projected(torch.from_numpy(x), torch.from_numpy(signs), 512)) / pdist(x), 1, atol=0.2)
    np.testing.assert_array_equal(signs, folding_signs(3_000, 512, random_state=3))
    assert not np.array_equal(signs, folding_signs(3_000, 512, random_state=4))
    assert folding_signs(512, 512, random_state=3) is None


def test_directions_of_an_older_release_are_a_product(random):
    vectors, directions = random.normal(size=(4, 7)), random.normal(size=(7, 3))
    found = projected(torch.from_numpy(vectors), torch.from_numpy(directions), 3)
    np.testing.assert_allclose(found, vectors @ directions, rtol=1e-12)


def test_class_sums_equal_numpys_over_all_batches(random):
    features = {"a": random.normal(size=(10, 2, 3)).astype(np.float32), "b": random.normal(size=(10, 4)).astype(np.float32)}
    labels, used = np.arange(10) % 3, np.arange(10) != 4
    sums = ClassSums(4, ["a", "b"])
    batches = [slice(0, 4), slice(4, 9), slice(9, 10)]

    def tensors(rows: slice) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(one[rows]) for name, one in features.items()}

    for rows in batches:
        sums.add(tensors(rows), labels[rows], np.flatnonzero(used[rows]))
    flat = {name: one.reshape(10, -1).astype(np.float64) for name, one in features.items()}
    expected = {name: np.stack([one[used & (labels == k)].sum(axis=0) for k in range(4)]) for name, one in flat.items()}
    found = [sums.products(tensors(rows), labels[rows]) for rows in batches]
    dots, lengths = (np.concatenate([one[part] for one in found]) for part in (0, 1))
    for index, name in enumerate("ab"):
        np.testing.assert_allclose(sums.sums[name].numpy(), expected[name], atol=1e-6)
        np.testing.assert_allclose(dots[:, index], (flat[name] * expected[name][labels]).sum(axis=1), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(lengths[:, index], (flat[name] ** 2).sum(axis=1), rtol=1e-6)
        np.testing.assert_allclose(sums.squared_norms()[:, index], (expected[name] ** 2).sum(axis=1), rtol=1e-6)
