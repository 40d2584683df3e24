"""Cuts of one number for each sample, against brute force and against known mixtures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, t

from art_plugins.groups.cuts import HEAVY, LEAST_MEMBERS, bayes_cut, minimum_error_cut


def kittler_illingworth(values: np.ndarray, cut: float) -> float:
    """Equation 15 of the paper, from its definition."""
    error = 1.0
    for part in (values[values <= cut], values[values > cut]):
        share = len(part) / len(values)
        error += 2 * share * (np.log(part.std()) - np.log(share))
    return error


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.8])
def test_minimum_error_cut_is_the_best_of_all_cuts(share):
    random = np.random.default_rng(int(100 * share))
    n_upper = int(share * 400)
    values = np.concatenate([random.normal(0, 1, 400 - n_upper), random.normal(5, 0.5, n_upper)])
    cut = minimum_error_cut(values)
    every = np.sort(values)[LEAST_MEMBERS - 1 : len(values) - LEAST_MEMBERS]
    assert cut == every[np.argmin([kittler_illingworth(values, one) for one in every])]
    assert ((values > cut).sum() - n_upper) == pytest.approx(0, abs=3)


def test_minimum_error_cut_does_not_depend_on_the_unit():
    values = np.random.default_rng(0).normal(size=100) ** 3
    assert minimum_error_cut(values * 1e-8 + 3e-7) == pytest.approx(minimum_error_cut(values) * 1e-8 + 3e-7)


@pytest.mark.parametrize(
    "values", [np.zeros(100), np.arange(2.0 * LEAST_MEMBERS - 1), np.zeros(0)], ids=["equal", "few", "none"]
)
def test_minimum_error_cut_there_is_none(values):
    assert minimum_error_cut(values) is None


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_bayes_cut_is_where_both_densities_are_equal(share):
    grid = (np.arange(20_000) + 0.5) / 20_000
    n_group = int(share * 20_000)
    group = np.repeat([True, False], [n_group, 20_000 - n_group])
    values = np.concatenate(
        [
            norm(4, 0.5).ppf((np.arange(n_group) + 0.5) / n_group),
            norm(0, 1).ppf(grid[::1][: 20_000 - n_group] * 20_000 / (20_000 - n_group)),
        ]
    )
    cut = bayes_cut(values, group)
    assert share * norm(4, 0.5).pdf(cut) == pytest.approx((1 - share) * norm(0, 1).pdf(cut), rel=0.15)
    assert 0 < cut < 4


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_bayes_cut_with_heavy_tails_is_where_both_densities_of_student_are_equal(share):
    quantiles = (np.arange(20_000) + 0.5) / 20_000
    n_group = int(share * 20_000)
    group = np.repeat([True, False], [n_group, 20_000])
    values = np.concatenate([norm(9, 0.5).ppf((np.arange(n_group) + 0.5) / n_group), norm(0, 1).ppf(quantiles)])
    cut, of_group = bayes_cut(values, group, HEAVY), group.mean()
    density, rest = of_group * t(HEAVY, 9, 0.5).pdf(cut), (1 - of_group) * t(HEAVY).pdf(cut)
    assert density == pytest.approx(rest, rel=0.15)
    assert 0 < cut < 9


def test_bayes_cut_with_heavy_tails_keeps_farther_from_the_many():
    values = np.concatenate([norm(0, 1).ppf((np.arange(2000) + 0.5) / 2000), np.full(40, 6.0) + np.linspace(-1, 1, 40)])
    group = np.arange(2040) >= 2000
    assert bayes_cut(values, group) < bayes_cut(values, group, HEAVY) < 6


def test_bayes_cut_small_group_asks_for_more():
    random = np.random.default_rng(1)
    cuts = []
    for n_group in (20, 200, 2000):
        values = np.concatenate([random.normal(0, 1, 2000), random.normal(6, 1, n_group)])
        cuts.append(bayes_cut(values, np.arange(len(values)) >= 2000))
    assert cuts[0] > cuts[1] > cuts[2]


def test_bayes_cut_of_points_without_spread_lies_between_them():
    assert 0 <= bayes_cut(np.array([0.0, 0, 0, 1, 1]), np.array([False, False, False, True, True])) < 1
