"""The record of a detection: every number and name that the page, the table and the terminal show."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.evaluation.running.environment import versions
from art_plugins.files.folder_data import FolderData
from art_plugins.files.outputs import csv_text
from art_plugins.files.sound_files import SoundReader
from art_plugins.files.sources.samples import Samples
from art_plugins.inspection.detect_inputs import CleanImages, Inputs
from art_plugins.inspection.detect_words import finding
from art_plugins.inspection.isolation.judge import FittedDetector, FittedLayers, ModelFacts
from art_plugins.inspection.judged import Judged
from art_plugins.inspection.settings import DetectSettings
from art_plugins.inspection.verdicts.images import LAYERS, PATTERN, ImageVerdicts
from art_plugins.inspection.verdicts.words import NOUNS
from art_plugins.reports.trigger_figures import most_suspicious_first
from art_plugins.triggers.found import Inversion

BACKDOOR_TARGET = "target of a backdoor"  # verdicts on a class
ALSO_ABOVE = "also above the threshold"
NOTHING_FOUND = "nothing found"
NOT_JUDGED = "not judged: no pattern works"
UNDECIDED = "not decided: the search broke off"
UNFINISHED = "not decided: the search did not converge"
SCREENED = "nothing found: screened only"
NOT_APART = "nothing found: too near to the next class"


@dataclass(frozen=True)
class Outcome:
    """
    What a detection found out; ``predicted`` (n,): the model's classes of the clean images; ``inversion``: ``None`` where
    no pattern was searched for; ``detector``: ``None`` where no pattern of a backdoor was found; ``judged`` and ``images``:
    what was found in the images, ``None`` where none was judged; ``notes``: what a reader must know, in sentences;
    ``layers``: the layer-wise detector.
    """

    facts: ModelFacts
    clean: CleanImages
    predicted: np.ndarray
    inversion: Inversion | None
    detector: FittedDetector | None
    judged: Judged | None
    notes: list[str]
    layers: FittedLayers
    images: ImageVerdicts | None

    @property
    def found_by(self) -> list[str]:
        """What says that the model has a backdoor: a small pattern, the layers, both, or nothing."""
        layers = None if self.images is None else self.images.layers
        has_pattern = self.inversion is not None and self.inversion.target_class is not None
        answers = {PATTERN: has_pattern, LAYERS: layers is not None and layers.has_backdoor}
        return [name for name, is_so in answers.items() if is_so]


def detect_record(model: str | Path, inputs: Inputs, settings: DetectSettings, outcome: Outcome) -> dict[str, Any]:
    """The record, JSON-safe."""
    inversion, judged, images, names = outcome.inversion, outcome.judged, outcome.images, inputs.class_names
    suspects = [] if judged is None or images is None else _suspects(judged, images, names)
    counts = {"caught": 0, "caught_by_pattern": 0, "caught_by_layers": 0} if images is None else images.counts()
    target = None if inversion is None or inversion.target_class is None else names[inversion.target_class]
    judged_files = file_lists(inputs.found if judged is None else judged, inputs.found)
    return {
        "model": str(model),
        "model_sha256": hashlib.sha256(Path(model).read_bytes()).hexdigest(),
        "folder": None if inputs.folder is None else str(inputs.folder),
        "kind_of_file": inputs.kind,
        "finding": finding(inversion, names, settings.threshold, images, outcome.layers, NOUNS[inputs.kind]),
        "notes": outcome.notes,
        "is_backdoored": bool(outcome.found_by),
        "found_by": outcome.found_by,
        "target_class": target,
        "undecided_classes": [] if inversion is None else [names[label] for label in inversion.undecided],
        "kind": None if inversion is None else inversion.kind,
        "success_rate": None if inversion is None else inversion.success_rate,
        "margin": None if outcome.detector is None else outcome.detector.margin,
        "clean_accuracy": float((outcome.predicted == outcome.clean.y).mean()),
        "classes": [] if inversion is None else rank_classes(inversion, names, settings.threshold),
        "layers": {
            **outcome.layers._asdict(),
            **({} if images is None or images.layers is None else images.layers.to_record()),
        },
        "suspects": suspects,
        "counts": {
            "found": len(inputs.found.files) + len(inputs.found.skipped_files),
            "read": 0 if judged is None else len(judged.files),
            "called_target": 0 if judged is None or target is None else int(np.isfinite(judged.scores).sum()),
            **counts,
            "clean": len(outcome.clean.x),
        },
        "judged_files": judged_files,
        "clean_files": file_lists(outcome.clean.data, inputs.found_clean),
        "settings": _settings(inputs, settings, outcome),
        "versions": versions(),
    }


def rank_classes(inversion: Inversion, names: Sequence[str], threshold: float) -> list[dict[str, Any]]:
    """The classes as JSON-safe rows, the most suspicious first, those that could not be judged last."""
    rows = []
    for label in most_suspicious_first(inversion.anomaly_index):
        index = _known(inversion.anomaly_index[label])
        patterns = {
            one.kind: {
                "norm": _known(one.norms[label]),
                "success_rate": _known(one.success_rates[label]),
                "index": _known(one.anomaly_index[label]),
                "broke_off": bool(len(one.broke_off) and one.broke_off[label]),
                "converged": not any(
                    len(state) and state[label] for state in (one.broke_off, one.unfinished, one.screened)
                ),
            }
            for one in inversion.inverted
        }
        verdict = _verdict(inversion, label, index, threshold)
        rows.append({"name": names[label], "label": label, "index": index, "verdict": verdict, "patterns": patterns})
    return rows


def _verdict(inversion: Inversion, label: int, index: float | None, threshold: float) -> str:
    if label == inversion.target_class:
        return BACKDOOR_TARGET
    if index is not None and index > threshold:
        return NOT_APART if inversion.target_class is None else ALSO_ABOVE
    if label in inversion.broke_off:
        return UNDECIDED
    if label in inversion.unfinished:
        return UNFINISHED
    if label in inversion.screened:
        return SCREENED
    return NOT_JUDGED if index is None else NOTHING_FOUND


def suspects_csv(suspects: Sequence[dict[str, Any]]) -> str:
    """The caught images, one in each row, the most suspicious first."""
    header = (
        "file", "predicted_class", "source_class", "found_by", "score", "layer_score", "contradicts_itself",
        "source_probability",
    )  # fmt: skip
    return csv_text(header, [tuple(_cell(row[name]) for name in header) for row in suspects])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def file_lists(read: Judged | FolderData | Samples, found: Samples) -> dict[str, Any]:
    """
    What became of the files, in the form in which the pages and the terminal show it.

    :param read: What was read; what was found, if nothing was read.
    """
    folders = read.skipped_folders if isinstance(read, FolderData) else found.skipped_folders
    mended = {} if isinstance(read, Samples) else read.mended_files
    return {
        "skipped_files": [{"file": file, "reason": reason} for file, reason in sorted(read.skipped_files.items())],
        "skipped_folders": [{"folder": name, "reason": reason} for name, reason in sorted(folders.items())],
        "ignored_files": found.ignored_files,
        "mended_files": dict(sorted(mended.items())),
    }


def _suspects(judged: Judged, images: ImageVerdicts, names: Sequence[str]) -> list[dict[str, Any]]:
    """The caught images, the most suspicious first. A value that is unknown or not finite is ``None``."""
    layers = judged.layers
    rows = judged.by_score(images.is_caught)
    sources = {row: images.source(judged, row) for row in rows}
    return [
        {
            "file": judged.files[row],
            "predicted_class": names[judged.predicted[row]],
            "source_class": None if (found := sources[row]) is None else names[found[0]],
            "found_by": images.found_by(row),
            "score": _known(judged.scores[row]),
            "layer_score": None if layers is None else _known(layers.scores[row]),
            "contradicts_itself": None if layers is None else bool(layers.contradicts[row]),
            "source_probability": None if found is None else found[1],
        }
        for row in rows
    ]


def _settings(inputs: Inputs, settings: DetectSettings, outcome: Outcome) -> dict[str, Any]:
    return {
        "clean": str(inputs.clean),
        "class_names": inputs.class_names,
        "input_shape": list(outcome.facts.input_shape),
        "channels_first": outcome.facts.channels_first,
        "mean": None if settings.mean is None else list(settings.mean),
        "std": None if settings.std is None else list(settings.std),
        "factory": settings.factory,
        "factory_args": None if settings.factory_args is None else dict(settings.factory_args),
        "threshold": settings.threshold,
        "nb_steps": settings.nb_steps,
        "random_state": settings.random_state,
        "trust_model": settings.trust_model,
        "timeout_s": settings.timeout_s,
        "false_alarm_rate": settings.false_alarm_rate,
        "seconds_of_clip": inputs.reader.seconds if isinstance(inputs.reader, SoundReader) else None,
        "sample_rate_hz": inputs.reader.sample_rate_hz if isinstance(inputs.reader, SoundReader) else None,
        **({} if outcome.detector is None else outcome.detector.parameters),
    }


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
