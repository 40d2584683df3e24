"""Distance of values from the band of a class's values, by medians (Ma et al. 2023, Eqs. 5 to 7)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

TINY = 1e-6  # prevents a division by a bound of 0, as in the authors' code


class Band(NamedTuple):
    """Lower bounds ``low`` and upper bounds ``high`` of the columns, both (d,)."""

    low: np.ndarray
    high: np.ndarray


def median_band(values: np.ndarray, width: float) -> Band:
    """
    Give the band of each column: its median, plus and minus ``width`` times the median absolute deviation.

    :param values: Shape (n, d), n >= 1.
    :param width: Half the width of the band, in median absolute deviations.
    """
    centre = np.median(values, axis=0)
    spread = np.median(np.abs(values - centre), axis=0)
    return Band(centre - width * spread, centre + width * spread)


def band_deviations(values: np.ndarray, band: Band) -> np.ndarray:
    """
    Give the mean over the columns of the distance to the band, divided by the absolute value of the bound that is exceeded.
    The distance is 0 inside the band.

    :param values: Shape (n, d).
    :param band: Band of each column.
    :return: Shape (n,), at least 0; higher is more suspicious.
    """
    below = np.maximum(band.low - values, 0) / (np.abs(band.low) + TINY)
    above = np.maximum(values - band.high, 0) / (np.abs(band.high) + TINY)
    deviations: np.ndarray = (below + above).mean(axis=1, dtype=np.float64)
    return deviations
