"""The many-outlier test: against SciPy's prediction interval, and its rate on drawn scores."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

from art_plugins.errors import InvalidInputError
from art_plugins.statistics.outlying import PRIOR_SCORES, PRIOR_SPREAD, outlying_scores


def test_outlying_scores_highest_has_the_p_value_of_a_moderated_prediction(random):
    scores = random.normal(0.2, 0.3, size=10)
    scores[3] = 2.0
    rest = np.delete(scores, 3)
    variance = (8 * rest.var(ddof=1) + PRIOR_SCORES * PRIOR_SPREAD**2) / (8 + PRIOR_SCORES)
    alone = student.sf((2.0 - rest.mean()) / np.sqrt(variance * (1 + 1 / 9)), 8 + PRIOR_SCORES)
    found = outlying_scores(scores, 0.01)
    assert found.p_values[3] == pytest.approx(1 - (1 - alone) ** 10, rel=1e-6)
    np.testing.assert_array_equal(np.flatnonzero(found.called), [3])


def test_outlying_scores_limit_is_where_a_class_is_just_called(random):
    scores = random.normal(0.2, 0.2, size=11)
    scores[0] = scores[1:].max() + 0.01
    limit = outlying_scores(scores, 0.05).limit
    for score, called in ((limit - 1e-6, False), (limit + 1e-6, True)):
        scores[0] = score
        found = outlying_scores(scores, 0.05)
        assert found.called[0] == called
        assert found.p_values[0] == pytest.approx(0.05, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("nb_classes", [5, 11, 30])
def test_outlying_scores_false_alarms_keep_to_the_rate_where_the_prior_is_true(nb_classes):
    random = np.random.default_rng(0)
    rates = [outlying_scores(random.normal(1, PRIOR_SPREAD, nb_classes), 0.1).called.any() for _ in range(600)]
    assert np.mean(rates) < 0.13


def test_outlying_scores_two_outliers_do_not_hide_each_other(random):
    scores = random.normal(0.1, 0.1, size=11)
    scores[[2, 7]] = 2.2, 2.0
    found = outlying_scores(scores, 0.01)
    np.testing.assert_array_equal(np.flatnonzero(found.called), [2, 7])
    assert found.p_values[2] <= found.p_values[7]


def test_outlying_scores_order_shift_and_missing_scores(random):
    scores = random.normal(size=9)
    order = random.permutation(9)
    straight = outlying_scores(scores, 0.05)
    np.testing.assert_allclose(outlying_scores(scores[order], 0.05).p_values, straight.p_values[order])
    np.testing.assert_allclose(outlying_scores(scores + 70, 0.05).p_values, straight.p_values)
    assert (np.diff(straight.p_values[np.argsort(-scores)]) >= -1e-12).all()
    with_gap = outlying_scores(np.insert(scores, 4, np.nan), 0.05)
    np.testing.assert_allclose(np.delete(with_gap.p_values, 4), straight.p_values)
    assert np.isnan(with_gap.p_values[4])


def test_outlying_scores_three_scores_are_too_few():
    found = outlying_scores(np.array([0.0, 0.1, 99.0, np.nan]), 0.05)
    assert np.isnan(found.p_values).all()
    assert not found.called.any()
    assert found.limit == np.inf


@pytest.mark.parametrize("rate", [0, 1, -0.1, np.nan, "1 %"])
def test_outlying_scores_rate_out_of_range_is_refused(rate):
    with pytest.raises(InvalidInputError, match="false_alarm_rate must be"):
        outlying_scores(np.arange(9.0), rate)
