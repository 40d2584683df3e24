"""The outputs of a command: checked before heavy work, held by one run, all files or none; tables safe in a spreadsheet."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from art_plugins.errors import InvalidInputError
from art_plugins.files.file_walk import printable
from art_plugins.locks import hold
from art_plugins.storage import atomic_path

# The last four are the wide forms of the first, which some spreadsheets read alike.
STARTS_OF_FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def check_outputs(out: Path, names: Sequence[str], new_files: Sequence[str | Path | None]) -> None:
    """
    Check that all outputs can be written.

    :param out: Folder for the results; may exist.
    :param names: Names of the files that are written there; older files are overwritten.
    :param new_files: Further files that the user names; they are never overwritten. ``None``: not wanted.
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


@contextmanager
def held_folder(out: Path) -> Iterator[None]:
    """
    Make the folder for the results, and hold it while the block runs.

    Folders that were made for it and stay empty are removed at the end.

    :raises InvalidInputError: If it cannot be made, or another run holds it.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"{out} cannot be created ({error.strerror}); choose another folder.") from error
    try:
        held = hold(out)
    except OSError:  # nothing can be held on this system
        held = -1
    if held is None:
        raise InvalidInputError(
            f"Another run is writing to {out}; wait for its end, or name another folder for the results."
        )
    try:
        yield
    finally:
        with suppress(OSError):  # it is not empty: here are the results
            for folder in made:
                folder.rmdir()
        if held >= 0:
            os.close(held)


@contextmanager
def together(paths: Sequence[Path], new_files: Sequence[Path]) -> Iterator[list[Path]]:
    """
    Temporary files that take their names when the block ends well, all of them or none.

    :param paths: Files that are overwritten if they exist.
    :param new_files: Further files, which are never overwritten.
    :return: The temporary files, in the order of ``paths`` and ``new_files``.
    :raises InvalidInputError: If there is no room, or one of ``new_files`` has come to exist.
    """
    with ExitStack() as stack:
        # What is entered first is renamed last: a run killed between two names leaves nothing that the same call refuses.
        fresh = [stack.enter_context(atomic_path(path)) for path in new_files]
        yield [*(stack.enter_context(atomic_path(path)) for path in paths), *fresh]
        for path in new_files:
            if path.exists():
                raise InvalidInputError(f"{path} was created meanwhile, and is not overwritten; choose another file.")


def file_stem(title: str) -> str:
    """A title as a part of a file's name: letters and digits as they are, in lower case, all else an underscore."""
    return "".join(letter if letter.isalnum() else "_" for letter in title.lower())


def csv_text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as text, safe in a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([[csv_cell(cell) for cell in row] for row in rows])
    return text.getvalue()


def csv_cell(cell: str) -> str:
    """
    A cell as one line of text.

    One that a spreadsheet would run as a formula gets an apostrophe before it, which makes it text. Line breaks and tabs
    are written as escapes.
    """
    cell = printable(cell)
    is_number = cell.lstrip("+-").replace(".", "", 1).isdigit()
    return f"'{cell}" if cell.startswith(STARTS_OF_FORMULAS) and not is_number else cell


def _check_writable(folder: Path) -> None:
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise InvalidInputError(f"{folder} cannot be written, because of {existing}; choose another folder.")
