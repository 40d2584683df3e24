"""How clearly a group stands apart from the rest of its class: pure functions of its samples' places."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import beta

from art_plugins.statistics.moments import centre_and_spread

MOST_DEVIATIONS = 1e6  # of two groups that are points: a number that a report can hold
FIFTH = 0.2  # of the way from the rest to the group
CONFIDENCE = 0.95
BETWEEN = np.arange(2, 15) / 20  # where fifths start that reach into neither of those about the medians


class Evidence(NamedTuple):
    """
    What is known of a group: ``separation`` as the function of this name gives it, ``valley`` as :func:`valley_bound` does,
    ``n_members`` and ``share`` of the class.
    """

    separation: float
    valley: float
    n_members: int
    share: float

    @property
    def clearness(self) -> float:
        """
        Separation times the logarithm of one over the valley, ``separation * ln(1 / valley)``; 0 where there is no valley.

        Each alone is deceived: two halves of one heavy-tailed crowd lie far apart by their medians, and a few outliers have
        an empty space before them.
        """
        return self.separation * max(0.0, -float(np.log(self.valley)))


def separation(places: np.ndarray, members: np.ndarray) -> float:
    """
    How far the medians of a group and of the rest lie apart, in robust deviations (root mean square of both).

    :param places: (m,), see :class:`~art_plugins.groups.discriminant.Settled`.
    :param members: Who is of the group, (m,), bool; both sides have samples.
    :return: Deviations; 1,000,000 at most, where neither side varies.
    """
    (upper, of_group), (lower, of_rest) = (centre_and_spread(places[part], robust=True) for part in (members, ~members))
    spread = float(np.sqrt((of_group**2 + of_rest**2) / 2))
    return float(min(MOST_DEVIATIONS, (upper - lower) / spread)) if spread > 0 else MOST_DEVIATIONS


def valley(places: np.ndarray, peaks: np.ndarray | None = None) -> float:
    """
    How empty the space between a group and the rest is: the samples in the emptiest fifth of the way from one median to the
    other, over those in a fifth about either median, whichever are fewer.

    One is added to both, so that a few samples prove little. In a density of one peak the ratio is about 1, and less by
    chance only.

    :param places: (m,).
    :param peaks: Places of the samples that are counted about the medians; ``None``: of the same.
    :return: Above 0; less is clearer.
    """
    n_between, n_about = _counts(places, peaks)
    return (n_between + 1) / (n_about + 1)


def valley_bound(places: np.ndarray, peaks: np.ndarray | None = None) -> float:
    """
    How full the space between a group and the rest may be, by all that so few samples prove.

    The counts of :func:`valley` are drawn from two rates, and this is the upper limit of their ratio at a confidence of
    .95 (Clopper and Pearson 1934, since one count is binomial given the sum of both). Nobody between 8 and 8 samples is
    compatible with a valley of .45, nobody between 200 and 200 with one of .015. Sub-populations of small classes would
    else look like poison: in a class of 100 samples there may be nobody between them, who is there among 1,500.

    :param places: (m,).
    :param peaks: As in :func:`valley`.
    :return: Above 0, 1 at most.
    """
    n_between, n_about = _counts(places, peaks)
    if n_about == 0:
        return 1.0
    share = float(beta.ppf(CONFIDENCE, n_between + 1, n_about))
    return min(1.0, share / (1 - share))


def _counts(places: np.ndarray, peaks: np.ndarray | None) -> tuple[int, int]:
    """How many samples lie in the emptiest fifth between the medians, and in the emptier fifth about one of them."""
    between = _count(places, BETWEEN)
    about_medians = _count(places if peaks is None else peaks, np.array([-FIFTH / 2, 1 - FIFTH / 2]))
    return int(between.min()), int(about_medians.min())


def _count(places: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """How many places lie in the fifths that begin at each start."""
    ordered = np.sort(places)
    found: np.ndarray = np.searchsorted(ordered, starts + FIFTH) - np.searchsorted(ordered, starts)
    return found


def evidence_of(places: np.ndarray, members: np.ndarray) -> Evidence:
    """Give the evidence on a group, from its samples' places, (m,), and who is a member, (m,), bool."""
    return Evidence(separation(places, members), valley_bound(places), int(members.sum()), float(members.mean()))
