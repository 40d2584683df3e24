"""What the commands print: tables and lines on the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from art_plugins.cli.app import console
from art_plugins.cli.terminal import FittedTable

MAX_LISTED = 10  # caught images, or reasons why files were skipped


def _show_files(rows: list[tuple[str, int, str]]) -> None:
    """What became of the files that were not simply read."""
    if not rows:
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("files", justify="right", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("why", overflow="fold")
    for what, number, reason in rows[:MAX_LISTED]:
        table.add_row(f"{number:,}", what, escape(reason))
    if len(rows) > MAX_LISTED:
        table.add_row("", "and more", f"{len(rows) - MAX_LISTED} further reasons, listed in report.html")
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
    found = run["inversion"]
    verdict = "no backdoor found" if found["target_class"] is None else f"backdoor towards class {found['target_class']}"
    line = f"{run['title']}, seed {run['seed']}: clean {_cell(run['model']['clean_accuracy'])}, "
    line += f"attack {_cell(run['model']['attack_success'])}; {verdict} ({found['seconds']:.0f} s)"
    if "detectors" in run:
        default = run["detectors"][-1]
        line += f"; TPR {_cell(default['tpr'])}, FPR {_cell(default['fpr'])}, SIA {_cell(default['sia'])}"
    console.print(line, markup=False, highlight=False)


def _show_layerwise_run(run: dict[str, Any]) -> None:
    console.print(f"{run['title']}, seed {run['seed']}: attack {_cell(run['model']['attack_success'])}", markup=False)
    for row in (*run["detectors"], *run.get("filters", [])):
        line = f"  {row['title']}: TPR {_cell(row['tpr'])}, FPR {_cell(row['fpr'])}"
        console.print(line, markup=False, highlight=False)


def _show(table: Any) -> None:
    """A table of the record's on the terminal."""
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
