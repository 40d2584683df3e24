"""Thresholds on scores that are standardised to benign samples, and how training samples lie beside benign ones."""

from __future__ import annotations

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.parameters import check_number
from art_plugins.statistics.thresholds import threshold_at_fpr

FALSE_DISCOVERIES = 0.1  # share of benign samples among those that are caught: a usual number for this rate
TAIL = 0.1  # share of benign samples from which it is learned how high they score: with 200 samples, 20


def benign_threshold(scores: np.ndarray, tau: float | None = None, fpr: float | None = None) -> float:
    """
    A threshold on scores that are standardised to benign samples. Scores above it are suspicious.

    :param scores: Scores of benign samples on which the model of the scores was not fitted, (n,).
    :param tau: The threshold in standard deviations above the mean of benign samples.
    :param fpr: False-positive rate, the share of benign samples that may be caught, 0 to below 1.
    :raises InvalidInputError: If not exactly one of both is given, or if it is out of range.
    """
    check_terms(tau, fpr)
    return float(tau) if tau is not None else threshold_at_fpr(scores, float(fpr or 0))


def threshold_at_fdr(scores: np.ndarray, benign: np.ndarray, rate: float = FALSE_DISCOVERIES) -> float:
    """
    A threshold above which a share ``rate`` of the samples is expected to be benign (false-discovery rate, Benjamini and
    Hochberg 1995). Where all samples are benign, the chance that any is above it is ``rate``.

    The p-value of a score is how likely a benign sample scores as high. Scores above nine tenths of the benign ones are
    taken for exponential, since one sample among thousands needs a smaller p-value than the share of any benign score.
    Their mean is that of few scores, j, so that it is the predictive distribution that counts: the excess over this mean
    has Fisher's distribution of 2 and 2 j degrees of freedom, with a chance of ``(1 + excess / (j mean)) ** -j``.

    When this breaks: benign scores with a heavier tail; a tenth of the benign scores or more are the same, and the highest:
    nothing is called then; samples that score higher than the benign ones for another reason.

    :param scores: Scores of samples, (n,), finite.
    :param benign: Scores of benign samples on which the model of the scores was not fitted, (m,), finite, m at least 1.
    :param rate: 0 to 1; more than 0.
    """
    border = float(np.quantile(benign, 1 - TAIL))
    above = benign[benign > border] - border
    if not len(scores) or not len(above):  # there is nobody to call, or no tail to learn from
        return max(border, float(scores.max(initial=border)))
    ordered, ranks = np.sort(scores)[::-1], np.arange(1, len(scores) + 1)
    share = (len(above) + 1) / (len(benign) + 1)
    times = np.maximum(share * len(scores) / (rate * ranks), 1)  # that a benign score is likelier beyond the border
    limits = border + len(above) * above.mean() * (times ** (1 / len(above)) - 1)
    reached = np.flatnonzero(ordered > limits)
    return float(limits[reached[-1] if len(reached) else 0])


def check_terms(tau: float | None, fpr: float | None) -> None:
    """
    :raises InvalidInputError: If not exactly one of both is given, or if it is out of range.
    """
    given = {name: value for name, value in (("tau", tau), ("fpr", fpr)) if value is not None}
    if len(given) != 1:
        said = " and ".join(f"{name}={value!r}" for name, value in given.items()) or "none"
        raise InvalidInputError(f"Give exactly one of tau and fpr; received {said}.")
    if tau is not None:
        check_number("tau", tau, "a finite number")
    else:
        check_number("fpr", fpr, "a share", least=0, below=1)


def typical_shift(scores: np.ndarray, labels: np.ndarray, benign: np.ndarray, benign_labels: np.ndarray) -> float:
    """
    How much higher samples score than benign samples of the same class, in the typical class.

    For each class it is the difference between the median score of the samples and that of the benign samples. The result
    is the median of these differences over the classes. A minority of a class, or a minority of the classes, does not move
    it far.

    :param scores: (n,).
    :param labels: Classes of these samples, (n,).
    :param benign: Scores of benign samples, (m,).
    :param benign_labels: Classes of these samples, (m,).
    :return: 0 if no class is in both.
    """
    shared = np.intersect1d(labels, benign_labels)
    differences = [np.median(scores[labels == label]) - np.median(benign[benign_labels == label]) for label in shared]
    return float(np.median(differences)) if differences else 0.0
