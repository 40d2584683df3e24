"""The record of filters on many attacks as a table; runs that differ in nothing but their seed are one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from art_plugins.reports.tables import Table, count, fixed, judged, one_decimal, rate, spread

four_decimals = partial(fixed, digits=4)
Run = Mapping[str, Any]
CAPTION = (
    "TPR: share of the poison that the filter removes. FPR: share of the other samples that it removes, cover samples "
    "among them. Both are over the whole training set. Classes called: share of the classes that lose a sample. Forward "
    "pass: one prediction of the whole training set"
)
FIGURES = (
    ("tpr", four_decimals),
    ("fpr", four_decimals),
    ("tp", count),
    ("n_poison", count),
    ("fp", count),
    ("n_train", count),
    ("fraction_classes_called", rate),
    ("seconds", one_decimal),
    ("forward_seconds", one_decimal),
)


def filter_rate_tables(record: Mapping[str, Any]) -> list[Table]:
    """Give the table of rates and, where there are such, the table of what was not judged and why."""
    groups: dict[tuple[str, str, int], list[Run]] = {}
    for run in record["runs"]:
        groups.setdefault((run["title"], run["filter_title"], run["n_trusted"]), []).append(run)
    columns = {"Attack": False, "Seeds": False, "Clean accuracy": True, "Attack success": True, "Filter": False}
    columns |= {"TPR": True, "FPR": True, "Poison removed": True, "Poison": True, "Clean removed": True, "Set": True}
    columns |= {"Classes called": True, "Seconds": True, "Forward pass (s)": True}
    tables = [Table(CAPTION, columns, [_row(*key, done) for key, runs in groups.items() if (done := judged(runs))])]
    left_out = [[*_first_cells(*key, [run]), run["note"]] for key, runs in groups.items() for run in runs if run["note"]]
    if left_out:
        tables.append(Table("Not judged", dict.fromkeys((*list(columns)[:5], "Why"), False), left_out))
    return tables


def _row(title: str, filter_title: str, n_trusted: int, runs: Sequence[Run]) -> list[str]:
    measures = [spread([run[key] for run in runs], show) for key, show in FIGURES]
    return [*_first_cells(title, filter_title, n_trusted, runs), *measures]


def _first_cells(title: str, filter_title: str, n_trusted: int, runs: Sequence[Run]) -> list[str]:
    models = [run["model"] or {} for run in runs]
    figures = [spread([model.get(key) for model in models], rate) for key in ("clean_accuracy", "attack_success")]
    return [title, ", ".join(str(run["seed"]) for run in runs), *figures, with_trusted(filter_title, n_trusted)]


def with_trusted(filter_title: str, n_trusted: int) -> str:
    """Title of a filter that has so many trusted samples of each class; 0: nothing is trusted, or it takes none."""
    bare = filter_title.removesuffix(" (none trusted)").removesuffix(" (trusted)")
    if n_trusted == 0 or bare == filter_title:
        return filter_title
    return f"{bare}, {n_trusted} trusted a class"
