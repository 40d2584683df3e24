"""Tables of in-flight detection. Runs that differ only in their seed share one row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from art_plugins.reports.tables import (
    Table,
    count,
    fixed,
    judged,
    rate,
    runs_by_title,
    spread,
    two_decimals,
)

PAPER_ROW, DEFAULT_ROW = 0, -1  # of a record's detectors; older records end with an older default

four_decimals = partial(fixed, digits=4)
FORM_TITLES = {
    "mixture": "diagonal mixture",
    "oas": "OAS per class",
    "tied": "tied",
    "regularised": "between class and tied",
}
# TPR, FPR, SIA of Li et al. 2022, Tables 2 and 4, by data set, trigger and source classes.
REPORTED = {
    ("cifar10", "chessboard", "single"): (0.9922, 0.0, 0.8392),
    ("cifar10", "chessboard", "multi"): (0.9997, 0.0, 0.6946),
    ("cifar10", "single_pixel", "single"): (0.9813, 0.0, 0.7728),
    ("cifar10", "single_pixel", "multi"): (0.9454, 0.0, 0.632),
    ("cifar10", "white_box", "single"): (0.9847, 0.0, 0.8607),
    ("cifar10", "white_box", "multi"): (0.9992, 0.0, 0.8945),
    ("mnist", "chessboard", "multi"): (1.0, 0.0033, 0.9413),
    ("mnist", "white_box", "multi"): (1.0, 0.0022, 0.9764),
    ("fashion_mnist", "chessboard", "multi"): (1.0, 0.0023, 0.6948),
    ("fashion_mnist", "white_box", "multi"): (0.9951, 0.0127, 0.8039),
}
Run = Mapping[str, Any]


def in_flight_tables(record: Mapping[str, Any]) -> tuple[list[Table], list[Table]]:
    """Give the tables that have rows: first those that are shown at once, then those that are folded."""
    every = runs_by_title(record["runs"])
    groups = runs_by_title(judged(record["runs"]))
    shown, folded = [attack_table(every), detector_table(groups)], [wrong_target_table(groups), family_table(groups)]
    if any("baselines" in run for run in record["runs"]):
        shown.append(baseline_table(groups))
        folded.append(patching_table(groups))
    return [table for table in shown if table.rows], [table for table in folded if table.rows]


def attack_table(groups: Mapping[str, Sequence[Run]]) -> Table:
    """Describe the attacked models and what trigger inversion finds in those on which the attack works."""
    columns = {"Attack": False, "Seeds": False, "Clean accuracy": True, "Attack success": True, "Right finding": True}
    columns |= {"Index of the target": True, "Highest other index": True, "Estimated pattern's success": True}
    rows = []
    for title, runs in groups.items():
        done = judged(runs)
        n_right = sum(run["inversion"]["right_target"] for run in done)
        rows.append(
            [
                title,
                ", ".join(str(run["seed"]) for run in runs),
                _over(runs, lambda run: run["model"]["clean_accuracy"], rate),
                _over(runs, lambda run: run["model"]["attack_success"], rate),
                f"{n_right} of {len(done)}" if done else "attack fails",
                _over(done, _target_index, two_decimals),
                _over(done, _highest_other_index, two_decimals),
                _over(done, lambda run: run["inversion"].get("estimated_attack_success"), rate),
            ]
        )
    return Table("Attacked models and trigger inversion; mean over seeds, in brackets lowest to highest", columns, rows)


def detector_table(groups: Mapping[str, Sequence[Run]]) -> Table:
    """Compare the default detector with the paper's. Each rate is given over both denominators."""
    columns = {"Attack": False, "Detector": False, "TPR": True, "FPR": True, "SIA": True, "TPR of all": True}
    columns |= {"SIA of all": True, "Triggered as target": True, "Triggered": True, "Clean of the target": True}
    rows = []
    for title, runs in groups.items():
        for name, index in (("default", DEFAULT_ROW), ("paper's form", PAPER_ROW)):
            if not all("detectors" in run for run in runs):
                continue
            row = [run["detectors"][index] for run in runs]
            measures = [
                spread([one[key] for one in row], four_decimals)
                for key in ("tpr", "fpr", "sia", "tpr_of_all", "sia_of_all")
            ]
            sizes = [
                spread([one[key] for one in row], count)
                for key in ("n_triggered_as_target", "n_triggered", "n_clean_target")
            ]
            rows.append([title, name, *measures, *sizes])
        reported = REPORTED.get(_attack(runs[0]))
        if reported and "detectors" in runs[0]:
            rows.append([title, "reported by the paper", *map(four_decimals, reported), *["—"] * 5])
    return Table(
        "In-flight detection. TPR, SIA: over the triggered images that the model sends to the target, and of all; FPR: "
        "over the clean target-class images that it sends there",
        columns,
        rows,
    )


