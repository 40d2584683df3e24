"""The picture of a comparison: the shares of the poison and of the clean samples that each filter removes."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from art_plugins.reports.drawing import CURVE, new_figure, own_style, short_name
from art_plugins.reports.pages import Picture, picture
from art_plugins.reports.tables import rate, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BOUNDS = ("perfect_filter", "random_filter")  # no defences: one knows the truth, the other removes samples at random
CAUGHT_TPR, CAUGHT_FPR = 0.9, 0.05  # a filter caught the poison if its TPR is at least and its FPR at most this
MIN_FPR_SHOWN = 0.12  # least right end of the axis, so that the corner of good filters can be seen
LETTERS = 30  # largest length of a line of a label
POINT_SIZE = 8  # half the side of the square around a point that labels leave free, in pixels of the figure
# Pixels from a point to its label, tried in this order.
DISTANCES = (7, 16, 28, 42, 58, 76, 96, 118, 142, 170, 200, 240, 290, 350, 420, 500)


class Rates(NamedTuple):
    """TPR and FPR of one filter for each seed, both of shape (number of seeds,)."""

    title: str
    is_bound: bool
    tpr: np.ndarray
    fpr: np.ndarray


@own_style
def rate_figure(tasks: Sequence[Mapping[str, Any]]) -> Figure:
    """
    Draw TPR against FPR, with a labelled point for each filter: the mean over the seeds. Grey lines go from the lowest to
    the highest value.

    Filters that caught the poison are in the shaded corner. A filter that removes samples at random is on the dotted line.

    :param tasks: Tasks of the record that differ only in their seed. Each row of their ``defences`` has ``name``,
        ``title``, ``tpr`` and ``fpr`` (``None``: not known).
    """
    shown, _ = _rates(tasks)
    figure = new_figure(9.2, max(4.4, 2.6 + 0.2 * len(shown)))
    axes: Axes = figure.subplots()
    right = max([MIN_FPR_SHOWN, *(1.12 * float(row.fpr.max()) for row in shown)])
    axes.set_xlim(-0.03 * right, right)
    axes.set_ylim(-0.05, 1.05)
    axes.set_xlabel("FPR: share of the clean samples that is removed; 0 is best")
    axes.set_ylabel("TPR: share of the poison that is removed; 1 is best")
    axes.grid(color="0.9")
    axes.fill_between([0, CAUGHT_FPR], CAUGHT_TPR, 1, facecolor="0.88", edgecolor="0.6", linewidth=0.8)
    chance = min(1.0, right)
    axes.plot([0, chance], [0, chance], color="0.6", linestyle=":", linewidth=1.2)
    for row in shown:
        x, y = float(row.fpr.mean()), float(row.tpr.mean())
        axes.plot([row.fpr.min(), row.fpr.max()], [y, y], color="0.6", linewidth=1)
        axes.plot([x, x], [row.tpr.min(), row.tpr.max()], color="0.6", linewidth=1)
        axes.plot(
            [x],
            [y],
            linestyle="none",
            marker="D" if row.is_bound else "o",
            markersize=10 if row.is_bound else 7,
            markerfacecolor="none" if row.is_bound else CURVE,
            markeredgecolor="black",
            clip_on=False,
            zorder=5 if row.is_bound else 4,
        )
    _label(figure, axes, shown)
    return figure


def rate_words(tasks: Sequence[Mapping[str, Any]]) -> str:
    """Describe in words what :func:`rate_figure` shows."""
    shown, missing = _rates(tasks)
    over = f" Means over {len(tasks)} seeds, in brackets lowest to highest." if len(tasks) > 1 else ""
    points = "; ".join(
        f"{row.title}{' (no defence, a bound)' if row.is_bound else ''}: "
        f"TPR {spread(row.tpr.tolist(), rate)}, FPR {spread(row.fpr.tolist(), rate)}"
        for row in sorted(shown, key=lambda row: (-row.tpr.mean(), row.fpr.mean()))
    )
    return (
        "Points of TPR against FPR, one for each filter; the best corner is the upper left one. Filters that caught the "
        f"poison lie in the shaded corner, TPR of at least {rate(CAUGHT_TPR)} and FPR of at most {rate(CAUGHT_FPR)}.{over} "
        f"From the highest TPR to the lowest: {points or 'no filter'}. "
        + (f"Not shown, since a rate is not known: {', '.join(missing)}." if missing else "")
    ).strip()


def rate_picture(tasks: Sequence[Mapping[str, Any]]) -> Picture:
    """Give :func:`rate_figure` as a picture for a page."""
    caption = (
        "Each filter: the share of the poison and of the clean samples that it removes. Shaded: the poison is caught. "
        "Dotted: what removing at random would do. Diamonds: bounds, not defences."
    )
    if len(tasks) > 1:
        caption += f" Points are means over {len(tasks)} seeds, grey lines go from the lowest to the highest."
    return picture("rates", caption, rate_figure(tasks), rate_words(tasks))


def _rates(tasks: Sequence[Mapping[str, Any]]) -> tuple[list[Rates], list[str]]:
    """Give the filters whose rates are known for all seeds, and the titles of the others."""
    shown, missing = [], []
    for same in zip(*(task["defences"] for task in tasks), strict=True):
        if any(row[key] is None for row in same for key in ("tpr", "fpr")):
            missing.append(same[0]["title"])
            continue
        tpr, fpr = (np.array([row[key] for row in same], dtype=float) for key in ("tpr", "fpr"))
        shown.append(Rates(same[0]["title"], same[0]["name"] in BOUNDS, tpr, fpr))
    return shown, missing


def _label(figure: Figure, axes: Axes, shown: Sequence[Rates]) -> None:
    """
    Write the name of each filter near its point, with a line to the point. The nearest free place is used.

    A place is free if it is within the axes and does not cover a point, another name or a line to another name.
    """
    figure.draw_without_rendering()  # fixes the layout, so that the places of points in pixels are known
    figure.set_layout_engine("none")
    frame = axes.get_window_extent()
    points = np.array([axes.transData.transform((row.fpr.mean(), row.tpr.mean())) for row in shown]).reshape(-1, 2)
    taken = np.array([(x - POINT_SIZE, y - POINT_SIZE, x + POINT_SIZE, y + POINT_SIZE) for x, y in points]).reshape(-1, 4)
    within = (frame.x0 + 2, frame.y0 + 2, frame.x1 - 2, frame.y1 - 2)
    # What a name must not cover: the line of chance, the spans over the seeds, and the lines to the names before.
    end = min(1.0, axes.get_xlim()[1])
    spans = [[(row.fpr.min(), row.tpr.mean()), (row.fpr.max(), row.tpr.mean())] for row in shown]
    spans += [[(row.fpr.mean(), row.tpr.min()), (row.fpr.mean(), row.tpr.max())] for row in shown]
    lines = np.array([axes.transData.transform(line) for line in ([(0, 0), (end, end)], *spans)])
    to_data = axes.transData.inverted().transform
    for point, row in zip(points, shown, strict=True):
        words = textwrap.fill(short_name(row.title, 2 * LETTERS), LETTERS)
        text = axes.text(0, 0, words, fontsize=9, ha="left", va="bottom", zorder=6)
        extent = text.get_window_extent()
        box, line = _free_place(point, (extent.width, extent.height), taken, lines, within)
        text.set_position(tuple(to_data(box[:2])))
        axes.plot(*to_data(line).T, color="0.45", linewidth=0.7, zorder=3)
        taken, lines = np.vstack([taken, box]), np.concatenate([lines, line[None]])


def _free_place(
    point: np.ndarray,
    size: tuple[float, float],
    taken: np.ndarray,
    lines: np.ndarray,
    within: tuple[float, float, float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """
    Find the best place for a name.

    :param point: The point of the filter, (2,), in pixels.
    :param size: Width and height of the name.
    :param taken: Boxes that must not be covered, shape (n, 4).
    :param lines: Lines that must not be covered, each from one point to another, shape (m, 2, 2).
    :param within: Box in which the name must be: left, bottom, right, top.
    :return: The box of the name (left, bottom, right, top), and the line (2, 2) from the point to it.
    """
    others = taken[~((taken[:, :2] < point) & (point < taken[:, 2:])).all(axis=1)]
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    for distance, degrees in itertools.product(DISTANCES, range(0, 360, 15)):
        if best is not None and best[0] <= distance:
            break  # a place costs its distance at least, so no later one is better
        # The near side of the box touches the circle, so that a name stands beside, above or below its point.
        way = np.array([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))])
        corner = point + distance * way - np.array(size) * (1 - way) / 2
        box = np.concatenate([corner, corner + size])
        line = np.array([point, np.clip(point, box[:2], box[2:])])
        outside = max(within[0] - box[0], within[1] - box[1], box[2] - within[2], box[3] - within[3], 0.0)
        if best is not None and best[0] <= distance + 1_000 * outside:
            continue  # what it covers can only add to that
        covered = _overlap(box, taken) + int(_enters(lines, box[None]).sum())
        crossed = int(_enters(line[None], others).sum())
        cost = distance + 1_000 * (outside + covered) + 40 * crossed
        if best is None or cost < best[0]:
            best = cost, box, line
    assert best is not None
    return best[1], best[2]


def _overlap(box: np.ndarray, others: np.ndarray) -> int:
    """Count the boxes that a box covers at least in part."""
    apart = (box[2] <= others[:, 0]) | (box[0] >= others[:, 2]) | (box[3] <= others[:, 1]) | (box[1] >= others[:, 3])
    return int((~apart).sum())


def _enters(lines: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Say whether each line enters each box, shape (lines, boxes). 200 points of a line are checked."""
    low, high = lines.min(axis=1)[:, None], lines.max(axis=1)[:, None]
    which, other = np.nonzero(((high > boxes[:, :2]) & (low < boxes[:, 2:])).all(axis=-1))  # only these are near each other
    start, end, box = lines[which, None, 0], lines[which, None, 1], boxes[other, None]
    steps = start + np.linspace(0, 1, 200)[:, None] * (end - start)
    found = np.zeros((len(lines), len(boxes)), dtype=bool)
    found[which, other] = ((steps > box[..., :2]) & (steps < box[..., 2:])).all(axis=-1).any(axis=1)
    return found
