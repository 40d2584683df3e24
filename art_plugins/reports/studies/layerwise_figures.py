"""The figures of layer-wise feature analysis, each with a function that describes it in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from art_plugins.reports.drawing import CURVE, PLAIN, SUSPECT, legend_below, new_figure, own_style, short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Run = Mapping[str, Any]
RULES = {"paper": "paper's rule", "mahalanobis": "default rule"}


@own_style
def profile_figure(run: Run) -> Figure:
    """
    Draw the layer profile (section V of Preetha et al.): the mean cosine similarity to the class centroid in each layer.
    One line for each class shows its benign images. Another line shows the images with the trigger that the model
    classifies as the target class, compared with the centroid of that class.

    :param run: A run of the record.
    """
    layers, target, profiles = run["layers"], run["target"], run["profiles"]
    figure = new_figure(7.6, 4.4)
    axes: Axes = figure.subplots()
    steps = np.arange(1, len(layers) + 1)
    for label, profile in enumerate(profiles["benign"]):
        if label != target and None not in profile:
            axes.plot(steps, profile, color=PLAIN, linewidth=1.2, label="benign, other classes")
    axes.plot(steps, profiles["benign"][target], color=CURVE, marker="o", label="benign, target class")
    axes.plot(steps, profiles["poisoned"], color=SUSPECT, marker="X", linestyle="--", label="with the trigger")
    interest = profiles["layer_of_interest"][target] + 1
    axes.axvline(interest, color="0.4", linestyle=":", label="layer of interest of the target class")
    axes.set_xticks(steps, [short_name(name, 16) for name in layers], rotation=40, ha="right")
    axes.set_xlabel("layer, by its name in the model")
    axes.set_ylabel("cosine similarity to the centroid")
    axes.set_title(short_name(f"{run['title']}, seed {run['seed']}", 70), fontsize=11)
    legend_below(figure, axes)
    return figure


def profile_words(run: Run) -> str:
    """Describe in words what :func:`profile_figure` shows."""
    benign, poisoned = run["profiles"]["benign"][run["target"]], run["profiles"]["poisoned"]
    pairs = "; ".join(f"{name}: {a:.2f} and {b:.2f}" for name, a, b in zip(run["layers"], benign, poisoned, strict=True))
    interest = run["layers"][run["profiles"]["layer_of_interest"][run["target"]]]
    return (
        "Lines of the mean cosine similarity to the class centroid over the layers. Target class, benign images and images "
        f"with the trigger: {pairs}. Layer of interest of the target class: {interest}."
    )


@own_style
def interest_figure(runs: Sequence[Run]) -> Figure:
    """
    Draw the layer of interest of every class, as in Fig. 4 of Preetha et al.

    :param runs: Runs over one network and data set.
    """
    layers, names = runs[0]["layers"], runs[0]["class_names"]
    figure = new_figure(7.6, 1.6 + 0.3 * len(names))
    axes: Axes = figure.subplots()
    for label in range(len(names)):
        found = [run["profiles"]["layer_of_interest"][label] + 1 for run in runs]
        # Several runs that agree lie side by side.
        shifts = 0.12 * (np.arange(len(found)) - (len(found) - 1) / 2)
        axes.scatter(found, label + shifts, s=34, color=CURVE, edgecolors="white", linewidths=0.6, label="a run", zorder=3)
    axes.axvspan(len(layers) // 2 + 0.5, len(layers) + 0.5, color=PLAIN, alpha=0.2, label="layers that are searched")
    axes.set_xlim(0.5, len(layers) + 0.5)
    axes.set_xticks(range(1, len(layers) + 1), [short_name(name, 16) for name in layers], rotation=40, ha="right")
    axes.set_xlabel("layer, by its name in the model")
    axes.set_yticks(range(len(names)), [short_name(name) for name in names])
    axes.set_ylabel("class")
    axes.invert_yaxis()
    axes.grid(axis="y", color="0.9")
    legend_below(figure, axes)
    return figure


def interest_words(runs: Sequence[Run]) -> str:
    """Describe in words what :func:`interest_figure` shows."""
    layers = runs[0]["layers"]
    parts = []
    for label, name in enumerate(runs[0]["class_names"]):
        found = sorted({run["profiles"]["layer_of_interest"][label] for run in runs})
        parts.append(f"{name}: {' or '.join(layers[layer] for layer in found)}")
    return f"Dots at the layer of interest of each class, in {len(runs)} runs. " + "; ".join(parts) + "."


@own_style
def tau_figure(runs: Sequence[Run]) -> Figure:
    """
    Draw the true- and false-positive rates of both rules against tau, with mean and range over the runs, as in Fig. 5 of
    Preetha et al.

    :param runs: Runs that differ in their seed.
    """
    figure = new_figure(8.6, 4.4)
    panels = figure.subplots(1, 2, sharex=True)
    for axes, key, title in zip(panels, ("tpr", "fpr"), ("true-positive rate", "false-positive rate"), strict=True):
        for mode, colour, marker in (("paper", SUSPECT, "X"), ("mahalanobis", CURVE, "o")):
            taus, values = _curve(runs, mode, key)
            axes.fill_between(taus, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.2, linewidth=0)
            axes.plot(taus, values.mean(axis=0), color=colour, marker=marker, markersize=5, label=RULES[mode])
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("tau (standard deviations of benign scores)")
        axes.grid(color="0.9")
    panels[0].set_ylim(-0.03, 1.03)
    panels[1].set_yscale("symlog", linthresh=1e-3)
    panels[1].set_ylim(0, 1)
    figure.suptitle(short_name(runs[0]["title"], 70), fontsize=11)
    legend_below(figure, panels[0])
    return figure


def tau_words(runs: Sequence[Run]) -> str:
    """Describe in words what :func:`tau_figure` shows."""
    parts = []
    for mode, name in RULES.items():
        taus, hits = _curve(runs, mode, "tpr")
        _, alarms = _curve(runs, mode, "fpr")
        points = [
            f"{hit:.3f} and {alarm:.3f} at {tau:g}"
            for tau, hit, alarm in zip(taus, hits.mean(axis=0), alarms.mean(axis=0), strict=True)
            if float(tau).is_integer()
        ]
        parts.append(f"{name}: {', '.join(points)}")
    return (
        f"Lines of the true- and the false-positive rate against tau, means of {len(runs)} runs. " + "; ".join(parts) + "."
    )


def _curve(runs: Sequence[Run], mode: str, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Give the taus, (T,), and the values, (runs, T)."""
    taus = np.array([point["tau"] for point in runs[0]["curves"][mode]])
    return taus, np.array([[point[key] for point in run["curves"][mode]] for run in runs], dtype=float)
