"""Which of a few numbers stands out on the high side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MAD_TO_SIGMA = 1.4826  # makes the median absolute deviation of a normal distribution its standard deviation
MEAN_DEVIATION_TO_SIGMA = 1.2533


def mad_index(values: np.ndarray, least_sigma: float = 0.0) -> np.ndarray:
    """
    (value - median) / (1.4826 MAD), signed: higher is further out on the high side.

    When more than half of the values are equal, MAD is 0 and the mean absolute deviation takes its place (Iglewicz and
    Hoaglin 1993); when all are equal, every index is 0. NaN values are left out and stay NaN.

    :param values: Shape (k,).
    :param least_sigma: Lower bound of the standard deviation, in units of the values: half of a few values can lie close
        together by chance.
    :return: Shape (k,).
    """
    index = np.full(len(values), np.nan)
    known = np.isfinite(values)
    if not known.any():
        return index
    deviations = values[known] - np.median(values[known])
    sigma = MAD_TO_SIGMA * np.median(np.abs(deviations))
    if sigma == 0:
        sigma = MEAN_DEVIATION_TO_SIGMA * np.abs(deviations).mean()
    sigma = max(sigma, least_sigma)
    index[known] = deviations / sigma if sigma > 0 else 0.0
    return index


def highest(index: np.ndarray, threshold: float) -> int | None:
    """The class of the highest index, ``None`` if it is not above the threshold; NaN never is."""
    if not np.isfinite(index).any() or np.nanmax(index) <= threshold:
        return None
    return int(np.nanargmax(index))


def combined_index(indices: Sequence[np.ndarray]) -> np.ndarray:
    """
    Stouffer's sum of standardised indices of several kinds of pattern.

    :param indices: (K,) each; NaN, where no pattern succeeded, speaks neither for nor against the class.
    :return: (K,), NaN where no kind of pattern succeeded.
    """
    known = np.isfinite(indices).any(axis=0)
    return np.where(known, np.nansum(indices, axis=0) / np.sqrt(len(indices)), np.nan)


def norm_index(norms: np.ndarray, succeeded: np.ndarray, least_sigma: float) -> np.ndarray:
    """
    How far the logarithm of each norm lies below the median, in robust standard deviations.

    A class without a pattern that succeeds needs a larger one than was tried, and a larger one than the others': such a
    lower bound takes its norm's place among those that the others are compared with.

    :param norms: (K,), above 0.
    :param succeeded: (K,), bool.
    :return: (K,), NaN where no pattern succeeded.
    """
    if not succeeded.any():
        return np.full(len(norms), np.nan)
    bounds = np.where(succeeded, norms, np.maximum(norms, norms[succeeded].max()))
    return np.where(succeeded, mad_index(-np.log(bounds), least_sigma), np.nan)
