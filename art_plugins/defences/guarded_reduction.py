"""The two views of feature maps in few passes over memory, for models that are exported with their detector."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from art_plugins.features.layer_reduction import GRID, channel_statistics, pool_activations
from art_plugins.statistics.layer_gaussian import LayerGaussian

SMALL_MAP = 256  # cells by a product of matrices up to this number of places; by sums along rows and columns for more
ROUNDING = 1e-6  # relative error of a sum of squares in single precision
# Error of a channel's deviation, in deviations of benign samples, that the short way may have: a tenth of the error of
# these deviations themselves, if they are of 5,000 samples (1 / sqrt(2 n)).
BORNE = 1e-3


def grid_cells(maps: Tensor) -> Tensor:
    """
    The same as :func:`~art_plugins.features.layer_reduction.pool_activations` of feature maps, up to rounding.

    PyTorch's pooling computes one cell after the other, which takes two to ten times as long as its sums and products.

    :param maps: (B, C, H, W), float32.
    :return: (B, C, h w), where h and w are H and W, 4 at most. It may share memory with ``maps``.
    """
    height, width = maps.shape[2:]
    rows, columns = min(GRID, height), min(GRID, width)
    if (rows, columns) == (height, width):
        return maps.flatten(2)
    if height * width < SMALL_MAP:
        # Pooling is linear: its matrix is what it makes of the unit vectors.
        units = torch.eye(height * width, dtype=maps.dtype, device=maps.device).reshape(-1, 1, height, width)
        return maps.flatten(2) @ functional.adaptive_avg_pool2d(units, (rows, columns)).flatten(1)
    if height % rows or width % columns:
        return functional.adaptive_avg_pool2d(maps, (rows, columns)).flatten(2)
    down, across = height // rows, width // columns
    sums = maps.reshape(*maps.shape[:2], rows, down, width).sum(dim=3)
    return sums.reshape(*maps.shape[:2], rows * columns, across).sum(dim=3) / (down * across)


def short_deviations(maps: Tensor, means: Tensor) -> Tensor:
    """
    Standard deviation of each channel by its mean square. Nothing of the size of the maps is written, which takes up to
    twenty times as long as reading them. Rounding leaves an error where the mean is much larger than the deviation.

    :param maps: (B, C, H W), float32.
    :param means: Means of the channels, (B, C).
    :return: (B, C), float32.
    """
    squares = torch.linalg.vector_norm(maps, dim=2).double() ** 2 / maps.shape[2]
    deviations: Tensor = (squares - means.double() ** 2).clamp_min(0).sqrt().float()
    return deviations


def is_precise(gaussian: LayerGaussian) -> bool:
    """
    Whether :func:`short_deviations` are good enough, by the means and deviations of benign samples.

    The mean square has an error of ``ROUNDING`` times itself, and the deviation s one of that divided by 2 s.

    :param gaussian: Fitted on channel statistics that were not projected: means, then deviations.
    """
    means, deviations = gaussian.centre.reshape(2, -1)
    used, scale = gaussian.used[len(means) :], gaussian.scale[len(means) :]
    errors = ROUNDING * (means**2 + deviations**2)[used] / (2 * deviations * scale)[used]
    return bool((errors <= BORNE).all())


def both_views(activation: Tensor, is_short: bool) -> tuple[Tensor, Tensor]:
    """
    What :func:`~art_plugins.features.layer_reduction.pool_activations` and
    :func:`~art_plugins.features.layer_reduction.channel_statistics` give, (B, D) each, up to rounding. They may share
    memory with the activation.

    :param activation: (B, ...).
    :param is_short: Take :func:`short_deviations`.
    """
    if activation.ndim != 4:
        return pool_activations(activation), channel_statistics(activation)
    maps = activation.float()
    cells, flat = grid_cells(maps), maps.flatten(2)
    if not is_short:
        return cells.flatten(1), channel_statistics(maps)
    means = flat.mean(dim=2)
    return cells.flatten(1), torch.cat([means, short_deviations(flat, means)], dim=1)
