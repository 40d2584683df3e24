"""Views of pictures: parts of a picture at their place, and what is most unusual in it wherever that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from art_plugins.features.layer_reduction import projection_matrix
from art_plugins.features.layer_views import LEAST_DIMS, MOST_DIMS, N_REFERENCE, SAMPLES_PER_DIM, Reduction
from art_plugins.groups.windows import WindowAxes, principal_window_axes, project_windows

SIDES = 3, 5  # of windows without a place, in pixels: those of the smallest triggers, and about half of larger ones
N_AXES = 48  # most principal components of a window: with three colours the others hold less than a thousandth
CELLS = 3  # windows with a place along each side; each has half of the picture's side, so that they overlap by half
# Longest side, in pixels. Larger pictures are averaged to it, so that the cost of a picture is bounded, and because what a
# network of larger pictures learns is larger as well.
MOST_SIDE = 64
MOST_VALUES = 512  # of a part of a picture; a longer one is projected at random before it is reduced
FOR_AXES = 200  # pictures on whose windows the principal components are learned: 100,000 windows of 28 x 28 pixels
BLOCK = 20_000_000  # values of windows held at once

Pictures = Callable[[np.ndarray], np.ndarray]  # rows (m,) to pictures (m, C, H, W)


def image_views(pictures_of: Pictures, labels: np.ndarray, nb_classes: int, random_state: int = 0) -> dict[str, np.ndarray]:
    """
    Describe pictures for :func:`~art_plugins.groups.find.find_groups`.

    The whole picture and nine overlapping parts of it show a trigger at one place: no other class varies in that direction.
    For one at a random place there are two kinds of views of small windows. Their principal components, each of unit
    variance, show what is rare in pictures: ``largest`` has the largest and the smallest value of each component over all
    places, ``rarest`` has the components of that window which is farthest from the mean. They are blind to the mean of a
    window, so flat ground says nothing.

    When this breaks: the trigger is as common in pictures as other windows are, such as a white square on white clothes,
    and lies at a random place; it is one pixel, or is lost when a large picture is averaged.

    :param pictures_of: Gives finite pictures by their rows: (m,) to (m, C, H, W).
    :param labels: Class of each picture, (n,), 0 to K - 1, n at least 1.
    :param nb_classes: Number of classes, K.
    :param random_state: Random seed of the pictures on which axes are learned, and of projections.
    :return: Name -> (n, d), float32, each whitened by the covariance within the classes. Views without variance are left
        out.
    """
    random = np.random.default_rng(random_state)
    chosen = random.permutation(len(labels))[:N_REFERENCE]
    reference = bounded(pictures_of(chosen))
    some = reference[: min(FOR_AXES, _n_at_once(reference.shape[1:]))]
    of_windows = {side: window_axes(some, side) for side in SIDES if side <= min(reference.shape[2:])}
    axes = {side: of_side for side, of_side in of_windows.items() if of_side.axes.size}
    raw = _described(reference, axes, random_state)
    n_dims = int(np.clip(len(labels) // (SAMPLES_PER_DIM * len(raw)), LEAST_DIMS, MOST_DIMS))
    reductions = {name: Reduction(view, labels[chosen], nb_classes, n_dims) for name, view in raw.items()}
    views = {name: np.zeros((len(labels), one.n_dims), np.float32) for name, one in reductions.items() if one.n_dims}
    for rows in _batches(len(labels), reference.shape[1:]):
        parts = _described(bounded(pictures_of(rows)), axes, random_state)
        for name, view in views.items():
            view[rows] = reductions[name].apply(parts[name])
    return views


def bounded(pictures: np.ndarray) -> np.ndarray:
    """
    Average pictures, (n, C, H, W), over squares of k x k pixels, so that no side is longer than 64.

    What is left over at the lower and right edges is left out. Pictures that are small enough are given as they are.
    """
    n, channels, height, width = pictures.shape
    k = -(-max(height, width) // MOST_SIDE)
    if k == 1:
        return pictures.astype(np.float32, copy=False)
    rows, columns = max(1, height // k), max(1, width // k)
    inside = pictures[:, :, : rows * k, : columns * k]
    squares = inside.reshape(n, channels, rows, inside.shape[2] // rows, columns, inside.shape[3] // columns)
    averaged: np.ndarray = squares.mean(axis=(3, 5), dtype=np.float32)
    return averaged


def picture_windows(pictures: np.ndarray, side: int) -> np.ndarray:
    """
    Cut pictures into all their windows.

    :param pictures: (n, C, H, W), H and W at least ``side``.
    :param side: Height and width of a window.
    :return: (n, W, C * side * side), row after row of places.
    """
    n, channels = pictures.shape[:2]
    every = np.lib.stride_tricks.sliding_window_view(pictures, (side, side), axis=(2, 3))
    return every.transpose(0, 2, 3, 1, 4, 5).reshape(n, -1, channels * side * side)


def window_axes(pictures: np.ndarray, side: int) -> WindowAxes:
    """
    Give the principal components of the windows of pictures, (n, C, H, W), at most 48, each of unit variance, in single
    precision.

    The mean of each window is removed first, so the axes are blind to it.
    """
    windows = picture_windows(pictures, side).astype(np.float64)
    windows -= windows.mean(axis=2, keepdims=True)
    axes = principal_window_axes(windows.reshape(-1, windows.shape[2]), N_AXES)
    return WindowAxes(axes.mean.astype(np.float32), axes.axes.astype(np.float32))


def unusual_windows(components: np.ndarray) -> dict[str, np.ndarray]:
    """
    Give what is most unusual in pictures, wherever it is.

    :param components: Of all windows, each of unit variance, (n, W, d).
    :return: ``largest`` (n, 2 d): logarithms of one plus the largest values of each component, and of each with its sign
        turned, since largest values have a long tail. ``rarest`` (n, d): the components of the window of greatest length.
    """
    largest = np.concatenate([components.max(axis=1), -components.min(axis=1)], axis=1)
    rarest = np.square(components).sum(axis=2).argmax(axis=1)
    return {"largest": np.log1p(largest.clip(min=0)), "rarest": components[np.arange(len(components)), rarest]}


def parts_in_place(pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Give whole pictures, (n, C, H, W), and 3 x 3 parts of half their sides that overlap; name -> (n, D)."""
    n, _, height, width = pictures.shape
    tall, wide = -(-height // 2), -(-width // 2)
    tops, lefts = (np.linspace(0, side - part, CELLS).round().astype(int) for side, part in ((height, tall), (width, wide)))
    parts = {"whole": pictures.reshape(n, -1)}
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            part = pictures[:, :, top : top + tall, left : left + wide]
            parts[f"part {row}, {column}"] = part.reshape(n, -1)
    return parts


def _described(pictures: np.ndarray, axes: dict[int, WindowAxes], random_state: int) -> dict[str, np.ndarray]:
    """All views of some pictures that are small enough, not yet reduced."""
    found = parts_in_place(pictures)
    for name, part in found.items():
        matrix = projection_matrix(part.shape[1], MOST_VALUES, random_state)
        found[name] = part if matrix is None else part @ matrix
    for side, of_side in axes.items():
        parts = [
            unusual_windows(project_windows(picture_windows(pictures[rows], side), of_side))
            for rows in _batches(len(pictures), pictures.shape[1:])
        ]
        for kind in parts[0]:
            found[f"{kind} {side} x {side}"] = np.concatenate([part[kind] for part in parts])
    return found


def _batches(n: int, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Rows of so many pictures at once that their windows fit into a block; one batch at least."""
    size = _n_at_once(shape)
    for start in range(0, max(1, n), size):
        yield np.arange(start, min(n, start + size))


def _n_at_once(shape: tuple[int, ...]) -> int:
    return max(1, BLOCK // (int(np.prod(shape)) * max(SIDES) ** 2))
