"""Which of a few scores stand out, and how often that many equal ones would give such scores by chance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from art_plugins.errors import InvalidInputError

LEAST = 4  # scores that are needed to say that one of them stands out
# What is known of the spread of clean classes' scores before any is seen, in nats, and how many scores it counts as:
# a few can lie close together by chance, and classes that differ by nature are no normal law.
PRIOR_SPREAD = 0.3
PRIOR_SCORES = 10


class Outlying(NamedTuple):
    """
    ``p_values`` (K,): the family-wise false-alarm rate at which each would just be called, NaN where not judged;
    ``called`` (K,), bool; ``limit``: the score above which one is called beside those that are not, infinite where none
    can be.
    """

    p_values: np.ndarray
    called: np.ndarray
    limit: float


def outlying_scores(scores: np.ndarray, rate: float) -> Outlying:
    """
    One-sided many-outlier test (Rosner 1983): are the highest scores too high for the normal law of the others?

    The i-th highest is compared with all lower ones by Student's t, as a new observation from their law, so that two
    poisoned classes do not hide each other. Their variance is moderated (Smyth 2004): it counts beside a prior one, .3
    nats squared, as ten further scores would. At most a third are tested, each as the highest of those left (Sidak), so
    that data of K equal classes have any of them called with a chance of about ``rate``. Of those tested, all down to the
    last that stands out are called; the others' values are those of the i-th highest at most.

    When this breaks: scores with heavier tails than the normal law give more false alarms (classes that differ by nature
    do); with fewer than four scores nothing is judged, and with few little can stand out; more than a third poisoned.

    :param scores: Shape (K,); higher is more suspicious; NaN: not judged.
    :param rate: Accepted chance that a set without outliers has any called, between 0 and 1.
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
    # A class stands out with all above it: its value is the least from it on.
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
    """Chance that the highest of len(others) + 1 equal scores stands out so far."""
    spread, freedom = _spread(others)
    alone = student.sf((score - others.mean()) / spread, freedom)
    return float(-np.expm1((len(others) + 1) * np.log1p(-min(alone, 1 - 1e-16))))


def _limit(others: np.ndarray, rate: float) -> float:
    """The score at which :func:`_highest_by_chance` is ``rate``."""
    spread, freedom = _spread(others)
    alone = -np.expm1(np.log1p(-rate) / (len(others) + 1))
    return float(others.mean() + student.isf(alone, freedom) * spread)


def _spread(others: np.ndarray) -> tuple[float, int]:
    """Standard deviation of a new score about the mean of the others, and its degrees of freedom."""
    squares = ((others - others.mean()) ** 2).sum() + PRIOR_SCORES * PRIOR_SPREAD**2
    freedom = len(others) - 1 + PRIOR_SCORES
    return float(np.sqrt(squares / freedom * (1 + 1 / len(others)))), freedom
