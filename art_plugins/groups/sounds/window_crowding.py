"""
Crowding of windows without a place: a sound that clips of one class share, wherever in the clip it is.

A window of a clip is crowded if many other clips of its class have a window like it, and clips of the other classes do not.
"""

from __future__ import annotations

import numpy as np

BLOCK = 250_000  # distances that are held at once: twice a megabyte, which a core's second cache holds
# Added to squared distances for each dimension, in variances: without it, digital silence has an infinite density.
SOFTENING = 0.02


def clip_distances(windows: np.ndarray, clips: np.ndarray, rank: int, own: np.ndarray | None = None) -> np.ndarray:
    """
    Give the squared distance of each window to the clip of a rank, where a clip is as near as its nearest window.

    :param windows: Shape (m, d).
    :param clips: Windows of the clips that are compared with, shape (R, W, d).
    :param rank: Rank of the clip, 1 for the nearest.
    :param own: For each window the row of its own clip in ``clips``, which does not count; -1 if it is not among them;
        shape (m,). ``None``: no window is from one of these clips.
    :return: Shape (m,); infinite where there are fewer than ``rank`` other clips.
    """
    n_clips, n_windows, n_dims = clips.shape
    # A column of ones beside -2 x, and one of squares beside y: one product gives |y|^2 - 2 xy.
    reference = np.empty((n_windows, n_dims + 1, n_clips), dtype=clips.dtype)
    reference[:, :n_dims] = clips.transpose(1, 2, 0)
    reference[:, n_dims] = (clips**2).sum(axis=2).T
    found = np.full(len(windows), np.inf)
    rows = max(1, BLOCK // n_clips)
    for start in range(0, len(windows) if rank <= n_clips else 0, rows):
        block = windows[start : start + rows]
        doubled = np.concatenate([-2 * block, np.ones((len(block), 1), dtype=block.dtype)], axis=1)
        nearest = doubled @ reference[0]
        one = np.empty_like(nearest)
        for of_place in reference[1:]:
            np.minimum(nearest, np.matmul(doubled, of_place, out=one), out=nearest)
        if own is not None:
            row, column = np.arange(len(block)), own[start : start + rows]
            nearest[row[column >= 0], column[column >= 0]] = np.inf
        nearest.partition(rank - 1, axis=1)
        found[start : start + rows] = nearest[:, rank - 1] + (block**2).sum(axis=1)
    return found.clip(min=0)


def window_crowding(
    queries: np.ndarray, own: np.ndarray, place_in_own: np.ndarray, others: np.ndarray, n_neighbours: int
) -> np.ndarray:
    """
    Compare how near like windows of the own class are with how near those of the other classes are.

    The crowding of a window is half the logarithm of a ratio of softened squared distances: to a clip of the other classes,
    and to the k-th nearest other clip of its own class. For R own clips and R' others, the clip of the other classes is the
    one of rank k R' / R, so that equal densities give 0. The clips that are compared with may be a sample of the class, so
    the cost grows with the number of queries alone.

    When this breaks: fewer than k + 1 clips of ``own`` have the sound; a sound that only one word has looks the same; a
    sound that is masked by louder speech in most clips.

    :param queries: Windows of clips of the class, shape (m, W, d).
    :param own: Windows of the clips of the class that they are compared with, shape (R, W, d).
    :param place_in_own: Row of each query clip in ``own``, or -1 if it is not there; shape (m,).
    :param others: Windows of clips of the other classes, shape (R', W, d).
    :param n_neighbours: Number of other clips that make a crowd, k, at least 1.
    :return: Crowding in nats, shape (m, W); -infinity where there are fewer than k others to compare with.
    """
    n_dims = queries.shape[2]
    windows = queries.reshape(-1, n_dims)
    here = clip_distances(windows, own, n_neighbours, np.repeat(place_in_own, queries.shape[1]))
    rank = int(np.clip(round(n_neighbours * len(others) / len(own)), 1, len(others)))
    there = clip_distances(windows, others, rank)
    softening = SOFTENING * n_dims
    crowding: np.ndarray = 0.5 * (np.log(there + softening) - np.log(here + softening))
    return crowding.reshape(queries.shape[:2])
