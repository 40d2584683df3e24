"""The samples of a data set, decoded into one array on disk, so that large data sets need little memory."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from tqdm.auto import tqdm

from art_plugins import disk_room
from art_plugins.errors import InvalidInputError
from art_plugins.files.image_files import ImageReader
from art_plugins.files.sound_files import SoundReader
from art_plugins.files.sources.samples import Samples

BLOCK_BYTES = 2**20  # of decoded samples, that are written together


@dataclass(frozen=True)
class FolderData:
    """
    The decoded samples of a data set.

    ``x`` (n, ...): a memory map of what could be read; ``labels`` (n,): positions in ``class_names``; ``files``: the name
    of each; ``places`` (n,): their positions in the data set; ``skipped_files`` and ``skipped_folders``: name -> reason;
    ``mended_files``: what was done -> names.
    """

    x: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    files: tuple[str, ...]
    places: tuple[int, ...]
    skipped_files: dict[str, str]
    skipped_folders: dict[str, str]
    mended_files: dict[str, list[str]]


@contextmanager
def read_folder(found: Samples, reader: SoundReader | ImageReader, verbose: bool = True) -> Iterator[FolderData]:
    """
    Decode every sample; those that cannot be read are left out, with the reason.

    The array lies in a temporary file without a name, which is gone when the block ends, also where the process is killed.

    :raises InvalidInputError: If fewer than two classes have a readable file, or the disk is too full.
    """
    shape = (len(found.files), *reader.shape)
    with tempfile.TemporaryFile() as file:
        n_bytes = math.prod(shape) * reader.dtype.itemsize
        disk_room.take_room(file.fileno(), n_bytes, f"The {len(found.files)} decoded files need")
        # A file is written in larger parts faster than a memory map, page by page.
        block = np.empty((max(1, BLOCK_BYTES * len(found.files) // n_bytes), *reader.shape), reader.dtype)
        places: list[int] = []
        skipped = dict(found.skipped_files)
        mended: dict[str, list[str]] = {}
        for place in tqdm(range(len(found.files)), desc="reading", unit="file", disable=not verbose or None):
            name = found.files[place]
            try:
                sample, what = reader.read(found.items[place])
            except InvalidInputError as error:
                skipped[name] = str(error)
                continue
            block[len(places) % len(block)] = sample
            places.append(place)
            if len(places) % len(block) == 0:
                file.write(block.data)
            for entry in what:
                mended.setdefault(entry, []).append(name)
        file.write(block[: len(places) % len(block)].data)
        file.flush()
        x = np.memmap(file, reader.dtype, "r+", shape=shape)
        kept_classes, kept_labels = np.unique([found.labels[place] for place in places], return_inverse=True)
        if len(kept_classes) < 2:
            reason = next(iter(skipped.values()), "")
            raise InvalidInputError(
                f"Only {len(kept_classes)} class of {found.origin} has a file that can be read, and at least 2 are needed; "
                f"{len(skipped)} files were skipped, the first because {reason}."
            )
        empty = {name: "none of its files can be read" for i, name in enumerate(found.class_names) if i not in kept_classes}
        yield FolderData(
            x[: len(places)],
            kept_labels.astype(np.int64),
            tuple(found.class_names[label] for label in kept_classes),
            tuple(found.files[place] for place in places),
            tuple(places),
            skipped,
            found.skipped_folders | empty,
            mended,
        )
