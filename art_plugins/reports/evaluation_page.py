"""The page of all results: the items of the papers, the tables of every record, and suspects to hear and to see."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from art_plugins.errors import InvalidInputError
from art_plugins.reports import drawing
from art_plugins.reports.comparison.comparison_tables import title
from art_plugins.reports.comparison.rate_figures import rate_picture
from art_plugins.reports.pages import Picture, render_page
from art_plugins.reports.paper_tables import PAPER_TITLES, SIZE_WORDS, summary_table
from art_plugins.reports.record_files import (
    ABLATION,
    ARMORY,
    ATTACK_RATES,
    COMPARISON,
    FILTER_RATES,
    IN_FLIGHT,
    LAYERWISE,
    REPRODUCTION,
    SOUND_DETECTORS,
    SOUNDS,
    SWEEP,
)
from art_plugins.reports.records import Gathered, record_markdown, record_tables
from art_plugins.reports.studies.attack_grid import attack_grid, grid_table, grid_words
from art_plugins.reports.studies.attack_picture import FILE_NAME, attack_picture
from art_plugins.reports.suspects import shown_suspects
from art_plugins.reports.tables import Table, markdown, markdown_text, one_decimal, runs_of_one_task
from art_plugins.storage import write_text

BLOCK = re.compile(r"<!-- (\w+(?: \d+)*) -->\n.*?<!-- end -->", re.DOTALL)
ALL_FILTERS = "attacks_by_filters"  # the block of the picture of all records of filters
MAX_ROWS = 16  # a table with more rows is folded
KIND_TITLES = {
    COMPARISON: "Filters side by side",
    SWEEP: "Every pair of classes",
    SOUNDS: "Sounds at any place, and filters",
    ABLATION: "What each part brings",
    IN_FLIGHT: "Detectors of triggers, and peers",
    LAYERWISE: "Layer by layer, and peers",
    FILTER_RATES: "Filters on many attacks",
    SOUND_DETECTORS: "Triggers in sounds at test time",
    ATTACK_RATES: "Attacks",
    ARMORY: "In Armory",
}


def write_evaluation_report(gathered: Sequence[Gathered], out: Path, markdown_file: Path | None = None) -> None:
    """
    Write ``report.html``, which needs no other file, and ``report.md``.

    :param gathered: The records.
    :param out: Folder for both files.
    :param markdown_file: File for the Markdown in place of ``report.md``.
    :raises MissingPackageError: If jinja2 is missing, or if matplotlib is missing and a record is a comparison. Nothing is
        written then.
    """
    page = evaluation_page(gathered)
    write_text(markdown_file or out / "report.md", evaluation_markdown(gathered))
    write_text(out / "report.html", page)


def evaluation_markdown(gathered: Sequence[Gathered]) -> str:
    """
    Give all tables under headings, each with the command that wrote its record. The text ends with a line break.
    """
    items = [one.record for one in gathered if one.kind == REPRODUCTION]
    parts = ["# What was measured", markdown(summary_table(items))] if items else ["# What was measured"]
    heading = ""
    for one in gathered:
        if _heading(one) != heading:
            heading = _heading(one)
            parts.append(f"## {heading}")
        commands = (
            [study["command"] for study in one.record["studies"]] if one.kind == REPRODUCTION else [one.record["command"]]
        )
        parts += [f"### {_title(one)}", "\n".join(f"`{command}`\n" for command in commands)]
        if one.note:
            parts.append(one.note)
        parts.append(record_markdown(one.record))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def filled(text: str, gathered: Sequence[Gathered], further: Mapping[str, str] | None = None) -> str:
    """
    Replace the tables in a Markdown text. Each block from ``<!-- NAME -->`` to ``<!-- end -->`` is written again.

    ``NAME`` is the name of a record. ``NAME 1 3`` gives only the first and the third table of the record. The name
    ``reproduction`` gives the summary of all items of the papers. The name ``attacks_by_filters`` gives the picture of all
    records of filters, which is looked for in the folder ``figures`` beside the text, and its table.

    :param further: Text of blocks that are no record, by their names.
    :raises InvalidInputError: If there is no record of the name in a block, or if the record has no such table.
    """
    records = {one.name: one.record for one in gathered if one.kind != REPRODUCTION}
    items = [one.record for one in gathered if one.kind == REPRODUCTION]
    filters = [one.record for one in gathered if one.kind == FILTER_RATES]

    def fill(match: re.Match[str]) -> str:
        name, *numbers = match[1].split()
        if further is not None and name in further:
            return f"<!-- {match[1]} -->\n{further[name]}\n<!-- end -->"
        if name == "reproduction" and items:
            return f"<!-- {match[1]} -->\n{markdown(summary_table(items))}\n<!-- end -->"
        if name == ALL_FILTERS and filters:
            return f"<!-- {match[1]} -->\n{_filter_grid_markdown(filters)}\n<!-- end -->"
        if name not in records:
            names = [*(["reproduction"] if items else []), *([ALL_FILTERS] if filters else []), *(further or {}), *records]
            known = ", ".join(names)
            raise InvalidInputError(f"The block {name!r} is no record; there are {known}.")
        shown, _ = record_tables(records[name])
        if numbers and not all(1 <= int(number) <= len(shown) for number in numbers):
            raise InvalidInputError(f"The record {name!r} has {len(shown)} tables; the block is {match[1]!r}.")
        tables = "\n".join(markdown(shown[int(number) - 1]) for number in numbers) or record_markdown(records[name])
        return f"<!-- {match[1]} -->\n`{records[name]['command']}`\n\n{tables}\n<!-- end -->"

    return BLOCK.sub(fill, text)


def evaluation_page(gathered: Sequence[Gathered]) -> str:
    """Give the page as HTML."""
    items = [one.record for one in gathered if one.kind == REPRODUCTION]
    sections: dict[str, list[dict[str, Any]]] = {}
    filters = [one.record for one in gathered if one.kind == FILTER_RATES]
    for one in gathered:
        if one.kind == FILTER_RATES and _heading(one) not in sections:
            sections[_heading(one)] = [_filter_grid_part(filters)]
        sections.setdefault(_heading(one), []).append(_part(one))
    return render_page(
        "evaluation.html.j2",
        n_records=len(gathered),
        summary=summary_table(items) if items else None,
        sections=sections,
        suspects=_suspects(gathered),
        commands=_command_table(gathered),
    )


def _part(one: Gathered) -> dict[str, Any]:
    shown, folded = record_tables(one.record)
    return {
        "title": _title(one),
        "note": one.note,
        "overview": _overview(one),
        "tables": [table for table in shown if len(table.rows) <= MAX_ROWS],
        "folded": [table for table in shown if len(table.rows) > MAX_ROWS] + folded,
        "pictures": _pictures(one),
    }


def _filter_grid_part(filters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    grid = attack_grid(filters)
    part = {"title": "All attacks by all filters", "note": "", "tables": [], "pictures": []}
    return {**part, "overview": [attack_picture(grid)], "folded": [grid_table(grid)]}


def _filter_grid_markdown(filters: Sequence[Mapping[str, Any]]) -> str:
    grid = attack_grid(filters)
    return f"![{markdown_text(grid_words(grid))}](figures/{FILE_NAME})\n\n{markdown(grid_table(grid))}"


def _overview(one: Gathered) -> list[Picture]:
    """Draw the picture of each task of a comparison, over its seeds."""
    return [rate_picture(tasks) for tasks in runs_of_one_task(one.record["runs"])] if one.kind == COMPARISON else []


def _pictures(one: Gathered) -> list[Mapping[str, Any]]:
    """Read the figures of a paper's item. A figure whose file is missing is left out."""
    found: list[Mapping[str, Any]] = []
    for figure in one.record.get("figures", []) if one.kind == REPRODUCTION else []:
        file = (one.folder / figure["file"]).resolve()
        if file.is_relative_to(one.folder.resolve()) and file.suffix == ".png" and file.is_file():
            found.append({**figure, "uri": drawing.data_uri(file.read_bytes())})
    return found