def wrong_target_table(groups: Mapping[str, Sequence[Run]]) -> Table:
    """Give the rates of a detector that was fitted for a wrong target class."""
    rows = [
        [
            title,
            _over(runs, lambda run: run["wrong_target"]["tpr_of_all"], four_decimals),
            _over(runs, lambda run: run["wrong_target"]["fpr_of_all"], four_decimals),
        ]
        for title, runs in groups.items()
        if all("wrong_target" in run for run in runs)
    ]
    columns = {"Attack": False, "TPR of all": True, "FPR of the images sent to that class": True}
    return Table("A detector made for the class after the target", columns, rows)


def family_table(groups: Mapping[str, Sequence[Run]]) -> Table:
    """Compare the density families by TPR, FPR and SIA."""
    titles = [title for title, runs in groups.items() if all("detectors" in run for run in runs)]
    rows = []
    for index, row in enumerate(groups[titles[0]][0]["detectors"] if titles else []):
        cells = []
        for title in titles:
            found = [run["detectors"][index] for run in groups[title]]
            cells.append(" / ".join(four_decimals(_mean([one[key] for one in found])) for key in ("tpr", "fpr", "sia")))
        rows.append([form_title(*row["form"]), *cells])
    return Table("Density families: mean TPR / FPR / SIA", {"Density": False, **{title: True for title in titles}}, rows)


def baseline_table(groups: Mapping[str, Sequence[Run]]) -> Table:
    """
    Give the rates of Neural Cleanse, B3D and STRIP twice: with the best threshold on the test images, as in the paper, and
    with the threshold that the defender's own images give.
    """
    rows = []
    for title, runs in groups.items():
        for index, first in enumerate(runs[0].get("baselines", [])):
            found = [run["baselines"][index] for run in runs]
            keys = ("swept_tpr", "swept_fpr", "tpr", "fpr")
            rows.append([title, first["title"], *(spread([row[key] for row in found], rate) for key in keys)])
    columns = {"Attack": False, "Baseline": False, "TPR, swept": True, "FPR, swept": True}
    return Table(
        "Baselines at about 5 % false positives: threshold swept on the test images, and set on the defender's",
        columns | {"TPR": True, "FPR": True},
        rows,
    )


def patching_table(groups: Mapping[str, Sequence[Run]]) -> Table:
    """Give the source inference accuracy of Neural Cleanse's patching for each learning rate (Table 3 of Li et al.)."""
    rates = [row["learning_rate"] for row in next(iter(groups.values()))[0].get("patching", [])]
    rows = [
        [title, *(_over(runs, lambda run, i=i: run["patching"][i]["sia"], rate) for i in range(len(rates)))]  # type: ignore[misc]
        for title, runs in groups.items()
        if all("patching" in run for run in runs)
    ]
    return Table(
        "SIA of Neural Cleanse's patching, fine-tuned on the defender's images, by learning rate",
        {"Attack": False, **{f"{value:g}": True for value in rates}},
        rows,
    )


def _attack(run: Run) -> tuple[str, str, str]:
    case = run.get("case", {})
    return case.get("dataset", ""), case.get("trigger", ""), case.get("sources", "")


def form_title(family: str, n_layers: int, power: float, margin: float, removal: bool = False) -> str:
    """Describe the form of a detector in words. Older records do not say whether the pattern was removed; it was not."""
    layers = "1 layer" if n_layers == 1 else f"{n_layers} layers"
    root = ", square root" if power == 0.5 else "" if power == 1 else f", power {power:g}"
    return f"{FORM_TITLES[family]}, {layers}{root}{', margin' if margin else ''}{', pattern removed' if removal else ''}"


def _over(runs: Sequence[Run], value: Callable[[Run], float | None], show: Callable[[float | None], str]) -> str:
    return spread([value(run) for run in runs], show)


def _target_index(run: Run) -> float | None:
    if run["target"] is None:
        return None
    index: float | None = run["inversion"]["anomaly_index"][run["target"]]
    return index


def _highest_other_index(run: Run) -> float | None:
    others = [
        value
        for label, value in enumerate(run["inversion"]["anomaly_index"])
        if label != run["target"] and value is not None
    ]
    return max(others, default=None)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
