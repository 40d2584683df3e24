"""The suspects of a scan as rows of one documented schema, which suspects.csv, record.json and SARIF share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from art_plugins.files.folder_data import FolderData
from art_plugins.files.outputs import csv_text
from art_plugins.inspection.deciding.decisions import ACCEPT, REJECT, Decisions
from art_plugins.inspection.evidence.examine import Examined
from art_plugins.inspection.evidence.found import LABEL_ERROR, LOOK_HERE, POISON
from art_plugins.inspection.scan_groups import Group

__all__ = ["COLUMNS", "LABEL_ERROR", "LOOK_HERE", "POISON", "SCHEMA_VERSION", "is_poison", "suspect_rows", "suspects_csv"]

SCHEMA_VERSION = 2  # rises when a column is renamed or removed, or means something else; new columns leave it
COLUMNS = (
    "sha256", "file", "class", "verdict", "group", "score", "p_value", "evidence", "suggested_label", "accepted",
    "decision", "schema_version",
)  # fmt: skip


def suspect_rows(
    groups: Sequence[Group],
    data: FolderData,
    examined: Examined,
    hash_of: Callable[[int], str],
    decisions: Decisions,
) -> list[dict[str, Any]]:
    """
    The suspects, the gravest group first.

    What a person has rejected is poison.

    :param examined: What all evidence says; the groups are its groups.
    :param hash_of: SHA-256 of the content of a sample, by its position.
    :return: JSON-safe rows, with the keys of ``COLUMNS``.
    """
    rows = []
    for group in groups:
        found = group.found
        for index in group.suspects:
            sha256, suggested = hash_of(int(index)), examined.suggested(int(index), found.label)
            decision = decisions.of(sha256, group.name)
            rows.append(
                {
                    "sha256": sha256,
                    "file": data.files[index],
                    "class": group.name,
                    "verdict": POISON if decision == REJECT else found.verdict,
                    "group": group.number,
                    "score": float(found.scores[index]),
                    "p_value": found.p_value,
                    "evidence": " ".join([*found.evidence, *_of_label(suggested, data.class_names)]),
                    "suggested_label": None if suggested is None else data.class_names[suggested[0]],
                    "accepted": decision == ACCEPT,
                    "decision": decision,
                    "schema_version": SCHEMA_VERSION,
                }
            )
    return rows


def is_poison(row: Mapping[str, Any]) -> bool:
    """Whether a suspect is called poison, by the scan or by a person, and no person has accepted it."""
    return bool(row["verdict"] == POISON and not row["accepted"])


def suspects_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table; a header only when there are none."""
    return csv_text(COLUMNS, ([_cell(row[name]) for name in COLUMNS] for row in rows))


def _of_label(suggested: tuple[int, float] | None, class_names: Sequence[str]) -> list[str]:
    if suggested is None:
        return []
    name, probability = class_names[suggested[0]], suggested[1]
    return [f"Networks that were not trained on it give it the label {name}, with probability {probability:.2f}."]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
