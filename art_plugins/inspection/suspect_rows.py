"""The suspects of a scan as rows of one documented schema, which suspects.csv, record.json and SARIF share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from art_plugins.files.folder_data import FolderData
from art_plugins.files.outputs import csv_text
from art_plugins.inspection.deciding.decisions import ACCEPT, REJECT, Decisions
from art_plugins.inspection.scan_groups import Group

SCHEMA_VERSION = 1  # rises when a column is renamed or removed, or means something else; new columns leave it
POISON, LOOK_HERE = "poison", "look here"  # verdicts on a file
BY_A_PERSON = "A person has rejected it. The scan itself does not suspect it."
COLUMNS = ("sha256", "file", "class", "verdict", "score", "p_value", "evidence", "accepted", "decision", "schema_version")


def suspect_rows(
    groups: Sequence[Group],
    data: FolderData,
    outlier_scores: np.ndarray,
    classes: Sequence[dict[str, Any]],
    hash_of: Callable[[int], str],
    decisions: Decisions,
) -> list[dict[str, Any]]:
    """
    The suspects, the most suspicious class first; none when no class splits in two.

    When no class is called poisoned, the suspected part of the highest-ranked class is listed, as no verdict. What a
    person has rejected is poison.

    :param outlier_scores: Scores of all samples, (n,).
    :param classes: The ranking.
    :param hash_of: SHA-256 of the content of a sample, by its position.
    :return: JSON-safe rows, with the keys of ``COLUMNS``.
    """
    rows = []
    for group in groups:
        of_class = next(row for row in classes if row["name"] == group.name)
        for index in group.suspects:
            sha256 = hash_of(int(index))
            decision = decisions.of(sha256, group.name)
            rows.append(
                {
                    "sha256": sha256,
                    "file": data.files[index],
                    "class": group.name,
                    "verdict": POISON if group.is_verdict or decision == REJECT else LOOK_HERE,
                    "score": float(outlier_scores[index]),
                    "p_value": of_class["p_value"],
                    "evidence": BY_A_PERSON if group.by_a_person else _evidence(of_class, group.is_verdict),
                    "accepted": decision == ACCEPT,
                    "decision": decision,
                    "schema_version": SCHEMA_VERSION,
                }
            )
    return rows


def is_poison(row: Mapping[str, Any]) -> bool:
    """Whether a suspect is called poison, by the scan or by a person, and no person has accepted it."""
    return bool(row["verdict"] == POISON and not row["accepted"])


def suspects_csv(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table; a header only when there are none."""
    return csv_text(COLUMNS, ([_cell(row[name]) for name in COLUMNS] for row in rows))


def _evidence(row: dict[str, Any], is_verdict: bool) -> str:
    what = f"One of {row['n_suspects']} samples that form a group apart from the other {row['n_files'] - row['n_suspects']}"
    what += " of the class."
    return what if is_verdict else f"{what} The group is not larger than those in other classes, so this is no verdict."


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
