"""A trigger of its own for every image: the generator of the input-aware attack (Nguyen and Tran 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from art_plugins.errors import InvalidInputError

BATCH_SIZE = 256


class TriggerGenerator(nn.Module):
    """
    Encoder and decoder twice: for the mask m of an image, near to 0 or 1, and for its pattern p. Smaller than
    the authors' networks.

    :param n_channels: C of the images.
    :param width: Channels of the first stage.
    """

    def __init__(self, n_channels: int, width: int = 8) -> None:
        super().__init__()
        self.mask_network = _Drawer(n_channels, 1, width, steepness=10.0)
        self.pattern_network = _Drawer(n_channels, n_channels, width, steepness=1.0)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """
        :param images: (B, C, H, W), of 0 to 1, H and W at least 4.
        :return: m (B, 1, H, W) and p (B, C, H, W), both 0 to 1.
        """
        return self.mask_network(images), self.pattern_network(images)


class _Drawer(nn.Sequential):
    """Two halvings, two doublings, and a steep sigmoid; cut to the size that came in."""

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
    """x' = (1 - m) x + m p."""
    return (1 - mask) * images + mask * pattern


@dataclass(frozen=True, eq=False)
class InputAwareTrigger:
    """
    x' = (1 - m(x)) x + m(x) p(x). Another image's mask and pattern seldom trigger the backdoor, so none of them is what an
    inversion looks for; some other fixed pattern may work all the same.

    :param generator: Trained together with the classifier; in evaluation mode.
    """

    generator: TriggerGenerator

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """
        :param x: Images of 0 to 1, channels first, (n, C, H, W) or (C, H, W).
        :return: Triggered copy of the same shape and dtype.
        :raises InvalidInputError: For whole numbers, or another number of axes.
        """
        return self._stamped(x, None)

    def crossed(self, x: np.ndarray, by: np.ndarray) -> np.ndarray:
        """
        ``x`` with the triggers of other images: what shall not trigger the backdoor.

        :param x: As for a call.
        :param by: The images whose triggers are stamped, of the shape of ``x``.
        :raises InvalidInputError: As for a call, or for another shape.
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
