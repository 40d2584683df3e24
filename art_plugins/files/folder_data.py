"""The files of a folder of classes, decoded into one array on disk, so that large folders need little memory."""

from __future__ import annotations

import errno
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from art_plugins.errors import InvalidInputError
from art_plugins.files.class_folders import ClassFolders
from art_plugins.files.image_files import ImageReader
from art_plugins.files.sound_files import SoundReader

ZEROS_BYTES = 2**20


@dataclass(frozen=True)
class FolderData:
    """
    The samples of a folder.

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

    The array lies in a temporary file without a name, which is gone when the block ends, also where the process is killed.

    :raises InvalidInputError: If fewer than two classes have a readable file, or the disk is too full.
    """
    shape = (len(found.files), *reader.shape)
    with tempfile.TemporaryFile() as file:
        _allocate(file.fileno(), math.prod(shape) * reader.dtype.itemsize, len(found.files))
        x = np.memmap(file, reader.dtype, "r+", shape=shape)
        files: list[str] = []
        labels: list[int] = []
        skipped = dict(found.skipped_files)
        mended: dict[str, list[str]] = {}
        rows = zip(found.files, found.labels, strict=True)
        for name, label in tqdm(rows, desc="reading", unit="file", total=len(found.files), disable=not verbose or None):
            try:
                sample, what = reader.read(Path(folder) / name)
            except InvalidInputError as error:
                skipped[name] = str(error)
                continue
            x[len(files)] = sample
            files.append(name)
            labels.append(label)
            for entry in what:
                mended.setdefault(entry, []).append(name)
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


def _allocate(descriptor: int, n_bytes: int, n_files: int) -> None:
    """
    Reserve the room on the disk. Without this, a full disk would end the process while it writes to the memory map.

    :raises InvalidInputError: If there is too little room.
    """
    try:
        if not _fallocate(descriptor, n_bytes):
            for start in range(0, n_bytes, ZEROS_BYTES):
                os.write(descriptor, bytes(min(ZEROS_BYTES, n_bytes - start)))
    except (OSError, OverflowError) as error:
        size = f"{math.ceil(n_bytes / 1e6):,} MB"
        raise InvalidInputError(
            f"The {n_files} decoded files need {size} in {tempfile.gettempdir()}, but there is not enough space "
            f"({getattr(error, 'strerror', None) or error}); choose shorter clips or smaller images, or set another "
            "folder in TMPDIR."
        ) from error


def _fallocate(descriptor: int, n_bytes: int) -> bool:
    """Whether the operating system and the file system could reserve the room at once."""
    if not hasattr(os, "posix_fallocate"):
        return False
    try:
        os.posix_fallocate(descriptor, 0, n_bytes)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        return False
    return True
