"""The drift monitor: false alarms at the stated rate, drifts of every kind seen, what is not finite is a drift."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp

from art_plugins.errors import InvalidInputError
from art_plugins.statistics.drift import DriftMonitor, class_margins

pytestmark = pytest.mark.usefixtures("global_generators_untouched")


def test_update_tests_each_time_that_the_window_has_moved_and_equals_scipy(random):
    reference, stream = random.normal(size=100), random.normal(size=95)
    monitor = DriftMonitor(reference, window=40, step=25)
    found = monitor.update(stream[:39]) + monitor.update(stream[39:64]) + monitor.update(stream[64:])
    assert [one.n_seen for one in found] == [40, 65, 90]
    for one in found:
        expected = ks_2samp(reference, stream[one.n_seen - 40 : one.n_seen])
        assert (one.statistic, one.p_value) == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue))
        assert not one.drifted


def test_false_alarms_of_streams_like_the_reference_are_at_most_as_frequent_as_stated(random):
    alarms = []
    for _ in range(400):
        values = random.normal(size=220)
        alarms += [one.drifted for one in DriftMonitor(values[:100], 40, 40, false_alarm_rate=0.05).update(values[100:])]
    assert len(alarms) == 1_200
    assert 0.01 < np.mean(alarms) < 0.07  # the exact test is a little conservative


@pytest.mark.parametrize("change", [lambda x: x + 1, lambda x: 3 * x, lambda x: np.full_like(x, np.nan)])
def test_stream_that_changes_is_noticed_within_a_window(random, change):
    monitor = DriftMonitor(random.normal(size=300))
    assert not any(one.drifted for one in monitor.update(random.normal(size=400)))
    assert monitor.update(change(random.normal(size=200)))[-1].drifted


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"reference": np.zeros(19)}, "at least 20 values"),
        ({"reference": np.zeros((30, 2))}, r"received \(30, 2\)"),
        ({"reference": np.append(np.zeros(30), np.nan)}, "Row 30 of the reference"),
        ({"window": 5}, "window must be"),
        ({"step": 0}, "step must be"),
        ({"false_alarm_rate": 0}, "false_alarm_rate must be"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, match):
    with pytest.raises(InvalidInputError, match=match):
        DriftMonitor(**{"reference": np.zeros(50), **arguments})


def test_class_margins_are_the_difference_of_the_two_largest_outputs():
    logits = np.array([[1.0, 5.0, 3.0], [2.0, 2.0, -9.0], [np.nan, 1.0, 2.0]], dtype=np.float32)
    np.testing.assert_array_equal(class_margins(logits), [2.0, 0.0, np.nan])
