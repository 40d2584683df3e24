"""What trusted samples say of a group: a part of their class holds some of them, poison holds none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import xlog1py, xlogy
from scipy.stats import binom, norm

from art_plugins.statistics.moments import centre_and_spread

# Share of clean samples that lie on the group's side of its cut, beside the tail of a normal distribution: a discriminant
# is wrong about a few samples for other reasons than their distance.
LEAST_ERROR = 0.01
ACQUITTING = 0.05  # chance that poison holds as many trusted samples by the error of its cut; below it, it is no poison


class TrustedEvidence(NamedTuple):
    """
    ``n``: trusted samples of the classes that a group is in. ``n_inside``: those that lie in the group. ``log_ratio``: how
    much likelier this is if the group is poison than if it is a part of its classes, as a natural logarithm; 0 without
    trusted samples. ``acquits``: the trusted samples in the group are more than the error of its cut explains.
    """

    n: int
    n_inside: int
    log_ratio: float
    acquits: bool


NOTHING = TrustedEvidence(0, 0, 0.0, False)


def trusted_evidence(
    members: np.ndarray, labels: np.ndarray, classes: Sequence[int], trusted: np.ndarray, error: float
) -> TrustedEvidence:
    """
    Count the trusted samples in a group.

    If a group that is a share s of its class is a natural part of it, each trusted sample of the class lies in it with
    probability s. If it is poison, a trusted sample lies in it by the error e of its cut only. So k of m trusted samples in
    the group are ``(e / s)^k ((1 - e) / (1 - s))^(m - k)`` times as likely if it is poison. Without any in it, that is one
    over the binomial p-value ``(1 - s)^m``, but for the error. The classes of a group are independent, so their ratios are
    multiplied.

    If the group is natural, the expected value of the ratio is at most 1, since the share is taken over trusted and other
    samples together (W. Hoeffding, Probability inequalities for sums of bounded random variables, 1963, theorem 4). Such a
    number is called an e-value. A p-value that is divided by an independent e-value is a p-value (N. Ignatiadis, R. Wang,
    A. Ramdas, E-values as unnormalized weights in multiple testing, Biometrika 2024).

    When this breaks: trusted samples that were not drawn as the training samples were. A kind of samples that is in the
    training set only, such as one camera's pictures, then looks like poison.

    :param members: Who is of the group, (n,), bool.
    :param labels: Class of each sample, (n,).
    :param classes: Classes that the group is in.
    :param trusted: Which samples are trusted, (n,), bool.
    :param error: Share of clean samples that are expected on the group's side of its cut, above 0 and below 1; see
        :func:`cut_error`.
    """
    log_ratio, n, n_inside = 0.0, 0, 0
    for label in classes:
        own = labels == label
        of_class = int((trusted & own).sum())
        if of_class:
            inside, share = int((trusted & own & members).sum()), float(members[own].mean())
            log_ratio += log_likelihood_ratio(inside, of_class, share, error)
            n, n_inside = n + of_class, n_inside + inside
    return TrustedEvidence(n, n_inside, log_ratio, n > 0 and at_least(n_inside, n, error) <= ACQUITTING)


def log_likelihood_ratio(n_inside: int, n: int, share: float, error: float) -> float:
    """
    Give the logarithm of how much likelier ``n_inside`` of ``n`` are with the probability ``error`` than with ``share``.

    :param share: 0 to 1. An error above it counts as the share: such a cut tells nothing.
    """
    error, n_outside = min(error, share), n - n_inside
    return float(xlogy(n_inside, error) - xlogy(n_inside, share) + xlog1py(n_outside, -error) - xlog1py(n_outside, -share))


def is_suspect_side(side: np.ndarray, trusted: np.ndarray) -> bool:
    """
    Whether the trusted samples of a class speak more for poison on this side of a split than on the other one.

    :param side: Which samples of the class lie on the side, (m,), bool.
    :param trusted: Which of them are trusted, (m,), bool.
    """
    n, n_inside, share = int(trusted.sum()), int((trusted & side).sum()), float(side.mean())
    here = log_likelihood_ratio(n_inside, n, share, LEAST_ERROR)
    return here >= log_likelihood_ratio(n - n_inside, n, 1 - share, LEAST_ERROR)


def at_least(n_inside: int, n: int, error: float) -> float:
    """Give the probability that at least ``n_inside`` of ``n`` samples lie on the wrong side of a cut of this error."""
    return float(binom.sf(n_inside - 1, n, error))


def cut_error(places: np.ndarray, members: np.ndarray, cut: float) -> float:
    """
    Give the share of the rest's samples that are expected on the group's side of a cut: the tail of a normal distribution
    with the median and the median deviation of the rest, and one in a hundred.

    :param places: Places of samples, (m,).
    :param members: Who of them is of the group, (m,), bool.
    :param cut: Members have a larger place.
    """
    if members.all():
        return LEAST_ERROR
    centre, spread = map(float, centre_and_spread(places[~members], robust=True))
    tail = float(norm.sf((cut - centre) / spread)) if spread > 0 else float(cut < centre)
    return min(LEAST_ERROR + tail, 0.5)
