"""Look for poison in a folder of class folders without any ground truth, and show a person where to look."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.running.environment import versions
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.files.class_folders import ClassFolders, find_class_folders
from art_plugins.files.folder_data import FolderData, read_folder
from art_plugins.files.image_files import ImageReader, check_size, choose_image_reader, find_depth
from art_plugins.files.open_image import import_pillow
from art_plugins.files.open_sound import import_soundfile
from art_plugins.files.outputs import check_outputs, csv_text, held_folder, together
from art_plugins.files.sound_files import SoundReader, check_seconds, choose_sound_reader
from art_plugins.inspection.scan_page import Group, scan_page
from art_plugins.inspection.scan_words import (
    NOTHING_FOUND,
    POISONED,
    cautions,
    classes_to_show,
    file_counts,
    finding,
    length_notes,
)
from art_plugins.reports.pages import import_jinja2

OUTPUTS = ("suspects.csv", "report.html", "record.json")
POISON, LOOK_HERE = "poison", "look here, not a verdict"  # of a file
FROM_THE_FOLDER = ("sample_rate_hz", "channels_first")


def scan_folder(
    folder: str | Path,
    out: str | Path,
    *,
    kind: str = "auto",
    split: str | None = None,
    seconds: float | None = None,
    size: tuple[int, int] | None = None,
    autoencoder: str | Path | None = None,
    save_autoencoder: str | Path | None = None,
    apply_to: str | Path | None = None,
    false_alarm_rate: float = 0.05,
    nb_epochs: int = 30,
    random_state: int = 0,
    max_listed: int = 8,
    command: str = "",
    verbose: bool = True,
    **defence_params: Any,
) -> dict[str, Any]:
    """
    Rank the classes of a folder by how suspicious they are, and list the suspect files.

    Writes ``suspects.csv``, ``report.html`` and ``record.json`` into ``out``; these and the other outputs come to be at the
    end, all of them or none. Nothing in ``folder`` is changed. What cannot be read is left out, and listed.

    :param folder: Holds one folder of sound files (wav, flac) or images (png, jpg, jpeg) for each class.
    :param out: Folder for the results.
    :param kind: ``"sound"``, ``"image"``, or ``"auto"``: whichever there is.
    :param split: Where ``folder`` holds splits such as ``train`` and ``test``: the only one to scan; ``None``: all of them,
        class by class.
    :param seconds: Length of the clips; ``None``: the 95th percentile of the folder, at most 10 s.
    :param size: Width and height of the images; ``None``: the most common.
    :param autoencoder: A saved :class:`Autoencoder` that judges the folder without training; it says how files are read.
    :param save_autoencoder: Where to save the one that is trained; must not exist. An interrupted training goes on from
        the checkpoint beside it.
    :param apply_to: Where to write the keep-list, the path of every file that was read and is not called poison, one a
        line, relative to ``folder``; must not exist.
    :param false_alarm_rate: Accepted chance that a folder without poison has any class called poisoned.
    :param nb_epochs: Training epochs of the autoencoder.
    :param random_state: Seed; two runs with one seed agree.
    :param max_listed: Suspects, and typical samples beside them, that the page shows of a class.
    :param command: What the user typed, for the record.
    :param defence_params: Further parameters of :class:`VAELatentDefence`.
    :return: The record, as written; ``classes`` is the ranking, the most suspicious first.
    :raises InvalidInputError: For bad arguments, a folder that cannot be scanned, or an output that exists, before any
        heavy work.
    :raises MissingPackageError: If a package for sound files, images or pages is missing, before any heavy work.
    """
    start = time.perf_counter()
    params = {**defence_params, "false_alarm_rate": false_alarm_rate, "nb_epochs": nb_epochs, "random_state": random_state}
    if save_autoencoder is not None:
        params.setdefault("checkpoint", f"{save_autoencoder}.checkpoint")
    _check_arguments(params, seconds, size, max_listed)
    if autoencoder is not None and save_autoencoder is not None:
        raise InvalidInputError("There is no new autoencoder to save when one is handed in; leave out one of the two.")
    check_outputs(Path(out), OUTPUTS, (apply_to, save_autoencoder))
    import_jinja2()
    with held_folder(Path(out)):
        found = find_class_folders(folder, kind, split)
        fitted = None if autoencoder is None else Autoencoder.load(autoencoder)
        reader = _reader(found, folder, seconds, size, fitted)
        if isinstance(reader, SoundReader):
            params |= {"kind": "waveform", "sample_rate_hz": reader.sample_rate_hz}
        else:
            params |= {"kind": "image", "channels_first": False}
        with read_folder(folder, found, reader, verbose) as data:
            defence = VAELatentDefence(None, data.x, data.labels)
            defence.detect_poison(autoencoder=fitted, verbose=verbose, **params)
            classes = rank_classes(defence, data.class_names)
            groups = [_group(defence, data, row) for row in classes_to_show(classes)]
            settings = {
                "max_listed": max_listed,
                "split": split,
                "sample_shape": list(reader.shape),
                "autoencoder": None if autoencoder is None else str(autoencoder),
            }
            record = {
                "command": command,
                "folder": str(folder),
                **_record(found, reader, data, defence, classes, settings),
                "seconds": time.perf_counter() - start,
            }
            page = scan_page(record, groups, data, reader, defence.outlier_scores_, max_listed)
        files = [Path(out) / name for name in OUTPUTS]
        new_files = [Path(file) for file in (apply_to, save_autoencoder) if file is not None]
        with together(files, new_files) as partials:
            texts = [
                suspects_csv(groups, data, defence.outlier_scores_),
                page,
                json.dumps(record, indent=2, allow_nan=False) + "\n",
                *([] if apply_to is None else [_keep_list(defence, data)]),
            ]
            for partial, text in zip(partials, texts, strict=False):  # the autoencoder is none of the texts
                partial.write_text(text, encoding="utf-8")
            if save_autoencoder is not None:
                defence.autoencoder_.save(partials[-1])
    return record


def _record(
    found: ClassFolders,
    reader: SoundReader | ImageReader,
    data: FolderData,
    defence: VAELatentDefence,
    classes: list[dict[str, Any]],
    settings: dict[str, Any],
) -> dict[str, Any]:
    parameters = defence.report_["parameters"]
    return {
        "kind": found.kind,
        "finding": finding(classes),
        "notes": [*found.notes, *reader.notes, *length_notes(data), *cautions(classes)],
        "counts": {**file_counts(data, found.ignored_files), "called_poison": int((defence.is_clean_ == 0).sum())},
        "class_rule": defence.report_["class_rule"],
        "threshold": parameters["threshold"],
        "false_alarm_rate": parameters["false_alarm_rate"],
        "classes": classes,
        "skipped_files": [{"file": file, "reason": reason} for file, reason in sorted(data.skipped_files.items())],
        "skipped_folders": [{"folder": name, "reason": why} for name, why in sorted(data.skipped_folders.items())],
        "ignored_files": found.ignored_files,
        "mended_files": dict(sorted(data.mended_files.items())),
        "settings": settings | {name: value for name, value in parameters.items() if name != "autoencoder"},
        "versions": versions(),
        "autoencoder_history": defence.autoencoder_.history_,
    }


def _keep_list(defence: VAELatentDefence, data: FolderData) -> str:
    kept = [file for file, is_clean in zip(data.files, defence.is_clean_, strict=True) if is_clean]
    return "".join(f"{file}\n" for file in kept)


def rank_classes(defence: VAELatentDefence, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """The classes as JSON-safe rows, the most suspicious first, those that could not be judged last."""
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
    return sorted(rows, key=lambda row: -np.inf if row["mad_index"] is None else row["mad_index"], reverse=True)


def suspects_csv(groups: Sequence[Group], data: FolderData, outlier_scores: np.ndarray) -> str:
    """
    The suspects, one a row, the most suspicious class first; only a header when no class splits in two.

    When no class is called poisoned, the suspected part of the highest-ranked class is listed, and marked as no verdict.
    """
    rows = [
        (data.files[index], group.name, f"{outlier_scores[index]:.4f}", POISON if group.is_verdict else LOOK_HERE)
        for group in groups
        for index in group.suspects
    ]
    return csv_text(("file", "class", "score", "verdict"), rows)


class Halves(NamedTuple):
    """Positions of a class's samples: the suspects, the most suspicious first; the others, the most typical first."""

    suspects: np.ndarray
    typical: np.ndarray


