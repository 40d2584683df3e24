"""Choice of a detector's threshold. An image is detected if its score is above the threshold, ``score > threshold``."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from art_plugins.errors import InvalidInputError


class OperatingPoint(NamedTuple):
    """A threshold, and the shares, 0 to 1, of triggered (``tpr``) and of clean samples (``fpr``) that it detects."""

    threshold: float
    tpr: float
    fpr: float


def threshold_at_fpr(clean_scores: np.ndarray, fpr: float) -> float:
    """
    Give the smallest threshold above which at most a share ``fpr`` of the clean scores lies.

    When this breaks: with n scores, the only share below 1 / n is 0, and equal scores are all above a threshold or all not.
    The false-positive rate that is reached may therefore be far below ``fpr``.

    :param clean_scores: Shape (n,); higher is more suspicious.
    :param fpr: Accepted false-positive rate, 0 to 1.
    :return: One of the scores; minus infinity if ``fpr`` is 1.
    :raises InvalidInputError: For no scores, NaN, or ``fpr`` out of range.
    """
    scores = _checked(clean_scores, "clean_scores", fpr)
    # Shares are compared, because fpr * n may be rounded to just below a whole number.
    n_above = int(np.searchsorted(np.arange(len(scores) + 1) / len(scores), fpr, side="right")) - 1
    return float(np.sort(scores)[::-1][n_above]) if n_above < len(scores) else -np.inf


def best_tpr_near_fpr(clean_scores: np.ndarray, trigger_scores: np.ndarray, fpr: float = 0.05) -> OperatingPoint:
    """
    Find the threshold on test data whose false-positive rate is closest to ``fpr``, and of these the one with the highest
    true-positive rate. Li et al. 2022 do so for the baselines (section 5.2; they say "around 5 %").

    A baseline that is measured in this way has seen the test data. A deployed detector has not: it uses
    :func:`threshold_at_fpr`.

    When this breaks: if many clean scores are equal, no rate close to ``fpr`` exists; read the rate that is returned.

    :param clean_scores: Shape (n,); higher is more suspicious.
    :param trigger_scores: Scores of triggered samples, shape (m,).
    :param fpr: Wanted false-positive rate, 0 to 1.
    :raises InvalidInputError: For no scores, NaN, or ``fpr`` out of range.
    """
    clean = np.sort(_checked(clean_scores, "clean_scores", fpr))
    triggered = np.sort(_checked(trigger_scores, "trigger_scores", fpr))
    # The false-positive rate is constant between two clean scores, and the lower of them detects most.
    thresholds = np.concatenate([[-np.inf], np.unique(clean)])
    n_false = len(clean) - np.searchsorted(clean, thresholds, side="right")
    n_true = len(triggered) - np.searchsorted(triggered, thresholds, side="right")
    distances = np.round(np.abs(n_false - fpr * len(clean)), 6)  # fpr * n is not exact, so equal distances could differ
    best = np.lexsort((-n_true, distances))[0]
    return OperatingPoint(float(thresholds[best]), float(n_true[best] / len(triggered)), float(n_false[best] / len(clean)))


def _checked(scores: np.ndarray, name: str, fpr: float) -> np.ndarray:
    if not 0 <= fpr <= 1:
        raise InvalidInputError(f"fpr must be a share from 0 to 1; received {fpr}.")
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0:
        raise InvalidInputError(f"{name} must be of shape (n,) with n >= 1; received shape {array.shape}.")
    if np.isnan(array).any():
        raise InvalidInputError(
            f"Score {int(np.isnan(array).argmax())} of {name} is NaN; remove samples that were not judged."
        )
    return array
