"""The figures of a comparison of filters, each with a description in words for readers who cannot see it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import adjusted_rand_score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
from art_plugins.reports.drawing import LINE, PLAIN, SUSPECT, legend_below, new_figure, own_style, short_name


@own_style
def class_score_figure(classes: Sequence[Mapping[str, Any]], target: str, limit: float | None) -> Figure:
    """
    Draw the score of every class as a bar, as in Fig. 2 of Mehlman et al. 2023.

    :param classes: Rows of the record: ``name``, ``class_score`` in nats (``None``: not judged),
        ``mad_index``, ``verdict``.
    :param target: Name of the class that truly holds the poison.
    :param limit: Score above which a class is called poisoned; ``None``: there is none.
    """
    figure = new_figure(7.2, 1.5 + 0.34 * len(classes))
    axes: Axes = figure.subplots()
    for position, row in enumerate(classes):
        is_target = row["name"] == target
        axes.barh(
            position,
            row["class_score"] or 0,
            color=SUSPECT if is_target else PLAIN,
            hatch="///" if is_target else None,
            edgecolor="black",
            linewidth=0.8,
            label="target class" if is_target else "other classes",
        )
    if limit is not None:
        axes.axvline(limit, color=LINE, linestyle="--", label=f"threshold: {limit:.2f}")
    axes.set_ylim(len(classes) - 0.4, -0.6)
    names = [short_name(row["name"]) + (" (target)" if row["name"] == target else "") for row in classes]
    axes.set_yticks(range(len(classes)), names)
    # The figures stand in a column of their own, where the threshold's line does not cross them.
    column = axes.twinx()
    column.set_ylim(axes.get_ylim())
    column.set_yticks(range(len(classes)), [_score_label(row) for row in classes])
    column.tick_params(length=0)
    axes.set_xlabel("class score (nats); higher = more suspicious")
    legend_below(figure, axes)
    return figure


def class_score_words(classes: Sequence[Mapping[str, Any]], target: str, limit: float | None) -> str:
    """Describe in words what :func:`class_score_figure` shows."""
    judged = sorted(
        (row for row in classes if row["class_score"] is not None),
        key=lambda row: float(row["class_score"]),
        reverse=True,
    )
    if not judged:
        return f"Bars of the score by class: none of the {len(classes)} classes was judged."
    called = [row["name"] for row in judged if row["verdict"] == "poisoned"]
    names = [row["name"] for row in judged]
    place = f"rank {names.index(target) + 1} of {len(names)}" if target in names else "not judged"
    return (
        f"Bars of the score by class. Highest: {names[0]} with "
        f"{judged[0]['class_score']:.2f} nats; lowest: {names[-1]} with "
        f"{judged[-1]['class_score']:.2f}. The target class {target}: {place}. "
        f"Above the threshold{'' if limit is None else f' of {limit:.2f}'}: {', '.join(called) or 'no class'}. "
        f"Not judged: {len(classes) - len(judged)} of {len(classes)} classes."
    )


@own_style
def cluster_figure(points: np.ndarray, clusters: np.ndarray, is_poison: np.ndarray, target: str) -> Figure:
    """
    Draw the latents of the target class, coloured by cluster (left) and by truth (right), as in Fig. 3 of Mehlman et al.
    2023.

    :param points: First two principal components, shape (m, 2).
    :param clusters: Shape (m,), 1 = the smaller cluster, else 0.
    :param is_poison: Ground truth, shape (m,), bool.
    :param target: Name of the class.
    """
    figure = new_figure(8.2, 4.6)
    ari = adjusted_rand_score(is_poison, clusters)
    figure.suptitle(f"Latents of the target class '{short_name(target)}': adjusted Rand index {ari:.3f}")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, title, marked, names in zip(
        panels,
        ("by cluster", "by truth"),
        (np.asarray(clusters) == 1, np.asarray(is_poison, dtype=bool)),
        (("larger cluster", "smaller cluster"), ("clean", "poison")),
        strict=True,
    ):
        rest = points[~marked]
        axes.scatter(rest[:, 0], rest[:, 1], s=16, color=PLAIN, alpha=0.7, linewidths=0, label=names[0])
        axes.scatter(*points[marked].T, s=24, marker="x", color=SUSPECT, linewidths=1.1, alpha=0.8, label=names[1])
        axes.set_title(title)
        axes.set_xlabel("principal component 1")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False)
    panels[0].set_ylabel("principal component 2")
    return figure


def cluster_words(points: np.ndarray, clusters: np.ndarray, is_poison: np.ndarray, target: str) -> str:
    """Describe in words what :func:`cluster_figure` shows."""
    marked, poison = np.asarray(clusters) == 1, np.asarray(is_poison, dtype=bool)
    return (
        f"Two scatter plots of the {len(points)} latents of the target class {target} on two principal components. "
        f"Left, by cluster: {int(marked.sum())} in the smaller and {int((~marked).sum())} in the larger. "
        f"Right, by truth: {int(poison.sum())} poison and {int((~poison).sum())} clean. "
        f"The smaller cluster holds {int((marked & poison).sum())} of the poison and {int((marked & ~poison).sum())} "
        f"clean samples; adjusted Rand index {adjusted_rand_score(poison, marked):.3f}."
    )


@own_style
def confusion_figure(defences: Sequence[Mapping[str, Any]]) -> Figure:
    """
    Draw a confusion matrix for each filter, with counts and the share of each row, as in Fig. 5 of Mehlman et al. 2023.

    :param defences: Rows of the record: ``title``, ``tp``, ``fn``, ``fp``, ``tn``; positive = poison.
    """
    n_columns = min(4, len(defences))
    n_rows = -(-len(defences) // n_columns)
    figure = new_figure(0.5 + 2.15 * n_columns, 2.75 * n_rows)
    figure.set_layout_engine("constrained", h_pad=0.12)
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes in panels[len(defences) :]:
        axes.set_visible(False)
    for panel, (axes, row) in enumerate(zip(panels, defences, strict=False)):
        counts = np.array([[row["tp"], row["fn"]], [row["fp"], row["tn"]]])
        rates = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(rates, cmap="Blues", vmin=0, vmax=1)
        for y, x in np.ndindex(2, 2):
            known = counts[y].sum() > 0
            axes.text(
                x,
                y,
                f"{counts[y, x]}\n{rates[y, x]:.3f}" if known else f"{counts[y, x]}\n\u2014",
                ha="center",
                va="center",
                fontsize=11,
                color="white" if rates[y, x] > 0.5 else "black",
            )
        axes.set_title(textwrap.fill(short_name(row["title"], 60), 22), fontsize=10.5)
        axes.set_xticks([0, 1], ["removed", "kept"])
        axes.set_yticks([0, 1], ["poison", "clean"] if panel % n_columns == 0 else ["", ""])
        axes.set_xticks([0.5], minor=True)
        axes.set_yticks([0.5], minor=True)
        axes.grid(which="minor", color="black", linewidth=0.8)
        axes.tick_params(which="both", length=0)
    return figure


def confusion_words(defences: Sequence[Mapping[str, Any]]) -> str:
    """Describe in words what :func:`confusion_figure` shows."""
    cells = (
        f"{row['title']}: of the poison {row['tp']} removed and {row['fn']} kept, of the clean samples {row['fp']} removed "
        f"and {row['tn']} kept"
        for row in defences
    )
    return "One confusion matrix per filter. " + "; ".join(cells) + "."


def _score_label(row: Mapping[str, Any]) -> str:
    if row["class_score"] is None:
        return "not judged"
    return f"{row['class_score']:.2f}" + (", poisoned" if row["verdict"] == "poisoned" else "")
