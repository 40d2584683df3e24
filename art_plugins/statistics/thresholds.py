"""From scores to verdicts: an image is caught when its score is above the threshold, ``score > threshold``."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from art_plugins.errors import InvalidInputError


class OperatingPoint(NamedTuple):
    """``tpr``: caught share of the triggered samples; ``fpr``: of the clean ones; both 0 to 1."""

    threshold: float
    tpr: float
    fpr: float


def threshold_at_fpr(clean_scores: np.ndarray, fpr: float) -> float:
    """
    The smallest threshold above which lies at most a share ``fpr`` of the clean scores.

    When this breaks: from n scores no share below 1 / n but 0 can be set, and equal scores are caught all or none, so the
    share that is reached may be far below ``fpr``.

    :param clean_scores: Shape (n,); higher is more suspicious.
    :param fpr: Accepted false-positive rate, 0 to 1.
    :return: One of the scores; minus infinity for ``fpr`` 1.
    :raises InvalidInputError: For no scores, NaN, or ``fpr`` out of range.
    """
    scores = _checked(clean_scores, "clean_scores", fpr)
    # At most k of n may lie above; the sorted shares are compared, since fpr * n may round to below a whole number.
    n_above = int(np.searchsorted(np.arange(len(scores) + 1) / len(scores), fpr, side="right")) - 1
    return float(np.sort(scores)[::-1][n_above]) if n_above < len(scores) else -np.inf


def best_tpr_near_fpr(clean_scores: np.ndarray, trigger_scores: np.ndarray, fpr: float = 0.05) -> OperatingPoint:
    """
    Sweep the threshold over test data and take the best true-positive rate at the false-positive rate that is closest to
    ``fpr``, as Li et al. 2022 do for the baselines (section 5.2; they say "around 5 %").

    A baseline that is measured so has seen the test data; a deployed one has not (:func:`threshold_at_fpr`).

    When this breaks: where many clean scores are equal, no rate near ``fpr`` exists; read the one that is returned.

    :param clean_scores: Shape (n,); higher is more suspicious.
    :param trigger_scores: Shape (m,), of triggered samples.
    :param fpr: 0 to 1. Of two rates that are equally close, the one with more triggers caught is taken.
    :raises InvalidInputError: For no scores, NaN, or ``fpr`` out of range.
    """
    clean = np.sort(_checked(clean_scores, "clean_scores", fpr))
    triggered = np.sort(_checked(trigger_scores, "trigger_scores", fpr))
    # Between two clean scores the false-positive rate does not change, and the lower end catches most.
    thresholds = np.concatenate([[-np.inf], np.unique(clean)])
    n_false = len(clean) - np.searchsorted(clean, thresholds, side="right")
    n_true = len(triggered) - np.searchsorted(triggered, thresholds, side="right")
    distances = np.round(np.abs(n_false - fpr * len(clean)), 6)  # fpr * n is not exact, and would part equal distances
    best = np.lexsort((-n_true, distances))[0]
    return OperatingPoint(float(thresholds[best]), float(n_true[best] / len(triggered)), float(n_false[best] / len(clean)))


def _checked(scores: np.ndarray, name: str, fpr: float) -> np.ndarray:
    if not 0 <= fpr <= 1:
        raise InvalidInputError(f"fpr must be a share from 0 to 1; received {fpr}.")
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0:
        raise InvalidInputError(f"{name} must hold one score a sample, of at least one; received shape {array.shape}.")
    if np.isnan(array).any():
        raise InvalidInputError(f"Score {int(np.isnan(array).argmax())} of {name} is NaN; drop what was not judged.")
    return array
