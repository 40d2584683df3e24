"""The features of Beatrix (Ma et al. 2023): Gram matrices of the channels, of several orders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch


def gram_features(activations: np.ndarray, orders: Sequence[int]) -> Iterator[np.ndarray]:
    """
    Give the upper triangle of ``sign(G) |G|^(1/p)`` with ``G = F^p (F^p)^T`` for each order p (Ma et al. 2023, Eqs. 3 and
    4).

    F has a row for each channel and a column for each place of the feature map; each entry of a vector is a channel. F is
    divided by its largest absolute value before the powers are taken, so that order 8 does not overflow.

    :param activations: Shape (n, C, ...) or (n, C).
    :param orders: Orders p, whole numbers from 1.
    :return: An array (n, C (C + 1) / 2), float32, for each order in turn.
    """
    maps = torch.from_numpy(activations).flatten(2) if activations.ndim > 2 else torch.from_numpy(activations)[:, :, None]
    largest = maps.abs().amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    relative = maps / largest
    upper = torch.triu_indices(maps.shape[1], maps.shape[1])
    for order in orders:
        powers = relative**order
        gram = torch.bmm(powers, powers.transpose(1, 2))[:, upper[0], upper[1]]
        rooted = gram.sign() * gram.abs() ** (1 / order) * largest[:, :, 0] ** 2
        yield rooted.numpy()
