"""Which method is beaten, by counts that are worked out by hand, and the order that follows from it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from art_plugins.leaderboard.ranking import beats, by_task, rates, standings, unbeaten
from art_plugins.leaderboard.results import FILTER, Result, Task

PATCH, WARP, CLEAN = (Task(FILTER, "Digits", title, title) for title in ("patch", "warp", "no attack"))


def result(method: str, caught: int, alarms: int, task: Task = PATCH, seed: int = 0, n_positive: int = 100) -> Result:
    return Result(task, method, seed, caught, n_positive, alarms, 900)


def test_rates_over_two_seeds_are_those_of_the_added_counts() -> None:
    found = rates([result("a", 100, 9), result("a", 50, 0, seed=1, n_positive=50)])
    assert (found.tpr, found.fpr, found.lead) == (1.0, 0.005, pytest.approx(0.995))
    # One sample more of either kind: 151 of 152 and 10 of 1802.
    expected = 151 / 152 * (1 / 152) / 150 + 10 / 1802 * (1792 / 1802) / 1800
    assert found.variance == pytest.approx(expected)


def test_rates_on_clean_data_are_those_of_the_false_alarms_alone() -> None:
    found = rates([result("a", 0, 90, CLEAN, n_positive=0)])
    assert (found.tpr, found.fpr, found.lead) == (None, 0.1, -0.1)
    assert found.variance == pytest.approx(91 / 902 * 811 / 902 / 900)


@pytest.mark.parametrize(("caught", "beaten"), [(70, True), (81, False)])
def test_beats_from_two_standard_errors_on(caught: int, beaten: bool) -> None:
    better, worse = [result("a", 90, 0)], [result("b", caught, 0)]
    gap = (90 - caught) / 100
    error = math.sqrt(rates(better).variance + rates(worse).variance)
    assert (gap > 2 * error) is beaten  # the two cases lie on both sides of the limit
    assert beats(better, worse) is beaten
    assert not beats(worse, better)


def test_beats_compares_seeds_that_both_have() -> None:
    better, worse = [result("a", 90, 0)], [result("b", 0, 0, seed=1)]
    assert not beats(better, worse)
    assert beats(better, [*worse, result("b", 0, 0)])
    assert not beats(better, [*worse, result("b", 90, 0)])


def test_standings_few_comparisons_do_not_lead_and_nothing_is_left_out() -> None:
    found: list[Any] = []
    for name in map(str, range(8)):
        task = Task(FILTER, "Digits", name, name)
        found += [result("often", 100, 0, task), result("never", 0, 0, task)]
    found += [result("once", 100, 0, WARP), result("never", 0, 0, WARP), result("alone", 100, 0, CLEAN)]
    table = standings(found)
    order = [(one.method, one.n_unbeaten, one.n_contested) for one in table]
    assert order == [("often", 8, 8), ("once", 1, 1), ("alone", 0, 0), ("never", 0, 9)]
    assert [one.place for one in table] == [9 / 10, 2 / 3, 1 / 2, 1 / 11]


def test_unbeaten_removing_nothing_is_beaten_on_an_attack_and_holds_on_clean_data() -> None:
    found = [result("nothing", 0, 0), result("good", 95, 9), result("all", 100, 900)]
    (attacked,) = by_task(found)
    assert unbeaten(attacked) == ["good"]
    clean = [result("nothing", 0, 0, CLEAN, n_positive=0), result("good", 0, 30, CLEAN, n_positive=0)]
    assert unbeaten(by_task(clean)[0]) == ["nothing"]


def test_standings_do_not_depend_on_the_order_of_the_results() -> None:
    found = [result("a", 90, 0), result("b", 90, 2), result("c", 10, 0), result("a", 5, 0, WARP), result("c", 99, 1, WARP)]
    assert [one[:1] + one[2:] for one in standings(found)] == [one[:1] + one[2:] for one in standings(found[::-1])]
