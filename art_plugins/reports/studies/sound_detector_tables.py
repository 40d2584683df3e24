"""A record of detectors on classifiers of sounds as tables: a row for each attack and detector, and means over attacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from art_plugins.reports.tables import Table, judged, one_decimal, rate, runs_by_title, spread

CAPTION = (
    "Detectors at test time on classifiers of sounds. AUROC: of triggered clips that the model sends to the target, "
    "against clean ones. EER: equal error rate. TPR and FPR: at the threshold that clean clips set"
)
# As the authors report it, on their own models and attacks.
PUBLISHED = "Published elsewhere, on other models: STEP reports an AUROC of .979 and an EER of .045 over seven attacks"


def sound_detector_tables(record: Mapping[str, Any]) -> list[Table]:
    """
    Give a table of all attacks and detectors, and one of the mean and the lowest AUROC of each detector.

    :param record: A record that the command ``sound-detectors`` has written.
    """
    columns = {"Attack": False, "Seeds": False, "Clean accuracy": True, "Attack success": True, "Detector": False}
    columns |= {"AUROC": True, "EER": True, "TPR": True, "FPR": True, "A clip (ms)": True}
    rows = []
    for title, runs in runs_by_title(record["runs"]).items():
        seeds = ", ".join(str(run["seed"]) for run in runs)
        about = [spread([run["model"][name] for run in runs], rate) for name in ("clean_accuracy", "attack_success")]
        done = judged(runs)
        if not done:
            rows.append([title, seeds, *about, runs[0]["note"], *[rate(None)] * 5])
        for name in dict.fromkeys(row["title"] for run in done for row in run["rows"]):
            found = [row for run in done for row in run["rows"] if row["title"] == name]
            values = [spread([row[key] for row in found], rate) for key in ("auroc", "eer", "tpr", "fpr")]
            time = spread([row["milliseconds_per_image"] for row in found], one_decimal)
            rows.append([title, seeds, *about, name, *values, time])
    return [Table(CAPTION, columns, rows), _means(record)]


def _means(record: Mapping[str, Any]) -> Table:
    columns = {"Detector": False, "Models": True, "Mean AUROC": True, "Lowest AUROC": True, "Mean EER": True}
    rows = []
    every = [row for run in record["runs"] for row in run["rows"]]
    for name in dict.fromkeys(row["title"] for row in every):
        found = [row for row in every if row["title"] == name and row["auroc"] is not None]
        values = [[row[key] for row in found] for key in ("auroc", "eer")]
        mean_auroc, mean_eer = (rate(float(np.mean(one)) if one else None) for one in values)
        rows.append([name, f"{len(found)}", mean_auroc, rate(min(values[0], default=None)), mean_eer])
    return Table(f"Means over the attacked models. {PUBLISHED}", columns, rows)
