"""Is a trained image classifier backdoored, towards which class, and which images of a folder carry the trigger?"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from art_plugins.defences.in_flight_files import FILE_KIND as DETECTOR_FILE
from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.running.environment import versions
from art_plugins.files.class_folders import ClassFolders, find_class_folders, find_files
from art_plugins.files.folder_data import FolderData, read_folder
from art_plugins.files.image_files import ImageReader, check_size, choose_image_reader, import_pillow
from art_plugins.files.model_files import check_model_file
from art_plugins.files.outputs import check_outputs, csv_text
from art_plugins.inspection.detect_page import detect_page
from art_plugins.inspection.detect_words import clean_cautions, detector_cautions, finding, input_note
from art_plugins.inspection.judge import BATCH_SIZE, FittedDetector, Judge, Judgement, ModelJudge
from art_plugins.inspection.judge_process import JudgeProcess
from art_plugins.inspection.judged import Judged
from art_plugins.reports.drawing import load_matplotlib
from art_plugins.reports.pages import import_jinja2
from art_plugins.reports.trigger_figures import most_suspicious_first
from art_plugins.storage import save_arrays, write_json, write_text
from art_plugins.triggers.found import Inversion
from art_plugins.triggers.inversion import MIN_CLASSES

OUTPUTS = ("suspects.csv", "report.html", "record.json")
MAX_CLEAN = 100  # images a class, as in Li et al. 2022; more would cost time and tell little
TARGET, ALSO_ABOVE, NOTHING_FOUND, NOT_JUDGED = (
    "backdoor's target",
    "above the threshold as well",
    "nothing found",
    "not judged: no pattern works",
)


def detect_folder(
    model: str | Path,
    folder: str | Path,
    clean: str | Path,
    out: str | Path,
    *,
    classes: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    factory: str | None = None,
    factory_args: Mapping[str, Any] | None = None,
    trust_model: bool = False,
    timeout_s: float = 3600.0,
    save_detector: str | Path | None = None,
    threshold: float = 4.2,
    nb_steps: int = 400,
    random_state: int = 0,
    command: str = "",
    verbose: bool = True,
) -> dict[str, Any]:
    """
    Invert the triggers of a model; if one is a backdoor's, find the images of a folder that carry it.

    Writes ``suspects.csv``, ``report.html`` and ``record.json`` into ``out``, each whole or not at all. Images are given
    to the model with values 0 to 1.

    A TorchScript file is a stranger's program: it is refused if it does more than compute, and it runs in a process of its
    own that can neither write nor reach anything, nor go on for ever (:mod:`~art_plugins.inspection.judge_process`).
    Weights are data; the factory is your own code, and runs here.

    :param model: See :func:`~art_plugins.files.model_files.load_classifier`, also for ``mean``, ``std``, ``factory``
        and ``factory_args``.
    :param folder: Holds images (png, jpg, jpeg) at any depth; they are judged.
    :param clean: Holds one folder of images for each class that are free of the trigger, 10 to 100; of more, 100 are drawn.
    :param out: Folder for the results.
    :param classes: Names of the class folders in the order of the model's outputs; ``None``: sorted.
    :param size: Width and height that the images are given to the model in; ``None``: the most common of ``clean``.
    :param trust_model: Run a TorchScript file in this process, with your rights, whatever it does.
    :param timeout_s: Seconds that a TorchScript file may take in its process, all in all.
    :param save_detector: Where to save the fitted :class:`InFlightDetector`, if a backdoor is found; must not exist.
    :param threshold: Index above which a class is a backdoor's target.
    :param nb_steps: Most steps of the inversion.
    :param random_state: Seed; two runs with one seed agree.
    :param command: What the user typed, for the record.
    :return: The record, as written; ``classes`` is ranked, the most suspicious first; ``target_class`` is a name, or
        ``None``: no backdoor found.
    :raises InvalidInputError: For bad arguments, a model or folder that cannot be used, or an output that exists, before
        any heavy work.
    :raises MissingPackageError: If a package for images or pages is missing, before any heavy work.
    """
    start = time.perf_counter()
    check_size(size)
    if nb_steps < 1 or not 0 < threshold < np.inf:
        raise InvalidInputError(
            f"nb_steps must be at least 1, and threshold finite and above 0; received {nb_steps} and {threshold}."
        )
    if not 0 < timeout_s < np.inf:
        raise InvalidInputError(f"timeout must be a finite number of seconds above 0; received {timeout_s}.")
    check_outputs(Path(out), OUTPUTS, (save_detector,))
    import_jinja2()
    load_matplotlib()
    import_pillow("Image")
    found = find_files(folder, "image")
    found_clean, notes = _draw(find_class_folders(clean, "image"), random_state)
    names = _class_names(found_clean.class_names, classes)
    reader = _reader([Path(clean) / file for file in found_clean.files], size)
    options = {"mean": mean, "std": std, "factory": factory, "factory_args": factory_args, "trust_model": trust_model}
    with _judge(Path(model), reader, options, timeout_s) as judge:
        facts = judge.facts
        if facts.nb_classes != len(names):
            raise InvalidInputError(
                f"{model} tells {facts.nb_classes} classes apart, and {clean} holds {len(names)} class folders; give one "
                "folder for each class."
            )
        channels_first = facts.channels_first
        reader.is_grey = facts.input_shape[0 if channels_first else -1] == 1
        notes += [*reader.notes, input_note(reader, channels_first, names)]
        with read_folder(clean, found_clean, reader, verbose) as data:
            gone = sorted(set(names) - set(data.class_names))
            if gone:
                raise InvalidInputError(f"No clean image of class {', '.join(gone)} can be read; every class needs some.")
            x_clean = to_images(data.x, channels_first)
            y_clean = np.array([names.index(name) for name in data.class_names])[data.labels]
        predicted = judge.show_clean(x_clean, y_clean).argmax(axis=1)
        notes += clean_cautions(predicted, y_clean, names)

        inversion = judge.invert(nb_steps, threshold, random_state, verbose)
        judged: Judged | None = None
        detector: FittedDetector | None = None
        caught = None
        if inversion.target_class is not None:
            detector = judge.fit()
            judged = judge_files(judge.detect, channels_first, folder, found, reader, verbose)
            caught = (int(judged.is_trigger.sum()), len(judged.files))
            notes += detector_cautions(detector.success_rate, inversion, threshold, names)
        elif save_detector is not None:
            notes.append(f"There is no detector to save, so {save_detector} was not written.")
    suspects = [] if judged is None else _suspects(judged, names)
    target = None if inversion.target_class is None else names[inversion.target_class]
    record = {
        "command": command,
        "model": str(model),
        "model_sha256": hashlib.sha256(Path(model).read_bytes()).hexdigest(),
        "folder": str(folder),
        "finding": finding(inversion, names, threshold, caught),
        "notes": notes,
        "target_class": target,
        "kind": inversion.kind,
        "success_rate": inversion.success_rate,
        "margin": None if detector is None else detector.margin,
        "clean_accuracy": float((predicted == y_clean).mean()),
        "classes": rank_classes(inversion, names, threshold),
        "suspects": suspects,
        "counts": {
            "found": len(found.files) + len(found.skipped_files),
            "read": 0 if judged is None else len(judged.files),
            "called_target": 0 if judged is None or target is None else int(np.isfinite(judged.scores).sum()),
            "caught": len(suspects),
            "clean": len(x_clean),
        },
        "judged_files": _file_lists(found if judged is None else judged, found),
        "clean_files": _file_lists(data, found_clean),
        "settings": {
            "clean": str(clean),
            "class_names": names,
            "input_shape": list(facts.input_shape),
            "channels_first": channels_first,
            "mean": None if mean is None else list(mean),
            "std": None if std is None else list(std),
            "factory": factory,
            "factory_args": None if factory_args is None else dict(factory_args),
            "threshold": threshold,
            "nb_steps": nb_steps,
            "random_state": random_state,
            "trust_model": trust_model,
            "timeout_s": timeout_s,
            **({} if detector is None else detector.parameters),
        },
        "versions": versions(),
        "seconds": time.perf_counter() - start,
    }
    page = detect_page(record, inversion, names, judged, Path(folder), reader)
    header = ("file", "predicted_class", "source_class", "score")
    cells = [(row["file"], row["predicted_class"], row["source_class"], f"{row['score']:.4f}") for row in suspects]
    write_text(Path(out) / "suspects.csv", csv_text(header, cells))
    write_text(Path(out) / "report.html", page)
    if detector is not None and save_detector is not None:
        save_arrays(save_detector, DETECTOR_FILE, detector.arrays, detector.settings)
    write_json(Path(out) / "record.json", record)
    return record


@contextmanager
def _judge(model: Path, reader: ImageReader, options: Mapping[str, Any], timeout_s: float) -> Iterator[Judge]:
    """The model, in a process of its own where the file is a program of a stranger's, else in this one."""
    is_script = check_model_file(model, options["factory"])
    if not is_script or options["trust_model"]:
        yield ModelJudge.from_file(model, reader.size, {**options, "is_grey": reader.is_grey})
        return
    own = {"is_grey": reader.is_grey, "mean": options["mean"], "std": options["std"]}
    with JudgeProcess(model, reader.size, own, timeout_s) as judge:
        yield judge


