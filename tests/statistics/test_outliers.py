from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import median_abs_deviation

from art_plugins.statistics.outliers import mad_index

NUMBERS = st.integers(-1_000, 1_000).map(float)


def test_mad_index_five_values_by_hand():
    # Median 3, absolute deviations 2 1 0 1 97, their median 1.
    expected = np.array([-2, -1, 0, 1, 97]) / 1.4826
    np.testing.assert_allclose(mad_index(np.array([1.0, 2, 3, 4, 100])), expected)


@given(st.lists(NUMBERS, min_size=3, max_size=12))
def test_mad_index_any_values_equal_scipy_where_the_deviation_is_not_zero(values):
    values = np.array(values)
    scale = median_abs_deviation(values, scale="normal")
    if scale > 0:
        np.testing.assert_allclose(mad_index(values), (values - np.median(values)) / scale, rtol=1e-4, atol=1e-9)


def test_mad_index_normal_values_are_in_standard_deviations():
    values = np.random.default_rng(0).normal(5, 3, size=100_000)
    assert mad_index(values).std() == pytest.approx(1, abs=0.02)


def test_mad_index_most_values_equal_uses_the_mean_deviation():
    # Median 1, MAD 0, mean absolute deviation 4 / 5.
    np.testing.assert_allclose(mad_index(np.array([1.0, 1, 1, 1, 5])), np.array([0, 0, 0, 0, 4]) / (1.2533 * 0.8))


@pytest.mark.parametrize("values", [[2.0, 2.0, 2.0], [7.0]])
def test_mad_index_equal_values_are_all_zero(values):
    np.testing.assert_array_equal(mad_index(np.array(values)), 0)


def test_mad_index_unknown_values_stay_unknown_and_count_for_nothing():
    found = mad_index(np.array([1.0, np.nan, 2, 3, np.inf, 4, 100]))
    np.testing.assert_allclose(found[[0, 2, 3, 5, 6]], mad_index(np.array([1.0, 2, 3, 4, 100])))
    assert np.isnan(found[[1, 4]]).all()


def test_mad_index_nothing_known_is_all_nan():
    assert np.isnan(mad_index(np.full(3, np.nan))).all()


@given(st.lists(NUMBERS, min_size=2, max_size=8), st.floats(0.1, 10), NUMBERS)
def test_mad_index_other_unit_and_zero_point_change_nothing(values, unit, zero):
    values = np.array(values)
    np.testing.assert_allclose(mad_index(values * unit + zero), mad_index(values), rtol=1e-6, atol=1e-6)
