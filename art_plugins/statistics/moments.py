"""Centre and spread of values, also where some of them do not belong."""

from __future__ import annotations

import numpy as np

from art_plugins.statistics.outliers import MAD_TO_SIGMA


def centre_and_spread(values: np.ndarray, robust: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """
    Mean and standard deviation along the first axis; or median and 1.4826 times the median absolute deviation, which a
    minority of foreign values cannot move far.

    :param values: Shape (n, ...), n >= 1.
    :return: Both of shape (...).
    """
    if not robust:
        return values.mean(axis=0), values.std(axis=0)
    centre = np.median(values, axis=0)
    return centre, MAD_TO_SIGMA * np.median(np.abs(values - centre), axis=0)