def judge_files(
    detect: Callable[[np.ndarray], Judgement],
    channels_first: bool,
    folder: str | Path,
    found: ClassFolders,
    reader: ImageReader,
    verbose: bool = True,
) -> Judged:
    """
    Give every file of a folder to a fitted detector, a batch at a time.

    Files that cannot be read are left out, with the reason.

    :param detect: Of a batch of images, (n, ...).
    """
    files: list[str] = []
    reports: list[Judgement] = []
    skipped = dict(found.skipped_files)
    mended: dict[str, list[str]] = {}
    waiting: list[np.ndarray] = []

    def judge() -> None:
        reports.append(detect(to_images(np.stack(waiting), channels_first)))
        waiting.clear()

    for file in tqdm(found.files, desc="judging", unit="file", disable=not verbose or None):
        try:
            picture, what = reader.read(Path(folder) / file)
        except InvalidInputError as error:
            skipped[file] = str(error)
            continue
        files.append(file)
        waiting.append(picture)
        for entry in what:
            mended.setdefault(entry, []).append(file)
        if len(waiting) == BATCH_SIZE:
            judge()
    if waiting:
        judge()
    if not reports:
        return Judged([], np.zeros(0, int), np.zeros(0, bool), np.zeros(0, int), np.zeros(0), skipped, mended)
    predicted, is_trigger, source, scores = (np.concatenate(parts) for parts in zip(*reports, strict=True))
    return Judged(files, predicted, is_trigger, source, scores, skipped, mended)


