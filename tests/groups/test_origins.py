"""The distance to the nearest fellow, against brute force, and what it says of copies and of triggers."""

from __future__ import annotations

import numpy as np
import pytest

from art_plugins.groups.origins import NEAR_COPIES, nearest_fellow_ratio


def brute(x: np.ndarray) -> float:
    distances = np.linalg.norm(x[:, None] - x[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return float(np.median(distances.min(axis=1)))


def test_ratio_equals_brute_force_where_all_samples_are_compared():
    x = np.random.default_rng(0).normal(size=(80, 5))
    inside = np.arange(80) < 40
    assert nearest_fellow_ratio({"all": x}, np.arange(80), inside) == pytest.approx(brute(x[:40]) / brute(x[40:]))


def test_ratio_of_any_samples_is_about_one_and_of_copies_near_nought():
    random = np.random.default_rng(1)
    x = random.normal(size=(500, 20))
    inside = np.arange(500) < 30
    assert nearest_fellow_ratio({"all": x}, np.arange(500), inside) == pytest.approx(1, abs=0.2)
    x[:30] = x[0] + 0.05 * random.normal(size=(30, 20))
    assert nearest_fellow_ratio({"all": x}, np.arange(500), inside) < 0.1


def test_a_trigger_that_shifts_its_carriers_makes_them_no_copies():
    x = np.random.default_rng(2).normal(size=(400, 20))
    inside = np.arange(400) < 60
    x[inside, 0] = 20
    views = {"with the trigger": x[:, :3], "content": x[:, 3:], "all": x}
    assert nearest_fellow_ratio(views, np.arange(400), inside) > NEAR_COPIES


@pytest.mark.parametrize("n_inside", [0, 3, 397, 400])
def test_too_few_to_compare_say_nothing(n_inside):
    x = np.random.default_rng(3).normal(size=(400, 4))
    assert nearest_fellow_ratio({"all": x}, np.arange(400), np.arange(400) < n_inside) == 1


def test_equal_samples_say_nothing():
    assert nearest_fellow_ratio({"all": np.zeros((100, 4))}, np.arange(100), np.arange(100) < 40) == 1
