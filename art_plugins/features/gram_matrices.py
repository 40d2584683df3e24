"""Beatrix's features (Ma et al. 2023): Gram matrices of the channels, of several orders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch


def gram_features(activations: np.ndarray, orders: Sequence[int]) -> Iterator[np.ndarray]:
    """
    ``sign(G) |G|^(1/p)`` of ``G = F^p (F^p)^T`` for each order p, the upper triangle of each (Eqs. 3 and 4).

    F holds a row for each channel and a column for each place of the feature map; of a vector each entry is a channel.
    Powers are taken of F over its largest absolute value, and multiplied in again, so that order 8 does not overflow.

    :param activations: Shape (n, C, ...) or (n, C).
    :param orders: Whole numbers from 1.
    :return: One (n, C (C + 1) / 2), float32, at a time, in the order of ``orders``.
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
