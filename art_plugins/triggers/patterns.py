"""What an attacker does to an image: callables for ART's ``PoisoningAttackBackdoor``, batch in, batch out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from art_plugins.errors import InvalidInputError
from art_plugins.parameters import check_count, check_number, is_number, plain, shown

Shape = tuple[int, int, int]
MOST_VALUES = 2**28  # of an image: a gigabyte in single precision
MOST_GRID = 1_000


@dataclass(frozen=True, eq=False)
class MaskedTrigger:
    """
    x' = (1 - m) x + m p (Eq. 2 of Wang et al. 2019): patches, and translucent marks over the whole image.

    :param mask: m, 0 to 1, of the pattern's shape or one that broadcasts to it, such as (1, H, W).
    :param pattern: p, of an image's shape, (C, H, W) or (H, W, C), in the images' units.
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

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """
        :param x: Images of the pattern's shape, (n, C, H, W) or (C, H, W).
        :return: Triggered copy of the same shape and dtype; whole numbers are rounded.
        :raises InvalidInputError: If the images have another shape.
        """
        _check_fit(x, self.pattern.shape)
        return _as(x.dtype, (1 - self.mask) * x + self.mask * self.pattern)


@dataclass(frozen=True, eq=False)
class AdditiveTrigger:
    """
    x' = clip(x + v).

    :param perturbation: v, of an image's shape, (C, H, W) or (H, W, C), in the images' units.
    :param clip_values: Range of the images.
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

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """
        :param x: Images of the perturbation's shape, (n, C, H, W) or (C, H, W).
        :return: Triggered copy of the same shape and dtype; whole numbers are rounded.
        :raises InvalidInputError: If the images have another shape.
        """
        _check_fit(x, self.perturbation.shape)
        return _as(x.dtype, np.clip(x + self.perturbation, *self.clip_values))


@dataclass(frozen=True, eq=False)
class WarpTrigger:
    """
    x'(i, j) = x(i + d_0(i, j), j + d_1(i, j)), bilinear, edges repeated: a small elastic warp (WaNet, Nguyen and Tran
    2021). It moves features without any fixed pattern, so trigger inversion should not find it.

    :param displacement: d in pixels, (2, H, W): down and to the right.
    :raises InvalidInputError: For another shape, or NaN or infinity.
    """

    displacement: np.ndarray

    def __post_init__(self) -> None:
        _check_finite(self.displacement, "displacement")
        if self.displacement.ndim != 3 or len(self.displacement) != 2:
            raise InvalidInputError(f"The displacement must be (2, H, W); received {self.displacement.shape}.")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """
        :param x: Images, channels first, (n, C, H, W) or (C, H, W).
        :return: Warped copy of the same shape and dtype; whole numbers are rounded.
        :raises InvalidInputError: If the images have another height or width.
        """
        _, height, width = self.displacement.shape
        _check_fit(x, (height, width))
        rows, columns = np.indices((height, width)) + self.displacement
        rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
        top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
        bottom, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
        down, across = rows - top, columns - left
        above = (1 - across) * x[..., top, left] + across * x[..., top, right]
        below = (1 - across) * x[..., bottom, left] + across * x[..., bottom, right]
        return _as(x.dtype, (1 - down) * above + down * below)


def chessboard(shape: Shape, amplitude: float) -> AdditiveTrigger:
    """
    CB of Li et al. 2022: ``amplitude`` on every pixel with i + j even, in all channels; for images of 0 to 1.

    :param shape: (C, H, W).
    :param amplitude: Above 0, at most 1.
    """
    _, height, width = _checked(shape)
    amplitude = plain(amplitude)
    check_number("amplitude", amplitude, "for images of 0 to 1", above=0, most=1)
    even = np.indices((height, width)).sum(axis=0) % 2 == 0
    return AdditiveTrigger(np.broadcast_to(amplitude * even, shape).astype(np.float32))


def single_pixel(shape: Shape, row: int = -2, column: int = -2, value: float = 1.0) -> MaskedTrigger:
    """
    SP of Li et al. 2022: one pixel set to ``value`` in all channels.

    :param shape: (C, H, W).
    :param row: From 0, or from -1 upwards from the last; ``column`` likewise.
    """
    _, height, width = _checked(shape)
    row, column = plain(row), plain(column)
    whole = all(isinstance(place, int) and not isinstance(place, bool) for place in (row, column))
    if not whole or not (-height <= row < height and -width <= column < width):
        raise InvalidInputError(f"Pixel ({shown(row)}, {shown(column)}) does not fit into an image of {height} x {width}.")
    mask = np.zeros((1, height, width), dtype=np.float32)
    mask[0, row, column] = 1
    return MaskedTrigger(mask, np.full(shape, value, dtype=np.float32))


def white_box(shape: Shape, size: int = 3, margin: int = 1, value: float = 1.0) -> MaskedTrigger:
    """
    WB of Li et al. 2022: a square of constant ``value`` in the lower right corner, as in BadNets (Gu et al. 2019).

    :param shape: (C, H, W).
    :param size: Side of the square in pixels.
    :param margin: Pixels between it and the edges.
    """
    return MaskedTrigger(_corner(shape, size, margin), np.full(shape, value, dtype=np.float32))


def trojan_square(shape: Shape, size: int, margin: int = 1, random_state: int = 0) -> MaskedTrigger:
    """
    A square of random, fully saturated colours in the lower right corner, after the square of Liu et al. 2018 (theirs is
    made from the network that it is to fool, this one is not).

    :param shape: (C, H, W).
    :param size: Side of the square in pixels; theirs covers 7 % of the image.
    :param margin: Pixels between it and the edges.
    :param random_state: Seed of the colours.
    """
    mask, random_state = _corner(shape, size, margin), plain(random_state)
    check_count("random_state", random_state, 0)
    return MaskedTrigger(mask, np.random.default_rng(random_state).integers(0, 2, size=shape).astype(np.float32))


def watermark(shape: Shape, opacity: float = 0.3) -> MaskedTrigger:
    """
    A translucent white mark in the middle: a ring of 0.7 times the shorter side, crossed by a diagonal bar.

    :param shape: (C, H, W), of at least 8 x 8 pixels.
    :param opacity: Weight of the mark, above 0 and at most 1.
    """
    _, height, width = _checked(shape)
    if min(height, width) < 8:
        raise InvalidInputError(f"A watermark is drawn on at least 8 x 8 pixels; received {height} x {width}.")
    _check_weight("opacity", opacity)
    down = np.arange(height)[:, None] - (height - 1) / 2
    across = np.arange(width)[None] - (width - 1) / 2
    radius, outer = np.hypot(down, across), 0.35 * min(height, width)
    half_thickness = min(height, width) / 24
    to_ring = np.abs(radius - outer)
    to_bar = np.where(radius < outer, np.abs(down + across) / np.sqrt(2), np.inf)
    # Half a pixel of ramp on both sides of an edge draws it smoothly.
    covered = np.clip(half_thickness + 0.5 - np.minimum(to_ring, to_bar), 0, 1)
    return MaskedTrigger((opacity * covered[None]).astype(np.float32), np.ones(shape, dtype=np.float32))


def blended(shape: Shape, alpha: float = 0.2, random_state: int = 0) -> MaskedTrigger:
    """
    x' = (1 - alpha) x + alpha k with an image k of uniform noise (Chen et al. 2017).

    :param shape: (C, H, W).
    :param alpha: Above 0, at most 1.
    :param random_state: Seed of k.
    """
    _check_weight("alpha", alpha)
    random_state = plain(random_state)
    check_count("random_state", random_state, 0)
    key = np.random.default_rng(random_state).uniform(size=_checked(shape)).astype(np.float32)
    return MaskedTrigger(np.full((1, 1, 1), alpha, dtype=np.float32), key)


def warp(shape: Shape, strength: float = 1.0, grid_size: int = 4, random_state: int = 0) -> WarpTrigger:
    """
    WaNet's warp: displacements on a small grid, uniform on [-1, 1] and scaled to a mean size of 1, enlarged to the image by
    cubic splines.

    :param shape: (C, H, W).
    :param strength: Mean size of the grid's displacements in pixels, above 0; WaNet's s is twice that.
    :param grid_size: k of the k x k grid, whose corners are the image's; at least 2.
    :param random_state: Seed of the displacements.
    """
    _, height, width = _checked(shape)
    grid_size, strength, random_state = plain(grid_size), plain(strength), plain(random_state)
    check_count("grid_size", grid_size, 2, MOST_GRID)
    check_number("strength", strength, above=0)
    check_count("random_state", random_state, 0)
    control = np.random.default_rng(random_state).uniform(-1, 1, size=(2, grid_size, grid_size))
    control *= strength / np.abs(control).mean()
    places = np.meshgrid(*(np.linspace(0, grid_size - 1, side) for side in (height, width)), indexing="ij")
    return WarpTrigger(np.stack([map_coordinates(values, places, order=3, mode="nearest") for values in control]))


def _corner(shape: Shape, size: int, margin: int) -> np.ndarray:
    """Ones in a square near the lower right corner, (1, H, W), float32."""
    _, height, width = _checked(shape)
    size, margin = plain(size), plain(margin)
    check_count("size", size)
    check_count("margin", margin, 0)
    if size + margin > min(height, width):
        raise InvalidInputError(
            f"A square of {size} pixels, {margin} from the edge, does not fit into an image of {height} x {width}."
        )
    mask = np.zeros((1, height, width), dtype=np.float32)
    mask[0, height - margin - size : height - margin, width - margin - size : width - margin] = 1
    return mask


def _checked(shape: Shape) -> Shape:
    sides = [plain(side) for side in shape] if isinstance(shape, (tuple, list)) else []
    whole = len(sides) == 3 and all(isinstance(side, int) and not isinstance(side, bool) for side in sides)
    if not whole or min(sides) < 1 or math.prod(sides) > MOST_VALUES:
        raise InvalidInputError(
            f"shape must be (C, H, W), such as (3, 32, 32), of at most {MOST_VALUES} values; received {shown(shape)}."
        )
    return sides[0], sides[1], sides[2]


def _check_weight(name: str, value: float) -> None:
    value = plain(value)
    check_number(name, value, above=0, most=1)


def _check_finite(values: np.ndarray, what: str) -> None:
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        raise InvalidInputError(f"The {what} must be a NumPy array of real numbers; received {type(values).__name__}.")
    if values.size == 0 or not np.isfinite(values).all():
        raise InvalidInputError(f"The {what} must hold finite numbers; that of shape {values.shape} is empty or does not.")


def _check_fit(x: np.ndarray, shape: tuple[int, ...]) -> None:
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "fiub":
        raise InvalidInputError(f"The trigger is for a NumPy array of real numbers; received {type(x).__name__}.")
    if x.shape[-len(shape) :] != shape:
        raise InvalidInputError(f"The trigger is made for images of shape {shape}; received {x.shape}.")


def _as(dtype: np.dtype, values: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return (np.rint(values) if np.issubdtype(dtype, np.integer) else values).astype(dtype)
