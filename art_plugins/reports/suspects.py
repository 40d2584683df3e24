"""Suspects that a reader can hear or see: the samples with the highest scores of a class, beside its most typical ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.errors import MissingPackageError
from art_plugins.files import image_files
from art_plugins.files.sound_files import wav_bytes
from art_plugins.reports.drawing import data_uri
from art_plugins.storage import atomic_path

N_SHOWN = 4  # number of samples of each kind
MEDIA_TYPES = {".wav": "audio/wav", ".png": "image/png"}


def choose_suspects(
    labels: np.ndarray, is_clean: np.ndarray, scores: np.ndarray, is_poison: np.ndarray, target: int
) -> list[dict[str, Any]]:
    """
    Choose samples of the target class: those called poison that have the highest scores, and those kept that have the
    lowest.

    :param labels: Class of each sample, shape (n,).
    :param is_clean: Verdicts of the filter, shape (n,), 1 = clean.
    :param scores: Scores, shape (n,), higher = more suspicious; NaN: not judged.
    :param is_poison: Whether each sample is poison in truth, shape (n,).
    :param target: The target class of the attack.
    :return: A JSON-safe mapping for each sample with ``row``, ``called``, ``score`` and ``is_poison``. Suspects are first.
    """
    rows = np.flatnonzero(labels == target)
    order = rows[np.argsort(np.nan_to_num(scores[rows], nan=-np.inf), kind="stable")]
    called = [int(row) for row in order[::-1] if is_clean[row] != 1][:N_SHOWN]
    typical = [int(row) for row in order if is_clean[row] == 1][:N_SHOWN]
    return [
        {"row": row, "called": row in called, "score": _number(scores[row]), "is_poison": bool(is_poison[row])}
        for row in (*called, *typical)
    ]


def write_suspects(
    x: np.ndarray, suspects: Sequence[Mapping[str, Any]], name: str, sample_rate_hz: int | None, out: Path
) -> list[dict[str, Any]]:
    """
    Write each sample to the file ``out/<name>_<row>.wav`` or ``.png``.

    :param x: Waveforms (n, samples) or images (n, C, H, W) in [0, 1].
    :param suspects: What :func:`choose_suspects` gave.
    :param name: Name of the task.
    :param sample_rate_hz: Sample rate of the waveforms; ``None`` for images.
    :param out: Folder for the files.
    :return: The suspects, each with its ``file``, relative to the folder of the record. The list is empty if the package
        that writes such files is missing.
    """
    written = []
    for suspect in suspects:
        sample = np.asarray(x[suspect["row"]])
        try:
            if sample.ndim == 1 and sample_rate_hz is not None:
                suffix, content = ".wav", wav_bytes(sample, sample_rate_hz)
            else:
                picture = (255 * np.clip(np.moveaxis(sample, 0, -1), 0, 1)).astype(np.uint8)
                suffix, content = ".png", image_files.png_bytes(picture[..., 0] if picture.shape[-1] == 1 else picture)
        except MissingPackageError:
            return []
        file = out / f"{name}_{suspect['row']}{suffix}"
        with atomic_path(file) as partial:
            partial.write_bytes(content)
        written.append({**suspect, "file": f"{out.name}/{file.name}"})
    return written


def shown_suspects(task: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """
    Give what a page shows for each suspect of a task. Suspects without a file are left out.

    :param task: A task from the record of a comparison.
    :param folder: Folder of the record.
    :return: A mapping for each suspect with ``source`` (a data URI), ``is_sound`` and ``words``.
    """
    shown = []
    for suspect in task.get("suspects", []):
        file = (folder / suspect["file"]).resolve()
        if not file.is_relative_to(folder.resolve()) or file.suffix not in MEDIA_TYPES or not file.is_file():
            continue
        called = "called poison" if suspect["called"] else "kept"
        truth = "poison" if suspect["is_poison"] else "clean"
        score = "" if suspect["score"] is None else f", score {suspect['score']:.2f}"
        shown.append(
            {
                "source": data_uri(file.read_bytes(), MEDIA_TYPES[file.suffix]),
                "is_sound": file.suffix == ".wav",
                "words": f"{called}{score}; in truth {truth}",
            }
        )
    return shown


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
