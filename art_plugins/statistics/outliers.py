"""Outlier indices: they say how far a number lies above the others, in robust standard deviations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Factors that turn the median and the mean absolute deviation of a normal distribution into its standard deviation.
MAD_TO_SIGMA = 1.4826
MEAN_DEVIATION_TO_SIGMA = 1.2533


def mad_index(values: np.ndarray, least_sigma: float = 0.0) -> np.ndarray:
    """
    Give (value - median) / (1.4826 MAD), where MAD is the median absolute deviation. A higher index is more suspicious.

    If more than half of the values are equal, MAD is 0, and the mean absolute deviation is used instead (Iglewicz and
    Hoaglin 1993). If all values are equal, every index is 0. NaN values are ignored and stay NaN.

    :param values: Shape (k,).
    :param least_sigma: Lower bound of the standard deviation, in units of the values, because a few values can lie close
        together by chance.
    :return: Index of each value, shape (k,).
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
    """Give the class of the highest index, or ``None`` if that index is NaN or not above the threshold."""
    if not np.isfinite(index).any() or np.nanmax(index) <= threshold:
        return None
    return int(np.nanargmax(index))


def combined_index(indices: Sequence[np.ndarray]) -> np.ndarray:
    """
    Add the indices of several kinds of pattern and divide by the square root of their number (Stouffer et al. 1949).

    :param indices: For each kind the indices of the classes, (K,). NaN, where no pattern succeeded, counts as 0.
    :return: Shape (K,); NaN where no kind of pattern succeeded.
    """
    known = np.isfinite(indices).any(axis=0)
    return np.where(known, np.nansum(indices, axis=0) / np.sqrt(len(indices)), np.nan)


def norm_index(norms: np.ndarray, succeeded: np.ndarray, least_sigma: float) -> np.ndarray:
    """
    Say how far the logarithm of each norm lies below the median, in robust standard deviations.

    If no pattern succeeded for a class, the class needs a pattern larger than the one tried, and larger than those of the
    other classes. This lower bound replaces its norm in the comparison.

    :param norms: Norm of each class's pattern, (K,), above 0.
    :param succeeded: Whether the pattern succeeded, (K,), bool.
    :param least_sigma: Lower bound of the standard deviation of the logarithms.
    :return: Index of each class, (K,); NaN where no pattern succeeded.
    """
    if not succeeded.any():
        return np.full(len(norms), np.nan)
    bounds = np.where(succeeded, norms, np.maximum(norms, norms[succeeded].max()))
    return np.where(succeeded, mad_index(-np.log(bounds), least_sigma), np.nan)
