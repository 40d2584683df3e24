"""The record of a scan: every number and name that the page, the tables and the terminal show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from art_plugins.evaluation.running.environment import versions
from art_plugins.files.folder_data import FolderData
from art_plugins.files.image_files import ImageReader
from art_plugins.files.sound_files import SoundReader
from art_plugins.files.sources.samples import Samples
from art_plugins.inspection.evidence.classes import rank_classes
from art_plugins.inspection.evidence.examine import Examined
from art_plugins.inspection.evidence.found import LABEL_ERROR, LOOK_HERE, POISON
from art_plugins.inspection.scan_words import (
    cautions,
    file_counts,
    finding,
    length_notes,
    warnings_with_names,
)
from art_plugins.inspection.settings import ScanSettings
from art_plugins.inspection.suspect_rows import SCHEMA_VERSION
from art_plugins.statistics.latents.scoring_settings import FALSE_ALARM_RATE, THRESHOLD


def scan_record(
    found: Samples,
    reader: SoundReader | ImageReader,
    data: FolderData,
    examined: Examined,
    settings: ScanSettings,
    params: Mapping[str, Any],
) -> dict[str, Any]:
    """
    The record, JSON-safe.

    :param params: Parameters of the defence, as the user gave them.
    """
    classes = rank_classes(examined, data.labels, data.class_names)
    report = _of_latents(examined, params)
    warnings = warnings_with_names(report["warnings"], data.class_names, classes)
    counts = file_counts(data, found.ignored_files)
    for name, verdict in (("called_poison", POISON), ("look_here", LOOK_HERE), ("likely_label_errors", LABEL_ERROR)):
        counts[name] = int(examined.with_verdict(verdict, len(data.labels)).sum())
    own: dict[str, Any] = {"max_listed": settings.max_listed, "split": settings.split, "sample_shape": list(reader.shape)}
    own |= {"only": list(settings.only), "fast": settings.fast}
    for name in ("autoencoder", "model", "trusted"):
        own[name] = None if getattr(settings, name) is None else str(getattr(settings, name))
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": found.kind,
        "finding": finding(classes),
        "notes": [*found.notes, *reader.notes, *length_notes(data), *warnings, *cautions(classes), *examined.notes],
        "warnings": report["warnings"],
        "counts": counts,
        "evidence": [{"kind": kind, "looked_at": why is None, "why_not": why} for kind, why in examined.left_out.items()],
        "class_rule": report["class_rule"],
        "threshold": (report["parameters"].get("scoring_params") or {}).get("threshold", THRESHOLD),
        "false_alarm_rate": report["parameters"]["false_alarm_rate"],
        "classes": classes,
        "skipped_files": [{"file": file, "reason": reason} for file, reason in sorted(data.skipped_files.items())],
        "skipped_folders": [{"folder": name, "reason": why} for name, why in sorted(data.skipped_folders.items())],
        "ignored_files": found.ignored_files,
        "mended_files": dict(sorted(data.mended_files.items())),
        "settings": own
        | {name: value for name, value in report["parameters"].items() if name not in ("autoencoder", "checkpoint")},
        "versions": versions(),
        "autoencoder_history": [] if examined.defence is None else examined.defence.autoencoder_.history_,
    }


def _of_latents(examined: Examined, params: Mapping[str, Any]) -> dict[str, Any]:
    """The report of the defence, with the false-alarm rate of the scan; without latents, what the record needs of it."""
    rate = {"false_alarm_rate": params.get("false_alarm_rate", FALSE_ALARM_RATE)}
    if examined.defence is None:
        given = {name: value for name, value in params.items() if name in ("precision", "random_state")}
        return {"warnings": [], "class_rule": "false_alarms", "parameters": given | rate}
    report = examined.defence.report_
    return {**report, "parameters": report["parameters"] | rate}


def json_text(record: dict[str, Any]) -> str:
    """The record as the text of record.json, which ``--format json`` prints as well."""
    return json.dumps(record, indent=2, allow_nan=False) + "\n"


def new_file(settings: ScanSettings) -> Path | None:
    """The keep-list or the manifest that the user names."""
    return None if settings.apply_to is None else Path(settings.apply_to)


def new_files(settings: ScanSettings) -> list[Path]:
    """The files that the user names, and that must not exist: the keep-list or manifest, then the autoencoder."""
    return [Path(file) for file in (settings.apply_to, settings.save_autoencoder) if file is not None]