def order_halves(members: np.ndarray, suspects: np.ndarray, scores: np.ndarray, latents: np.ndarray) -> Halves:
    """
    Put the halves of a class into the order in which a person should look at them.

    Most samples of a half have equal scores. Among those, the place along the line between the two halves' means (in the
    class's standard deviations; 0 at the mean of the others, 1 at that of the suspects) decides: suspects far out come
    first, typical samples are those near 0.

    :param members: Positions of the class's samples, (m,).
    :param suspects: Which of them are suspected, (m,), bool, neither none nor all.
    :param scores: Their outlier scores, (m,).
    :param latents: Their latents, (m, D).
    """
    deviation = latents.std(axis=0)
    scaled = latents / np.where(deviation > 0, deviation, 1)
    origin = scaled[~suspects].mean(axis=0)
    line = scaled[suspects].mean(axis=0) - origin
    place = (scaled - origin) @ line / max(float(line @ line), 1e-12)
    order = np.lexsort((-place, -scores))
    typical = np.argsort(np.abs(place), kind="stable")
    return Halves(members[order[suspects[order]]], members[typical[~suspects[typical]]])


def _check_arguments(params: dict[str, Any], seconds: float | None, size: tuple[int, int] | None, max_listed: int) -> None:
    taken = [name for name in FROM_THE_FOLDER if name in params]
    if taken:
        raise InvalidInputError(f"{', '.join(taken)} cannot be given to a scan: it is read from the files.")
    check_seconds(seconds)
    check_size(size)
    if not isinstance(max_listed, int) or max_listed < 1:
        raise InvalidInputError(f"max_listed must be a whole number of at least 1; received {max_listed!r}.")
    # The defence checks its parameters again, but only once the files have been decoded.
    VAELatentDefence(None, np.zeros((1, 1)), np.zeros(1)).set_params(**params)


