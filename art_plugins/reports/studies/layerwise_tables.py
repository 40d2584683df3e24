"""Tables of layer-wise detection. Runs that differ only in their seed share one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from art_plugins.reports.tables import (
    DASH,
    Table,
    count,
    fixed,
    judged,
    one_decimal,
    rate,
    runs_by_title,
    spread,
    two_decimals,
)

four_decimals = partial(fixed, digits=4)
PUBLISHED = "published elsewhere"
JUDGED_FEWER = ", or over a sample of both where fewer were judged. Memory: above what was held before"
# TPR, FPR on CIFAR-10, ResNet-18. Preetha et al., Fig. 4, and the notebook of Jebreel et al.: input-aware attack.
PUBLISHED_INPUT_AWARE = {
    "tau 0.5": (1.0, 0.2745),
    "tau 1": (0.9998, 0.1604),
    "tau 1.5": (0.9988, 0.0767),
    "tau 2": (0.9976, 0.0329),
    "tau 2.5": (0.9946, 0.0122),
    "tau 3": (0.9528, 0.0024),
}
# TPR, FPR of other detectors, as published. AC: activation clustering, a filter.
PUBLISHED_PEERS = {
    "BadNets": {"IBD-PSC": (0.98, 0.0075), "CT": (1.0, 0.0065), "SCALE-UP": (0.946, 0.277), "AC": (0.0, 0.0015)},
    "Blended": {"IBD-PSC": (0.9999, 0.066), "CT": (0.941, 0.14), "SCALE-UP": (0.917, 0.049), "AC": (0.465, 0.0)},
    "WaNet": {"IBD-PSC": (0.966, 0.002), "CT": (0.794, 0.034), "SCALE-UP": (0.0, 0.053), "AC": (0.622, 0.0)},
}
Run = Mapping[str, Any]


def layerwise_tables(record: Mapping[str, Any]) -> list[Table]:
    """Give the tables of detection, of filters if the record has them, and of published results for CIFAR-10."""
    groups = runs_by_title(record["runs"])
    tables = [detector_table(groups)]
    if any("filters" in run for run in record["runs"]):
        tables.append(filter_table(groups))
    if any(run["case"]["dataset"] == "cifar10" for run in record["runs"]):
        tables.append(published_table())
    return tables


def detector_table(groups: Mapping[str, Sequence[Run]]) -> Table:
    """Compare both rules and other detectors at test time, with their cost if the record has it."""
    columns = {"Attack": False, "Seeds": False, "Clean accuracy": True, "Attack success": True, "Rule": False}
    columns |= {"TPR": True, "FPR": True, "AUROC": True, "TPR of all": True, "Triggered as target": True, "Clean": True}
    with_cost = all("peak_memory_mb" in row for runs in groups.values() for run in judged(runs) for row in run["detectors"])
    if with_cost:
        columns |= {"Fitting (s)": True, "An image (ms)": True, "Peak memory (MB)": True}
    notes = sorted({note for runs in groups.values() for run in runs for note in run.get("notes", [])})
    rows = []
    for title, runs in groups.items():
        model = [
            spread([run["model"][key] for run in runs], rate)  # type: ignore[index]
            for key in ("clean_accuracy", "attack_success")
        ]
        seeds, done = ", ".join(str(run["seed"]) for run in runs), judged(runs)
        if not done:
            rows.append([title, seeds, *model, runs[0]["note"], *[DASH] * (len(columns) - 5)])
        for index, first in enumerate(done[0]["detectors"] if done else []):
            found = [run["detectors"][index] for run in done]
            measures = [spread([row[key] for row in found], four_decimals) for key in ("tpr", "fpr", "auroc", "tpr_of_all")]
            sizes = [spread([row[key] for row in found], count) for key in ("n_triggered_as_target", "n_clean")]
            costs = (("fit_seconds", one_decimal), ("milliseconds_per_image", two_decimals), ("peak_memory_mb", count))
            cost = [spread([row[key] for row in found], show) for key, show in costs] if with_cost else []
            rows.append([title, seeds, *model, first["title"], *measures, *sizes, *cost])
    return Table(
        "At test time. TPR, AUROC: over the triggered images that the model sends to the target; FPR: over all clean test "
        "images that are not in the trusted set" + JUDGED_FEWER * with_cost + "".join(f". {note}" for note in notes),
        columns,
        rows,
    )


def filter_table(groups: Mapping[str, Sequence[Run]]) -> Table:
    """Compare the same rules on the training set with ART's filters."""
    columns = {"Attack": False, "Filter": False, "TPR": True, "FPR": True, "AUROC": True}
    columns |= {"Poison": True, "Clean": True, "Seconds": True, "Peak memory (MB)": True}
    rows = []
    for title, runs in groups.items():
        filtered = [run["filters"] for run in runs if "filters" in run]
        for index, first in enumerate(filtered[0] if filtered else []):
            found = [one[index] for one in filtered]
            measures = [spread([row[key] for row in found], four_decimals) for key in ("tpr", "fpr", "auroc")]
            sizes = [spread([row[a] + row[b] for row in found], count) for a, b in (("tp", "fn"), ("fp", "tn"))]
            cost = [
                spread([row["seconds"] for row in found], one_decimal),
                spread([row["peak_memory_mb"] for row in found], count),
            ]
            rows.append([title, first["title"], *measures, *sizes, *cost])
    return Table("As a filter of the training set", columns, rows)


def published_table() -> Table:
    """Give results that others publish for ResNet-18 on CIFAR-10; they were not measured here."""
    rows = [
        ["Input-aware", f"Layer-wise features, {tau}", *map(four_decimals, figures), PUBLISHED]
        for tau, figures in PUBLISHED_INPUT_AWARE.items()
    ]
    rows += [
        [attack, name, *map(four_decimals, figures), PUBLISHED]
        for attack, peers in PUBLISHED_PEERS.items()
        for name, figures in peers.items()
    ]
    columns = {"Attack": False, "Detector": False, "TPR": True, "FPR": True, "": False}
    return Table("Published by others for ResNet-18 on CIFAR-10, all classes to one; not measured here", columns, rows)
