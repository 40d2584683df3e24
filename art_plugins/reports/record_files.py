"""What a record says of itself: its kind and its schema. A record of another kind or schema is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from art_plugins.errors import FileFormatError
from art_plugins.storage import read_record

SCHEMA = 1  # one more where an entry of the records is renamed, or means something else
REPRODUCTION, COMPARISON, SWEEP, SOUNDS, ABLATION, IN_FLIGHT, LAYERWISE, ARMORY = KINDS = (
    "reproduction",
    "compare",
    "sweep",
    "sounds",
    "ablation",
    "in-flight",
    "layerwise",
    "armory",
)


def heading(kind: str) -> dict[str, Any]:
    """The first two entries of every record: its ``kind``, one of ``KINDS``, and its ``schema``."""
    return {"kind": kind, "schema": SCHEMA}


def checked_record(value: Any, source: Path | str) -> dict[str, Any] | None:
    """
    The record itself; ``None``: the value is no record of this package, such as the report of a scan.

    :param value: What a JSON file holds.
    :param source: The file, for the message of an error.
    :raises FileFormatError: If it is a record of an unknown kind, of a newer schema, or of an earlier release, which did
        not write kinds.
    """
    if not isinstance(value, dict):
        return None
    if "kind" in value and "schema" in value:
        if value["kind"] not in KINDS:
            raise FileFormatError(
                f"{source} is a record of the kind {value['kind']!r}; this release knows {', '.join(KINDS)}. Install the "
                "release that wrote it, or move the file out of the folder."
            )
        schema = value["schema"]
        if isinstance(schema, bool) or schema != SCHEMA:
            raise FileFormatError(
                f"{source} is a record of schema {schema!r}; this release reads schema {SCHEMA}. Install the release that "
                "wrote it, or run its command again."
            )
        return value
    if _is_of_an_earlier_release(value):
        command = value.get("command")
        again = f"run its command again: {command}" if command else "run art-plugins reproduce again"
        raise FileFormatError(f"{source} is a record of an earlier release, which did not write its kind; {again}.")
    return None


def find_record(path: Path) -> dict[str, Any] | None:
    """
    The record in a file; ``None``: there is no such file, it is damaged (which is logged), or it holds no record.

    :raises FileFormatError: As :func:`checked_record` does.
    """
    return checked_record(read_record(path), path)


def read_if_record(path: Path) -> dict[str, Any] | None:
    """
    As :func:`find_record`, of any JSON file; one that cannot be read is passed over without a word.

    :raises FileFormatError: As :func:`checked_record` does.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return checked_record(value, path)


def _is_of_an_earlier_release(value: dict[str, Any]) -> bool:
    """Whether a file has the entries that every record had before kinds were written."""
    runs = value.get("runs", value.get("tasks", value.get("points")))
    of_command = "command" in value and "versions" in value and isinstance(runs, list)
    return of_command or (value.get("kind") == REPRODUCTION and "item" in value)
