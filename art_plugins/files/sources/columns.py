"""Which column, or array, holds the samples and which the labels; splits that names tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from art_plugins.errors import InvalidInputError
from art_plugins.files.splits import SPLIT_NAME

SAMPLE_COLUMNS = (
    "file", "path", "file_name", "filename", "filepath", "file_path", "image", "img", "images", "audio", "sound", "x",
    "data", "samples", "waveform", "waveforms", "features", "arr_0",
)  # fmt: skip
LABEL_COLUMNS = (
    "label", "labels", "class", "class_name", "target", "targets", "category", "y", "fine_label", "word", "digit", "arr_1",
)  # fmt: skip
OPTIONS = {"samples": "--path-column", "labels": "--label-column"}


def delimiter_of(header: str, usual: str = ",") -> str:
    """What stands between the columns of a table: Excel writes semicolons where the comma is the decimal sign."""
    return next((sign for sign in (usual, ";", "\t", ",") if sign in header), usual)


def choose_column(what: str, names: Sequence[str], asked: str | None, usual: Sequence[str], origin: str) -> str:
    """
    The column of this name, or the first of the usual ones.

    :param what: ``"samples"`` or ``"labels"``.
    :param names: All columns.
    :param asked: The name that the user gave; ``None``: it is found by its name.
    :raises InvalidInputError: If there is no such column. The message lists those that there are.
    """
    if asked is not None:
        if asked in names:
            return asked
        raise InvalidInputError(f"{origin} has no column {asked!r}; it has {_listed(names)}.")
    lower = {name.lower(): name for name in reversed(names)}
    for name in usual:
        if name in lower:
            return lower[name]
    raise InvalidInputError(
        f"{origin} has no column with a usual name for the {what}; it has {_listed(names)}. Name the column with "
        f"{OPTIONS[what]}."
    )


def split_of(name: str) -> str | None:
    """The split that a name tells, such as ``train`` of ``train-00000-of-00002.parquet`` and of ``x_train``."""
    parts = re.split(r"[-_.]", PurePosixPath(name).name)
    return next((part.lower() for part in parts if SPLIT_NAME.fullmatch(part)), None)


def split_of_file(path: Path) -> str:
    """The split that the name of a file tells, or that of its folder; "" if there is none."""
    folder = path.parent.name
    return split_of(path.name) or (folder.lower() if SPLIT_NAME.fullmatch(folder) else "")


def choose_splits(found: Sequence[str], split: str | None, origin: str) -> tuple[list[int], tuple[str, ...]]:
    """
    The parts of a data set that are scanned, and a sentence about them.

    :param found: The split of each part; "" where its name tells none.
    :param split: The only split to take; ``None``: all.
    :return: Positions of the parts.
    :raises InvalidInputError: If there is no such split.
    """
    names = sorted(set(found) - {""})
    if split is None:
        told = len(names) > 1
        note = f"{', '.join(names)} are splits of one data set, and are used together. Use --split NAME to scan only one."
        return list(range(len(found))), (note,) if told else ()
    kept = [place for place, name in enumerate(found) if name.lower() == split.lower()]
    if not kept:
        raise InvalidInputError(
            f"{origin} has no split {split!r}; it has {', '.join(names) or 'none'}. Name one of them, or leave the split "
            "out to use all."
        )
    return kept, (f"Only the split {split} of {', '.join(names)} is scanned, as you asked.",)


def _listed(names: Sequence[str], most: int = 20) -> str:
    return (", ".join(map(repr, names[:most])) or "none") + (" and more" if len(names) > most else "")
