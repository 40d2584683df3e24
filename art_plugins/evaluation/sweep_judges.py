"""One set of a sweep, judged by every scoring: an attack on one class, or a clean draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score

from art_plugins.evaluation.encoded import EncodedData
from art_plugins.evaluation.metrics import rank_of
from art_plugins.features.views import Views
from art_plugins.statistics.latents.class_verdicts import judge_scores
from art_plugins.statistics.latents.contrast import contrast_classes
from art_plugins.statistics.latents.crowds import find_crowds, split_crowd
from art_plugins.statistics.latents.latent_classes import cluster_latent_classes
from art_plugins.statistics.latents.scoring_settings import ScoringSettings
from art_plugins.statistics.latents.scorings import split_contrasted

RESAMPLED = 0.9  # share of every class that a clean draw has, drawn without replacement
# Which windows each scoring sees; None: it sees the latents of whole samples instead.
WINDOWS = {"contrastive": "all", "steps": "steps", "frames": "frames", "latents": None, "paper": None}


def judge(
    views: Views, labels: np.ndarray, nb_classes: int, known: Mapping[str, Any] | None = None, changed: Sequence[int] = ()
) -> dict[str, Any]:
    """
    Compute the class scores by every scoring.

    :param known: What this function gave for data that differ only in the classes ``changed``. The scores of the other
        classes are taken from it, but for those from the latents of whole samples, which take no time.
    :return: ``crowds``; ``contrasts`` of the latents of whole samples; for each scoring its ``class_scores`` (K,); and the
        ``suspects`` (n,) of the paper's procedure.
    """
    crowds = find_crowds(views.windows, labels, nb_classes, known=known["crowds"] if known else None, changed=changed)
    found: dict[str, Any] = {"crowds": crowds}
    for name, windows in WINDOWS.items():
        if windows is not None:
            found[name] = crowds.of_views(_chosen(views, windows)).class_scores
    found["contrasts"] = contrast_classes(views.latents, labels, nb_classes)
    found["latents"] = np.array([np.nan if one is None else one.score() for one in found["contrasts"]])
    paper, only = ScoringSettings(scoring="paper"), changed if known else None
    judged = cluster_latent_classes(views.latents, labels, nb_classes, settings=paper, only=only)
    scores = judged.class_scores
    found["paper"] = scores if known is None else np.where(np.isnan(scores), known["paper"], scores)
    found["suspects"] = judged.suspects
    return found


def judge_attack(
    data: EncodedData, clean: Mapping[str, Any], trigger: str, source: int, target: int, fraction: float, seed: int
) -> dict[str, Any]:
    """
    Poison ``int(fraction * n_source)`` clips of the source class, drawn without replacement, and judge the set.

    Only the source and the target are judged anew: the samples of the other classes are the same, and their scores are
    those of the clean set. The target is split and called as the defence does by default.

    :return: What was done, and for each scoring the target's ``score`` (NaN: too few samples to judge), its ``rank`` among
        the classes, ``found`` (called poisoned), the ``p_value``, and the ``ari`` of its two halves.
    """
    of_source = np.flatnonzero(data.labels == source)
    random = np.random.default_rng([seed, source, target])
    chosen = random.choice(of_source, size=max(1, int(fraction * len(of_source))), replace=False)
    labels = data.labels.copy()
    labels[chosen] = target
    views = _with_rows(data.clean, data.triggered[trigger], chosen)
    found = judge(views, labels, len(data.class_names), clean, (source, target))
    is_poison = np.isin(np.flatnonzero(labels == target), chosen)
    row = {
        "trigger": trigger,
        "source": data.class_names[source],
        "target": data.class_names[target],
        "fraction": fraction,
        "seed": seed,
        "n_poison": len(chosen),
        "n_target": len(is_poison),
    }
    for name, windows in WINDOWS.items():
        scores = found[name]
        contrast = found["contrasts"][target]
        if name == "paper":
            halves = found["suspects"][labels == target]
        elif windows is None:
            halves = np.zeros(len(is_poison)) if contrast is None else split_contrasted(contrast).labels
        else:
            halves = split_crowd(found["crowds"].of_views(_chosen(views, windows)), labels, target).labels
        verdicts = judge_scores(scores, _scoring(name))
        row[name] = {
            "score": float(scores[target]),
            "rank": rank_of(scores, target),
            "found": target in verdicts.poisoned_classes,
            "p_value": None if name == "paper" else float(verdicts.class_p_values[target]),
            "ari": float(adjusted_rand_score(is_poison, halves)),
        }
    return row


def judge_clean(data: EncodedData, seed: int) -> dict[str, Any]:
    """
    Judge a random draw of nine tenths of every class, without poison.

    :return: For each scoring its ``scores`` (NaN: not judged), and ``n_called``, the number of classes that are called
        poisoned.
    """
    random = np.random.default_rng(seed)
    kept = np.sort(
        np.concatenate(
            [
                random.choice(rows, size=round(RESAMPLED * len(rows)), replace=False)
                for rows in (np.flatnonzero(data.labels == label) for label in range(len(data.class_names)))
            ]
        )
    )
    views = _each(data.clean, lambda array: array[kept])
    found = judge(views, data.labels[kept], len(data.class_names))
    row: dict[str, Any] = {"seed": seed}
    for name in WINDOWS:
        called = judge_scores(found[name], _scoring(name)).poisoned_classes
        row[name] = {"scores": found[name].tolist(), "n_called": len(called)}
    return row


def _scoring(name: str) -> str:
    return "paper" if name == "paper" else "contrastive"


def _chosen(views: Views, which: str) -> list[int]:
    n_steps, n_windows = len(views.steps), len(views.windows)
    return list({"all": range(n_windows), "steps": range(n_steps), "frames": range(n_steps, n_windows)}[which])


def _with_rows(clean: Views, triggered: Views, rows: np.ndarray) -> Views:
    def replaced(before: np.ndarray, after: np.ndarray) -> np.ndarray:
        mixed = before.copy()
        mixed[rows] = after[rows]
        return mixed

    return Views(
        replaced(clean.latents, triggered.latents),
        [replaced(*pair) for pair in zip(clean.steps, triggered.steps, strict=True)],
        [replaced(*pair) for pair in zip(clean.frames, triggered.frames, strict=True)],
    )


def _each(views: Views, change: Callable[[np.ndarray], np.ndarray]) -> Views:
    return Views(change(views.latents), [*map(change, views.steps)], [*map(change, views.frames)])
