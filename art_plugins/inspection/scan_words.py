"""A scan in sentences: the finding, what a reader must know before trusting it, and what became of the files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from art_plugins.files.folder_data import FolderData
from art_plugins.files.sound_files import CROPPED, PADDED
from art_plugins.statistics.latents.latent_classes import HETEROGENEOUS_FROM

FEW_CLASSES = 5
METHODS = {
    "latents": "VAE latent clustering (Mehlman et al. 2023)",
    "network": "groups at the layers of a network (after Preetha et al. 2023)",
    "labels": "confident learning (Northcutt et al. 2021)",
}
# How the defence names classes, which it knows by number; "and 4 more" is no class.
NUMBER = re.compile(r"\d+")
NUMBERS = re.compile(r"\b([Cc]lass(?:es)? )(\d+(?:, \d+)*(?:,? and \d+\b(?! more))?)")
POISONED, NOTHING_FOUND = "poisoned", "nothing found"  # of a class; "not judged: ..." is the third


def classes_to_show(classes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The poisoned classes, or, if there is none, the highest-ranked class; of those with suspects."""
    split = [row for row in classes if row["n_suspects"] > 0]
    return [row for row in split if row["verdict"] == POISONED] or split[:1]


def is_judged(row: Mapping[str, Any]) -> bool:
    """Whether a class has a verdict. The verdict on another one begins with "not judged"."""
    return row["verdict"] in (POISONED, NOTHING_FOUND)


def finding(classes: Sequence[dict[str, Any]]) -> str:
    """
    The result in one or two sentences.

    :param classes: The ranking, the most suspicious class first.
    """
    poisoned = [row for row in classes if row["verdict"] == POISONED]
    if poisoned:
        parts = [f"{row['name']} ({row['n_called_poison']} suspects among {row['n_files']} files)" for row in poisoned]
        verb = "is" if len(poisoned) == 1 else "are"
        return f"{len(poisoned)} of {len(classes)} classes {verb} called poisoned: {', '.join(parts)}."
    any_judged = any(is_judged(row) for row in classes)
    none = f"None of the {len(classes)} classes is called poisoned." if any_judged else "No class could be judged."
    shown = classes_to_show(classes)
    if not shown:
        return f"{none} No class splits into two parts either, so there is nothing to look at." if any_judged else none
    return (
        f"{none} If you want to look at one class, look at {shown[0]['name']}: it is the highest-ranked class that splits "
        f"into two parts. Its suspected part has {shown[0]['n_suspects']} of {shown[0]['n_files']} files. This is not a "
        "verdict."
    )


def warnings_with_names(
    warnings: Sequence[str], class_names: Sequence[str], classes: Sequence[dict[str, Any]]
) -> list[str]:
    """
    The defence's warnings, with the names of the classes in place of their numbers.

    A warning on one class alone is left out where :func:`cautions` says the same in a scan's words: a scan removes nothing.
    """

    def name_of(number: re.Match[str]) -> str:
        label = int(number[0])
        return class_names[label] if label < len(class_names) else number[0]

    said = {row["name"] for row in classes if _class_cautions(row)}
    found = []
    for warning in warnings:
        named = NUMBERS.sub(lambda match: match[1] + NUMBER.sub(name_of, match[2]), warning)
        if not any(named.startswith(f"Class {name} ") for name in said):
            found.append(named)
    return found


def cautions(classes: Sequence[dict[str, Any]]) -> list[str]:
    """What a reader must know before trusting the verdicts."""
    found = []
    n_judged = sum(map(is_judged, classes))
    if n_judged < FEW_CLASSES:
        found.append(
            f"Only {n_judged} classes could be judged. With fewer than {FEW_CLASSES} there is little to compare with, so "
            "look at the samples, and do not rely on the verdicts."
        )
    return found + [caution for row in classes for caution in _class_cautions(row)]


def _class_cautions(row: Mapping[str, Any]) -> list[str]:
    if row["verdict"] != POISONED:
        return []
    if row["n_suspects"] == 0:
        return [
            f"{row['name']} is called poisoned, but the repeated clusterings do not agree on any suspect in it, so no file "
            "is listed."
        ]
    if row["n_suspects"] > HETEROGENEOUS_FROM * row["n_files"]:
        return [
            f"{row['name']} splits into {row['n_suspects']} and {row['n_files'] - row['n_suspects']} files. Look at both "
            "parts: only a person can tell which of them is the poison, if there is any."
        ]
    return []


