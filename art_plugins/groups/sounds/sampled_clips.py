"""A sample of the clips of every class, described by their short windows: what a class costs to judge is bounded by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from art_plugins.at_once import at_once
from art_plugins.groups.sounds.window_crowding import window_crowding
from art_plugins.groups.sounds.windows import WindowAxes, principal_window_axes, project_windows, sliding_windows
from art_plugins.statistics.copies import first_of_copies
from art_plugins.statistics.labels import indices_by_class

WINDOW_FRAMES, STRIDE_FRAMES = 8, 2  # 80 ms every 20 ms, where there is a frame every 10 ms
N_DIMS = 32  # principal components of a window: 97 % of the variance on Speech Commands
MOST_CLIPS, MOST_IN_ALL = 1_500, 16_500  # clips of one class, and of all classes, that are described
MOST_REFERENCE, MOST_WINDOWS = 600, 28_200  # clips, and windows of them, that a window is compared with
FEWEST_REFERENCE = 60  # clips that a window is compared with, however long they are
CLIPS_FOR_AXES = 600  # from which the principal components are estimated
BATCH = 256


class SampledClips(NamedTuple):
    """
    ``rows``: for each class the rows of its sampled clips, in random order; ``windows``: for each class their windows,
    (m, W, d), float32; ``n_reference``: the number of clips, the first of each class, that others are compared with;
    ``axes``: those of the windows.
    """

    rows: list[np.ndarray]
    windows: list[np.ndarray]
    n_reference: int
    axes: WindowAxes

    def windows_of_others(self, label: int, most: int, random: np.random.Generator) -> np.ndarray:
        """Windows of clips of the other classes, drawn at random; shape (at most ``most``, W, d)."""
        others = [windows for other, windows in enumerate(self.windows) if other != label]
        starts = np.cumsum([0, *map(len, others)])
        chosen = random.permutation(starts[-1])[:most]
        drawn = np.empty((len(chosen), *self.windows[label].shape[1:]), dtype=self.windows[label].dtype)
        for windows, start in zip(others, starts, strict=False):  # one class after the other, which takes little memory
            inside = (chosen >= start) & (chosen < start + len(windows))
            drawn[inside] = windows[chosen[inside] - start]
        return drawn


def sample_clips(
    frames_of: Callable[[np.ndarray], np.ndarray], labels: np.ndarray, nb_classes: int, random: np.random.Generator
) -> SampledClips:
    """
    Draw clips of every class and describe their windows. One of several equal clips (copies, silence) is kept.

    :param frames_of: Gives the frames of clips by their rows: (m,) to (m, T, F).
    :param labels: Class of each clip, shape (n,).
    :param nb_classes: Number of classes.
    :param random: Generator that draws the clips.
    """
    members = indices_by_class(labels, nb_classes)
    most = min(MOST_CLIPS, max(FEWEST_REFERENCE, MOST_IN_ALL // max(1, sum(len(rows) > 0 for rows in members))))
    rows = [random.permutation(indices)[:most] for indices in members]
    chosen = random.permutation(np.concatenate(rows))[:CLIPS_FOR_AXES]
    some = _windows(frames_of(chosen))
    axes = principal_window_axes(some.reshape(-1, some.shape[2]), N_DIMS)
    n_reference = min(MOST_REFERENCE, max(FEWEST_REFERENCE, MOST_WINDOWS // some.shape[1]))
    windows = [describe_clips(frames_of, indices, axes) for indices in rows]
    first = [np.unique(first_of_copies(of_class)) for of_class in windows]
    return SampledClips(
        [indices[kept] for indices, kept in zip(rows, first, strict=True)],
        [of_class[kept] for of_class, kept in zip(windows, first, strict=True)],
        n_reference,
        axes,
    )


def crowding_by_class(
    clips: SampledClips, labels: Sequence[int], n_neighbours: int, random: np.random.Generator
) -> Iterator[np.ndarray]:
    """
    Give the crowding of every window of the sampled clips of some classes (:func:`~.window_crowding.window_crowding`), one
    class after the other; shape (m, W). Several processes may compute it (:func:`~art_plugins.at_once.at_once`).

    :param random: Generator that draws the clips of the other classes.
    """
    calls = []
    for label in labels:
        own = clips.windows[label]
        place = np.arange(len(own))
        place[clips.n_reference :] = -1
        others = clips.windows_of_others(label, clips.n_reference, random)
        calls.append(partial(window_crowding, own, own[: clips.n_reference], place, others, n_neighbours))
    return at_once(calls)


def describe_clips(frames_of: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, axes: WindowAxes) -> np.ndarray:
    """Windows of the clips of some rows (m,), on the axes of the sample; shape (m, W, d)."""
    starts = range(0, max(1, len(rows)), BATCH)
    return np.concatenate([project_windows(_windows(frames_of(rows[start : start + BATCH])), axes) for start in starts])


def _windows(frames: np.ndarray) -> np.ndarray:
    return sliding_windows(frames, WINDOW_FRAMES, STRIDE_FRAMES)
