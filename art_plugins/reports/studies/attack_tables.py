"""The record of attacks as a table; runs that differ in nothing but their seed are one row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from art_plugins.reports.tables import Table, count, judged, one_decimal, rate, runs_by_title, spread

CAPTION = (
    "Share: poisoned samples of the whole training set. Attack success: share of the triggered test samples of the source "
    "classes that the model classifies as the target. Without poison: the same of a model that was trained on the clean set"
)
FIGURES = (
    ("attack_success", rate),
    ("clean_success", rate),
    ("clean_accuracy", rate),
    ("n_poison", count),
    ("n_train", count),
    ("n_triggered_test", count),
    ("seconds", one_decimal),
)


def attack_tables(record: Mapping[str, Any]) -> list[Table]:
    """Give the table of what worked and, where there are such, the table of attacks that could not be made and why."""
    columns = {"Attack": False, "Paper": False, "Share (%)": True, "Seeds": False, "Attack success": True}
    columns |= {"Without poison": True, "Clean accuracy": True, "Poison": True, "Set": True, "Triggered": True}
    columns["Seconds"] = True
    rows = []
    for title, runs in runs_by_title(judged(record["runs"])).items():
        seeds = ", ".join(str(run["seed"]) for run in runs)
        figures = [spread([run[key] for run in runs], show) for key, show in FIGURES]
        rows.append([title, runs[0]["paper"], f"{100 * runs[0]['share']:g}", seeds, *figures])
    tables = [Table(CAPTION, columns, rows)]
    left_out = [[run["title"], run["paper"], str(run["seed"]), run["note"]] for run in record["runs"] if run["note"]]
    if left_out:
        tables.append(Table("Not made", dict.fromkeys(("Attack", "Paper", "Seed", "Why"), False), left_out))
    return tables
