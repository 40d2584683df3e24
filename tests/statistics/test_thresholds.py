"""Thresholds against brute force over every threshold that can make a difference."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from art_plugins.errors import InvalidInputError
from art_plugins.statistics.thresholds import best_tpr_near_fpr, threshold_at_fpr

SCORES = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=25)  # few values: many ties
RATES = st.one_of(st.integers(0, 20).map(lambda n: n / 20), st.floats(0, 1))


def candidates(*scores: list[float]) -> list[float]:
    """One threshold below all scores, every score, and one between every two."""
    values = sorted(set().union(*scores))
    between = [(low + high) / 2 for low, high in itertools.pairwise(values)]
    return sorted([-np.inf, values[0] - 1, *values, *between])


def share_above(scores: list[float], threshold: float) -> float:
    return sum(score > threshold for score in scores) / len(scores)


@pytest.mark.parametrize(
    ("fpr", "expected"), [(0.0, 10.0), (0.09, 10.0), (0.1, 9.0), (0.29, 8.0), (0.3, 7.0), (0.95, 1.0), (1.0, -np.inf)]
)
def test_threshold_at_fpr_ten_scores_by_hand(fpr, expected):
    scores = np.array([3.0, 7, 1, 10, 5, 2, 9, 4, 8, 6])
    assert threshold_at_fpr(scores, fpr) == expected


def test_threshold_at_fpr_equal_scores_are_all_passed_when_not_all_may_be_caught():
    assert threshold_at_fpr(np.array([1.0, 5, 5, 5]), 0.5) == 5.0
    assert threshold_at_fpr(np.array([1.0, 5, 5, 5]), 0.75) == 1.0


@pytest.mark.parametrize("n", [20, 29, 100, 900])
def test_threshold_at_fpr_share_that_is_reachable_is_reached_whatever_its_rounding(n):
    scores = np.arange(n, dtype=np.float64)
    for n_above in range(n):
        assert (scores > threshold_at_fpr(scores, n_above / n)).sum() == n_above


@given(SCORES, RATES)
def test_threshold_at_fpr_any_scores_equal_brute_force(scores, fpr):
    expected = min(value for value in candidates(scores) if share_above(scores, value) <= fpr)
    assert threshold_at_fpr(np.array(scores), fpr) == expected


def test_threshold_at_fpr_on_new_scores_of_the_same_kind_is_near_the_rate(random):
    threshold = threshold_at_fpr(random.normal(size=20_000), 0.05)
    assert (random.normal(size=20_000) > threshold).mean() == pytest.approx(0.05, abs=0.006)


def test_best_tpr_near_fpr_four_and_three_scores_by_hand():
    # Above 3 lies a quarter of the clean scores, and two of three triggered ones.
    assert best_tpr_near_fpr(np.array([4.0, 1, 2, 3]), np.array([2.5, 5, 3.5]), 0.25) == (3.0, 2 / 3, 0.25)


def test_best_tpr_near_fpr_of_equally_close_rates_more_triggers_are_caught():
    clean = np.arange(10.0)
    assert best_tpr_near_fpr(clean, np.array([8.5, 9.5]), 0.05) == (8.0, 1.0, 0.1)
    assert best_tpr_near_fpr(clean, np.array([8.5, 9.5]), 0.15) == (7.0, 1.0, 0.2)
    # 14 and 15 of 50 are equally far from .29, though 50 * .29 is below 14.5 as a floating-point number.
    assert best_tpr_near_fpr(np.arange(50.0), np.array([34.5]), 0.29) == (34.0, 1.0, 0.3)


def test_best_tpr_near_fpr_clean_scores_all_equal_give_a_rate_that_is_none_near():
    # As B3D in the paper: all or none, and none is closer to .05.
    assert best_tpr_near_fpr(np.zeros(8), np.zeros(5)) == (0.0, 0.0, 0.0)
    assert best_tpr_near_fpr(np.zeros(8), np.array([1.0, -1])) == (0.0, 0.5, 0.0)
    assert best_tpr_near_fpr(np.zeros(8), np.zeros(5), 0.9) == (-np.inf, 1.0, 1.0)


@given(SCORES, SCORES, RATES)
def test_best_tpr_near_fpr_any_scores_equal_brute_force(clean, triggered, fpr):
    found = best_tpr_near_fpr(np.array(clean), np.array(triggered), fpr)
    points = [(share_above(clean, value), share_above(triggered, value)) for value in candidates(clean, triggered)]
    nearest = min(abs(rate - fpr) for rate, _ in points)
    best = max(tpr for rate, tpr in points if abs(rate - fpr) <= nearest + 1e-7)
    assert found.tpr == best
    assert abs(found.fpr - fpr) <= nearest + 1e-7
    assert (share_above(clean, found.threshold), share_above(triggered, found.threshold)) == (found.fpr, found.tpr)


def test_best_tpr_near_fpr_lies_on_scikit_learns_roc_curve(random):
    clean, triggered = random.normal(size=400), random.normal(1, 1, size=300)
    found = best_tpr_near_fpr(clean, triggered, 0.05)
    truth = np.repeat([0, 1], [len(clean), len(triggered)])
    fpr, tpr, _ = roc_curve(truth, np.concatenate([clean, triggered]), drop_intermediate=False)
    assert found.fpr == 0.05
    assert found.tpr == tpr[np.isclose(fpr, 0.05)].max()


def test_thresholds_order_of_the_scores_changes_nothing_and_they_are_left_as_they_were(random):
    clean, triggered = random.normal(size=57), random.normal(size=31)
    kept = clean.copy(), triggered.copy()
    shuffled = random.permutation(clean), random.permutation(triggered)
    assert threshold_at_fpr(clean, 0.1) == threshold_at_fpr(shuffled[0], 0.1)
    assert best_tpr_near_fpr(clean, triggered) == best_tpr_near_fpr(*shuffled)
    np.testing.assert_array_equal(clean, kept[0])
    np.testing.assert_array_equal(triggered, kept[1])


@pytest.mark.parametrize("fpr", [-0.01, 1.01, float("nan")])
def test_thresholds_rate_out_of_range_is_refused(fpr):
    for call in (lambda: threshold_at_fpr(np.ones(3), fpr), lambda: best_tpr_near_fpr(np.ones(3), np.ones(3), fpr)):
        with pytest.raises(InvalidInputError, match=f"fpr must be a share from 0 to 1; received {fpr}"):
            call()


@pytest.mark.parametrize(
    ("bad", "match"),
    [(np.ones(0), r"received shape \(0,\)"), (np.ones((2, 1)), r"shape \(2, 1\)"), (np.array([0, np.nan]), "Score 1 of")],
    ids=["empty", "column", "nan"],
)
def test_thresholds_bad_scores_are_refused_by_name(bad, match):
    with pytest.raises(InvalidInputError, match=match):
        threshold_at_fpr(bad, 0.05)
    with pytest.raises(InvalidInputError, match=match) as caught:
        best_tpr_near_fpr(np.ones(2), bad)
    assert "trigger_scores" in str(caught.value)