def _suspects(gathered: Sequence[Gathered]) -> list[dict[str, Any]]:
    shown = []
    for one in gathered:
        for task in one.record["runs"] if one.kind == COMPARISON else []:
            samples = shown_suspects(task, one.folder)
            if samples:
                what = f"{title(task)}: class {task['target']}, attacked with {task['trigger']}"
                shown.append({"title": what, "samples": samples})
    return shown


def _heading(one: Gathered) -> str:
    return PAPER_TITLES[one.record["paper"]] if one.kind == REPRODUCTION else KIND_TITLES[one.kind]


def _title(one: Gathered) -> str:
    return f"{one.record['title']} ({SIZE_WORDS[one.record['size']]})" if one.kind == REPRODUCTION else one.name


def _command_table(gathered: Sequence[Gathered]) -> Table:
    rows: dict[str, list[str]] = {}
    for one in gathered:
        for record in one.record["studies"] if one.kind == REPRODUCTION else [one.record]:
            known = ", ".join(f"{name} {version}" for name, version in record["versions"].items() if name != "platform")
            rows.setdefault(record["command"], [record["command"], one_decimal(record["seconds"]), known])
    columns = {"Command": False, "Seconds": True, "Versions": False}
    return Table("Commands that wrote these records; seconds are of the last call", columns, list(rows.values()))
