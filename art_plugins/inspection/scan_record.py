"""The record of a scan: every number and name that the page, the tables and the terminal show."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.evaluation.running.environment import versions
from art_plugins.files.folder_data import FolderData
from art_plugins.files.image_files import ImageReader
from art_plugins.files.sound_files import SoundReader
from art_plugins.files.sources.samples import Samples
from art_plugins.inspection.scan_words import (
    NOTHING_FOUND,
    cautions,
    file_counts,
    finding,
    length_notes,
    warnings_with_names,
)
from art_plugins.inspection.settings import ScanSettings
from art_plugins.inspection.suspect_rows import SCHEMA_VERSION
from art_plugins.statistics.latents.scoring_settings import THRESHOLD


def scan_record(
    found: Samples,
    reader: SoundReader | ImageReader,
    data: FolderData,
    defence: VAELatentDefence,
    settings: ScanSettings,
) -> dict[str, Any]:
    """
    The record, JSON-safe.

    :param defence: After its detection.
    """
    report = defence.report_
    parameters, classes = report["parameters"], rank_classes(defence, data.class_names)
    own = {"max_listed": settings.max_listed, "split": settings.split, "sample_shape": list(reader.shape)}
    own["autoencoder"] = None if settings.autoencoder is None else str(settings.autoencoder)
    warnings = warnings_with_names(report["warnings"], data.class_names, classes)
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": found.kind,
        "finding": finding(classes),
        "notes": [*found.notes, *reader.notes, *length_notes(data), *warnings, *cautions(classes)],
        "warnings": report["warnings"],
        "counts": {**file_counts(data, found.ignored_files), "called_poison": int((defence.is_clean_ == 0).sum())},
        "class_rule": report["class_rule"],
        "threshold": (parameters["scoring_params"] or {}).get("threshold", THRESHOLD),
        "false_alarm_rate": parameters["false_alarm_rate"],
        "classes": classes,
        "skipped_files": [{"file": file, "reason": reason} for file, reason in sorted(data.skipped_files.items())],
        "skipped_folders": [{"folder": name, "reason": why} for name, why in sorted(data.skipped_folders.items())],
        "ignored_files": found.ignored_files,
        "mended_files": dict(sorted(data.mended_files.items())),
        "settings": own | {name: value for name, value in parameters.items() if name != "autoencoder"},
        "versions": versions(),
        "autoencoder_history": defence.autoencoder_.history_,
    }


def rank_classes(defence: VAELatentDefence, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """
    The classes as JSON-safe rows, the most suspicious first.

    Classes that were not judged have no index. They come last, those of a higher score first.
    """
    rows = []
    for label, name in enumerate(class_names):
        row = defence.report_[f"Class_{label}"]
        rows.append(
            {
                "name": name,
                "n_files": row["n_samples"],
                "mad_index": row["mad_index"],
                "p_value": row["p_value"],
                "class_score": row["class_score"],
                "n_suspects": row["n_suspects"],
                "n_called_poison": row["n_removed"],
                "verdict": NOTHING_FOUND if row["verdict"] == "clean" else row["verdict"],
            }
        )
    return sorted(rows, key=_suspicion, reverse=True)


def json_text(record: dict[str, Any]) -> str:
    """The record as the text of record.json, which ``--format json`` prints as well."""
    return json.dumps(record, indent=2, allow_nan=False) + "\n"


def new_file(settings: ScanSettings) -> Path | None:
    """The keep-list or the manifest that the user names."""
    return None if settings.apply_to is None else Path(settings.apply_to)


def new_files(settings: ScanSettings) -> list[Path]:
    """The files that the user names, and that must not exist: the keep-list or manifest, then the autoencoder."""
    return [Path(file) for file in (settings.apply_to, settings.save_autoencoder) if file is not None]


def _suspicion(row: dict[str, Any]) -> tuple[float, float]:
    known = [-math.inf if row[key] is None else row[key] for key in ("mad_index", "class_score")]
    return known[0], known[1]
