"""
Small blocks of pictures, told by what is in them and by how sharply they end.

Two photographs never agree in a block of pixels that stands out from its surroundings, level by level. A patch that a
computer has stamped on them does.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Of blocks, in pixels. 3 is the side of the smallest square triggers in use (Gu et al. 2019); a patterned patch is found by
# any block of its inside, a flat one only by the block of its own size, up to an eighth of the longest side.
SIDES = range(3, 9)
# Longest side, in pixels. Larger pictures are averaged to it, so that the cost of a picture is bounded, and because
# triggers of larger pictures are larger as well.
MOST_SIDE = 64
LEVELS = 255  # steps from the darkest to the brightest value: those that files of pictures have
DIFFERS = 0.1  # of the range: what a trigger that is to be seen differs by, and smooth surfaces do not
MOST_OF_CORNERS = 1 / 3 + 1e-6  # of the pairs of pixels in a block of side 3 that a corner sets apart
HALF = 0.5 - 1e-6
LEAST_GROUND = 0.25  # of all pixels
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # multipliers of splitmix64


class Blocks(NamedTuple):
    """
    All blocks of one side in pictures, each (n, R, Q): ``contents``, uint64, equal where all levels are equal;
    ``stands_out``, bool, see :func:`blocks_of`; ``contrast``, float32, 0 to 1: mean absolute difference between the pixels
    of the block and those next to it, on the side of the block where that is least.
    """

    contents: np.ndarray
    stands_out: np.ndarray
    contrast: np.ndarray


def bounded(pictures: np.ndarray) -> np.ndarray:
    """
    Average pictures, (n, C, H, W), over squares of k x k pixels, so that no side is longer than 64.

    What is left over at the lower and right edges is left out. Pictures that are small enough are given as they are.
    """
    n, channels, height, width = pictures.shape
    k = -(-max(height, width) // MOST_SIDE)
    if k == 1:
        return pictures
    rows, columns = max(1, height // k), max(1, width // k)
    inside = pictures[:, :, : rows * k, : columns * k]
    squares = inside.reshape(n, channels, rows, inside.shape[2] // rows, columns, inside.shape[3] // columns)
    averaged: np.ndarray = squares.mean(axis=(3, 5), dtype=np.float64)
    return averaged


def as_levels(pictures: np.ndarray, lowest: float, highest: float) -> np.ndarray:
    """Round pictures to 256 levels from the lowest value to the highest; uint8, as shaped. Equal values are all 0."""
    step = max(highest - lowest, 1e-300) / LEVELS
    levels: np.ndarray = np.rint((pictures.astype(np.float64) - lowest) / step)
    return levels.clip(0, LEVELS).astype(np.uint8)


def blocks_of(levels: np.ndarray, side: int) -> Blocks:
    """
    Tell all square blocks of pictures.

    Two pixels side by side differ if they do by a tenth of the range, as a mean over the colours. A block stands out if it
    ends on all sides: on each, half of its pixels differ from those next to them. Sides at the edge of the picture do not
    count. A block of side 3 also stands out if it is patterned, so that more than a third of the pairs inside it differ,
    both along and across: a straight edge differs in one direction only, and a corner has no more.

    :param levels: (n, C, H, W), uint8; the smaller of H and W is larger than ``side``.
    :param side: Height and width of the blocks.
    """
    random = np.random.default_rng(side)
    multipliers = random.integers(1, 2**63, size=(levels.shape[1] + 1, side), dtype=np.uint64) | np.uint64(1)
    in_rows = np.zeros((len(levels), levels.shape[2], levels.shape[3] - side + 1), dtype=np.uint64)
    for channel in range(levels.shape[1]):
        of_channel = levels[:, channel].astype(np.uint64) + np.uint64(1)  # zeros would be equal for all sides
        for column in range(side):
            in_rows += of_channel[:, :, column : column + in_rows.shape[2]] * multipliers[channel, column]
    in_rows = mixed(in_rows)
    contents = np.zeros((len(levels), levels.shape[2] - side + 1, in_rows.shape[2]), dtype=np.uint64)
    for row in range(side):
        contents += in_rows[:, row : row + contents.shape[1]] * multipliers[-1, row]
    values = levels.astype(np.int16)
    down = np.abs(np.diff(values, axis=2)).mean(axis=1, dtype=np.float32) / LEVELS
    across = np.abs(np.diff(values, axis=3)).mean(axis=1, dtype=np.float32) / LEVELS
    differs_down, differs_across = (np.float32(1) * (one >= DIFFERS) for one in (down, across))
    stands_out = _least_of_sides(differs_down, differs_across, side) >= HALF
    if side == SIDES[0]:
        stands_out |= _least_inside(differs_down, differs_across, side) > MOST_OF_CORNERS
    return Blocks(mixed(contents), stands_out, _least_of_sides(down, across, side))


def ground_of(levels: np.ndarray) -> np.ndarray:
    """
    Give the colour of the ground that pictures have in common: the one that fills more than a quarter of all pixels.

    :param levels: (n, C, H, W), uint8.
    :return: A picture of that colour, (1, C, 9, 9), uint8, larger than any block; no picture, if there is no such colour.
    """
    colours = levels.transpose(0, 2, 3, 1).reshape(-1, levels.shape[1])
    found, counts = np.unique(colours, axis=0, return_counts=True)
    is_ground = counts > LEAST_GROUND * len(colours)
    ground = found[[counts.argmax()]] if is_ground.any() else found[:0]
    size = SIDES[-1] + 1
    return np.broadcast_to(ground[:, :, None, None], (*ground.shape, size, size))


def mixed(keys: np.ndarray) -> np.ndarray:
    """Scatter keys, uint64, over all numbers of 64 bits, each to one of its own (splitmix64, Steele et al. 2014)."""
    keys = (keys ^ (keys >> np.uint64(30))) * FIRST
    keys = (keys ^ (keys >> np.uint64(27))) * SECOND
    scattered: np.ndarray = keys ^ (keys >> np.uint64(31))
    return scattered


def _least_of_sides(down: np.ndarray, across: np.ndarray, side: int) -> np.ndarray:
    """
    Mean over the pairs of pixels across each side of a block, on the side where it is least, (n, R, Q).

    :param down: Likeness of each pixel and the one below, (n, H - 1, W), at most 1.
    :param across: Likeness of each pixel and the one to the right, (n, H, W - 1), at most 1.
    """
    down, across = _running_mean(down, side, axis=2), _running_mean(across, side, axis=1)
    n, rows, columns = len(down), across.shape[1], down.shape[2]
    least = np.ones((n, rows, columns), dtype=np.float32)
    least[:, 1:] = down[:, : rows - 1]
    least[:, :-1] = np.minimum(least[:, :-1], down[:, side - 1 : side + rows - 2])
    least[:, :, 1:] = np.minimum(least[:, :, 1:], across[:, :, : columns - 1])
    least[:, :, :-1] = np.minimum(least[:, :, :-1], across[:, :, side - 1 : side + columns - 2])
    return least


def _least_inside(down: np.ndarray, across: np.ndarray, side: int) -> np.ndarray:
    """
    Mean over the pairs of pixels inside a block, one below the other or side by side, whichever is less, (n, R, Q).

    The parameters are those of :func:`_least_of_sides`.
    """
    of_down = _running_mean(_running_mean(down, side - 1, axis=1), side, axis=2)
    of_across = _running_mean(_running_mean(across, side, axis=1), side - 1, axis=2)
    least: np.ndarray = np.minimum(of_down, of_across)
    return least


def _running_mean(values: np.ndarray, size: int, axis: int) -> np.ndarray:
    sums = np.cumsum(np.moveaxis(values, axis, 0), axis=0, dtype=np.float32)
    sums[size:] -= sums[:-size].copy()
    mean: np.ndarray = np.moveaxis(sums[size - 1 :] / np.float32(size), 0, axis)
    return mean
