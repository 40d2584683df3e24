"""What the report of VAE latent clustering says of each class, and its warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.defences.latents.images import patch_reports, patch_warnings
from art_plugins.defences.latents.sounds import sound_reports, sound_warnings
from art_plugins.groups.sounds.sound_search import SharedSounds
from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.latents.latent_classes import HETEROGENEOUS_FROM, LatentClasses


def latent_report(
    result: LatentClasses,
    searched: Mapping[str, SharedSounds],
    labels: np.ndarray,
    nb_classes: int,
    notices: Sequence[str],
) -> dict[str, Any]:
    """
    Give the verdicts on the classes as a JSON-safe report.

    :param result: Scores and verdicts of the classes, and the suspects among the samples.
    :param searched: What samples share, by kind; empty: nothing was searched for.
    :param labels: Class of each sample, (n,).
    :param nb_classes: Number of classes.
    :param notices: Further warnings.
    :return: ``poisoned_classes``, ``classes_not_judged``, ``warnings``, an entry ``Class_i`` for each class,
        ``class_rule``, ``score_limit`` and ``nb_dims``.
    """
    reports_of, warnings_of = (patch_reports, patch_warnings) if "patch" in searched else (sound_reports, sound_warnings)
    warnings = [
        *_not_judged_warnings(result, np.bincount(labels, minlength=nb_classes)),
        *warnings_of(searched, labels),
        *notices,
    ]
    classes = {}
    for label, indices in enumerate(indices_by_class(labels, nb_classes)):
        classes[f"Class_{label}"] = _class_report(result, label, indices) | reports_of(searched, labels, label)
        warnings += _split_warnings(label, classes[f"Class_{label}"])
    return {
        "poisoned_classes": result.poisoned_classes,
        "classes_not_judged": sorted(result.not_judged),
        "warnings": warnings,
        **classes,
        "class_rule": result.class_rule,
        "score_limit": _json_number(result.score_limit),
        "nb_dims": result.nb_dims,
    }


def _class_report(result: LatentClasses, label: int, indices: np.ndarray) -> dict[str, Any]:
    poisoned = label in result.poisoned_classes
    n_suspects = int(result.suspects[indices].sum())
    reason = result.not_judged.get(label)
    return {
        "n_samples": len(indices),
        "class_score": _json_number(result.class_scores[label]),
        "mad_index": _json_number(result.class_index[label]),
        "p_value": _json_number(result.class_p_values[label]),
        "n_suspects": n_suspects,
        "n_removed": n_suspects if poisoned else 0,
        "verdict": "poisoned" if poisoned else f"not judged: {reason}" if reason else "clean",
    }


def _split_warnings(label: int, report: Mapping[str, Any]) -> list[str]:
    """What a reader must know of the split of a poisoned class."""
    n_samples, n_suspects = report["n_samples"], report["n_suspects"]
    if report["verdict"] != "poisoned":
        return []
    if n_suspects == 0:
        return [f"Class {label} is called poisoned, but the trials disagree on which samples are: none is removed."]
    if n_suspects > HETEROGENEOUS_FROM * n_samples:
        return [
            f"Class {label} splits {n_suspects} to {n_samples - n_suspects}: the first part is removed, but "
            "look at samples of both parts before you trust that it is the poison."
        ]
    return []


def _not_judged_warnings(result: LatentClasses, sizes: np.ndarray) -> list[str]:
    """One sentence for each reason: samples that were not judged pass as clean, which must not look like a verdict."""
    by_reason: dict[str, list[int]] = {}
    for label, reason in result.not_judged.items():
        if sizes[label]:
            by_reason.setdefault(reason, []).append(label)
    warnings = []
    for reason, labels in by_reason.items():
        which = f"Class {labels[0]}" if len(labels) == 1 else f"Classes {_some(labels)}"
        warnings.append(f"{which} cannot be judged ({reason}): poison in there passes.")
    if len(result.not_judged) == len(sizes):
        scored = bool(np.isfinite(result.class_scores).any())
        remedy = (
            " Look at the suspects of each class; class_rule='argmax' removes those of the highest score." if scored else ""
        )
        warnings.insert(0, f"No class can be judged: this result does not say that the data are clean.{remedy}")
    return warnings


def _some(labels: list[int], most: int = 10) -> str:
    listed = ", ".join(str(label) for label in labels[:most])
    return listed if len(labels) <= most else f"{listed} and {len(labels) - most} more"


def json_value(value: Any) -> Any:
    """Give the value of a parameter as JSON has it: a path as text, and an object by the name of its type."""
    if isinstance(value, dict):
        return {name: json_value(inner) for name, inner in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value) if isinstance(value, Path) else type(value).__name__


def _json_number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
