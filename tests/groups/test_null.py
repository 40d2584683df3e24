"""The null distribution of the clearness, on the committed records of clean data sets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from art_plugins.groups.verdict import NULL_SCALE

RECORDS = Path(__file__).parents[1] / "records"


def clearest_of_clean_classes() -> np.ndarray:
    """The clearness of the clearest group of every class of every clean data set that was measured with nothing trusted."""
    found: list[float] = []
    for path in sorted(RECORDS.glob("filters*.json")):
        for run in json.loads(path.read_text(encoding="utf-8"))["runs"]:
            if run["attack"] == "none" and run["filter"] == "layerwise" and run["n_trusted"] == 0:
                found += run["clearness_by_class"]
    return np.array(found)


def test_null_scale_bounds_the_share_of_clean_classes_that_reach_a_clearness():
    clearness = np.sort(clearest_of_clean_classes())[::-1]
    assert len(clearness) >= 200
    share = (np.arange(len(clearness)) + 1) / len(clearness)
    reached = clearness > 0
    assert (share[reached] <= np.exp(-clearness[reached] / NULL_SCALE)).all()