def decision_notes(suspects: Sequence[Mapping[str, Any]], files: Sequence[object]) -> list[str]:
    """
    How many suspects a person has cleared, and how many files a person has rejected.

    :param files: The files that say so; ``None``: there is none.
    """
    given = " and ".join(str(file) for file in files if file is not None)
    if not given:
        return []
    decisions = [row["decision"] for row in suspects]
    n_accepted, n_rejected = decisions.count("accept"), decisions.count("reject")
    notes = [f"{n_accepted:,} of the {len(suspects):,} suspects are accepted in {given}, so they do not count."]
    if n_rejected:
        notes.append(f"{n_rejected:,} {'file is' if n_rejected == 1 else 'files are'} rejected in {given}, as poison.")
    return notes


def length_notes(data: FolderData) -> list[str]:
    """How many clips were made shorter or longer to have the common length."""
    n_padded, n_cropped = (len(data.mended_files.get(what, ())) for what in (PADDED, CROPPED))
    notes = []
    if n_cropped:
        notes.append(
            f"{n_cropped:,} of the {len(data.files):,} files that were read are longer than the clips, and lose their end."
        )
    if n_padded:
        notes.append(
            f"{n_padded:,} of the {len(data.files):,} files that were read are shorter than the clips, and end in silence."
        )
    return notes


def file_counts(data: FolderData, ignored: Mapping[str, int]) -> dict[str, int]:
    """
    What became of the files: every file that was found was read or skipped.

    Clips that only had to be padded or cropped do not count as mended.
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
    """The counts in two sentences."""
    return (
        f"{counts['found']:,} files found: {counts['read']:,} read, {counts['mended']:,} of them mended, and "
        f"{counts['skipped']:,} skipped. {counts['ignored']:,} other files were ignored, and "
        f"{counts['skipped_folders']:,} folders were skipped."
    )


def evidence_sentences(evidence: Sequence[Mapping[str, Any]], counts: Mapping[str, int]) -> list[str]:
    """Which evidence was looked at and which not, and how many likely label errors there are."""
    looked_at = [row["kind"] for row in evidence if row["looked_at"]]
    sentences = [f"Evidence that was looked at: {', '.join(looked_at) or 'none'}."]
    sentences += [f"Not looked at: {row['kind']}, because {row['why_not']}." for row in evidence if not row["looked_at"]]
    n = counts["likely_label_errors"]
    if "labels" in looked_at:
        sentences.append(f"{n:,} {'file has' if n == 1 else 'files have'} a label that is likely wrong. This is no poison.")
    return sentences


def methods(evidence: Sequence[Mapping[str, Any]]) -> str:
    """The names of the methods that were used, in one phrase."""
    used = [METHODS[row["kind"]] for row in evidence if row["looked_at"]]
    return ", ".join(used[:-1]) + (" and " if used[1:] else "") + used[-1] if used else "no method"


def file_rows(record: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """
    What happened to files and folders, their number, and the reason, the most frequent first.

    :param record: Has the four lists ``skipped_files``, ``skipped_folders``, ``ignored_files`` and ``mended_files``.
    """
    rows = _grouped("skipped", [row["reason"] for row in record["skipped_files"]])
    rows += _grouped("folder skipped", [row["reason"] for row in record["skipped_folders"]])
    mended = {what: len(files) for what, files in record["mended_files"].items() if what not in (PADDED, CROPPED)}
    for what, counts in (("mended", mended), ("ignored", record["ignored_files"])):
        rows += [(what, n, reason) for reason, n in sorted(counts.items(), key=lambda item: -item[1])]
    return rows


def _grouped(what: str, reasons: Sequence[str]) -> list[tuple[str, int, str]]:
    """Reasons that differ only in numbers, or in the file that they name, count as one reason."""
    groups: dict[str, list[str]] = {}
    for reason in reasons:
        groups.setdefault(re.sub(r"\d[\d,.]*", "N", re.split(r": | as ", reason)[0]), []).append(reason)
    rows = [(what, len(group), group[0] if len(set(group)) == 1 else name) for name, group in groups.items()]
    return sorted(rows, key=lambda row: -row[1])
