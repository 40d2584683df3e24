"""Tables of the results that Armory reports, over the runs of a record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from art_plugins.reports.studies.in_flight_tables import form_title
from art_plugins.reports.tables import Table, count, one_decimal, rate, spread

Run = Mapping[str, Any]
DETECTIONS = ("in_flight", "layerwise")  # keys of what the detection scenarios add to Armory's results
RATES = {"TPR": "tpr", "TPR of all": "tpr_of_all", "FPR": "fpr", "FPR of all": "fpr_of_all"}
RATES |= {"SIA": "sia", "SIA of all": "sia_of_all"}


def armory_tables(record: Mapping[str, Any]) -> list[Table]:
    """Give the tables of every attack: means over the seeds, and in brackets the lowest and the highest value."""
    tried = [run for run in record["runs"] if run.get("quick")]
    attacks: dict[tuple[str, float], list[Run]] = {}
    for run in record["runs"]:
        if not run.get("quick"):
            attacks.setdefault((run["attack"], run["fraction"]), []).append(run)
    tables = [table for runs in attacks.values() for table in attack_tables(runs)]
    return [*tables, quick_table(tried)] if tried else tables


def quick_table(runs: Sequence[Run]) -> Table:
    """Give the table of runs at a small size: that Armory carried them to the end, or why not."""
    caption = (
        f"{sum(run['error'] is None for run in runs)} of {len(runs)} configs came to their end at a small size (--quick): "
        "few samples, narrow networks, few epochs. The figures show that something was poisoned and judged; they say "
        "nothing about a defence"
    )
    columns = {"Config": False, "Ended": False, "Poison": True, "Set": True, "Removed": True, "Triggered": True}
    columns |= {"Seconds": True, "Why not": False}
    rows = []
    for run in runs:
        counts = [_figure(run["results"], f"N_{name}") for name in (*COUNTS, "samples_removed")]
        n_poison, n_clean, n_triggered, _, n_removed = counts
        n_train = None if n_poison is None or n_clean is None else n_poison + n_clean
        shown = [count(value) for value in (n_poison, n_train, n_removed, n_triggered)]
        ended = "yes" if run["error"] is None else "no"
        rows.append([run["config"], ended, *shown, one_decimal(run["seconds"]), run["error"] or ""])
    return Table(caption, columns, rows)


def attack_tables(runs: Sequence[Run]) -> Iterator[Table]:
    """
    Give the tables of one attack: what each filter leaves of it, and what each detector catches at test time.

    :param runs: Runs of this attack.
    """
    filtered = [run for run in runs if not set(DETECTIONS) & set(run["results"])]
    if filtered:
        columns = {
            "Filter": False,
            "TPR": True,
            "FPR": True,
            "Removed": True,
            "Attack success": True,
            "Clean accuracy": True,
        }
        groups = _grouped((run["defence"], run["results"]) for run in filtered)
        yield Table(_caption(filtered), columns, [[title, *_filter_row(results)] for title, results in groups.items()])
    for kind in DETECTIONS:
        judged = [run for run in runs if kind in run["results"]]
        if judged:
            found = [run["results"][kind] for run in judged]
            rows = [row for one in found for row in (*one["detectors"], *one.get("baselines", []))]
            groups = _grouped((row.get("title") or form_title(*row["form"]), row) for row in rows)
            columns = {"Detector": False, **dict.fromkeys(RATES, True)}
            yield Table(_caption(judged), columns, [[title, *_rates(group)] for title, group in groups.items()])


def _caption(runs: Sequence[Run]) -> str:
    run = runs[0]
    figures = {name: int(_figure(run["results"], f"N_{name}") or 0) for name in COUNTS}
    n_poison, n_clean, n_triggered, n_test = figures.values()
    seeds = ", ".join(str(seed) for seed in sorted({one["seed"] for one in runs}))
    success = _mean([_figure(one["results"], "attack_success_rate") for one in runs])
    attacked = f" The attack succeeds on {success}." if set(DETECTIONS) & set(run["results"]) else ""
    share = f"{100 * run['fraction']:.3g} % of {run.get('share_of', 'each source class')}"
    return (
        f"{run['attack']}, {share}: {n_poison} of {n_poison + n_clean} training samples are poison; {n_triggered} "
        f"triggered and {n_test} clean test samples; seeds: {seeds}.{attacked}"
    )


COUNTS = ("poisoned_train_samples", "clean_train_samples", "source_class_test_samples", "test_samples")


def _filter_row(results: Sequence[Mapping[str, Any]]) -> list[str]:
    meters = [(one.get("filter") or [{}])[0] for one in results]
    rates = [[meter.get(name) for meter in meters] for name in ("true_positive_rate", "false_positive_rate")]
    names = ("fraction_data_removed", "attack_success_rate", "accuracy_on_benign_test_data_all_classes")
    return [_mean(values) for values in (*rates, *([_figure(one, name) for one in results] for name in names))]


def _rates(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [_mean([row.get(name) for row in rows]) for name in RATES.values()]


def _grouped(pairs: Any) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for title, value in pairs:
        groups.setdefault(title, []).append(value)
    return groups


def _figure(results: Mapping[str, Any], name: str) -> float | None:
    values = results.get(name)
    return values[0] if values else None


def _mean(values: Sequence[float | None]) -> str:
    return spread([value for value in values if value is not None], rate)
