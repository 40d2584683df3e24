"""The rule of the inversion on every committed record: no clean model gives an alarm, and no alarm is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from art_plugins.statistics.outliers import highest, strongest_index
from art_plugins.triggers.found import NULL_SCALE, false_alarm_rate

RECORDS = sorted((Path(__file__).parents[1] / "records").glob("in_flight*.json"))
THRESHOLD = 4.2


def inversions() -> list[Any]:
    runs = [(path.stem, run) for path in RECORDS for run in json.loads(path.read_text(encoding="utf-8"))["runs"]]
    return [pytest.param(run, id=f"{name}-{run['title']}-{run['seed']}") for name, run in runs if "inversion" in run]


@pytest.mark.parametrize("run", inversions())
def test_rule_gives_the_decision_of_the_record_and_no_lower_index(run):
    kinds = [np.array(one["anomaly_index"], dtype=float) for one in run["inversion"]["kinds"]]
    index = strongest_index(kinds)
    assert highest(index, THRESHOLD) == run["inversion"]["target_class"]
    recorded = np.array(run["inversion"]["anomaly_index"], dtype=float)
    assert (index >= recorded - 1e-9).all()


def test_clean_models_stay_well_below_the_threshold():
    clean = [one.values[0]["inversion"] for one in inversions() if one.values[0]["title"].endswith("no attack")]
    assert len(clean) >= 7
    top = [
        float(np.nanmax(strongest_index([np.array(kind["anomaly_index"], float) for kind in one["kinds"]])))
        for one in clean
    ]
    assert max(top) < THRESHOLD - 0.5


def test_null_scale_is_the_smallest_at_which_no_share_of_clean_classes_is_above_the_bound():
    every = []
    for one in inversions():
        if one.values[0]["title"].endswith("no attack"):
            kinds = one.values[0]["inversion"]["kinds"]
            every += strongest_index([np.array(kind["anomaly_index"], float) for kind in kinds]).tolist()
    indices = np.sort(every)[::-1]
    shares = np.arange(1, len(indices) + 1) / len(indices)
    known = (indices > 0) & (shares < 0.5)
    scales = indices[known] / -np.log(shares[known])
    assert NULL_SCALE - 0.1 < scales.max() <= NULL_SCALE


def test_false_alarm_rate_by_hand():
    assert false_alarm_rate(4.2, 10) == pytest.approx(10 * np.exp(-4.2 / 0.9))
    assert false_alarm_rate(1.0, 1000) == 1
    assert false_alarm_rate(9.0, 1000) == pytest.approx(1000 * np.exp(-10))
