"""What a detection is given: the images to judge, the clean images by class, and how both are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.files.class_folders import find_class_folders, find_files
from art_plugins.files.folder_data import FolderData, read_folder
from art_plugins.files.image_files import ImageReader, check_size, choose_image_reader
from art_plugins.files.sound_files import SoundReader, choose_sound_reader
from art_plugins.files.sources.items import Item
from art_plugins.files.sources.samples import Samples
from art_plugins.inspection.detect_words import input_note
from art_plugins.inspection.isolation.images import to_inputs
from art_plugins.inspection.isolation.judge import ModelFacts
from art_plugins.inspection.settings import DetectSettings
from art_plugins.inspection.verdicts.words import NOUNS
from art_plugins.triggers.inversion import MIN_CLASSES

MAX_CLEAN = 100  # images of each class, as in Li et al. 2022; more would cost time and tell little


@dataclass(frozen=True)
class Inputs:
    """
    ``folder`` and ``found``: the images to judge, ``None`` and no files if there are none; ``clean`` and ``found_clean``:
    the clean images that are used; ``class_names``: in the order of the model's outputs; ``reader``: reads both; ``notes``:
    what was noticed about the files.
    """

    folder: Path | None
    found: Samples
    clean: Path
    found_clean: Samples
    class_names: list[str]
    reader: ImageReader | SoundReader
    notes: list[str]

    @property
    def kind(self) -> str:
        """``"image"`` or ``"sound"``."""
        return self.found_clean.kind


@dataclass(frozen=True)
class CleanImages:
    """
    ``x`` (n, ...): images with values 0 to 1, or waveforms; ``y`` (n,): positions in the class names; ``data``: the files
    that were read.
    """

    x: np.ndarray
    y: np.ndarray
    data: FolderData


def find_inputs(folder: str | Path | None, clean: str | Path, settings: DetectSettings) -> Inputs:
    """
    List the files, and choose how they are read; nothing is decoded.

    :raises InvalidInputError: If a folder cannot be used, the class names are not those of the class folders, or a setting
        is for the other kind of file.
    """
    all_clean = find_class_folders(clean, settings.kind)
    kind = all_clean.kind
    _check_kind(kind, folder, settings)
    found = Samples("", kind, (), [], [], []) if folder is None else find_files(folder, kind)
    found_clean = _drawn(all_clean, settings.random_state)
    names = _class_names(found_clean.class_names, settings.classes)
    reader = (
        _reader(found_clean.items, settings.size)
        if kind == "image"
        else choose_sound_reader(found_clean.items, settings.seconds)
    )
    notes = [*found.notes, *found_clean.notes]
    if len(found_clean.files) < len(all_clean.files):
        notes.append(
            f"There are {len(all_clean.files):,} clean {NOUNS[kind].many}, and at most {MAX_CLEAN} of each class are used: "
            f"{len(found_clean.files):,} {NOUNS[kind].many}, drawn at random."
        )
    return Inputs(
        None if folder is None else Path(folder), found, Path(clean), found_clean, names, reader, [*notes, *reader.notes]
    )


def read_clean(inputs: Inputs, facts: ModelFacts, verbose: bool) -> CleanImages:
    """
    The clean images as the model takes them.

    :raises InvalidInputError: If no file of a class can be read.
    """
    names = inputs.class_names
    with read_folder(inputs.found_clean, inputs.reader, verbose) as data:
        gone = sorted(set(names) - set(data.class_names))
        if gone:
            raise InvalidInputError(
                f"No clean {NOUNS[inputs.kind].one} of class {', '.join(gone)} can be read; every class needs some."
            )
        x = to_inputs(data.x, facts.channels_first)
        y = np.array([names.index(name) for name in data.class_names])[data.labels]
        return CleanImages(x, y, replace(data, x=x))  # without the map, which holds room on the disk


def fit_reader(inputs: Inputs, facts: ModelFacts, model: str | Path) -> str:
    """
    Let a reader of images give the colours that the model takes.

    :return: A sentence on how the model gets the samples.
    :raises InvalidInputError: If the model has another number of classes than there are folders of clean samples.
    """
    names = inputs.class_names
    if facts.nb_classes != len(names):
        raise InvalidInputError(
            f"{model} tells {facts.nb_classes} classes apart, and {inputs.clean} holds {len(names)} class folders; give "
            "one folder for each class."
        )
    if isinstance(inputs.reader, ImageReader):
        inputs.reader.is_grey = facts.input_shape[0 if facts.channels_first else -1] == 1
    return input_note(inputs.reader, facts.channels_first, names)


def _drawn(found: Samples, random_state: int) -> Samples:
    """At most ``MAX_CLEAN`` files of each class."""
    labels = np.array(found.labels)
    random = np.random.default_rng(random_state)
    kept: list[int] = []
    for label in range(len(found.class_names)):
        rows = np.flatnonzero(labels == label)
        kept += sorted(rows.tolist() if len(rows) <= MAX_CLEAN else random.choice(rows, MAX_CLEAN, replace=False).tolist())
    files, labels_kept = [found.files[row] for row in kept], [found.labels[row] for row in kept]
    return replace(found, files=files, labels=labels_kept, items=[found.items[row] for row in kept])


def _check_kind(kind: str, folder: str | Path | None, settings: DetectSettings) -> None:
    """
    :param kind: Kind of the files, ``"image"`` or ``"sound"``.
    :raises InvalidInputError: If a setting is for the other kind, or there are no sounds to judge.
    """
    for_others = ("seconds",) if kind == "image" else ("size", "mean", "std")
    given = [f"--{name}" for name in for_others if getattr(settings, name) is not None]
    if given:
        other = "sounds" if kind == "image" else "images"
        raise InvalidInputError(f"{', '.join(given)} is for {other}, and the clean files are {kind}s; leave it out.")
    if kind == "sound" and folder is None:
        raise InvalidInputError(
            "A classifier of sounds is judged by its layers alone, which need clips that came to the model; give a folder "
            "of clips."
        )


def _class_names(found: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    names = list(found) if wanted is None else list(wanted)
    if sorted(names) != sorted(found):
        missing, unknown = sorted(set(found) - set(names)), sorted(set(names) - set(found))
        raise InvalidInputError(
            "--classes must name every class folder once, in the order of the model's outputs; "
            f"folders that are not named: {', '.join(missing) or 'none'}; names without a folder: "
            f"{', '.join(unknown) or 'none'}."
        )
    if len(names) < MIN_CLASSES:
        raise InvalidInputError(
            f"Classes are compared with each other, so at least {MIN_CLASSES} are needed; there are {len(names)}."
        )
    return names


def _reader(items: Sequence[Item], size: tuple[int, int] | None) -> ImageReader:
    """For the most common size, however large: the model should see what it was trained on."""
    reader = choose_image_reader(items, size)
    if size is None and reader.size != reader.common_size:
        check_size(reader.common_size)
        reader = choose_image_reader(items, reader.common_size)
    reader.notes = reader.notes[:-1]  # without the note on colours, which the model decides
    return reader
