"""What a scan says in words: its finding, its cautions, and what became of the files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from art_plugins.files.folder_data import FolderData
from art_plugins.files.sound_files import CROPPED, PADDED
from art_plugins.statistics.latent_classes import HETEROGENEOUS_FROM

FEW_CLASSES = 5
POISONED, NOTHING_FOUND = "poisoned", "nothing found"  # of a class; "not judged: ..." is the third


def classes_to_show(classes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The poisoned classes, or, if there is none, the highest-ranked class; of those with suspects."""
    split = [row for row in classes if row["n_suspects"] > 0]
    return [row for row in split if row["verdict"] == POISONED] or split[:1]


def finding(classes: Sequence[dict[str, Any]]) -> str:
    poisoned = [row for row in classes if row["verdict"] == POISONED]
    if poisoned:
        parts = [f"{row['name']} ({row['n_called_poison']} suspects among {row['n_files']} files)" for row in poisoned]
        verb = "is" if len(poisoned) == 1 else "are"
        return f"{len(poisoned)} of {len(classes)} classes {verb} called poisoned: {', '.join(parts)}."
    if classes[0]["mad_index"] is None:
        return "No class could be judged."
    none = f"None of the {len(classes)} classes is called poisoned."
    shown = classes_to_show(classes)
    if not shown:
        return f"{none} None of them splits in two either, so there is nothing to look at."
    return (
        f"{none} If you look at one, look at {shown[0]['name']}, the highest-ranked one that splits in two: its suspected "
        f"part has {shown[0]['n_suspects']} of {shown[0]['n_files']} files, which is not a verdict."
    )


def cautions(classes: Sequence[dict[str, Any]]) -> list[str]:
    """What a reader must know before trusting the verdicts."""
    found = []
    n_judged = sum(row["mad_index"] is not None for row in classes)
    if n_judged < FEW_CLASSES:
        found.append(
            f"Only {n_judged} classes could be judged. With fewer than {FEW_CLASSES} there is little to stand out from: "
            "look at the samples, and do not rely on the verdicts."
        )
    for row in classes:
        if row["verdict"] == POISONED and row["n_suspects"] == 0:
            found.append(
                f"{row['name']} is called poisoned, but the repeated clusterings do not agree on a single suspect in it."
            )
        if row["verdict"] == POISONED and row["n_suspects"] > HETEROGENEOUS_FROM * row["n_files"]:
            found.append(
                f"{row['name']} splits {row['n_suspects']} to {row['n_files'] - row['n_suspects']}: only looking "
                "at both parts can tell which of them is the poison, if any."
            )
    return found


def length_notes(data: FolderData) -> list[str]:
    """How many clips were brought to the common length."""
    n_padded, n_cropped = (len(data.mended_files.get(what, ())) for what in (PADDED, CROPPED))
    notes = []
    if n_cropped:
        notes.append(
            f"Files that are longer than the clips and lose their end: {n_cropped:,} of the {len(data.files):,} read."
        )
    if n_padded:
        notes.append(f"Files that are shorter and end in silence: {n_padded:,} of the {len(data.files):,} read.")
    return notes


def file_counts(data: FolderData, ignored: Mapping[str, int]) -> dict[str, int]:
    """
    What became of the files: those found were read or skipped. Clips that only had to be padded or cropped are not mended.
    """
    mended = {file for what, files in data.mended_files.items() if what not in (PADDED, CROPPED) for file in files}
    return {
        "found": len(data.files) + len(data.skipped_files),
        "read": len(data.files),
        "mended": len(mended),
        "skipped": len(data.skipped_files),
        "skipped_folders": len(data.skipped_folders),
        "ignored": sum(ignored.values()),
    }


def files_sentence(counts: Mapping[str, int]) -> str:
    """The counts in a sentence."""
    return (
        f"{counts['found']:,} files found: {counts['read']:,} read, {counts['mended']:,} of them mended, and "
        f"{counts['skipped']:,} skipped. Ignored besides: {counts['ignored']:,} other files; skipped folders: "
        f"{counts['skipped_folders']:,}."
    )


def file_rows(record: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """What became of files and folders, their number, and the reason; like reasons together, the most frequent first."""
    rows = _grouped("skipped", [row["reason"] for row in record["skipped_files"]])
    rows += _grouped("folder skipped", [row["reason"] for row in record["skipped_folders"]])
    mended = {what: len(files) for what, files in record["mended_files"].items() if what not in (PADDED, CROPPED)}
    for what, counts in (("mended", mended), ("ignored", record["ignored_files"])):
        rows += [(what, n, reason) for reason, n in sorted(counts.items(), key=lambda item: -item[1])]
    return rows


def _grouped(what: str, reasons: Sequence[str]) -> list[tuple[str, int, str]]:
    """Reasons that differ only in numbers, or in the file that they name, are one."""
    groups: dict[str, list[str]] = {}
    for reason in reasons:
        groups.setdefault(re.sub(r"\d[\d,.]*", "N", re.split(r": | as ", reason)[0]), []).append(reason)
    rows = [(what, len(group), group[0] if len(set(group)) == 1 else name) for name, group in groups.items()]
    return sorted(rows, key=lambda row: -row[1])
