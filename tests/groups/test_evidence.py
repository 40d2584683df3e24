"""Separation and valley, against values that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from art_plugins.groups.evidence import MOST_DEVIATIONS, Evidence, evidence_of, separation, valley, valley_bound
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


def test_valley_bound_is_above_the_ratio_of_the_rates_in_nineteen_of_twenty_draws(random):
    trials = 2_000
    ratio, n_between, n_about = 0.25, random.poisson(10, trials), random.poisson(40, trials)
    at = lambda place, n: np.full(n, place)  # noqa: E731
    bounds = [
        valley_bound(np.concatenate([at(0, 2 * a), at(1, a), *(at(start, b) for start in np.arange(3, 17, 4) / 20)]))
        for b, a in zip(n_between, n_about, strict=True)
    ]
    assert 0.94 < np.mean(np.array(bounds) > ratio) < 0.98  # counts are whole numbers, so a little more than .95


@pytest.mark.parametrize(("n", "expected"), [(8, 0.454), (200, 0.0151)])
def test_valley_bound_of_an_empty_space_tells_as_much_as_its_shores_have_samples(n, expected):
    assert valley_bound(np.repeat([0.0, 1.0], n)) == pytest.approx(expected, rel=0.01)


def test_valley_bound_without_shores_is_one():
    assert valley_bound(np.array([0.4, 0.5, 3.0])) == 1


def test_clearness_grows_with_distance_and_emptiness_and_is_never_below_nought():
    assert Evidence(6, 0.1, 10, 0.1).clearness > Evidence(5, 0.1, 10, 0.1).clearness > Evidence(5, 0.2, 10, 0.1).clearness
    assert Evidence(6, 1.7, 10, 0.1).clearness == 0


def test_p_value_is_bonferronis_of_an_exponential():
    evidence = Evidence(5, np.exp(-2), 10, 0.1)
    assert p_value(evidence, 10) == pytest.approx(10 * np.exp(-10 / NULL_SCALE))
    assert p_value(Evidence(1, 0.9, 10, 0.1), 10) == 1
