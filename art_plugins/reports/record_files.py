"""Kind and schema of a record. A record of an unknown kind or of another schema is refused with an error that names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from art_plugins.errors import FileFormatError
from art_plugins.storage import read_record

SCHEMA = 1  # increased when an entry of the records gets another name or another meaning
KINDS = (
    "reproduction",
    "compare",
    "sweep",
    "sounds",
    "ablation",
    "in-flight",
    "layerwise",
    "filters",
    "sound-detectors",
    "attacks",
    "armory",
)
REPRODUCTION, COMPARISON, SWEEP, SOUNDS, ABLATION, IN_FLIGHT, LAYERWISE, FILTER_RATES = KINDS[:8]
SOUND_DETECTORS, ATTACK_RATES, ARMORY = KINDS[8:]


def heading(kind: str) -> dict[str, Any]:
    """Give the first two entries of every record: its ``kind``, one of ``KINDS``, and its ``schema``."""
    return {"kind": kind, "schema": SCHEMA}


def checked_record(value: Any, source: Path | str) -> dict[str, Any] | None:
    """
    Check that a value is a record that this release can read.

    :param value: Content of a JSON file.
    :param source: The file, for the message of an error.
    :return: The record; ``None``: the value is no record of this package, such as the report of a scan.
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
    Read the record in a file.

    :return: The record; ``None`` if there is no such file, if it holds no record, or if it is damaged, which is logged.

    :raises FileFormatError: As :func:`checked_record` does.
    """
    return checked_record(read_record(path), path)


def read_if_record(path: Path) -> dict[str, Any] | None:
    """
    Read any JSON file. The result is that of :func:`find_record`, but a file that cannot be read is not logged.

    :raises FileFormatError: As :func:`checked_record` does.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return checked_record(value, path)


def _is_of_an_earlier_release(value: dict[str, Any]) -> bool:
    """Say whether a value has the entries of a record of an earlier release, which had no kind."""
    runs = value.get("runs", value.get("tasks", value.get("points")))
    of_command = "command" in value and "versions" in value and isinstance(runs, list)
    return of_command or (value.get("kind") == REPRODUCTION and "item" in value)
