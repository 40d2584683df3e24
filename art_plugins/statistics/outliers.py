"""Which of a few numbers stands out on the high side."""

from __future__ import annotations

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
