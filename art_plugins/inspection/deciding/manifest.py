"""What a user gets of the decisions: the list of the files to keep, or a new manifest. The data are never changed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from art_plugins.errors import InvalidInputError
from art_plugins.files.folder_data import FolderData
from art_plugins.files.outputs import STARTS_OF_FORMULAS, csv_text
from art_plugins.files.sources.samples import Samples
from art_plugins.inspection.suspect_rows import is_poison

LIST, RELABEL, RESTORE = "list", "relabel", "restore"
COLUMNS = ("path", "label", "original_label", "verdict", "decision")
RESTORED_FROM = "restored_from"  # further column where samples are restored: the sample that a copy was made of
NO_COPIES: Mapping[int, str] = {}


class Applied(NamedTuple):
    """``text`` of the new file; ``counts`` of its rows, and of those that are not in it; ``notes``: the same in words."""

    text: str
    counts: dict[str, int]
    notes: list[str]


def apply_decisions(
    how: str,
    new_file: Path,
    found: Samples,
    data: FolderData,
    suspects: Sequence[dict[str, Any]],
    copies: Mapping[int, str] = NO_COPIES,
) -> Applied:
    """
    Leave out what is called poison by the scan or by a person, or give it the label that it probably had.

    :param how: ``"list"``: the names of the files to keep, one on each line. ``"drop"``: a manifest without the poison.
        ``"relabel"``: a manifest in which a poisoned sample has the ``suggested_label`` of its row, if it has one.
        ``"restore"``: the same for the poisoned samples that have a cleaned copy, which is listed in their place.
    :param new_file: Where the text will be written; the paths in a manifest are relative to its folder.
    :param suspects: The rows of the suspects.
    :param copies: Path of the cleaned copy of a sample, relative to the manifest, by the position of the sample.
    """
    by_file = {row["file"]: row for row in suspects}
    if how == LIST:
        kept = [file for file in data.files if file not in by_file or not is_poison(by_file[file])]
        return Applied("".join(f"{file}\n" for file in kept), {}, [])
    rows, counts = [], Counter(dict.fromkeys(("kept", "dropped", "relabelled"), 0))
    for index, (file, label, place) in enumerate(zip(data.files, data.labels, data.places, strict=True)):
        row, original = by_file.get(file, {}), data.class_names[label]
        new_label: str | None = original
        if row and is_poison(row):
            has_label = how == RELABEL or index in copies
            new_label = row.get("suggested_label") if has_label else None
        what = "kept" if new_label == original else "restored" if index in copies else "relabelled"
        counts["dropped" if new_label is None else what] += 1
        if new_label is not None:
            path = copies.get(index) or _path(found.items[place], file, new_file)
            cells = (path, new_label, original, row.get("verdict") or "", row.get("decision") or "")
            rows.append((*cells, file if index in copies else "") if how == RESTORE else cells)
    columns = (*COLUMNS, RESTORED_FROM) if how == RESTORE else COLUMNS
    return Applied(csv_text(columns, rows), dict(counts), _notes(how, new_file, counts))


def check_place(how: str, new_file: Path | None, found: Samples) -> None:
    """
    Check that the paths in the new manifest can be read again.

    :raises InvalidInputError: If a manifest is asked for, and it has no name, or its folder does not hold the files.
    """
    if how == LIST:
        return
    if new_file is None:
        raise InvalidInputError(f"--apply {how} writes a new manifest; name it with --apply-to FILE.csv.")
    if new_file.suffix.lower() != ".csv":
        raise InvalidInputError(f"--apply {how} writes a manifest, whose name ends with .csv; received {new_file}.")
    outside = next((item for item in found.items if isinstance(item, Path) and _leads_out(item, new_file)), None)
    copies = new_file.with_suffix("")
    if how == RESTORE and (copies.exists() or copies.is_symlink()):
        raise InvalidInputError(
            f"The restored samples would be written to {copies}, which exists; name another file, or move that one away."
        )
    if outside is not None:
        raise InvalidInputError(
            f"The paths in a manifest are relative to its folder and cannot lead out of it, and {new_file.parent} does not "
            f"hold {outside}; name a file in a folder that holds all of the data."
        )


def _leads_out(item: Path, new_file: Path) -> bool:
    return Path(os.path.relpath(item, new_file.parent)).parts[0] == ".."


def _path(item: object, name: str, new_file: Path) -> str:
    """
    The path of a file, relative to the manifest; the name of a sample that is no file.

    "./" before it makes text of a path that a spreadsheet would run as a formula, and it stays the same path.
    """
    path = Path(os.path.relpath(item, new_file.parent)).as_posix() if isinstance(item, Path) else name
    return f"./{path}" if path.startswith(STARTS_OF_FORMULAS) else path


def _notes(how: str, new_file: Path, counts: Counter[str]) -> list[str]:
    n_rows = counts["kept"] + counts["relabelled"] + counts["restored"]
    note = f"{new_file} lists {n_rows:,} files. Dropped as poison: {counts['dropped']:,}."
    if how == RELABEL:
        note += f" Listed under an inferred label: {counts['relabelled']:,}. Poison for which there is none is dropped."
    if how == RESTORE:
        note += f" Restored, and listed under an inferred label: {counts['restored']:,}."
    return [note]
