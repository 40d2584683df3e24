"""Manifests: tables (CSV, TSV, JSON) with the path and the label of each file."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from art_plugins.errors import InvalidInputError
from art_plugins.files.class_folders import SUFFIXES, only_kind
from art_plugins.files.file_walk import printable
from art_plugins.files.sources.columns import LABEL_COLUMNS, SAMPLE_COLUMNS, choose_column, delimiter_of
from art_plugins.files.sources.damage import one_line
from art_plugins.files.sources.items import Items
from art_plugins.files.sources.labels import NO_LABEL, labelled
from art_plugins.files.sources.reading import Reading
from art_plugins.files.sources.safe_names import why_unsafe
from art_plugins.files.sources.samples import Samples

TABLES = {".csv": ",", ".tsv": "\t"}
LINES = (".jsonl", ".ndjson")
SPLIT_COLUMN = "split"
LONGEST_HEADER = 2**16  # characters of the first line that are looked at


def read_manifest(path: Path, reading: Reading) -> Samples:
    """
    The files that a manifest lists; none of them is opened.

    The paths are relative to the folder of the manifest. A file that is listed twice with one label counts once. One with
    several labels counts for each of them.

    :raises InvalidInputError: If the manifest cannot be read, or has no columns for paths and labels.
    """
    wanted: tuple[str, str] | None = None
    names: list[str] = []
    places: list[str] = []
    labels: list[Any] = []
    skipped: dict[str, str] = {}
    seen: dict[str, set[Any]] = {}
    ignored: Counter[str] = Counter()
    rows = []
    for number, row in _rows(path):
        wanted = wanted or _columns(path, row, reading)
        if reading.split is not None and str(row.get(SPLIT_COLUMN)).lower() != reading.split.lower():
            ignored["of another split"] += 1
            continue
        rows.append((number, row.get(wanted[0]), row.get(wanted[1])))
    suffixes = Counter(Path(str(name)).suffix.lower() for _, name, _ in rows)
    kind = only_kind(path, suffixes) if reading.kind == "auto" else reading.kind
    for number, name, label in rows:
        name = _here(path.parent, str(name or ""))
        if (reason := why_unsafe(name)) is not None:
            skipped[f"line {number}: {printable(name)}"] = reason
        elif Path(name).suffix.lower() not in SUFFIXES[kind]:
            ignored[f"another type: {Path(name).suffix.lower()}"] += 1
        elif label in (None, ""):
            skipped[f"{name} (line {number})"] = NO_LABEL
        elif (key := label if isinstance(label, (str, int, float)) else repr(label)) in seen.get(name, ()):
            skipped[f"{name} (line {number})"] = "it is listed twice"
        else:
            names.append(f"{name} (line {number})" if name in seen else name)
            places.append(name)
            labels.append(label)
            seen.setdefault(name, set()).add(key)
    notes = []
    several = sum(len(each) > 1 for each in seen.values())
    if several:
        notes.append(f"{several:,} files are listed with more than one label.")
    items = Items(len(names), lambda index: path.parent / places[index])
    found = Samples(str(path), kind, (), names, [], items, skipped, {}, dict(sorted(ignored.items())), tuple(notes))
    return labelled(found, labels)


def _here(folder: Path, name: str) -> str:
    """The name with the slashes of this system, if a file is there only under that name."""
    slashed = name.replace("\\", "/")
    try:
        is_other = slashed != name and why_unsafe(slashed) is None and (folder / slashed).is_file()
        return slashed if is_other and not (folder / name).exists() else name
    except (OSError, ValueError):  # a name that is too long for the system
        return name


def _columns(path: Path, row: dict[str, Any], reading: Reading) -> tuple[str, str]:
    names = [str(name) for name in row]
    if reading.split is not None and SPLIT_COLUMN not in row:
        raise InvalidInputError(f"{path} has no column {SPLIT_COLUMN!r}, so the split {reading.split!r} cannot be chosen.")
    return (
        choose_column("samples", names, reading.path_column, SAMPLE_COLUMNS, str(path)),
        choose_column("labels", names, reading.label_column, LABEL_COLUMNS, str(path)),
    )


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number of the line, and the row by column."""
    kind = path.suffix.lower()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if kind in TABLES:
                table = csv.DictReader(file, delimiter=delimiter_of(file.readline(LONGEST_HEADER), TABLES[kind]))
                file.seek(0)
                for row in table:
                    yield table.line_num, {name: value for name, value in row.items() if name is not None}
            elif kind in LINES:
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        yield number, _object(json.loads(line), path, number)
            else:
                rows = json.load(file)
                if not isinstance(rows, list):
                    raise InvalidInputError(f"{path} holds no list of objects; give one object for each file.")
                for number, row in enumerate(rows, start=1):
                    yield number, _object(row, path, number)
    except InvalidInputError:
        raise
    except UnicodeDecodeError as error:
        how = "in Excel as 'CSV UTF-8'" if kind in TABLES else "with the encoding UTF-8"
        raise InvalidInputError(f"{path} is not written in UTF-8 ({error}); save it {how}.") from error
    except (OSError, ValueError, csv.Error, RecursionError) as error:  # ValueError: of JSON, of UTF-8, of endless numbers
        raise InvalidInputError(f"{path} cannot be read as a manifest ({one_line(error)}).") from error


def _object(row: Any, path: Path, number: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise InvalidInputError(f"Row {number} of {path} is no object; give one object for each file.")
    return row
