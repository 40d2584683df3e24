"""What an item of a paper is: its name there, its studies, and rows of reported and measured figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from art_plugins.reports.pages import Picture

Record = Mapping[str, Any]
Records = Mapping[str, Record]  # by study
NEAR = 0.02  # up to which a figure that falls short is called near


class Row(NamedTuple):
    """
    One figure of a paper beside ours.

    :param what: With its setting.
    :param over: What it is a share of, and of how many.
    :param reported: By the paper; ``None``: not in it.
    :param measured: One value a seed; empty: not measured.
    :param better: Which way is better; ``None``: neither.
    :param by: Our default, or the paper's own procedure as this package has it; empty: neither.
    """

    what: str
    over: str
    reported: float | None
    measured: Sequence[float]
    better: Literal["higher", "lower"] | None = "higher"
    by: Literal["default", "paper", ""] = ""

    @property
    def mean(self) -> float | None:
        """Over the seeds."""
        return sum(self.measured) / len(self.measured) if self.measured else None

    @property
    def verdict(self) -> str:
        """Whether the mean over the seeds is as good as what is reported, to the digits that a table shows."""
        if self.mean is None:
            return "not measured"
        if self.reported is None or self.better is None:
            return "first published here" if self.reported is None else ""
        short = round((self.reported - self.mean) * (1 if self.better == "higher" else -1), 3)
        return "reached" if short <= 0 else "near" if short <= NEAR else "not reached"


@dataclass(frozen=True)
class Item:
    """
    A figure or a table of a paper.

    :param paper: ``"mehlman"``, ``"li"``, ``"preetha"``.
    :param name: As in the paper: ``"fig4"``, ``"table2"``.
    :param studies: Names of the studies that it is read off; those that a size does not have are left out.
    :param rows: From the records of its studies.
    :param pictures: From the same; needs the extra ``report``.
    :param note: What differs from the paper, whatever was measured.
    """

    paper: str
    name: str
    title: str
    studies: tuple[str, ...]
    rows: Callable[[Records], list[Row]]
    pictures: Callable[[Records], list[Picture]] = lambda records: []
    note: str = ""


def runs_of(records: Records, *studies: str) -> list[Record]:
    """The runs of several studies, one after the other."""
    return [run for study in studies if study in records for run in records[study]["runs"]]


def values(rows: Sequence[Mapping[str, Any] | None], key: str) -> list[float]:
    """What is known of a figure, over the seeds."""
    return [float(row[key]) for row in rows if row is not None and row.get(key) is not None]


def counts(rows: Sequence[Mapping[str, Any]], key: str, what: str) -> str:
    """A denominator over the seeds: how many, or the lowest to the highest number, and of what; empty without rows."""
    found = sorted({int(row[key]) for row in rows})
    if not found:
        return ""
    return f"{found[0]:,} {what}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,} {what}"
