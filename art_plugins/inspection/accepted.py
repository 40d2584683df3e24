"""The files that a person has cleared: rows of an earlier suspects.csv."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from art_plugins.errors import InvalidInputError
from art_plugins.files.outputs import csv_cell

SHA256 = re.compile(r"[0-9a-f]{64}")
NEEDED = ("sha256", "class")


@dataclass(frozen=True)
class Accepted:
    """
    What a person has cleared: pairs of the SHA-256 of a file's content and its class.

    A file that is renamed stays cleared. A file that is moved to another class does not, because a wrong label is how
    poison works.
    """

    pairs: frozenset[tuple[str, str]] = frozenset()

    def has(self, sha256: str, class_name: str) -> bool:
        """Whether a sample of this content and class is cleared."""
        return (sha256, csv_cell(class_name)) in self.pairs


def read_accepted(path: str | Path | None) -> Accepted:
    """
    Read the cleared files.

    :param path: A table with the columns ``sha256`` and ``class``, such as the rows of a suspects.csv that are no poison;
        ``None``: nothing is cleared.
    :raises InvalidInputError: If the table cannot be read, lacks a column, or has a row without a SHA-256.
    """
    if path is None:
        return Accepted()
    pairs = set()
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            missing = [name for name in NEEDED if name not in (table.fieldnames or ())]
            if missing:
                raise InvalidInputError(
                    f"{path} has no column {missing[0]!r}; give the header and the cleared rows of a suspects.csv."
                )
            for row in table:
                sha256 = (row["sha256"] or "").strip().lower()
                if not SHA256.fullmatch(sha256) or row["class"] is None:
                    raise InvalidInputError(
                        f"Line {table.line_num} of {path} holds no SHA-256 and class, but {sha256!r}; copy the row as a "
                        "whole from suspects.csv."
                    )
                pairs.add((sha256, row["class"]))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInputError(f"{path} cannot be read as a table ({error}); give rows of a suspects.csv.") from error
    return Accepted(frozenset(pairs))
