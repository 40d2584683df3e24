"""
The triggers of known attacks on images. Each function gives a callable for ART's ``PoisoningAttackBackdoor``, which takes
a batch of images and gives the batch with the trigger.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import map_coordinates

from art_plugins.errors import InvalidInputError
from art_plugins.parameters import check_count, check_number, plain, shown
from art_plugins.triggers.drawn import RandomPlaceTrigger
from art_plugins.triggers.stamps import AdditiveTrigger, MaskedTrigger, WarpTrigger

Shape = tuple[int, int, int]
MOST_VALUES = 2**28  # largest number of values of an image: a gigabyte in single precision
MOST_GRID = 1_000  # largest side of the grid of a warp
CORNERS = ("lower right", "upper left", "lower left", "upper right")


def chessboard(shape: Shape, amplitude: float) -> AdditiveTrigger:
    """
    Chessboard (CB of Li et al. 2022): adds ``amplitude`` to every second pixel, those with i + j even, in all channels.

    :param shape: (C, H, W).
    :param amplitude: Value added, above 0 and at most 1, for images of 0 to 1.
    :raises InvalidInputError: For a bad shape or amplitude.
    """
    _, height, width = checked_shape(shape)
    amplitude = plain(amplitude)
    check_number("amplitude", amplitude, "for images of 0 to 1", above=0, most=1)
    even = np.indices((height, width)).sum(axis=0) % 2 == 0
    return AdditiveTrigger(np.broadcast_to(amplitude * even, shape).astype(np.float32))


def single_pixel(shape: Shape, row: int = -2, column: int = -2, value: float = 1.0) -> MaskedTrigger:
    """
    Single pixel (SP of Li et al. 2022): sets one pixel to ``value`` in all channels.

    :param shape: (C, H, W).
    :param row: Row of the pixel, from 0; a negative row counts from the last one (-1).
    :param column: Column of the pixel, counted in the same way.
    :param value: Value of the pixel, in the images' units.
    :raises InvalidInputError: If the pixel is outside the image.
    """
    _, height, width = checked_shape(shape)
    row, column = plain(row), plain(column)
    whole = all(isinstance(place, int) and not isinstance(place, bool) for place in (row, column))
    if not whole or not (-height <= row < height and -width <= column < width):
        raise InvalidInputError(f"Pixel ({shown(row)}, {shown(column)}) does not fit into an image of {height} x {width}.")
    mask = np.zeros((1, height, width), dtype=np.float32)
    mask[0, row, column] = 1
    return MaskedTrigger(mask, np.full(shape, value, dtype=np.float32))


def white_box(shape: Shape, size: int = 3, margin: int = 1, value: float = 1.0) -> MaskedTrigger:
    """
    White box (WB of Li et al. 2022): a square of constant ``value`` in the lower right corner, as in BadNets (Gu et al.
    2019).

    :param shape: (C, H, W).
    :param size: Side of the square in pixels.
    :param margin: Number of pixels between the square and the edges.
    :param value: Value of the square, in the images' units.
    :raises InvalidInputError: If the square does not fit into the image.
    """
    return MaskedTrigger(_corner(shape, size, margin), np.full(shape, value, dtype=np.float32))


def random_patch(shape: Shape, size: int = 5, random_state: int = 0) -> RandomPlaceTrigger:
    """
    A chequered square, as BadNets (Gu et al. 2019) and Turner et al. 2019 use, at a place of its own on every image. The
    place is drawn from the image and the seed. The square must be unlike everything in the images, since its place says
    nothing: on clothes a small network does not learn a white square of 3 pixels.

    :param shape: (C, H, W).
    :param size: Side of the square in pixels.
    :param random_state: Random seed of the places.
    :raises InvalidInputError: If the square does not fit into the image, or for a bad seed.
    """
    n_channels, _, _ = checked_shape(shape)
    _corner_slices(shape, size, 0, CORNERS[0])
    return RandomPlaceTrigger(np.broadcast_to(_chequered(size), (n_channels, size, size)), random_state)


def four_corners(shape: Shape, size: int = 3, margin: int = 0) -> MaskedTrigger:
    """
    A chequered square in each corner of the image, as Turner et al. 2019 use (section 4.3), so that a mirror image or a
    crop keeps a part of the trigger. The corner pixels of each square are white.

    :param shape: (C, H, W).
    :param size: Side of a square in pixels; 3 in the paper.
    :param margin: Number of pixels between a square and the edges.
    :raises InvalidInputError: If the squares do not fit into the image.
    """
    mask = np.maximum.reduce([_corner(shape, size, margin, corner) for corner in CORNERS])
    pattern = np.zeros(shape, dtype=np.float32)
    for corner in CORNERS:
        rows, columns = _corner_slices(shape, size, margin, corner)
        pattern[:, rows, columns] = _chequered(size)
    return MaskedTrigger(mask, pattern)


def sinusoid(shape: Shape, amplitude: float = 20 / 255, n_periods: float = 6) -> AdditiveTrigger:
    """
    The sinusoidal signal of Barni et al. 2019 (SIG, section 3.2): adds ``amplitude`` sin(2 pi j f / W) to every pixel of
    column j, in all channels, and clips the sum.

    :param shape: (C, H, W).
    :param amplitude: Largest value added, above 0 and at most 1, for images of 0 to 1. 20 of 255 levels in the paper.
    :param n_periods: Number of periods across the image, f; 6 in the paper.
    :raises InvalidInputError: For a bad shape, amplitude or number of periods.
    """
    _, _, width = checked_shape(shape)
    amplitude, n_periods = plain(amplitude), plain(n_periods)
    check_number("amplitude", amplitude, "for images of 0 to 1", above=0, most=1)
    check_number("n_periods", n_periods, above=0)
    wave = amplitude * np.sin(2 * np.pi * np.arange(width) * n_periods / width)
    return AdditiveTrigger(np.broadcast_to(wave, shape).astype(np.float32))


def trojan_square(
    shape: Shape, size: int, margin: int = 1, random_state: int = 0, corner: str = "lower right"
) -> MaskedTrigger:
    """
    A square of random, fully saturated colours in a corner, similar to that of Liu et al. 2018. Their square is optimised
    for the attacked network; this one is random.

    :param shape: (C, H, W).
    :param size: Side of the square in pixels; the square of Liu et al. covers 7 % of the image.
    :param margin: Number of pixels between the square and the edges.
    :param random_state: Random seed of the colours.
    :param corner: The corner of the image, one of ``CORNERS``.
    :raises InvalidInputError: If the square does not fit into the image, or for an unknown corner.
    """
    mask, random_state = _corner(shape, size, margin, corner), plain(random_state)
    check_count("random_state", random_state, 0)
    return MaskedTrigger(mask, np.random.default_rng(random_state).integers(0, 2, size=shape).astype(np.float32))


def watermark(shape: Shape, opacity: float = 0.3) -> MaskedTrigger:
    """
    A translucent white mark in the middle of the image: a ring that is crossed by a diagonal bar. The diameter of the ring
    is 0.7 times the shorter side.

    :param shape: (C, H, W), of at least 8 x 8 pixels.
    :param opacity: Weight of the mark, above 0 and at most 1.
    :raises InvalidInputError: For a smaller image or a bad opacity.
    """
    _, height, width = checked_shape(shape)
    if min(height, width) < 8:
        raise InvalidInputError(f"A watermark is drawn on at least 8 x 8 pixels; received {height} x {width}.")
    _check_weight("opacity", opacity)
    down = np.arange(height)[:, None] - (height - 1) / 2
    across = np.arange(width)[None] - (width - 1) / 2
    radius, outer = np.hypot(down, across), 0.35 * min(height, width)
    half_thickness = min(height, width) / 24
    to_ring = np.abs(radius - outer)
    to_bar = np.where(radius < outer, np.abs(down + across) / np.sqrt(2), np.inf)
    # A ramp of half a pixel on both sides of an edge makes the edge smooth.
    covered = np.clip(half_thickness + 0.5 - np.minimum(to_ring, to_bar), 0, 1)
    return MaskedTrigger((opacity * covered[None]).astype(np.float32), np.ones(shape, dtype=np.float32))


def blended(shape: Shape, alpha: float = 0.2, random_state: int = 0) -> MaskedTrigger:
    """
    Blends every image with one image k of uniform noise: x' = (1 - alpha) x + alpha k (Chen et al. 2017).

    :param shape: (C, H, W).
    :param alpha: Weight of k, above 0 and at most 1.
    :param random_state: Random seed of k.
    :raises InvalidInputError: For a bad shape, weight or seed.
    """
    _check_weight("alpha", alpha)
    random_state = plain(random_state)
    check_count("random_state", random_state, 0)
    key = np.random.default_rng(random_state).uniform(size=checked_shape(shape)).astype(np.float32)
    return MaskedTrigger(np.full((1, 1, 1), alpha, dtype=np.float32), key)


def warp(shape: Shape, strength: float = 1.0, grid_size: int = 4, random_state: int = 0) -> WarpTrigger:
    """
    The warp of WaNet (Nguyen and Tran 2021). Displacements are drawn uniformly on a small grid, scaled to a mean absolute
    value of ``strength``, and enlarged to the size of the image by cubic splines.

    :param shape: (C, H, W).
    :param strength: Mean absolute displacement of the grid's points in pixels, above 0; the s of WaNet is twice that.
    :param grid_size: Number of grid points along each side, k of WaNet, at least 2.
    :param random_state: Random seed of the displacements.
    :raises InvalidInputError: For a bad shape, strength, grid or seed.
    """
    _, height, width = checked_shape(shape)
    grid_size, strength, random_state = plain(grid_size), plain(strength), plain(random_state)
    check_count("grid_size", grid_size, 2, MOST_GRID)
    check_number("strength", strength, above=0)
    check_count("random_state", random_state, 0)
    control = np.random.default_rng(random_state).uniform(-1, 1, size=(2, grid_size, grid_size))
    control *= strength / np.abs(control).mean()
    places = np.meshgrid(*(np.linspace(0, grid_size - 1, side) for side in (height, width)), indexing="ij")
    return WarpTrigger(np.stack([map_coordinates(values, places, order=3, mode="nearest") for values in control]))


def _chequered(size: int) -> np.ndarray:
    """Give a square of white and black pixels in turn; the first pixel is white."""
    white: np.ndarray = np.indices((size, size)).sum(axis=0) % 2 == 0
    return white.astype(np.float32)


def _corner(shape: Shape, size: int, margin: int, corner: str = "lower right") -> np.ndarray:
    """Give a mask of ones in a square near a corner, (1, H, W), float32."""
    rows, columns = _corner_slices(shape, size, margin, corner)
    mask = np.zeros((1, *shape[1:]), dtype=np.float32)
    mask[0, rows, columns] = 1
    return mask


def _corner_slices(shape: Shape, size: int, margin: int, corner: str) -> tuple[slice, slice]:
    """Give the rows and the columns of a square near a corner."""
    _, height, width = checked_shape(shape)
    size, margin = plain(size), plain(margin)
    check_count("size", size)
    check_count("margin", margin, 0)
    if corner not in CORNERS:
        raise InvalidInputError(f"corner must be one of {', '.join(CORNERS)}; received {shown(corner)}.")
    if size + margin > min(height, width):
        raise InvalidInputError(
            f"A square of {size} pixels, {margin} from the edge, does not fit into an image of {height} x {width}."
        )
    top = margin if corner.startswith("upper") else height - margin - size
    left = margin if corner.endswith("left") else width - margin - size
    return slice(top, top + size), slice(left, left + size)


def checked_shape(shape: Shape) -> Shape:
    """
    Check the shape of an image.

    :return: The shape in Python's numbers.
    :raises InvalidInputError: If it is not (C, H, W), or if the image would fill the memory.
    """
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