def to_images(pictures: np.ndarray, channels_first: bool) -> np.ndarray:
    """
    Pictures as files hold them to images as a model takes them.

    :param pictures: 0 to 255, (n, H, W) or (n, H, W, 3).
    :return: 0 to 1, (n, C, H, W) or (n, H, W, C), float32.
    """
    images = np.asarray(pictures, dtype=np.float32) / 255
    if images.ndim == 3:
        images = images[..., None]
    return np.ascontiguousarray(np.moveaxis(images, -1, 1)) if channels_first else images


def rank_classes(inversion: Inversion, names: Sequence[str], threshold: float) -> list[dict[str, Any]]:
    """The classes as JSON-safe rows, the most suspicious first, those that could not be judged last."""
    rows = []
    for label in most_suspicious_first(inversion.anomaly_index):
        index = _known(inversion.anomaly_index[label])
        verdict = NOT_JUDGED if index is None else ALSO_ABOVE if index > threshold else NOTHING_FOUND
        patterns = {
            one.kind: {
                "norm": float(one.norms[label]),
                "success_rate": float(one.success_rates[label]),
                "index": _known(one.anomaly_index[label]),
            }
            for one in inversion.inverted
        }
        verdict = TARGET if label == inversion.target_class else verdict
        rows.append({"name": names[label], "label": label, "index": index, "verdict": verdict, "patterns": patterns})
    return rows


def _draw(found: ClassFolders, random_state: int) -> tuple[ClassFolders, list[str]]:
    """At most ``MAX_CLEAN`` files of each class."""
    labels = np.array(found.labels)
    random = np.random.default_rng(random_state)
    kept: list[int] = []
    for label in range(len(found.class_names)):
        rows = np.flatnonzero(labels == label)
        kept += sorted(rows.tolist() if len(rows) <= MAX_CLEAN else random.choice(rows, MAX_CLEAN, replace=False).tolist())
    if len(kept) == len(labels):
        return found, []
    drawn = replace(found, files=[found.files[row] for row in kept], labels=[found.labels[row] for row in kept])
    return drawn, [f"Of the {len(labels)} clean images at most {MAX_CLEAN} a class were drawn, {len(kept)} in all."]


def _class_names(found: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    names = list(found) if wanted is None else list(wanted)
    if sorted(names) != sorted(found):
        missing, unknown = sorted(set(found) - set(names)), sorted(set(names) - set(found))
        raise InvalidInputError(
            "--classes must name every class folder once, in the order of the model's outputs; "
            f"left out: {', '.join(missing) or 'none'}; no folder: {', '.join(unknown) or 'none'}."
        )
    if len(names) < MIN_CLASSES:
        raise InvalidInputError(
            f"Classes are compared with each other: at least {MIN_CLASSES} are needed, not {len(names)}."
        )
    return names


def _reader(paths: Sequence[Path], size: tuple[int, int] | None) -> ImageReader:
    """For the most common size, however large: a model is to see what it was trained on."""
    reader = choose_image_reader(paths, size)
    if size is None and reader.size != reader.common_size:
        check_size(reader.common_size)
        reader = choose_image_reader(paths, reader.common_size)
    reader.notes = reader.notes[:-1]  # on the colours: there the model has the last word
    return reader


def _suspects(judged: Judged, names: Sequence[str]) -> list[dict[str, Any]]:
    """The caught images, the most suspicious first."""
    rows = np.flatnonzero(judged.is_trigger)
    return [
        {
            "file": judged.files[row],
            "predicted_class": names[judged.predicted[row]],
            "source_class": names[judged.source[row]],
            "score": float(judged.scores[row]),
        }
        for row in rows[np.argsort(-judged.scores[rows], kind="stable")]
    ]


def _file_lists(read: Judged | FolderData | ClassFolders, found: ClassFolders) -> dict[str, Any]:
    """What was passed over, in the form in which the pages show it."""
    folders = read.skipped_folders if isinstance(read, FolderData) else found.skipped_folders
    mended = {} if isinstance(read, ClassFolders) else read.mended_files
    return {
        "skipped_files": [{"file": file, "reason": reason} for file, reason in sorted(read.skipped_files.items())],
        "skipped_folders": [{"folder": name, "reason": reason} for name, reason in sorted(folders.items())],
        "ignored_files": found.ignored_files,
        "mended_files": dict(sorted(mended.items())),
    }


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
