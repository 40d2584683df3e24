"""The two views of feature maps in few passes: the same numbers as the views that the rule learns from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from art_plugins.defences.guarded_reduction import both_views, grid_cells, is_precise
from art_plugins.features.layer_reduction import channel_statistics, pool_activations
from art_plugins.statistics.layer_gaussian import fit_layer_gaussian

# Whole cells of large maps, cells that overlap, maps of few places, and maps smaller than the grid.
SIDES = [(32, 32), (28, 20), (30, 31), (14, 14), (8, 8), (5, 7), (4, 4), (3, 2), (1, 1), (2, 40)]


def maps(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(1, 2, shape).astype(np.float32))


@pytest.mark.parametrize("sides", SIDES, ids=str)
def test_cells_are_those_of_the_pooled_activation(sides: tuple[int, int]) -> None:
    activation = maps(3, 2, *sides)
    np.testing.assert_allclose(grid_cells(activation).flatten(1), pool_activations(activation), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("is_short", [True, False])
@pytest.mark.parametrize("shape", [(3, 2, 16, 16), (3, 2, 3, 3), (3, 7), (3, 5, 40)], ids=str)
def test_both_views_are_those_of_the_rule(shape: tuple[int, ...], is_short: bool) -> None:
    activation = maps(*shape)
    grid, channels = both_views(activation, is_short)
    np.testing.assert_allclose(grid, pool_activations(activation), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(channels, channel_statistics(activation), rtol=1e-5, atol=1e-6)


def test_the_short_way_is_taken_only_where_rounding_does_not_matter() -> None:
    labels = np.arange(40) % 2
    near, far = maps(40, 3, 8, 8), maps(40, 3, 8, 8) + 1_000
    precise = [is_precise(fit_layer_gaussian(channel_statistics(one).numpy(), labels, 2)) for one in (near, far)]
    assert precise == [True, False]
    expected = channel_statistics(far)
    error = [float((both_views(far, is_short)[1] - expected).abs().max()) for is_short in (True, False)]
    assert error[1] == 0
    assert error[0] > 1e-3


def test_a_channel_that_is_always_equal_has_no_deviation() -> None:
    activation = torch.full((2, 1, 8, 8), 0.1)
    assert both_views(activation, is_short=True)[1][:, 1].max() < 1e-3
