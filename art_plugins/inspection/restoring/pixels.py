"""The patch that the members of a group share, taken off: its pixels are filled from those around them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.linalg import splu

from art_plugins.inspection.deciding.shared_media import NEAR

MOST = 0.5  # share of the members, beyond that of clean pictures, that agree in a pixel of the patch
# Share of the picture that is filled at most. A quarter can hide a whole object, of which the pixels around say nothing.
MOST_FILLED = 0.25


def shared_pixels(
    members: np.ndarray, others: Sequence[np.ndarray], draws: Sequence[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """
    Tell the pixels in which the members of a group have one value that clean pictures do not have there.

    The excess of a pixel is the share of the members that are near their median there, less the share of clean pictures
    that are near it. It has to be above one half, and above the largest excess of any pixel in groups of clean pictures:
    with 19 of them, clean pictures pass for a group with a patch with a probability of 1/20.

    :param members: Values 0 to 255, (m, H, W) or (m, H, W, 3).
    :param others: Sets of clean pictures, (m', H, W, ...) each. The excess is that over the set that agrees most.
    :param draws: Pairs of disjoint sets of clean pictures, (2, m, H, W, ...) each, as large as the group and of the classes
        that the members seem to have: a group, and what it is compared with.
    :return: (H, W), bool.
    """
    by_chance = [float(excess(group, [reference]).max()) for group, reference in draws]
    found: np.ndarray = excess(members, others) > max([MOST, *by_chance])
    return found


def excess(members: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """Share of the members near their median, less that of the others, -1 to 1, (H, W); see :func:`shared_pixels`."""
    median = np.median(members, axis=0)
    own = _is_near(members, median).mean(axis=0)
    most: np.ndarray = np.max([_is_near(pictures, median).mean(axis=0) for pictures in others], axis=0)
    beyond: np.ndarray = own - most
    return beyond


def holds_patch(members: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Tell which members have the value of the group in most pixels of the patch, (m,), bool."""
    median = np.median(members, axis=0)
    held: np.ndarray = _is_near(members, median)[:, pixels].mean(axis=1) > MOST
    return held


def filled(pictures: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """
    Fill pixels so that each is the mean of its neighbours above, below, left and right: the discrete Laplace equation, with
    the pixels around as they are. Beyond the edge of the picture there are no neighbours.

    :param pictures: Values 0 to 255, (m, H, W) or (m, H, W, 3), uint8.
    :param pixels: Which are filled, (H, W), bool, not all.
    :return: The pictures with these pixels filled, as shaped, uint8.
    """
    height, width = pixels.shape
    places = np.argwhere(pixels)
    if not len(places):
        return pictures.copy()
    number = np.full(pixels.shape, -1)
    number[pixels] = np.arange(len(places))
    rows, columns, values = [], [], []
    known = np.zeros((len(places), *pictures.shape[:1], *pictures.shape[3:]))
    for step in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        there = places + step
        inside = ((there >= 0) & (there < (height, width))).all(axis=1)
        here, there = np.flatnonzero(inside), there[inside]
        neighbour = number[there[:, 0], there[:, 1]]
        is_open = neighbour >= 0
        rows += [here, here[is_open]]
        columns += [here, neighbour[is_open]]
        values += [np.ones(len(here)), -np.ones(int(is_open.sum()))]
        known[here[~is_open]] += np.moveaxis(pictures[:, there[~is_open, 0], there[~is_open, 1]], 1, 0)
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    matrix = csr_array(entries, shape=(len(places), len(places))).tocsc()
    solved = splu(matrix).solve(known.reshape(len(places), -1)).reshape(known.shape)
    result = pictures.copy()
    result[:, pixels] = np.moveaxis(np.rint(solved).clip(0, 255).astype(np.uint8), 0, 1)
    return result


def _is_near(pictures: np.ndarray, median: np.ndarray) -> np.ndarray:
    near = np.abs(pictures.astype(np.float64) - median) <= NEAR
    agree: np.ndarray = near.all(axis=3) if near.ndim == 4 else near
    return agree
