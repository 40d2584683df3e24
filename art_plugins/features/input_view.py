"""What a sample shows by itself, before any network: its values as a short vector."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from art_plugins.features.layer_reduction import folding_signs, projected
from art_plugins.features.views import MAX_DIMS, principal_axes, project

CELLS = 16  # along each side, to which an image is averaged: they keep what it shows, not its texture
MOST_VALUES = 1_024  # of a sample; longer vectors are shortened at random
N_REFERENCE = 2_000  # samples on which the principal axes are learned
MOST_AT_ONCE = 2**24  # values that are shortened together: 64 MB


def input_view(x: np.ndarray, rows: np.ndarray, random_state: int = 0) -> np.ndarray:
    """
    Give up to 64 principal components of the samples. No label has shaped them, as labels shape a network's layers.

    Images are averaged to 16 x 16 cells before. The principal axes are those of at most 2,000 samples. The samples may lie
    on the disk; a part of them is read at a time.

    :param x: Samples, (n, C, H, W) or (n, ...).
    :param rows: Which of them are looked at, (m,), m at least 1; these are finite.
    :param random_state: Random seed of the samples on which the axes are learned, and of the signs by which long vectors
        are shortened.
    :return: (m, d), float32, d at most 64.
    """
    n_at_once = max(1, MOST_AT_ONCE // max(1, int(np.prod(x.shape[1:]))))
    parts = [_shortened(x[rows[start : start + n_at_once]], random_state) for start in range(0, len(rows), n_at_once)]
    short = np.concatenate(parts)
    chosen = np.sort(np.random.default_rng(random_state).permutation(len(rows))[:N_REFERENCE])
    mean, axes = principal_axes(short[chosen].astype(np.float64), MAX_DIMS)
    view: np.ndarray = project(short, mean, axes).astype(np.float32)
    return view


def _shortened(x: np.ndarray, random_state: int) -> np.ndarray:
    """A block of samples as vectors of at most 1,024 values, (b, D)."""
    values = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
    if values.ndim == 4:
        height, width = values.shape[2:]
        values = functional.adaptive_avg_pool2d(values, (min(CELLS, height), min(CELLS, width)))
    values = values.flatten(1)
    signs = folding_signs(values.shape[1], MOST_VALUES, random_state)
    return (values if signs is None else projected(values, torch.from_numpy(signs), MOST_VALUES)).numpy()
