"""Where a command writes: looked at before any heavy work; and tables that a spreadsheet opens without running them."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from art_plugins.errors import InvalidInputError


def check_outputs(out: Path, names: Sequence[str], new_files: Sequence[str | Path | None]) -> None:
    """
    :param out: Folder for the results; may exist.
    :param names: Of the files that are written there, over older ones.
    :param new_files: Further files that the user names, and that are never written over; ``None``: not asked for.
    :raises InvalidInputError: If a folder cannot be written, a new file exists, or two outputs have one name.
    """
    if out.exists() and not out.is_dir():
        raise InvalidInputError(f"{out} is a file; name a folder for the results.")
    taken = [(out / name).resolve() for name in names]
    for path in (Path(file) for file in new_files if file is not None):
        if path.exists():
            raise InvalidInputError(f"{path} exists and is not overwritten; name a new file, or move that one away.")
        if path.resolve() in taken:
            raise InvalidInputError(f"{path} is already the name of another output; name another file.")
        taken.append(path.resolve())
        _check_writable(path.parent)
    _check_writable(out)


def file_stem(title: str) -> str:
    """A title as a part of a file's name: letters and digits as they are, in lower case, all else an underscore."""
    return "".join(letter if letter.isalnum() else "_" for letter in title.lower())


def csv_text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as text; a cell that a spreadsheet would run as a formula begins with an apostrophe, which makes it text."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([[_no_formula(cell) for cell in row] for row in rows])
    return text.getvalue()


def _check_writable(folder: Path) -> None:
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise InvalidInputError(f"{folder} cannot be written, because of {existing}; name a folder that can be.")


def _no_formula(cell: str) -> str:
    is_number = cell.lstrip("+-").replace(".", "", 1).isdigit()
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) and not is_number else cell
