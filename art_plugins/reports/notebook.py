"""Figures of the notebooks (images in rows, scores against a threshold), and functions that show figures and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.optional import import_optional
from art_plugins.reports.drawing import (
    LINE,
    PLAIN,
    SUSPECT,
    css_size,
    legend_below,
    new_figure,
    own_style,
    png_bytes,
    short_name,
)
from art_plugins.reports.tables import Table, markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_BINS = 40
HATCHES = (None, "///", "...", "xx")
COLOURS = (PLAIN, SUSPECT, "#009E73", "#CC79A7")  # Okabe and Ito's


def show(figure: Figure, words: str) -> None:
    """
    Show a figure in a notebook. It is sharp on screens of high resolution.

    :param figure: The figure.
    :param words: Description of the figure; it is the alternative text for readers who cannot see it.
    :raises MissingPackageError: If IPython is not installed.
    """
    width, height = css_size(figure)
    shown = import_optional("IPython.display")
    shown.display(shown.Image(data=png_bytes(figure), format="png", width=width, height=height, alt=words))


def show_table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """
    Show a table in a notebook. The first column names the row. The other columns are aligned to the right.

    :param caption: Text above the table.
    :param columns: Headings.
    :param rows: Cells as text; each row is as long as ``columns``.
    :raises MissingPackageError: If IPython is not installed.
    """
    numeric = {name: index > 0 for index, name in enumerate(columns)}
    shown = import_optional("IPython.display")
    shown.display(shown.Markdown(markdown(Table(caption, numeric, [list(row) for row in rows]))))


@own_style
def image_figure(rows: Mapping[str, Sequence[np.ndarray]], titles: Sequence[Sequence[str]]) -> Figure:
    """
    Draw rows of images. Each image has a title.

    :param rows: Name of each row -> its images, each (1, H, W) or (3, H, W), 0 to 1. All rows have the same length.
    :param titles: Titles of the images of each row.
    :raises InvalidInputError: If the rows or their titles differ in length.
    """
    sizes = {len(images) for images in rows.values()} | {len(row) for row in titles}
    if len(sizes) != 1 or len(titles) != len(rows):
        raise InvalidInputError(
            f"Each of the {len(rows)} rows needs as many images as titles, and as many as the others; received rows of "
            f"{[len(images) for images in rows.values()]} images and {[len(row) for row in titles]} titles."
        )
    n_columns = sizes.pop()
    figure = new_figure(1.0 + 0.95 * n_columns, 1.3 * len(rows))
    panels = figure.subplots(len(rows), n_columns, squeeze=False)
    for line, (name, images), names in zip(panels, rows.items(), titles, strict=True):
        line[0].set_ylabel(name, fontsize=9, rotation=0, ha="right", va="center")
        for axes, image, title in zip(line, images, names, strict=True):
            picture = np.moveaxis(np.asarray(image), 0, -1)
            axes.imshow(picture[..., 0] if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=1)
            axes.set_title(title, fontsize=8.5, pad=3)
            axes.set_xticks([])
            axes.set_yticks([])
    return figure


def image_words(rows: Mapping[str, Sequence[np.ndarray]], titles: Sequence[Sequence[str]]) -> str:
    """Describe in words what :func:`image_figure` shows."""
    lines = (f"{name}: {'; '.join(row)}" for name, row in zip(rows, titles, strict=True))
    return "Rows of images. " + ". ".join(lines).replace("\n", ", ") + "."


@own_style
def score_figure(scores: Mapping[str, np.ndarray], threshold: float, axis: str) -> Figure:
    """
    Draw a histogram of the scores of each group, and the threshold above which a sample is caught.

    :param scores: Name of each group -> its scores, (n,). Each bar is a share of its group, so groups may differ in size.
    :param threshold: The threshold, in the unit of the scores.
    :param axis: Name of the scores, with their unit.
    """
    figure = new_figure(6.8, 3.9)
    axes = figure.subplots()
    values = np.concatenate([*scores.values(), [threshold]])
    bins = np.linspace(values.min(), values.max() + 1e-9, N_BINS + 1).tolist()
    for index, (name, group) in enumerate(scores.items()):
        axes.hist(
            group,
            bins=bins,
            weights=np.full(len(group), 1 / max(1, len(group))),
            color=COLOURS[index % len(COLOURS)],
            hatch=HATCHES[index % len(HATCHES)],
            edgecolor="black",
            linewidth=0.4,
            alpha=0.75,
            label=f"{short_name(name)} ({len(group)})",
        )
    axes.axvline(threshold, color=LINE, linestyle="--", label=f"threshold: {threshold:.2f}")
    axes.set_xlabel(f"{axis}; higher = more suspicious")
    axes.set_ylabel("share of the group")
    legend_below(figure, axes)
    return figure


def score_words(scores: Mapping[str, np.ndarray], threshold: float, axis: str) -> str:
    """Describe in words what :func:`score_figure` shows."""
    groups = (
        f"{name}: {len(group)} samples, median {np.median(group):.2f}, {int((group > threshold).sum())} above the threshold"
        for name, group in scores.items()
    )
    return f"Histograms of the {axis}. Threshold: {threshold:.2f}. " + "; ".join(groups) + "."
