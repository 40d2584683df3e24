"""Output in the terminal: tables that fit its width, and messages that do not collide with progress bars."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.columns import Columns
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

TEXT_WIDTH = 16  # letters: a column of text is not made narrower than this, since shorter lines are hard to read


class FittedTable:
    """
    A table that never cuts a heading or a number, whatever the width of the terminal.

    Text wraps if there is too little room. If the table is still too wide, every row becomes a paragraph. A column that is
    justified to the right holds numbers, which are never broken.
    """

    def __init__(self, table: Table) -> None:
        self.table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = self._widths(console, options)
        if widths is None:
            yield from self._stacked(console)
            return
        for column, width in zip(self.table.columns, widths, strict=True):
            column.width, column.no_wrap, column.overflow = width, False, "fold"
        yield self.table

    def _widths(self, console: Console, options: ConsoleOptions) -> list[int] | None:
        """The widths of the columns without padding; ``None``: the table does not fit."""
        widths, least = [], []
        for column in self.table.columns:
            sizes = [Measurement.get(console, options, cell) for cell in _texts(console, [column.header, *column.cells])]
            widest, longest_word = max(size.maximum for size in sizes), max(size.minimum for size in sizes)
            widths.append(widest)
            least.append(longest_word if column.justify == "right" else min(widest, TEXT_WIDTH))
            column.width = 1
        wide = options.update(width=10_000)
        room = options.max_width - Measurement.get(console, wide, self.table).maximum + len(widths)
        while sum(widths) > room:
            slack = [(width, -place) for place, width in enumerate(widths) if width > least[place]]
            if not slack:
                return None
            widths[-max(slack)[1]] -= 1
        return widths

    def _stacked(self, console: Console) -> RenderResult:
        """Each row as its name, and below it the other columns, each with its heading."""
        headings = [Text(text.plain, "dim") for text in _texts(console, [column.header for column in self.table.columns])]
        if self.table.title is not None:
            yield Text.assemble(*_texts(console, [self.table.title]), style="bold")
        for cells in zip(*(_texts(console, column.cells) for column in self.table.columns), strict=True):
            name, *others = [Text.assemble(heading, " ", cell) for heading, cell in zip(headings, cells, strict=True)]
            name.stylize("bold")
            yield name
            yield Padding(Columns(others, equal=True, padding=(0, 3, 0, 0)), (0, 0, 0, 2))
        if self.table.caption is not None:
            yield Text.assemble(*_texts(console, [self.table.caption]), style="dim italic")
        yield ""


@contextmanager
def messages_beside_bars() -> Iterator[None]:
    """
    Log records and warnings go to standard error as sentences, each once, above the progress bars that are shown.

    Where standard error is no terminal, no bar is drawn: ours ask tqdm for that (``disable=None``), and those of other
    packages are disabled if tqdm is imported only after this.
    """
    root, handler = logging.getLogger(), _Messages()
    before = logging.getLoggerClass(), warnings.formatwarning, os.environ.get("TQDM_DISABLE")
    root.addHandler(handler)
    logging.setLoggerClass(_Propagating)
    logging.captureWarnings(True)
    warnings.formatwarning = lambda message, category, *_: f"{category.__name__}: {message}"
    if before[-1] is None and not sys.stderr.isatty():
        os.environ["TQDM_DISABLE"] = "1"
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        logger_class, warnings.formatwarning, disabled = before
        logging.setLoggerClass(logger_class)
        if disabled is None:
            os.environ.pop("TQDM_DISABLE", None)


@contextmanager
def without_warnings_of(name: str) -> Iterator[None]:
    """Only errors of a logger and of those below it, until the end of the block."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def say(message: str) -> None:
    """Print a line on standard error, above the progress bars."""
    from tqdm import tqdm  # reads TQDM_DISABLE when it is imported

    tqdm.write(message, file=sys.stderr)


class _Messages(logging.Handler):
    """Prints every message of level WARNING and above, but the same message only once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = self.format(record).rstrip()
            if message not in self.said:
                self.said.add(message)
                say(message)
        except Exception:
            self.handleError(record)  # as logging's own handlers do


class _Propagating(logging.Logger):
    """For packages that are imported later: their messages reach the root logger, so they get no stream of their own."""

    def addHandler(self, hdlr: logging.Handler) -> None:
        if type(hdlr) is not logging.StreamHandler:
            super().addHandler(hdlr)


def _texts(console: Console, cells: Iterable[Any]) -> list[Text]:
    return [cell if isinstance(cell, Text) else console.render_str(str(cell)) for cell in cells]
