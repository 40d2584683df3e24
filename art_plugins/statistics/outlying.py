"""Outlier test for a few scores, with the chance that scores without outliers would be called."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from art_plugins.errors import InvalidInputError

LEAST = 4  # smallest number of scores for a test
# Prior standard deviation of the scores of clean classes, in nats, and the number of scores that it counts as. It is needed
# because a few scores can lie close together by chance, and scores of different classes are not exactly normal.
PRIOR_SPREAD = 0.3
PRIOR_SCORES = 10


class Outlying(NamedTuple):
    """
    ``p_values`` (K,): the family-wise false-alarm rate from which a score would be called an outlier, NaN if it was not
    judged; ``called`` (K,), bool: whether a score is called an outlier; ``limit``: the value above which a score would be
    called, given the scores that are not called; infinite if nothing was judged.
    """

    p_values: np.ndarray
    called: np.ndarray
    limit: float


def outlying_scores(scores: np.ndarray, rate: float) -> Outlying:
    """
    Test whether the highest scores are too high for the normal distribution of the others (one-sided test for several
    outliers, Rosner 1983).

    The i-th highest score is compared with all lower ones by Student's t-test for a new observation, so that two poisoned
    classes do not hide each other. The variance is moderated (Smyth 2004): a prior variance of 0.3^2 nats^2 counts as ten
    further scores. At most a third of the scores are tested, each as the highest of those left (Sidak's correction). With K
    clean classes, the chance that any is called is therefore about ``rate``. The last tested score that is an outlier, and
    all scores above it, are called.

    When this breaks: scores with heavier tails than a normal distribution give more false alarms; with fewer than four
    scores nothing is judged, and with few scores only very high ones are called; more than a third of the classes are
    poisoned.

    :param scores: Shape (K,); higher is more suspicious; NaN for a class that is not judged.
    :param rate: Accepted false-alarm rate: chance that any score is called if there are no outliers, between 0 and 1.
    :raises InvalidInputError: For a rate out of range.
    """
    if not isinstance(rate, (int, float, np.number)) or not 0 < rate < 1:
        raise InvalidInputError(f"false_alarm_rate must be a chance between 0 and 1; received {rate!r}.")
    judged = np.flatnonzero(~np.isnan(scores))
    order = judged[np.argsort(-scores[judged], kind="stable")]
    p_values = np.full(len(scores), np.nan)
    called = np.zeros(len(scores), dtype=bool)
    if len(order) < LEAST:
        return Outlying(p_values, called, float("inf"))
    n_tests = max(1, len(order) // 3)
    tested = [_highest_by_chance(scores[order[i]], scores[order[i + 1 :]]) for i in range(n_tests)]
    # If a score is called, all scores above it are called: its p-value bounds theirs.
    p_values[order[:n_tests]] = np.minimum.accumulate(tested[::-1])[::-1]
    base = scores[order[n_tests:]]
    for rank in range(n_tests, len(order)):
        others = np.delete(base, rank - n_tests)
        alone = _highest_by_chance(scores[order[rank]], others)
        p_values[order[rank]] = max(alone, p_values[order[rank - 1]])
    called[order[:n_tests]] = p_values[order[:n_tests]] < rate
    rest = scores[order[int(called.sum()) :]]
    rest = rest[1:] if not called.any() else rest
    return Outlying(p_values, called, _limit(rest, rate))


def _highest_by_chance(score: float, others: np.ndarray) -> float:
    """Give the chance that the highest of len(others) + 1 scores of one normal distribution is at least ``score``."""
    spread, freedom = _spread(others)
    alone = student.sf((score - others.mean()) / spread, freedom)
    return float(-np.expm1((len(others) + 1) * np.log1p(-min(alone, 1 - 1e-16))))


def _limit(others: np.ndarray, rate: float) -> float:
    """Give the score at which :func:`_highest_by_chance` is ``rate``."""
    spread, freedom = _spread(others)
    alone = -np.expm1(np.log1p(-rate) / (len(others) + 1))
    return float(others.mean() + student.isf(alone, freedom) * spread)


def _spread(others: np.ndarray) -> tuple[float, int]:
    """Give the standard deviation of a new score around the mean of the others, and its degrees of freedom."""
    squares = ((others - others.mean()) ** 2).sum() + PRIOR_SCORES * PRIOR_SPREAD**2
    freedom = len(others) - 1 + PRIOR_SCORES
    return float(np.sqrt(squares / freedom * (1 + 1 / len(others)))), freedom
