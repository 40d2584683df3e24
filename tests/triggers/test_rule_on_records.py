"""The rule of the inversion on every committed record: no clean model gives an alarm, and no alarm is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from art_plugins.statistics.outliers import gaps_below, lower_reading, norm_index, strongest_index
from art_plugins.triggers.found import (
    ALONE_RATE,
    GAP_RATE,
    GAP_SCALE,
    NULL_SCALE,
    THRESHOLD,
    accused_class,
    false_alarm_rate,
    is_far_out,
)
from art_plugins.triggers.searching.forms import FORMS

RECORDS = sorted((Path(__file__).parents[1] / "records").glob("in_flight*.json"))
GUIDE = Path(__file__).parents[2] / "docs" / "how_to" / "guard_a_model.md"
CHOSEN_ON = ("in_flight", "in_flight_cifar10_clean", "in_flight_classes")


def inversions() -> list[Any]:
    runs = [(path.stem, run) for path in RECORDS for run in json.loads(path.read_text(encoding="utf-8"))["runs"]]
    named = [(f"{name}-{run['title']}-{run['seed']}", name, run) for name, run in runs if "inversion" in run]
    return [pytest.param(name, run, id=title) for title, name, run in named]


def index_of(run: dict[str, Any]) -> np.ndarray:
    """The index of today, from the norms of a record. Older records hold the reading relative to the distances alone."""
    expected = np.array(run["inversion"]["expected_distances"], dtype=float)
    found = []
    for kind in run["inversion"]["kinds"]:
        norms, rates, recorded = (np.array(kind[name], float) for name in ("norms", "success_rates", "anomaly_index"))
        known = np.isfinite(recorded) | (np.isfinite(norms) & (rates < 0.9))
        known[kind.get("not_converged", [])] = False
        counts = None if kind.get("stands_for") is None else np.array(kind["stands_for"])[known]
        sigma, works = FORMS[kind["kind"]].least_sigma, rates[known] >= 0.9
        relative, alone = (norm_index((norms / by)[known], works, sigma, counts) for by in (expected, np.ones_like(norms)))
        index = np.full(len(norms), np.nan)
        index[known] = lower_reading([relative, alone])
        finite = np.isfinite(recorded[known])
        assert (index[known][finite] <= recorded[known][finite] + 1e-6).all()
        found.append(index)
    return strongest_index(found)


def clean_models(records: tuple[str, ...] = CHOSEN_ON) -> list[np.ndarray]:
    runs = [one.values for one in inversions()]
    return [index_of(run) for name, run in runs if name in records and ", no attack" in run["title"]]


@pytest.mark.parametrize(("name", "run"), inversions())
def test_rule_gives_no_clean_model_an_alarm_and_loses_none_of_a_record(name, run):
    found = accused_class(index_of(run), THRESHOLD)
    if ", no attack" in run["title"]:
        assert found is None
    else:
        assert found == run["inversion"]["target_class"]


def test_models_that_were_held_out_are_as_many_as_the_how_to_says_and_as_many_are_told_rightly():
    runs = [one.values for one in inversions()]
    held_out = [run for name, run in runs if "held_out" in name or name == "in_flight_92"]
    right = [[run["inversion"]["right_target"] for run in held_out if (run["target"] is None) == clean] for clean in (1, 0)]
    assert [(len(each), sum(each)) for each in right] == [(20, 20), (28, 27)]
    said = " ".join(GUIDE.read_text(encoding="utf-8").split())
    assert "Of 20 further clean models none is accused, and of 28 with a backdoor" in said
    assert "27 are found with their target" in said


def test_clean_models_of_up_to_92_classes_are_there():
    clean = clean_models()
    assert len(clean) == 17
    assert sorted({len(index) for index in clean}) == [10, 13, 26, 46, 92]


def scales(values: np.ndarray, n: int) -> np.ndarray:
    """The scale at which an exponential has just the share of each value, of the upper half of n values."""
    highest = np.sort(values[np.isfinite(values)])[::-1]
    shares = np.arange(1, len(highest) + 1) / n
    used = (highest > 0) & (shares < 0.5)
    found: np.ndarray = highest[used] / -np.log(shares[used])
    return found


def test_null_scales_are_the_smallest_at_which_no_share_is_above_the_bound():
    clean = clean_models()
    of_classes = scales(np.concatenate(clean), sum(map(len, clean)))
    assert NULL_SCALE - 0.1 < of_classes.max() <= NULL_SCALE
    of_gaps = scales(np.array([gaps_below(index)[0] for index in clean]), len(clean))
    assert GAP_SCALE - 0.1 < of_gaps.max() <= GAP_SCALE


def test_gap_does_not_grow_with_the_number_of_classes_as_the_theory_says():
    random = np.random.default_rng(0)
    for n_classes in (5, 50, 500):
        gaps = np.array([gaps_below(random.exponential(size=n_classes))[:3] for _ in range(2_000)])
        np.testing.assert_allclose(gaps.mean(axis=0), [1, 1 / 2, 1 / 3], rtol=0.1)


def test_true_single_sources_of_the_records_keep_theirs():
    """A pattern for all classes that is far out by itself rules a single source out; of these models none is."""
    runs = [run for _, run in (one.values for one in inversions()) if run["case"]["sources"] == "single"]
    named = [run for run in runs if run["inversion"]["source_class"] is not None]
    assert len(named) >= 2
    for run in named:
        assert run["inversion"]["source_class"] == 0
        assert not is_far_out(index_of(run), run["target"])


def test_gaps_by_hand():
    np.testing.assert_allclose(gaps_below(np.array([1.0, np.nan, 4.0, 2.5])), [1.5, 1.5, 1.0])
    np.testing.assert_allclose(gaps_below(np.array([3.0, -1.0])), [3, 0])
    np.testing.assert_allclose(gaps_below(np.array([np.nan, 2.0])), [2])
    assert len(gaps_below(np.array([np.nan, np.nan]))) == 0


def test_accused_class_stands_apart_or_is_far_out_by_itself():
    rest = [0.0] * 8
    assert accused_class(np.array([*rest, 5.0, 2.4]), 3.5) == 8  # a gap of 2.6
    assert accused_class(np.array([*rest, 5.0, 2.5]), 3.5) is None
    assert accused_class(np.array([*rest, 3.4, 0.0]), 3.5) is None
    alone = NULL_SCALE * np.log(10 / ALONE_RATE)
    assert accused_class(np.array([*rest, alone + 0.1, alone]), 3.5) == 8  # a model with two targets
    assert accused_class(np.array([*rest[1:], 3.45, alone - 0.1, alone - 0.2]), 3.5) is None
    assert GAP_SCALE * np.log(1 / GAP_RATE) == pytest.approx(2.575, abs=1e-3)


def test_two_classes_stand_apart_together():
    rest = [0.0] * 6
    assert accused_class(np.array([*rest, 5.0, 5.2, 2.3, 0.0]), 3.5) == 7
    assert accused_class(np.array([*rest, 5.0, 5.2, 2.6, 0.0]), 3.5) is None  # the next is too near
    assert accused_class(np.array([*rest, 3.4, 5.2, 0.0, 0.0]), 3.5) is None  # the lower is below the threshold
    assert accused_class(np.array([0.0] * 7 + [5.0] * 3), 3.5) is None  # three
    assert accused_class(np.array([0.0] * 2 + [5.0] * 2), 3.5) is None  # half of the classes


def test_false_alarm_rate_by_hand():
    assert false_alarm_rate(3.5, 10) == pytest.approx(0.04 + 0.0016 + 0.01)
    assert false_alarm_rate(3.5, 3) == pytest.approx(0.05)
    assert false_alarm_rate(3.5, 1000) == pytest.approx(0.0516)
    assert false_alarm_rate(9.0, 10) == pytest.approx(10 * np.exp(-10))
