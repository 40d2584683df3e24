"""Outlier indices: they say how far a number lies above the others, in robust standard deviations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Factors that turn the median and the mean absolute deviation of a normal distribution into its standard deviation.
MAD_TO_SIGMA = 1.4826
MEAN_DEVIATION_TO_SIGMA = 1.2533


def mad_index(values: np.ndarray, least_sigma: float = 0.0, counts: np.ndarray | None = None) -> np.ndarray:
    """
    Give (value - median) / (1.4826 MAD), where MAD is the median absolute deviation. A higher index is more suspicious.

    If more than half of the values are equal, MAD is 0, and the mean absolute deviation is used instead (Iglewicz and
    Hoaglin 1993). If all values are equal, every index is 0. NaN values are ignored and stay NaN.

    :param values: Shape (k,).
    :param least_sigma: Lower bound of the standard deviation, in units of the values, because a few values can lie close
        together by chance.
    :param counts: Number of values that each value stands for, (k,), int; ``None``: itself.
    :return: Index of each value, shape (k,).
    """
    index = np.full(len(values), np.nan)
    known = np.isfinite(values)
    if not known.any():
        return index
    every = values[known] if counts is None else np.repeat(values[known], counts[known])
    median = np.median(every)
    sigma = MAD_TO_SIGMA * np.median(np.abs(every - median))
    if sigma == 0:
        sigma = MEAN_DEVIATION_TO_SIGMA * np.abs(every - median).mean()
    sigma = max(sigma, least_sigma)
    index[known] = (values[known] - median) / sigma if sigma > 0 else 0.0
    return index


def highest(index: np.ndarray, threshold: float) -> int | None:
    """Give the class of the highest index, or ``None`` if that index is NaN or not above the threshold."""
    if not np.isfinite(index).any() or np.nanmax(index) <= threshold:
        return None
    return int(np.nanargmax(index))


def gaps_below(index: np.ndarray) -> np.ndarray:
    """
    Say how far each index lies above the next one, from the highest on, or above 0, the index of the median, if that is
    higher.

    If large indices are exponentially distributed, so is the gap below the j-th, and its scale is theirs divided by j,
    whatever the number of classes is (Renyi 1953): of more classes all indices grow alike.

    :param index: Indices of the classes, (K,); NaN is left out.
    :return: (k,), at least 0, for the k indices that are known.
    """
    known = np.maximum(np.sort(index[np.isfinite(index)])[::-1], 0.0)
    gaps: np.ndarray = -np.diff(known, append=0.0)
    return gaps


def lower_reading(readings: Sequence[np.ndarray]) -> np.ndarray:
    """
    Give the lowest of several readings of each index, so that a class that is far out by one of them only is not accused.

    :param readings: Indices of the classes, (K,) each; NaN in all of them at the same places.
    """
    lowest: np.ndarray = np.fmin.reduce(list(readings))
    return lowest


def combined_index(indices: Sequence[np.ndarray]) -> np.ndarray:
    """
    Add the indices of several kinds of pattern and divide by the square root of their number (Stouffer et al. 1949).

    :param indices: For each kind the indices of the classes, (K,). NaN, where no pattern succeeded or a search did not
        converge, is left out of the sum and of the number.
    :return: Shape (K,); NaN where no kind of pattern succeeded.
    """
    n_known = np.isfinite(indices).sum(axis=0)
    return np.where(n_known > 0, np.nansum(indices, axis=0) / np.sqrt(np.maximum(n_known, 1)), np.nan)


def strongest_index(indices: Sequence[np.ndarray]) -> np.ndarray:
    """
    Give the highest of the indices of the kinds and of :func:`combined_index`. The sum finds what stands out a little by
    every kind; a kind by which a class is far out is not outvoted by another kind.

    :param indices: As for :func:`combined_index`.
    :return: Shape (K,); NaN where no kind of pattern succeeded.
    """
    strongest: np.ndarray = np.fmax.reduce([combined_index(indices), *indices])
    return strongest


def norm_index(
    norms: np.ndarray, succeeded: np.ndarray, least_sigma: float, counts: np.ndarray | None = None
) -> np.ndarray:
    """
    Say how far the logarithm of each norm lies below the median, in robust standard deviations.

    If no pattern succeeded for a class, the class needs a pattern larger than the one tried, and larger than those of the
    other classes. This lower bound replaces its norm in the comparison.

    Two norms have a difference, and no spread. They are compared with each other: the difference of two numbers varies
    sqrt(2) times as much as one. A single norm has nothing to be compared with.

    :param norms: Norm of each class's pattern, (K,), above 0.
    :param succeeded: Whether the pattern succeeded, (K,), bool.
    :param least_sigma: Lower bound of the standard deviation of the logarithms.
    :param counts: Number of classes that each class stands for, (K,), int; ``None``: itself.
    :return: Index of each class, (K,); NaN where no pattern succeeded, and if there is one class only.
    """
    if not succeeded.any() or len(norms) < 2:
        return np.full(len(norms), np.nan)
    sizes = -np.log(np.where(succeeded, norms, np.maximum(norms, norms[succeeded].max())))
    difference = (sizes - sizes[::-1]) / (np.sqrt(2) * least_sigma)
    index = difference if len(norms) == 2 else mad_index(sizes, least_sigma, counts)
    return np.where(succeeded, index, np.nan)
