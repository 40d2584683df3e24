"""Figures of a sweep, as in Fig. 4, 6 and 7 of Mehlman et al. 2023. They compare the default with the paper's procedure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import roc_curve

from art_plugins.reports.drawing import CURVE, SUSPECT, new_figure, own_style, png_bytes, short_name
from art_plugins.reports.packages import report_is_possible
from art_plugins.reports.studies.sweep_tables import class_auc, ranked_scores, rows_of, triggers_of
from art_plugins.reports.tables import rate
from art_plugins.storage import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]
SIDES = {"contrastive": "against the other classes (default)", "paper": "the paper's procedure"}
STYLES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"), ((0, (1, 3)), "v"), ((0, (5, 1)), "P"))


def write_sweep_figures(record: Mapping[str, Any], out: Path) -> list[Path]:
    """
    Write the heat map, the ROC curve and the curve over the poisoned share as PNG files. A figure without rows in the
    record is left out. Without the packages of the extra ``report`` no figure is written.

    :param record: Record of the sweep.
    :param out: Folder for the files.
    :return: The files that were written.
    """
    if not report_is_possible():
        return []
    attacks, clean, curve = (rows_of(record, kind) for kind in ("attacks", "clean", "curve"))
    figures = {}
    if attacks:
        figures["heat_map"] = heat_map_figure(attacks)
    if attacks and clean:
        figures["roc"] = roc_figure(attacks, clean)
    if curve:
        figures["share_curve"] = share_figure(curve)
    files = []
    for name, figure in figures.items():
        files.append(out / f"{name}.png")
        with atomic_path(files[-1]) as partial:
            partial.write_bytes(png_bytes(figure))
    return files


@own_style
def heat_map_figure(attacks: Rows) -> Figure:
    """
    Draw the adjusted Rand index of the target class for every source class (rows) and target class (columns), as in Fig. 6.
    A cross marks a target class that is not called poisoned.

    :param attacks: Rows of the record's runs of kind ``"attacks"``.
    """
    names = list(dict.fromkeys(name for row in attacks for name in (row["source"], row["target"])))
    names = sorted(names, key=lambda name: (name.startswith("_"), name))
    triggers = triggers_of(attacks)
    figure = new_figure(10.6, 0.6 + 4.9 * len(triggers))
    panels = figure.subplots(len(triggers), 2, squeeze=False)
    image: Any = None
    for line, trigger in zip(panels, triggers, strict=True):
        for axes, (scoring, title) in zip(line, SIDES.items(), strict=True):
            values = np.full((len(names), len(names)), np.nan)
            for row in attacks:
                if row["trigger"] == trigger:
                    place = names.index(row["source"]), names.index(row["target"])
                    values[place] = row[scoring]["ari"]
                    if not row[scoring]["found"]:
                        axes.plot(place[1], place[0], marker="x", color=SUSPECT, markersize=8, markeredgewidth=1.6)
            image = axes.imshow(values, cmap="viridis", vmin=0, vmax=1)
            axes.set_facecolor("0.93")
            axes.set_xticks(range(len(names)), map(short_name, names), rotation=60, ha="right", rotation_mode="anchor")
            axes.set_yticks(range(len(names)), map(short_name, names))
            axes.set_title(f"{short_name(trigger)}: {title}", fontsize=11)
            axes.set_xlabel("target class")
        line[0].set_ylabel("source class")
    figure.colorbar(image, ax=panels, label="adjusted Rand index; \u2715: target not called; grey: no attack", shrink=0.8)
    return figure


@own_style
def roc_figure(attacks: Rows, clean: Rows) -> Figure:
    """Draw the share of target classes that are called against that of clean classes, for all thresholds, as in Fig. 4."""
    figure = new_figure(6.6, 4.9)
    axes = figure.subplots()
    for (scoring, title), colour in zip(SIDES.items(), (CURVE, SUSPECT), strict=True):
        for trigger, (dashes, _) in zip(triggers_of(attacks), STYLES, strict=False):
            some = [row for row in attacks if row["trigger"] == trigger]
            x, y, _ = roc_curve(*ranked_scores(some, clean, scoring))
            label = f"{short_name(trigger)}, {title}: AUC {rate(class_auc(some, clean, scoring))}"
            axes.plot(x, y, color=colour, linestyle=dashes, label=label)
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    axes.set_xlabel("share of the clean draws' classes above the threshold")
    axes.set_ylabel("share of the target classes above it")
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.02)
    figure.legend(loc="outside lower center", frameon=False, fontsize=9, ncols=1)
    return figure


@own_style
def share_figure(curve: Rows) -> Figure:
    """
    Draw the adjusted Rand index of the target class against the poisoned share of the source class, as in Fig. 7. A hollow
    point marks a target class that is not called poisoned.
    """
    attacks = list(dict.fromkeys((row["source"], row["target"]) for row in curve))
    figure = new_figure(5.2 * len(attacks) + 0.8, 5.2)
    panels = figure.subplots(1, len(attacks), squeeze=False, sharey=True)[0]
    for axes, (source, target) in zip(panels, attacks, strict=True):
        for (scoring, title), colour in zip(SIDES.items(), (CURVE, SUSPECT), strict=True):
            for trigger, (dashes, marker) in zip(triggers_of(curve), STYLES, strict=False):
                some = [row for row in curve if (row["source"], row["target"], row["trigger"]) == (source, target, trigger)]
                some.sort(key=lambda row: float(row["fraction"]))
                x, y = [row["fraction"] for row in some], [row[scoring]["ari"] for row in some]
                label = f"{short_name(trigger)}, {title}"
                axes.plot(x, y, color=colour, linestyle=dashes, marker=marker, markersize=6, label=label)
                fill = [colour if row[scoring]["found"] else "white" for row in some]
                axes.scatter(x, y, marker=marker, s=44, c=fill, edgecolors=colour, zorder=3, clip_on=False)
        axes.set_xscale("log")
        axes.set_xticks([row["fraction"] for row in some], [f"{row['fraction']:g}" for row in some])
        axes.minorticks_off()
        axes.set_ylim(-0.1, 1.03)
        axes.set_title(f"{short_name(source)} \u2192 {short_name(target)}", fontsize=11)
        axes.set_xlabel("poisoned share of the source class")
        axes.grid(axis="y", color="0.88")
    panels[0].set_ylabel("adjusted Rand index of the target class")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", frameon=False, fontsize=9, title="hollow: class not called")
    return figure