def _reader(
    found: ClassFolders,
    folder: str | Path,
    seconds: float | None,
    size: tuple[int, int] | None,
    fitted: Autoencoder | None,
) -> SoundReader | ImageReader:
    """How the files are to be read: as the fitted autoencoder needs them, else as most of them are."""
    kind, paths = found.kind, [Path(folder) / file for file in found.files]
    if kind == "sound":
        import_soundfile()
    else:
        import_pillow("Image")
    if kind == "sound" and size is not None:
        raise InvalidInputError("size is for images, and the folder holds sounds; leave it out.")
    if kind == "image" and seconds is not None:
        raise InvalidInputError("seconds is for sounds, and the folder holds images; leave it out.")
    if fitted is None:
        return choose_sound_reader(paths, seconds) if kind == "sound" else choose_image_reader(paths, size)
    if seconds is not None or size is not None:
        raise InvalidInputError("The autoencoder says how long or large its samples are; leave out seconds and size.")
    state = fitted.state_settings()
    shape, needed = tuple(state["sample_shape"]), fitted.settings.kind
    if needed != {"sound": "waveform", "image": "image"}[kind]:
        raise InvalidInputError(f"The autoencoder was fitted on data of kind {needed!r}, and the folder holds {kind}s.")
    if kind == "sound":
        rate_hz = fitted.settings.sample_rate_hz
        note = f"Clips are of {shape[0] / rate_hz:g} s at {rate_hz} Hz, as the autoencoder needs them."
        return SoundReader(rate_hz, shape[0], (note,))
    if (len(shape) == 3 and shape[2] != 3) or state["mean"] <= 1:
        raise InvalidInputError(
            f"The autoencoder was fitted on images of shape {shape} with mean {state['mean']:.3g}; a scan reads images as "
            "(height, width) or (height, width, 3) with values 0 to 255. Use one that a scan has saved."
        )
    note = f"Images are read at {shape[1]} x {shape[0]} pixels, as the autoencoder needs them."
    return ImageReader((shape[1], shape[0]), len(shape) == 2, notes=(note,), depth=find_depth(paths))


def _group(defence: VAELatentDefence, data: FolderData, row: dict[str, Any]) -> Group:
    members = np.flatnonzero(data.labels == data.class_names.index(row["name"]))
    halves = order_halves(
        members, defence.suspects_[members], defence.outlier_scores_[members], defence.latents_[members].astype(np.float64)
    )
    return Group(row["name"], row["verdict"] == POISONED, halves.suspects, halves.typical)
