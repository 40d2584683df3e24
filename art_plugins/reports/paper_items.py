"""An item of a paper, which is a figure or a table: its studies, and the reported and measured values of its figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from art_plugins.reports.pages import Picture
from art_plugins.reports.tables import judged

Record = Mapping[str, Any]
Records = Mapping[str, Record]  # by study
NEAR = 0.02  # a figure that is worse by at most this much is called near


class Row(NamedTuple):
    """
    One figure of a paper beside our measurement.

    :param what: What is measured, with its setting.
    :param over: What the figure is a share of, and their number.
    :param reported: The value in the paper; ``None``: the paper does not give it.
    :param measured: Our values, one for each seed; empty: not measured.
    :param better: Whether higher or lower values are better; ``None``: neither.
    :param by: Whether our default or the paper's procedure gave the values; empty: neither.
    """

    what: str
    over: str
    reported: float | None
    measured: Sequence[float]
    better: Literal["higher", "lower"] | None = "higher"
    by: Literal["default", "paper", ""] = ""

    @property
    def mean(self) -> float | None:
        """The mean over the seeds."""
        return sum(self.measured) / len(self.measured) if self.measured else None

    @property
    def verdict(self) -> str:
        """Whether the mean over the seeds is as good as the reported value, when both are rounded to three decimals."""
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

    :param paper: ``"mehlman"``, ``"li"`` or ``"preetha"``.
    :param name: The name in the paper, such as ``"fig4"`` or ``"table2"``.
    :param title: What it shows.
    :param studies: Names of the studies whose records it needs. Not every size has all of them.
    :param rows: Makes the rows from the records of the studies.
    :param pictures: Makes the pictures from the same records; this needs the extra ``report``.
    :param note: What differs from the paper in every run.
    """

    paper: str
    name: str
    title: str
    studies: tuple[str, ...]
    rows: Callable[[Records], list[Row]]
    pictures: Callable[[Records], list[Picture]] = lambda records: []
    note: str = ""


def runs_of(records: Records, *studies: str) -> list[Record]:
    """Give the runs of several studies in one list, without those in which nothing was judged."""
    return [run for study in studies if study in records for run in judged(records[study]["runs"])]


def values(rows: Sequence[Mapping[str, Any] | None], key: str) -> list[float]:
    """Give the values of a figure for all seeds for which it is known."""
    return [float(row[key]) for row in rows if row is not None and row.get(key) is not None]


def counts(rows: Sequence[Mapping[str, Any]], key: str, what: str) -> str:
    """
    Describe a denominator over the seeds: its value, or the lowest and the highest, and what is counted. The text is empty
    if there are no rows.
    """
    found = sorted({int(row[key]) for row in rows})
    if not found:
        return ""
    return f"{found[0]:,} {what}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,} {what}"
