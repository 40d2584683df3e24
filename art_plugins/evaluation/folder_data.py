"""The files of a folder of classes, decoded into one array on disk, so that large folders need little memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.class_folders import ClassFolders
from art_plugins.evaluation.image_files import ImageReader
from art_plugins.evaluation.sound_files import SoundReader


@dataclass(frozen=True)
class FolderData:
    """
    ``x`` (n, ...): a memory map of what could be read; ``labels`` (n,): positions in ``class_names``; ``files``: the path
    of each, relative to the folder; ``skipped_files`` and ``skipped_folders``: name -> reason; ``mended_files``: what was
    done -> paths.
    """

    x: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    files: tuple[str, ...]
    skipped_files: dict[str, str]
    skipped_folders: dict[str, str]
    mended_files: dict[str, list[str]]


@contextmanager
def read_folder(
    folder: str | Path, found: ClassFolders, reader: SoundReader | ImageReader, verbose: bool = True
) -> Iterator[FolderData]:
    """
    Decode every file; those that cannot be read are left out, with the reason.

    The array lies in a temporary folder that is removed when the block ends.

    :raises InvalidInputError: If fewer than two classes have a readable file, or the disk is too full.
    """
    n_bytes = len(found.files) * int(np.prod(reader.shape)) * reader.dtype.itemsize
    with tempfile.TemporaryDirectory(prefix="art-plugins-") as temporary:
        free = shutil.disk_usage(temporary).free
        if n_bytes > free:
            raise InvalidInputError(
                f"The {len(found.files)} decoded files need {n_bytes / 1e9:.1f} GB in {Path(temporary).parent}, which has "
                f"{free / 1e9:.1f} GB left; ask for shorter clips or smaller images, or name another folder in TMPDIR."
            )
        x = np.memmap(Path(temporary) / "x", reader.dtype, "w+", shape=(len(found.files), *reader.shape))
        files: list[str] = []
        labels: list[int] = []
        skipped = dict(found.skipped_files)
        mended: dict[str, list[str]] = {}
        rows = zip(found.files, found.labels, strict=True)
        for file, label in tqdm(rows, desc="reading", unit="file", total=len(found.files), disable=not verbose or None):
            try:
                sample, what = reader.read(Path(folder) / file)
            except InvalidInputError as error:
                skipped[file] = str(error)
                continue
            x[len(files)] = sample
            files.append(file)
            labels.append(label)
            for entry in what:
                mended.setdefault(entry, []).append(file)
        kept_classes, kept_labels = np.unique(labels, return_inverse=True)
        if len(kept_classes) < 2:
            reason = next(iter(skipped.values()), "")
            raise InvalidInputError(
                f"Only {len(kept_classes)} class of {folder} has a file that can be read, and at least 2 are needed; "
                f"{len(skipped)} files were skipped, the first because {reason}."
            )
        empty = {name: "none of its files can be read" for i, name in enumerate(found.class_names) if i not in kept_classes}
        yield FolderData(
            x[: len(files)],
            kept_labels.astype(np.int64),
            tuple(found.class_names[label] for label in kept_classes),
            tuple(files),
            skipped,
            found.skipped_folders | empty,
            mended,
        )
