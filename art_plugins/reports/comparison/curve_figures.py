"""Curves of the VAE filter, each with a description in words: its quality against the poisoned share, and its losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from art_plugins.reports.drawing import CURVE, PLAIN, SUSPECT, legend_below, new_figure, own_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@own_style
def fraction_figure(points: Sequence[Mapping[str, Any]]) -> Figure:
    """
    Fig. 7 of Mehlman et al. 2023: adjusted Rand index of the target class against the poisoned share of the source class.

    :param points: One for each fraction and seed: ``fraction``, ``seed``, ``ari``, ``found`` (the target class was called
        poisoned).
    """
    figure = new_figure(6.8, 4.4)
    axes: Axes = figure.subplots()
    fractions, values = _by_fraction(points)
    if len({point["seed"] for point in points}) > 1:
        lowest, highest = [min(some) for some in values], [max(some) for some in values]
        axes.fill_between(fractions, lowest, highest, color=PLAIN, alpha=0.35, linewidth=0, label="range")
    axes.plot(fractions, [float(np.mean(some)) for some in values], color=CURVE, label="mean")
    for found, marker, colour, label in (
        (True, "o", CURVE, "class called poisoned"),
        (False, "X", SUSPECT, "not called"),
    ):
        some = [point for point in points if bool(point["found"]) is found]
        if some:
            axes.scatter(
                [point["fraction"] for point in some],
                [point["ari"] for point in some],
                marker=marker,
                s=30 if found else 80,
                color=colour,
                edgecolors="white",
                linewidths=0.6,
                zorder=3,
                label=label,
                clip_on=False,
            )
    axes.set_xticks(fractions, [f"{fraction:g}" for fraction in fractions])
    axes.set_ylim(min(0, *(min(some) for some in values)) - 0.03, 1.03)
    axes.set_xlabel("poisoned share of the source class")
    axes.set_ylabel("adjusted Rand index of the target class")
    axes.grid(axis="y", color="0.85")
    legend_below(figure, axes)
    return figure


def fraction_words(points: Sequence[Mapping[str, Any]]) -> str:
    """Describe in words what :func:`fraction_figure` shows."""
    fractions, values = _by_fraction(points)
    means = ", ".join(f"{np.mean(some):.3f} at {fraction:g}" for fraction, some in zip(fractions, values, strict=True))
    missed = [point for point in points if not point["found"]]
    lost = ", ".join(f"{point['fraction']:g} (seed {point['seed']})" for point in missed) or "none"
    return (
        "Line of the adjusted Rand index of the target class against the poisoned share of the source class. "
        f"Mean: {means}. Target class not found at: {lost}."
    )


@own_style
def loss_figure(history: Sequence[Mapping[str, float]]) -> Figure:
    """
    Draw each loss term of the autoencoder by epoch in a panel of its own, because their sizes differ by orders of
    magnitude.

    :param history: Mean losses of each epoch in nats: term -> value, the same terms in every epoch.
    """
    terms = list(history[0])
    n_columns = min(2, len(terms))
    n_rows = -(-len(terms) // n_columns)
    figure = new_figure(6.8, 0.6 + 1.9 * n_rows)
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True)
    epochs = np.arange(1, len(history) + 1)
    for axes in panels.ravel()[len(terms) :]:
        axes.set_visible(False)
    for axes, term in zip(panels.ravel(), terms, strict=False):
        axes.plot(epochs, [losses[term] for losses in history], color=CURVE, marker="o", markersize=3)
        axes.set_title(term.replace("_", " of the "), fontsize=11)
        axes.grid(color="0.9")
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in panels[-1]:
        axes.set_xlabel("epoch")
    for axes in panels[:, 0]:
        axes.set_ylabel("nats")
    return figure


def loss_words(history: Sequence[Mapping[str, float]]) -> str:
    """Describe in words what :func:`loss_figure` shows."""
    terms = (
        f"{term.replace('_', ' of the ')} from {value:.5g} to {history[-1][term]:.5g}" for term, value in history[0].items()
    )
    return f"Lines of the autoencoder's loss terms over {len(history)} epochs, in nats: " + "; ".join(terms) + "."


def _by_fraction(points: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[list[float]]]:
    fractions = sorted({float(point["fraction"]) for point in points})
    return fractions, [[point["ari"] for point in points if point["fraction"] == fraction] for fraction in fractions]
