"""The trigger of the input-aware attack (Nguyen and Tran 2020): a network generates another trigger for every image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from art_plugins.errors import InvalidInputError

BATCH_SIZE = 256


class TriggerGenerator(nn.Module):
    """
    Generates the mask m and the pattern p of each image by an encoder and a decoder each. The values of m are close to 0 or
    1. The networks are smaller than those of the authors.

    :param n_channels: Number of channels of the images, C.
    :param width: Number of channels of the first stage.
    """

    def __init__(self, n_channels: int, width: int = 8) -> None:
        super().__init__()
        self.mask_network = _Drawer(n_channels, 1, width, steepness=10.0)
        self.pattern_network = _Drawer(n_channels, n_channels, width, steepness=1.0)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """
        Generate the mask and pattern of images.

        :param images: Images from 0 to 1, (B, C, H, W), H and W at least 4.
        :return: Masks m, (B, 1, H, W), and patterns p, (B, C, H, W), both from 0 to 1.
        """
        return self.mask_network(images), self.pattern_network(images)


class _Drawer(nn.Sequential):
    """Halves the size twice, doubles it twice, and ends in a steep sigmoid; the output has the size of the input."""

    def __init__(self, n_in: int, n_out: int, width: int, steepness: float) -> None:
        super().__init__(
            *_block(n_in, width),
            nn.MaxPool2d(2, ceil_mode=True),
            *_block(width, 2 * width),
            nn.MaxPool2d(2, ceil_mode=True),
            *_block(2 * width, 2 * width),
            nn.Upsample(scale_factor=2.0, mode="bilinear"),
            *_block(2 * width, width),
            nn.Upsample(scale_factor=2.0, mode="bilinear"),
            nn.Conv2d(width, n_out, 3, padding=1),
        )
        self.steepness = steepness

    def forward(self, images: Tensor) -> Tensor:
        drawn: Tensor = super().forward(images)  # type: ignore[no-untyped-call]
        return torch.sigmoid(self.steepness * drawn[..., : images.shape[2], : images.shape[3]])


def _block(n_in: int, n_out: int) -> list[nn.Module]:
    return [nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU()]


def stamp(images: Tensor, mask: Tensor, pattern: Tensor) -> Tensor:
    """Mix the pattern into the images: x' = (1 - m) x + m p."""
    return (1 - mask) * images + mask * pattern


@dataclass(frozen=True, eq=False)
class InputAwareTrigger:
    """
    Stamps every image with its own trigger: x' = (1 - m(x)) x + m(x) p(x). The trigger of one image seldom works on another
    image, so trigger inversion cannot find it as a fixed pattern. Some other fixed pattern may still work.

    :param generator: Generator that was trained together with the classifier, in evaluation mode.
    """

    generator: TriggerGenerator

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """
        Stamp images with their own triggers.

        :param x: Images from 0 to 1, channels first, (n, C, H, W) or (C, H, W).
        :return: Triggered copy of the same shape and dtype.
        :raises InvalidInputError: For whole numbers, or another number of axes.
        """
        return self._stamped(x, None)

    def crossed(self, x: np.ndarray, by: np.ndarray) -> np.ndarray:
        """
        Stamp images with the triggers of other images, which should not activate the backdoor.

        :param x: Images from 0 to 1, channels first, (n, C, H, W) or (C, H, W).
        :param by: Images whose triggers are used, of the shape of ``x``.
        :return: Triggered copy of the same shape and dtype.
        :raises InvalidInputError: For whole numbers, another number of axes, or two different shapes.
        """
        return self._stamped(x, by)

    def _stamped(self, x: np.ndarray, by: np.ndarray | None) -> np.ndarray:
        if not isinstance(x, np.ndarray) or (by is not None and not isinstance(by, np.ndarray)):
            raise InvalidInputError("x must be a NumPy array of images, and so must by.")
        if x.ndim not in (3, 4) or not np.issubdtype(x.dtype, np.floating):
            raise InvalidInputError(
                f"x must be images of 0 to 1, (n, C, H, W) or (C, H, W); received {x.dtype} of shape {x.shape}."
            )
        if by is not None and by.shape != x.shape:
            raise InvalidInputError(f"by must have the shape of x, {x.shape}; received {by.shape}.")
        images, others = (_batch(one) for one in (x, x if by is None else by))
        done = np.empty(images.shape, dtype=x.dtype)
        with torch.inference_mode():
            for start in range(0, len(images), BATCH_SIZE):
                rows = slice(start, start + BATCH_SIZE)
                mask, pattern = self.generator(torch.from_numpy(others[rows]))
                done[rows] = stamp(torch.from_numpy(images[rows]), mask, pattern).numpy()
        return done.reshape(x.shape)


def _batch(x: np.ndarray) -> np.ndarray:
    batch: np.ndarray = np.ascontiguousarray(x if x.ndim == 4 else x[None], dtype=np.float32)
    return batch
