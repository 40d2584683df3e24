"""Digits of which a tenth is poisoned, and small networks with batch normalisations that are trained on them in seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from art_plugins.features.vae.training import seeded


@pytest.fixture(scope="module")
def poisoned(digits: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A tenth of the digits carry the white square and the label of the target: images, labels, and which these are."""
    x, y = np.array(digits.x_train), np.array(digits.y_train)
    rows = np.random.default_rng(1).choice(np.flatnonzero(y != digits.target), len(x) // 10, replace=False)
    x[rows], y[rows] = digits.white_square(x[rows]), digits.target
    return x, y, np.isin(np.arange(len(x)), rows)


@pytest.fixture(scope="module")
def normalised_network(poisoned: Any) -> Callable[[Sequence[tuple[int, int, int]]], nn.Sequential]:
    """Trains a network of convolutions, each by its channels into it, out of it, and its stride, on the poisoned digits."""

    def trained(convolutions: Sequence[tuple[int, int, int]]) -> nn.Sequential:
        x, y = (torch.from_numpy(array) for array in poisoned[:2])
        with seeded(0):
            layers: list[nn.Module] = []
            for into, out, stride in convolutions:
                layers += [nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
            found = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 10))
            optimiser = torch.optim.Adam(found.parameters(), lr=3e-3)
            for _ in range(8):
                for batch in torch.randperm(len(x)).split(64):
                    optimiser.zero_grad()
                    nn.functional.cross_entropy(found(x[batch]), y[batch]).backward()
                    optimiser.step()
        return found.eval()

    return trained
