"""The band by medians, and deviations from it, by hand."""

from __future__ import annotations

import numpy as np
from scipy.stats import median_abs_deviation

from art_plugins.statistics.deviations import Band, band_deviations, median_band


def test_median_band_equals_scipys_median_deviation(random):
    values = random.normal(size=(31, 4))
    band = median_band(values, 3)
    spread = 3 * median_abs_deviation(values, axis=0)
    np.testing.assert_allclose(band.low, np.median(values, axis=0) - spread)
    np.testing.assert_allclose(band.high, np.median(values, axis=0) + spread)


def test_band_deviations_by_hand_are_relative_to_the_bound_that_is_passed():
    band = Band(np.array([-2.0, 1.0]), np.array([4.0, 5.0]))
    values = np.array([[0.0, 3.0], [-3.0, 3.0], [6.0, 5.0], [-2.0, 0.5]])
    np.testing.assert_allclose(band_deviations(values, band), [0, 0.25, 0.25, 0.25], atol=1e-6)


def test_band_deviations_of_a_bound_of_0_are_finite():
    assert np.isfinite(band_deviations(np.array([[1e3]]), Band(np.zeros(1), np.zeros(1)))).all()
