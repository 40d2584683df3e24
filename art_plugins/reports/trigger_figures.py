"""The figure of the patterns that trigger inversion found, with a function that describes it in words."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from art_plugins.reports.drawing import SUSPECT, new_figure, own_style, short_name
from art_plugins.triggers.found import Inversion, InvertedTriggers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_CLASSES = 10  # number of columns
COLUMN_IN, MARGIN_IN, LINE_IN = 0.98, 0.3, 0.15  # of a panel, of the names of the rows, and of a line of a title
MAX_LETTERS = 13  # of each of the two lines of a class's name over a panel
ROW_NAMES = {"patch": "patch", "additive": "additive,\nscaled"}


@own_style
def inversion_figure(inversion: Inversion, class_names: Sequence[str]) -> Figure:
    """
    Draw the smallest pattern for each class, with a row for each kind of pattern and a column for each class. The most
    suspicious class is first. At most 10 classes are shown.

    Patches are shown on a grey image, so that black ones can be seen. Perturbations are scaled to the full range; 0 is
    grey. The pattern by which a backdoor was found has a frame.

    :param inversion: What :func:`~art_plugins.triggers.inversion.invert_triggers` gave.
    :param class_names: Names of all classes, in the order of the model's outputs.
    """
    shown = shown_classes(inversion)
    n_rows = len(inversion.inverted)
    names = [textwrap.fill(short_name(name, 2 * MAX_LETTERS), MAX_LETTERS) for name in class_names]
    n_lines = 4 + max(names[label].count("\n") for label in shown)
    height, width = pattern_image(inversion.inverted[0], 0).shape[:2]
    row_in = (COLUMN_IN - 0.08) * min(height / width, 1.5) + n_lines * LINE_IN + 0.2
    figure = new_figure(MARGIN_IN + COLUMN_IN * max(4, len(shown)), row_in * n_rows)
    panels = figure.subplots(n_rows, len(shown), squeeze=False)
    for row, one in zip(panels, inversion.inverted, strict=True):
        row[0].set_ylabel(ROW_NAMES[one.kind], fontsize=9)
        for axes, label in zip(row, shown, strict=True):
            _panel(axes, one, label, names[label])
            if inversion.target_class == label and inversion.kind == one.kind:
                for spine in axes.spines.values():
                    spine.set(edgecolor=SUSPECT, linewidth=3.5)
    return figure


def inversion_words(inversion: Inversion, class_names: Sequence[str]) -> str:
    """Describe in words what :func:`inversion_figure` shows."""
    n_shown = len(shown_classes(inversion))
    sentences = [f"Grid of the smallest pattern found towards each of {n_shown} classes, the most suspicious first."]
    for one in inversion.inverted:
        smallest = int(np.argmin(np.where(np.isnan(one.anomaly_index), np.inf, one.norms)))
        if np.isnan(one.anomaly_index).all():
            sentences.append(f"No {one.kind} pattern works.")
            continue
        norms = one.norms[~np.isnan(one.anomaly_index)]
        sentences.append(
            f"The smallest {one.kind} pattern, {norm_text(one.kind, one.norms[smallest])}, leads to "
            f"{class_names[smallest]}; the median of all is {norm_text(one.kind, float(np.median(norms)))}."
        )
    if inversion.target_class is not None:
        sentences.append(f"The {inversion.kind} pattern towards {class_names[inversion.target_class]} is framed.")
    return " ".join(sentences)


def shown_classes(inversion: Inversion) -> list[int]:
    """The classes of the figure, the most suspicious first; those that were only screened have no pattern to show."""
    ranked = most_suspicious_first(inversion.anomaly_index)
    return [label for label in ranked if label not in set(inversion.screened)][:MAX_CLASSES]


def pattern_image(one: InvertedTriggers, label: int) -> np.ndarray:
    """
    Give the picture of a pattern: a patch on a grey image, or a perturbation that is scaled so that 0 is at .5.

    :param one: The patterns of one kind.
    :param label: Class of the pattern.
    :return: Picture, (H, W) or (H, W, 3), 0 to 1.
    """
    low, high = one.clip_values
    pattern, mask = one.patterns[label], one.masks[label]
    if one.kind == "patch":
        picture = mask * (pattern - low) / (high - low) + (1 - mask) * 0.5
    else:
        picture = 0.5 + pattern / max(2 * float(np.abs(pattern).max()), 1e-12)
    if _channels_first(one):
        picture = np.moveaxis(picture, 0, -1)
    picture = picture[..., 0] if picture.shape[-1] == 1 else picture
    clipped: np.ndarray = np.clip(picture, 0, 1)
    return clipped


def most_suspicious_first(anomaly_index: np.ndarray) -> list[int]:
    """Sort the classes from the highest anomaly index (K,) to the lowest. Classes without an index (NaN) come last."""
    return [int(label) for label in np.argsort(-np.nan_to_num(anomaly_index, nan=-np.inf), kind="stable")]


def norm_text(kind: str, norm: float) -> str:
    """Give the size of a pattern with its unit."""
    return f"{norm:.1f} pixels" if kind == "patch" else f"L2 norm {norm:.2f}"


def _channels_first(one: InvertedTriggers) -> bool:
    """Whether the images are (C, H, W): C is 1 or 3, and no side of an image is as short."""
    return one.patterns.shape[1] in (1, 3)


def _panel(axes: Axes, one: InvertedTriggers, label: int, name: str) -> None:
    axes.imshow(pattern_image(one, label), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    index = one.anomaly_index[label]
    size = f"{one.norms[label]:.1f} px" if one.kind == "patch" else f"L2 {one.norms[label]:.2f}"
    judged = "no index" if np.isnan(index) else f"index {index:.2f}"
    axes.set_title(f"{name}\n{size}\nsuccess {one.success_rates[label]:.2f}\n{judged}", fontsize=8.5, pad=4)
    axes.set_anchor("S")
    axes.set_xticks([])
    axes.set_yticks([])
