"""The three forms of image trigger: a masked pattern, an additive perturbation and a warp."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.parameters import is_number, plain, shown


class ImageTrigger(ABC):
    """A trigger for images of one shape. Checks of the images and the dtype of the copy are the same for every form."""

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """
        Apply the trigger to images.

        :param x: Images, (n, ...) or one alone, whose last axes are those of the trigger.
        :return: Triggered copy of the same shape and dtype; whole numbers are rounded.
        :raises InvalidInputError: If the images are no array of real numbers, or have another shape.
        """
        _check_real(x, "images")
        shape = self.shape
        if x.shape[-len(shape) :] != shape:
            raise InvalidInputError(f"The trigger is made for images of shape {shape}; received {x.shape}.")
        triggered = self._triggered(x)
        return (np.rint(triggered) if np.issubdtype(x.dtype, np.integer) else triggered).astype(x.dtype)

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The last axes of an image: its whole shape, or its height and width."""

    @abstractmethod
    def _triggered(self, x: np.ndarray) -> np.ndarray:
        """The images with the trigger, of any real type."""


@dataclass(frozen=True, eq=False)
class MaskedTrigger(ImageTrigger):
    """
    Mixes a pattern into the image by a mask: x' = (1 - m) x + m p (Eq. 2 of Wang et al. 2019). This covers patches and
    translucent marks over the whole image.

    :param mask: m, from 0 to 1; its shape is that of the pattern or broadcasts to it, such as (1, H, W).
    :param pattern: p, in the images' units; its shape is that of an image, (C, H, W) or (H, W, C).
    :raises InvalidInputError: For a mask outside 0 to 1, or one that does not broadcast to the pattern.
    """

    mask: np.ndarray
    pattern: np.ndarray

    def __post_init__(self) -> None:
        _check_finite(self.pattern, "pattern")
        _check_finite(self.mask, "mask")
        if self.mask.min() < 0 or self.mask.max() > 1:
            raise InvalidInputError(f"The mask must be 0 to 1; received {self.mask.min()} to {self.mask.max()}.")
        try:
            fits = np.broadcast_shapes(self.mask.shape, self.pattern.shape) == self.pattern.shape
        except ValueError:
            fits = False
        if not fits:
            raise InvalidInputError(f"A mask of shape {self.mask.shape} does not broadcast to {self.pattern.shape}.")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.pattern.shape

    def _triggered(self, x: np.ndarray) -> np.ndarray:
        triggered: np.ndarray = (1 - self.mask) * x + self.mask * self.pattern
        return triggered


@dataclass(frozen=True, eq=False)
class AdditiveTrigger(ImageTrigger):
    """
    Adds a perturbation to the image and clips the sum: x' = clip(x + v).

    :param perturbation: v, in the images' units; its shape is that of an image, (C, H, W) or (H, W, C).
    :param clip_values: Lowest and highest value of the images.
    :raises InvalidInputError: For an empty range, or a perturbation with NaN or infinity.
    """

    perturbation: np.ndarray
    clip_values: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        _check_finite(self.perturbation, "perturbation")
        pair = self.clip_values
        numbers = isinstance(pair, (tuple, list)) and len(pair) == 2 and all(is_number(plain(value)) for value in pair)
        if not numbers or not pair[0] < pair[1]:
            raise InvalidInputError(f"clip_values must be (lowest, highest); received {shown(pair)}.")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.perturbation.shape

    def _triggered(self, x: np.ndarray) -> np.ndarray:
        triggered: np.ndarray = np.clip(x + self.perturbation, *self.clip_values)
        return triggered


@dataclass(frozen=True, eq=False)
class WarpTrigger(ImageTrigger):
    """
    Moves pixels by a small elastic warp: x'(i, j) = x(i + d_0(i, j), j + d_1(i, j)), with bilinear interpolation and
    repeated edges (WaNet, Nguyen and Tran 2021). No fixed pattern imitates it, so trigger inversion should not find it.

    :param displacement: d in pixels, (2, H, W): d_0 points down, d_1 to the right.
    :raises InvalidInputError: For another shape, or NaN or infinity.
    """

    displacement: np.ndarray

    def __post_init__(self) -> None:
        _check_finite(self.displacement, "displacement")
        if self.displacement.ndim != 3 or len(self.displacement) != 2:
            raise InvalidInputError(f"The displacement must be (2, H, W); received {self.displacement.shape}.")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.displacement.shape[1:]

    def _triggered(self, x: np.ndarray) -> np.ndarray:
        height, width = self.shape
        rows, columns = np.indices((height, width)) + self.displacement
        rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
        top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
        bottom, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
        down, across = rows - top, columns - left
        above = (1 - across) * x[..., top, left] + across * x[..., top, right]
        below = (1 - across) * x[..., bottom, left] + across * x[..., bottom, right]
        triggered: np.ndarray = (1 - down) * above + down * below
        return triggered


def _check_finite(values: np.ndarray, what: str) -> None:
    _check_real(values, what)
    if values.size == 0 or not np.isfinite(values).all():
        raise InvalidInputError(f"The {what} must hold finite numbers; that of shape {values.shape} is empty or does not.")


def _check_real(values: np.ndarray, what: str) -> None:
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        raise InvalidInputError(f"The {what} must be a NumPy array of real numbers; received {type(values).__name__}.")
