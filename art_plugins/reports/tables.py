"""A comparison's record as tables of text, and those as Markdown."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

DASH = "\u2014"  # a value that is not known, or a rate without a denominator


class Table(NamedTuple):
    """``columns``: heading -> whether it holds numbers; the first column names the row. Cells are text, not escaped."""

    caption: str
    columns: dict[str, bool]
    rows: list[list[str]]


def fixed(value: float | None, digits: int) -> str:
    """A number with so many decimals, or a dash for one that is not known."""
    return DASH if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


count, one_decimal, two_decimals, rate = (partial(fixed, digits=digits) for digits in range(4))


def pairs_table(caption: str, key: str, value: str, pairs: Mapping[str, Any]) -> Table:
    """Names and their values, such as settings or versions."""
    return Table(caption, {key: False, value: False}, [[name, _scalar(entry)] for name, entry in pairs.items()])


def runs_of_one_task(tasks: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """All tasks, those together that differ in nothing but their seed."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for task in tasks:
        settings = {name: value for name, value in task["settings"].items() if name != "seed"}
        what = [task[name] for name in ("title", "source", "target", "trigger", "fraction")]
        groups.setdefault(json.dumps([what, settings], sort_keys=True), []).append(task)
    return list(groups.values())


def runs_by_title(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Runs by what they are besides their seed."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        groups.setdefault(run["title"], []).append(run)
    return groups


def spread(values: Sequence[float | None], show: Callable[[float | None], str]) -> str:
    """Mean and, in brackets, lowest to highest where they differ."""
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
    """A caption, an empty line, and the table; ends with a line break."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    rule = line("---:" if is_number else "---" for is_number in table.columns.values())
    rows = (line(map(_markdown_text, row)) for row in table.rows)
    return "\n".join([_markdown_text(table.caption), "", line(table.columns), rule, *rows]) + "\n"


def folded_markdown(table: Table) -> str:
    """The same, folded under its caption."""
    body = markdown(Table("", table.columns, table.rows)).strip()
    return f"<details><summary>{table.caption}</summary>\n\n{body}\n\n</details>\n"


def _markdown_text(text: str) -> str:
    """Text that Markdown shows as it is, on one line; inside a word only what could begin something is escaped."""
    return re.sub(r"([\\`*_\[\]<>|&~#])", r"\\\1", " ".join(text.split()))
