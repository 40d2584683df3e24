"""Separation and valley, against values that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from art_plugins.groups.evidence import MOST_DEVIATIONS, Evidence, evidence_of, separation, valley
from art_plugins.groups.verdict import NULL_SCALE, p_value


def quantiles(centre: float, spread: float, n: int) -> np.ndarray:
    return norm(centre, spread).ppf((np.arange(n) + 0.5) / n)


def test_separation_of_two_normals_is_their_distance_in_deviations():
    places = np.concatenate([quantiles(0, 0.1, 2000), quantiles(1, 0.2, 1000)])
    members = np.arange(3000) >= 2000
    assert separation(places, members) == pytest.approx(1 / np.sqrt((0.1**2 + 0.2**2) / 2), rel=0.01)


def test_separation_of_points_is_the_largest_and_clear():
    places, members = np.repeat([0.0, 1.0], 20), np.repeat([False, True], 20)
    assert separation(places, members) == MOST_DEVIATIONS
    assert evidence_of(places, members).clearness > 1e6


def test_valley_one_crowd_cut_in_two_has_none():
    crowd = np.random.default_rng(0).normal(size=4000)
    members = crowd > 0
    lower, upper = np.median(crowd[~members]), np.median(crowd[members])
    assert valley((crowd - lower) / (upper - lower)) > 0.9


def test_valley_equals_the_ratio_of_densities_at_the_emptiest_place():
    places = np.concatenate([quantiles(0, 0.15, 50_000), quantiles(1, 0.15, 50_000)])
    both = lambda a, b: sum(norm(m, 0.15).cdf(b) - norm(m, 0.15).cdf(a) for m in (0, 1))  # noqa: E731
    assert valley(places) == pytest.approx(both(0.4, 0.6) / both(-0.1, 0.1), rel=0.02)


def test_valley_a_few_outliers_prove_little():
    crowd = quantiles(0, 0.1, 1000)
    assert valley(np.concatenate([crowd, [1.0, 1.0]])) == pytest.approx(1 / 3)


def test_clearness_grows_with_distance_and_emptiness_and_is_never_below_nought():
    assert Evidence(6, 0.1, 10, 0.1).clearness > Evidence(5, 0.1, 10, 0.1).clearness > Evidence(5, 0.2, 10, 0.1).clearness
    assert Evidence(6, 1.7, 10, 0.1).clearness == 0


def test_p_value_is_bonferronis_of_an_exponential():
    evidence = Evidence(5, np.exp(-2), 10, 0.1)
    assert p_value(evidence, 10) == pytest.approx(10 * np.exp(-10 / NULL_SCALE))
    assert p_value(Evidence(1, 0.9, 10, 0.1), 10) == 1
