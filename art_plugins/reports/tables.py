"""Tables of text, the form of their numbers, and their Markdown."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

DASH = "\u2014"  # a value that is not known, or a rate without a denominator


class Table(NamedTuple):
    """
    A table of text. ``columns`` maps each heading to whether the column holds numbers. The first column names the row.
    Cells are text that is not escaped.
    """

    caption: str
    columns: dict[str, bool]
    rows: list[list[str]]


def fixed(value: float | None, digits: int) -> str:
    """Give a number with this number of decimals, or a dash if it is not known. What rounds to zero has no sign."""
    return DASH if value is None or not math.isfinite(value) else f"{round(value, digits) + 0.0:.{digits}f}"


count, one_decimal, two_decimals, rate = (partial(fixed, digits=digits) for digits in range(4))


def pairs_table(caption: str, key: str, value: str, pairs: Mapping[str, Any]) -> Table:
    """Give a table of names and values, such as settings or versions."""
    return Table(caption, {key: False, value: False}, [[name, _scalar(entry)] for name, entry in pairs.items()])


def runs_of_one_task(tasks: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Group the tasks. Tasks that differ only in their seed are in one group."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for task in tasks:
        settings = {name: value for name, value in task["settings"].items() if name != "seed"}
        what = [task[name] for name in ("title", "source", "target", "trigger", "fraction")]
        groups.setdefault(json.dumps([what, settings], sort_keys=True), []).append(task)
    return list(groups.values())


def judged(runs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Give the runs in which a defence was judged. ``note`` says why it was not: the attack does not work, for instance."""
    return [run for run in runs if not run.get("note")]


def runs_by_title(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Group the runs by their title, which does not contain the seed."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        groups.setdefault(run["title"], []).append(run)
    return groups


def spread(values: Sequence[float | None], show: Callable[[float | None], str]) -> str:
    """Give the mean and, in brackets, the lowest and the highest value if they differ."""
    known = [value for value in values if value is not None]
    if not known:
        return DASH
    mean, lowest, highest = (show(value) for value in (sum(known) / len(known), min(known), max(known)))
    remarks = []
    if lowest != highest:
        remarks.append(f"{lowest} to {highest}")
    if len(known) < len(values):
        remarks.append(f"{len(known)} of {len(values)} known")
    return f"{mean} ({', '.join(remarks)})" if remarks else mean


def _scalar(value: Any) -> str:
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def markdown(table: Table) -> str:
    """Give the caption, an empty line and the table. The text ends with a line break."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    rule = line("---:" if is_number else "---" for is_number in table.columns.values())
    rows = (line(map(markdown_text, row)) for row in table.rows)
    return "\n".join([markdown_text(table.caption), "", line(table.columns), rule, *rows]) + "\n"


def folded_markdown(table: Table) -> str:
    """Give the table as Markdown, folded under its caption."""
    body = markdown(Table("", table.columns, table.rows)).strip()
    return f"<details><summary>{table.caption}</summary>\n\n{body}\n\n</details>\n"


def markdown_text(text: str) -> str:
    """Escape text so that Markdown shows it unchanged, on one line."""
    return re.sub(r"([\\`*_\[\]<>|&~#])", r"\\\1", " ".join(text.split()))
