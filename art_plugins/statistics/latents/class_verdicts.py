"""Scores of classes in, verdicts out: which classes stand out from the others?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from art_plugins.statistics.latents.scoring_settings import FALSE_ALARM_RATE, THRESHOLD
from art_plugins.statistics.outliers import mad_index
from art_plugins.statistics.outlying import LEAST, outlying_scores

# Lower bound of the standard deviation of the contrastive scores of clean classes, in nats: half of a few scores can lie
# close together by chance (measured on Speech Commands: .1 to .2).
LEAST_SIGMA = 0.25


class Verdicts(NamedTuple):
    """As in :class:`~art_plugins.statistics.latents.latent_classes.LatentClasses`."""

    class_index: np.ndarray
    class_p_values: np.ndarray
    class_rule: str
    score_limit: float
    poisoned_classes: list[int]


def judge_scores(
    scores: np.ndarray,
    scoring: str = "contrastive",
    class_rule: str = "auto",
    false_alarm_rate: float = FALSE_ALARM_RATE,
    threshold: float = THRESHOLD,
) -> Verdicts:
    """
    Decide which classes stand out; the parameters are those of
    :class:`~art_plugins.statistics.latents.scoring_settings.ScoringSettings`.

    :param scores: Scores of the classes, (K,); NaN: not judged.
    """
    if class_rule != "argmax" and (~np.isnan(scores)).sum() < LEAST:
        scores = np.full(len(scores), np.nan)
    index = mad_index(scores, LEAST_SIGMA if scoring == "contrastive" else 0.0)
    if class_rule == "auto":
        class_rule = "mad" if scoring == "paper" else "false_alarms"
    outlying = outlying_scores(scores, false_alarm_rate)
    limit = {"false_alarms": outlying.limit, "mad": _score_at(index, scores, threshold)}.get(class_rule, float("nan"))
    p_values = outlying.p_values if scoring == "contrastive" else np.full(len(scores), np.nan)
    return Verdicts(index, p_values, class_rule, limit, _called(scores, index, outlying.called, class_rule, threshold))


def _called(scores: np.ndarray, index: np.ndarray, outlying: np.ndarray, class_rule: str, threshold: float) -> list[int]:
    if class_rule == "argmax":
        return [] if np.isnan(scores).all() else [int(np.nanargmax(scores))]
    called = outlying if class_rule == "false_alarms" else np.nan_to_num(index, nan=0.0) > threshold
    return [int(label) for label in np.flatnonzero(called)]


def _score_at(index: np.ndarray, scores: np.ndarray, threshold: float) -> float:
    """The score whose MAD index is the threshold: the two are linear in each other; NaN where all scores are equal."""
    judged = ~np.isnan(scores)
    if not judged.any() or np.ptp(index[judged]) == 0:
        return float("nan")
    sigma = np.ptp(scores[judged]) / np.ptp(index[judged])
    return float(np.median(scores[judged]) + sigma * threshold)
