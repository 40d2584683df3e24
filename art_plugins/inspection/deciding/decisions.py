"""What a person has decided: which samples of a data set are clean, and which are poison."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from art_plugins.errors import InvalidInputError
from art_plugins.files.outputs import csv_cell
from art_plugins.files.sources.columns import delimiter_of
from art_plugins.parameters import checked_path, shown

KIND, SCHEMA = "decisions", 1  # the schema rises when something is renamed or means something else
ACCEPT, REJECT = "accept", "reject"  # clean; poison
MOST_BYTES = 256 * 2**20  # a decision takes about 200 bytes, so this is a million of them
SHA256 = re.compile(r"[0-9a-f]{64}")
NEEDED = ("sha256", "class")
Sample = tuple[str, str]  # SHA-256 of the content, and the class as a cell of a table shows it


@dataclass(frozen=True)
class Decisions:
    """
    Decisions by sample: the SHA-256 of its content and its class.

    A file that is renamed keeps its decision. A file that is moved to another class does not, because a wrong label is how
    poison works.
    """

    by_sample: Mapping[Sample, str] = field(default_factory=dict)

    def of(self, sha256: str, class_name: str) -> str | None:
        """``"accept"``, ``"reject"``, or ``None``: nobody has decided."""
        return self.by_sample.get((sha256, csv_cell(class_name)))

    @property
    def has_rejected(self) -> bool:
        """Whether any sample is rejected, so that the hashes of all samples have to be known."""
        return REJECT in self.by_sample.values()


def read_decisions(*paths: str | Path | None) -> Decisions:
    """
    Read decisions. Where two files decide on one sample, the later file counts.

    :param paths: Each is a file of decisions, as the page of a scan writes it, or a table with the columns ``sha256`` and
        ``class``, such as rows of a suspects.csv: each of them is accepted, unless a column ``decision`` says ``reject``.
        ``None``: no file.
    :raises InvalidInputError: If a file cannot be read, is neither, or contradicts itself.
    """
    found: dict[Sample, str] = {}
    for path in paths:
        if path is not None:
            found |= _read(checked_path("A file of decisions", path))
    return Decisions(found)


def _read(path: Path) -> dict[Sample, str]:
    try:
        size = path.stat().st_size
        if not path.is_file() or size > MOST_BYTES:
            raise InvalidInputError(f"{path} is no file of decisions: it is no plain file, or has {size:,} bytes.")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # ValueError: no text, or no name of a file
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(
            f"{path} cannot be read as a table or as decisions ({error}); give rows of a suspects.csv, or the file that "
            "the page of a scan has saved."
        ) from error
    if text.lstrip()[:1] in ("{", "["):
        return _from_json(text, path)
    try:
        return _from_table(text, path)
    except csv.Error as error:
        raise InvalidInputError(f"{path} cannot be read as a table ({error}); give rows of a suspects.csv.") from error


def _from_table(text: str, path: Path) -> dict[Sample, str]:
    found: dict[Sample, str] = {}
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter_of(text.partition("\n")[0]))
    missing = [name for name in NEEDED if name not in (table.fieldnames or ())]
    if missing:
        raise InvalidInputError(
            f"{path} has no column {missing[0]!r}; give the header and the cleared rows of a suspects.csv."
        )
    for row in table:
        sha256 = (row["sha256"] or "").strip().lower()
        if not SHA256.fullmatch(sha256) or row["class"] is None:
            raise InvalidInputError(
                f"Line {table.line_num} of {path} holds no SHA-256 and class, but {shown(sha256)}; copy the row as a whole "
                "from suspects.csv."
            )
        _add(found, (sha256, row["class"]), row.get("decision") or ACCEPT, f"line {table.line_num} of {path}")
    return found


def _from_json(text: str, path: Path) -> dict[Sample, str]:
    """The decisions on single files, and those on groups for the other members of these."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"{path} is damaged, and no file of decisions ({shown(str(error))}); save it again from the page of the scan."
        ) from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise InvalidInputError(f"{path} is no file of decisions; give the file that the page of a scan has saved.")
    if type(content.get("schema")) is not int or content["schema"] != SCHEMA:
        raise InvalidInputError(
            f"{path} has decisions of schema {shown(content.get('schema'))}, and this release reads schema {SCHEMA}; save "
            "it again from the page of a scan of this release."
        )
    found: dict[Sample, str] = {}
    for number, group in enumerate(_objects(content, "groups", path), start=1):
        where = f"group {number} of {path}"
        hashes = group.get("sha256")
        if not isinstance(hashes, list):
            raise InvalidInputError(f"The {where} has no list of SHA-256; save the file again from the page of the scan.")
        for sha256 in hashes:
            _add(found, _sample(sha256, group, where), group.get("decision"), where)
    own: dict[Sample, str] = {}
    for number, row in enumerate(_objects(content, "files", path), start=1):
        where = f"file {number} of {path}"
        _add(own, _sample(row.get("sha256"), row, where), row.get("decision"), where)
    return found | own


def _objects(content: Mapping[str, Any], name: str, path: Path) -> Iterable[Mapping[str, Any]]:
    rows = content.get(name, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InvalidInputError(f"{name!r} of {path} is no list of objects; save the file again from the page of the scan.")
    return rows


def _sample(sha256: Any, row: Mapping[str, Any], where: str) -> Sample:
    if not isinstance(sha256, str) or not SHA256.fullmatch(sha256):
        raise InvalidInputError(f"The {where} has no SHA-256 of 64 digits, but {shown(sha256)}.")
    if not isinstance(row.get("class"), str):
        raise InvalidInputError(f"The {where} names no class, but {shown(row.get('class'))}.")
    return sha256, csv_cell(row["class"])


def _add(found: dict[Sample, str], sample: Sample, decision: Any, where: str) -> None:
    if decision not in (ACCEPT, REJECT):
        raise InvalidInputError(f"The {where} has the decision {shown(decision)}; it must be {ACCEPT!r} or {REJECT!r}.")
    if found.setdefault(sample, decision) != decision:
        raise InvalidInputError(
            f"The {where} contradicts an earlier line on the sample {sample[0][:12]}... of {shown(sample[1])}; keep one."
        )
