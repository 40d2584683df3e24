"""The ranking of the classes by all evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from art_plugins.groups.cuts import LEAST_MEMBERS
from art_plugins.inspection.evidence.examine import LATENTS, NETWORK, Examined
from art_plugins.inspection.evidence.found import LOOK_HERE, POISON
from art_plugins.inspection.evidence.latents import latent_rows
from art_plugins.inspection.scan_words import NOTHING_FOUND, POISONED


def rank_classes(examined: Examined, labels: np.ndarray, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """
    The classes as JSON-safe rows, the most suspicious first.

    A class is poisoned if any evidence says so. The order is that of the index of the latents. If the network alone calls a
    class poisoned, the poisoned classes come first. Where latents were not looked at, no class has an index.
    """
    rows, is_new = _rows(examined, labels, class_names), False
    for row in rows:
        label = class_names.index(row["name"])
        groups = [group for group in examined.groups if group.label == label and group.verdict == POISON]
        if not groups:
            continue
        is_new |= row["verdict"] != POISONED
        row["n_called_poison"] = row["n_suspects"] = int(sum(group.members.sum() for group in groups))
        p_values = [p for p in (row["p_value"], *(group.p_value for group in groups)) if p is not None]
        row["p_value"], row["verdict"] = min(p_values, default=None), POISONED
    return sorted(rows, key=lambda row: row["verdict"] != POISONED) if is_new else rows


def _rows(examined: Examined, labels: np.ndarray, class_names: Sequence[str]) -> list[dict[str, Any]]:
    if examined.left_out[LATENTS] is None and examined.defence is not None:
        return latent_rows(examined.defence, class_names, examined.n_verdicts)
    rows = []
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    for label, (name, n) in enumerate(zip(class_names, counts, strict=True)):
        if examined.left_out[NETWORK] is not None:
            verdict = "not judged: no evidence of poison was looked at"
        elif n < 2 * LEAST_MEMBERS:
            verdict = f"not judged: {n} samples"
        else:
            verdict = NOTHING_FOUND
        row = {"name": name, "n_files": n, "mad_index": None, "p_value": None, "class_score": None}
        sizes = [int(one.members.sum()) for one in examined.groups if (one.label, one.verdict) == (label, LOOK_HERE)]
        rows.append(row | {"n_suspects": max(sizes, default=0), "n_called_poison": 0, "verdict": verdict})
    return rows
