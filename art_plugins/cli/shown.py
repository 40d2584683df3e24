"""Tables and lines that the commands print in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from art_plugins.cli.app import console
from art_plugins.cli.terminal import FittedTable

MAX_LISTED = 10  # caught images, or reasons why files were skipped
PADDING = (0, 1, 0, 0)


def _show_classes(classes: list[dict[str, Any]]) -> None:
    """The ranking of a scan."""
    table = Table(
        title="Classes, the most suspicious first",
        caption="A class of higher index is more suspicious. False alarms: the chance that some class of data without "
        "poison stands out this far.",
        box=box.SIMPLE_HEAD,
        padding=PADDING,
    )
    table.add_column("class", overflow="fold")
    for title in ("files", "index", "false alarms", "called poison"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("verdict")
    for row in classes:
        index = "-" if row["mad_index"] is None else f"{row['mad_index']:.2f}"
        chance = "-" if row["p_value"] is None else f"{row['p_value']:.2g}"
        table.add_row(escape(row["name"]), str(row["n_files"]), index, chance, str(row["n_called_poison"]), row["verdict"])
    console.print(FittedTable(table))


def _show_patterns(classes: list[dict[str, Any]]) -> None:
    """What a detection found towards each class."""
    from art_plugins.inspection.detect_record import BACKDOOR_TARGET, SCREENED
    from art_plugins.triggers.found import INDEX_RULE

    kinds = list(classes[0]["patterns"])
    table = Table(
        title="The smallest pattern towards each class, the most suspicious class first",
        caption="px: size of the patch in pixels. L2: norm of the additive pattern. success: share of the clean images of "
        "the other classes that the pattern sends to the class. " + INDEX_RULE,
        box=box.SIMPLE_HEAD,
        padding=PADDING,
    )
    table.add_column("class", overflow="fold")
    for kind in kinds:
        for title in (f"{kind}, px" if kind == "patch" else f"{kind}, L2", "success"):
            table.add_column(title, justify="right", no_wrap=True)
    table.add_column("index", justify="right", no_wrap=True)
    table.add_column("verdict")
    for row in classes:
        if row["verdict"] == SCREENED:
            continue
        patterns = [row["patterns"][kind] for kind in kinds]
        numbers = [pair for one in patterns for pair in ((one["norm"], 2), (one["success_rate"], 3))]
        cells = ["-" if value is None else f"{value:.{digits}f}" for value, digits in numbers]
        index = "-" if row["index"] is None else f"{row['index']:.2f}"
        style = "bold" if row["verdict"] == BACKDOOR_TARGET else None
        table.add_row(escape(row["name"]), *cells, index, row["verdict"], style=style)
    console.print(FittedTable(table))


def _show_suspects(suspects: list[dict[str, Any]], listed_in: Path) -> None:
    """The first of the images that a detection caught."""
    for row in suspects[:MAX_LISTED]:
        source = "" if row["source_class"] is None else f", probably {row['source_class']}"
        source += "" if row["source_probability"] is None else f" ({row['source_probability']:.2f})"
        scores = [
            f"{name} {row[key]:.1f}"
            for name, key in (("score", "score"), ("layers", "layer_score"))
            if row[key] is not None
        ]
        line = f"  {row['file']}: the model says {row['predicted_class']}{source} ({', '.join([*scores, row['found_by']])})"
        console.print(line, markup=False, highlight=False)
    if len(suspects) > MAX_LISTED:
        console.print(f"  and {len(suspects) - MAX_LISTED} more, listed in {listed_in}", markup=False)


def _show_sentences(sentences: list[str]) -> None:
    for sentence in sentences:
        console.print(sentence, markup=False)


def _show_written(out: Path, names: Sequence[str], others: Sequence[Path | None] = ()) -> None:
    """Where the results are."""
    written = [*(out / name for name in names), *(path for path in others if path is not None)]
    console.print(f"Written: {', '.join(map(str, written))}", markup=False)


def _show_files(rows: list[tuple[str, int, str]]) -> None:
    """The files that were skipped, ignored or mended, and why."""
    if not rows:
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("files", justify="right", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("why", overflow="fold")
    for what, number, reason in rows[:MAX_LISTED]:
        table.add_row(f"{number:,}", what, escape(reason))
    if len(rows) > MAX_LISTED:
        table.add_row("", "and more", f"{len(rows) - MAX_LISTED} more reasons, which report.html lists")
    console.print(FittedTable(table))


def _show_comparison(task: dict[str, Any]) -> None:
    before = task["undefended"]
    table = Table(
        title=f"{escape(task['title'])}, seed {task['seed']}: {task['n_poison']} of {task['n_train']} training samples are "
        "poison",
        caption=f"No filter: clean {before['clean_accuracy']:.3f}, attack {before['attack_success']:.3f}. TPR: share of "
        "the poison removed. FPR: share of the clean samples removed. ARI: of the target class. clean, attack: "
        "accuracy and attack success of a model retrained on the rest. s: seconds of the filter.",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    columns = {
        "TPR": "tpr",
        "FPR": "fpr",
        "ARI": "ari_target",
        "clean": "clean_accuracy",
        "attack": "attack_success",
        "s": "seconds",
    }
    table.add_column("filter")
    for title in columns:
        table.add_column(title, justify="right")
    for row in task["defences"]:
        cells = (f"{row[key]:.1f}" if key == "seconds" else _cell(row[key]) for key in columns.values())
        table.add_row(escape(row["title"]), *cells)
    console.print(FittedTable(table))


def _show_in_flight_run(run: dict[str, Any]) -> None:
    line = f"{run['title']}, seed {run['seed']}: clean {_cell(run['model']['clean_accuracy'])}, "
    line += f"attack {_cell(run['model']['attack_success'])}; "
    if run.get("note"):
        console.print(line + run["note"], markup=False, highlight=False)
        return
    found = run["inversion"]
    verdict = "no backdoor found" if found["target_class"] is None else f"backdoor towards class {found['target_class']}"
    line += f"{verdict} ({found['seconds']:.0f} s)"
    if "detectors" in run:
        default = run["detectors"][-1]
        line += f"; TPR {_cell(default['tpr'])}, FPR {_cell(default['fpr'])}, SIA {_cell(default['sia'])}"
    console.print(line, markup=False, highlight=False)


def _show_layerwise_run(run: dict[str, Any]) -> None:
    line = f"{run['title']}, seed {run['seed']}: attack {_cell(run['model']['attack_success'])}"
    if run.get("note"):
        console.print(f"{line}; {run['note']}", markup=False, highlight=False)
        return
    console.print(line, markup=False)
    for row in (*run["detectors"], *run.get("filters", [])):
        line = f"  {row['title']}: TPR {_cell(row['tpr'])}, FPR {_cell(row['fpr'])}"
        console.print(line, markup=False, highlight=False)


def _show_filter_run(run: dict[str, Any]) -> None:
    from art_plugins.reports.studies.filter_tables import with_trusted

    line = f"{run['title']}, seed {run['seed']}, {with_trusted(run['filter_title'], run['n_trusted'])}: "
    if run["note"] is None:
        line += f"TPR {_cell(run['tpr'])}, FPR {_cell(run['fpr'])}"
    console.print(line + (run["note"] or ""), markup=False, highlight=False)


def _show_sound_detector_run(run: dict[str, Any]) -> None:
    title = f"{run['title']}, seed {run['seed']}: attack {_cell(run['model']['attack_success'])}"
    console.print(title + ("" if run["note"] is None else f", {run['note']}"), markup=False)
    for row in run["rows"]:
        console.print(f"  {row['title']}: AUROC {_cell(row['auroc'])}", markup=False, highlight=False)


def _show_attack_run(run: dict[str, Any]) -> None:
    line = f"{run['title']}, seed {run['seed']}: "
    if run["note"] is None:
        line += f"success {_cell(run['attack_success'])}, clean accuracy {_cell(run['clean_accuracy'])}"
    console.print(line + (run["note"] or ""), markup=False, highlight=False)


def _show(table: Any) -> None:
    """Print a table of a record."""
    shown = Table(title=escape(table.caption), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading, is_number in table.columns.items():
        shown.add_column(escape(heading.strip()), justify="right" if is_number else "left")
    for row in table.rows:
        shown.add_row(*map(escape, row))
    console.print(FittedTable(shown))


def _cell(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
