"""Growing: from the windows of a few clips to all clips of the class that have a window like them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from art_plugins.groups.sounds.window_crowding import BLOCK

N_SEEDS = 10  # clips from which it starts
N_ROUNDS = 2  # times that seeds are taken anew from the clips that were found
MOST_SEEDS = 60


class Nearest(NamedTuple):
    """``squared`` (m,): squared distance of each clip to the nearest seed; ``window`` (m,): its window that is nearest."""

    squared: np.ndarray
    window: np.ndarray


def nearest_seed(windows: np.ndarray, seeds: np.ndarray, of_clip: np.ndarray | None = None) -> Nearest:
    """
    Give how near each clip comes to a seed of another clip, by its nearest window.

    :param windows: Windows of the clips, shape (m, W, d).
    :param seeds: Windows of the seeds, shape (s, d).
    :param of_clip: For each seed the clip (a row of ``windows``) that it is from; shape (s,).
        ``None``: the seeds are from none of these clips.
    """
    squares = (seeds**2).sum(axis=1)
    squared, window = np.empty(len(windows)), np.empty(len(windows), dtype=int)
    rows = max(1, BLOCK // (windows.shape[1] * len(seeds)))
    for start in range(0, len(windows), rows):
        block = windows[start : start + rows]
        distances = (block**2).sum(axis=2)[:, :, None] - 2 * block @ seeds.T + squares
        if of_clip is not None:
            own = np.arange(start, start + len(block))[:, None] == of_clip
            distances = np.where(own[:, None, :], np.inf, distances)
        nearest = distances.min(axis=2)
        window[start : start + rows] = nearest.argmin(axis=1)
        squared[start : start + rows] = nearest.min(axis=1)
    return Nearest(squared.clip(min=0), window)


def grow(windows: np.ndarray, crowding: np.ndarray, others: np.ndarray, limit: float) -> np.ndarray:
    """
    Find all clips of a class that have the window in which some of its clips are crowded.

    The most crowded windows of ten clips are the first seeds. Every clip is scored by its window that is nearest to a seed
    of another clip. The best windows of the clips that come nearer than the clips of other classes do are the next seeds.

    When this breaks: the sound is masked by louder speech; the class has a sound of its own, to which it grows.

    :param windows: Windows of all clips of the class, shape (m, W, d).
    :param crowding: Crowding of those windows, shape (m, W); -infinity where it was not looked at.
    :param others: Windows of clips of the other classes, shape (m', W, d).
    :param limit: Share of the clips of the other classes that may come as near, between 0 and 1.
    :return: Shape (m,): the distance at that limit over the clip's distance; above 1 the clip is nearer.
    """
    chosen = np.argsort(-crowding.max(axis=1), kind="stable")[:N_SEEDS]
    seeds = windows[chosen, crowding[chosen].argmax(axis=1)]
    for last in [*[False] * N_ROUNDS, True]:
        found = nearest_seed(windows, seeds, chosen)
        bound = np.quantile(nearest_seed(others, seeds).squared, limit)
        ratios: np.ndarray = np.sqrt((bound + 1e-12) / (found.squared + 1e-12))
        if not last:
            n_seeds = int(np.clip((ratios > 1).sum(), N_SEEDS, MOST_SEEDS))
            chosen = np.argsort(-ratios, kind="stable")[:n_seeds]
            seeds = windows[chosen, found.window[chosen]]
    return ratios
