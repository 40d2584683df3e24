"""Triggers that a network draws for every image anew and that are added to it, as ISSBA and LIRA do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from art_plugins.errors import InvalidInputError
from art_plugins.parameters import check_number, plain

BATCH_SIZE = 256


class ResidualNetwork(nn.Module):
    """
    Draws a change of -1 to 1 for every pixel: two strided convolutions, one at the small size, and as many steps back up,
    with the image itself beside the last maps. It is far smaller than the networks of the authors.

    :param n_channels: Number of channels of the images.
    :param n_bits: Number of bits of a message, which is shown to the network as one constant plane for each bit; 0: none.
    :param width: Number of channels of the first stage.
    """

    def __init__(self, n_channels: int, n_bits: int = 0, width: int = 8) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(n_channels + n_bits, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, 2, 1), nn.ReLU()
        )
        self.middle = nn.Sequential(nn.Conv2d(2 * width + n_bits, 2 * width, 3, 1, 1), nn.ReLU())
        self.up = nn.Sequential(nn.Conv2d(2 * width, width, 3, 1, 1), nn.ReLU())
        self.last = nn.Conv2d(width + n_channels, n_channels, 3, 1, 1)

    def forward(self, images: Tensor, bits: Tensor | None = None) -> Tensor:
        """Images (B, C, H, W) and bits of 0 and 1, (B, n_bits); changes (B, C, H, W)."""
        small = self.down(images if bits is None else torch.cat([images, _planes(bits, images)], dim=1))
        small = self.middle(small if bits is None else torch.cat([small, _planes(bits, small)], dim=1))
        large = self.up(functional.interpolate(small, size=images.shape[2:], mode="bilinear", align_corners=False))
        drawn: Tensor = torch.tanh(self.last(torch.cat([large, images], dim=1)))
        return drawn


def _planes(bits: Tensor, like: Tensor) -> Tensor:
    return (2 * bits - 1)[:, :, None, None].expand(-1, -1, *like.shape[2:])


def add_residual(images: Tensor, drawn: Tensor, amplitude: float) -> Tensor:
    """Add what was drawn, -1 to 1, to images of 0 to 1: x' = clip(x + a d)."""
    return (images + amplitude * drawn).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class ResidualTrigger:
    """
    Adds to every image what a trained network draws for it: x' = clip(x + a d(x)), 0 to 1.

    :param network: The network d, in evaluation mode.
    :param amplitude: Largest change of a pixel, a, above 0 and at most 1.
    :param bits: Message that the network writes, (n_bits,) of 0 and 1; ``None``: it writes none.
    :raises InvalidInputError: For a bad amplitude.
    """

    network: ResidualNetwork
    amplitude: float
    bits: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_number("amplitude", plain(self.amplitude), "for images of 0 to 1", above=0, most=1)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """
        Stamp images.

        :param x: Images of 0 to 1, (n, C, H, W) or (C, H, W), floats.
        :return: Triggered copy of the same shape and dtype.
        :raises InvalidInputError: For whole numbers, or another number of axes.
        """
        if not isinstance(x, np.ndarray) or x.ndim not in (3, 4) or x.dtype.kind != "f":
            raise InvalidInputError(f"x must be images of 0 to 1, (n, C, H, W) or (C, H, W); received {np.shape(x)}.")
        images = np.array(x if x.ndim == 4 else x[None], dtype=np.float32)
        done = np.empty(images.shape, dtype=x.dtype)
        with torch.inference_mode():
            for start in range(0, len(images), BATCH_SIZE):
                batch = torch.from_numpy(images[start : start + BATCH_SIZE])
                bits = None if self.bits is None else torch.from_numpy(self.bits).float().expand(len(batch), -1)
                done[start : start + BATCH_SIZE] = add_residual(batch, self.network(batch, bits), self.amplitude).numpy()
        return done.reshape(x.shape)
