"""A scan as SARIF 2.1.0, the format in which GitHub and other services take findings of a check."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from art_plugins.inspection.evidence.found import LABEL_ERROR, LOOK_HERE, POISON

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
RULES = {
    POISON: (
        "art-plugins/poison",
        "error",
        "The sample is probably poison: it is in the suspect group of a poisoned class.",
    ),
    LOOK_HERE: ("art-plugins/look-here", "warning", "A person should look at the sample. This is not a verdict."),
    LABEL_ERROR: (
        "art-plugins/label-error",
        "note",
        "The label is probably wrong: networks that were not trained on the sample give it another one.",
    ),
}


def sarif_text(record: Mapping[str, Any]) -> str:
    """
    The suspects as results, what was accepted as suppressed results, and unread files and notes as notifications.

    :param record: The record of a scan.
    """
    names = list(RULES)
    run = {
        "tool": {
            "driver": {"name": "art-plugins", "version": version("art-plugins"), "rules": [_rule(name) for name in names]}
        },
        "columnKind": "utf16CodeUnits",
        "results": [_result(row, names.index(row["verdict"]), record["folder"]) for row in record["suspects"]],
        "invocations": [
            {
                "executionSuccessful": True,
                "exitCode": record["gate"]["status"],
                "toolExecutionNotifications": [
                    _notification(text, "note")
                    for text in [record["finding"], *record["notes"], *record["gate"]["reasons"]]
                ]
                + [_skipped(row, record["folder"]) for row in record["skipped_files"]],
            }
        ],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, allow_nan=False) + "\n"


def _rule(verdict: str) -> dict[str, Any]:
    identity, level, words = RULES[verdict]
    return {
        "id": identity,
        "name": "".join(part.capitalize() for part in verdict.split()),
        "shortDescription": {"text": words},
        "fullDescription": {"text": f"{words} Poison changes what a model that is trained on the data will do."},
        "help": {
            "text": "Hear or see the sample in report.html. If it is clean, add its row of suspects.csv to --accepted."
        },
        "defaultConfiguration": {"level": level},
    }


def _result(row: Mapping[str, Any], rule_index: int, folder: str) -> dict[str, Any]:
    identity, level, _ = RULES[row["verdict"]]
    result: dict[str, Any] = {
        "ruleId": identity,
        "ruleIndex": rule_index,
        "level": level,
        "message": {"text": f"{row['file']} in class {row['class']}, score {row['score']:.2f}: {row['evidence']}"},
        "locations": [_location(folder, row["file"])],
        "properties": {name: value for name, value in row.items() if value is not None},
    }
    if row["sha256"]:
        result["partialFingerprints"] = {"contentSha256/v1": row["sha256"]}
    if row["accepted"]:
        result["suppressions"] = [{"kind": "external", "status": "accepted"}]
    return result


def _skipped(row: Mapping[str, str], folder: str) -> dict[str, Any]:
    note = _notification(f"{row['file']} was not judged: {row['reason']}", "warning")
    return note | {"locations": [_location(folder, row["file"])]}


def _notification(text: str, level: str) -> dict[str, Any]:
    return {"level": level, "message": {"text": text}}


def _location(origin: str, file: str) -> dict[str, Any]:
    return {"physicalLocation": {"artifactLocation": {"uri": _uri(Path(origin), file)}}}


def _uri(origin: Path, file: str) -> str:
    """
    The file of a sample, or the file that holds it, such as a shard.

    It is relative to the working directory where it lies in it, as services that show files of a repository need.
    """
    base = origin if origin.is_dir() else origin.parent
    path = base / file
    while not path.exists() and path != base:
        path = path.parent
    path = origin if path == base else path
    relative = os.path.relpath(path)
    return path.resolve().as_uri() if relative.startswith(os.pardir) else quote(Path(relative).as_posix())
