"""Centre and spread against NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import median_abs_deviation

from art_plugins.statistics.moments import centre_and_spread, class_moments, quick_median, winsorised


def test_centre_and_spread_equal_numpys_and_when_robust_scipys(random):
    values = random.normal(3, 2, size=(50, 4))
    centre, spread = centre_and_spread(values)
    np.testing.assert_allclose(centre, np.mean(values, axis=0))
    np.testing.assert_allclose(spread, np.std(values, axis=0))
    centre, spread = centre_and_spread(values, robust=True)
    np.testing.assert_allclose(centre, np.median(values, axis=0))
    np.testing.assert_allclose(spread, median_abs_deviation(values, axis=0, scale="normal"), rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_quick_median_is_numpys_to_the_bit(random, dtype):
    for n in (1, 2, 3, 8, 101, 1000):
        values = (100 * random.normal(size=n)).astype(dtype)
        expected = np.median(values)
        assert quick_median(values) == expected
        assert quick_median(values).dtype == expected.dtype
        if dtype != np.int64:
            values[n // 2] = np.nan
            assert np.isnan(quick_median(values))


def test_winsorised_draws_in_the_farthest_only(random):
    x = random.normal(size=(100, 3))
    x[7] *= 1e6
    drawn = winsorised(x)
    assert np.linalg.norm(drawn, axis=1).max() < 10
    inside = np.argsort(np.linalg.norm(x, axis=1))[:98]
    np.testing.assert_array_equal(drawn[inside], x[inside])


def test_class_moments_are_those_of_each_class_or_of_all() -> None:
    values, labels = np.array([1.0, 3.0, 5.0, 5.0, 9.0]), np.array([0, 0, 1, 1, 2])
    means, deviations = class_moments(values, labels, 4)
    np.testing.assert_allclose(means, [2, 5, values.mean(), values.mean()])
    np.testing.assert_allclose(deviations, [1, values.std(), values.std(), values.std()])
    np.testing.assert_array_equal(class_moments(np.ones(3), np.zeros(3, dtype=int), 2)[1], [1, 1])
