"""The samples of a scan that are known to be clean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.files.class_folders import find_class_folders
from art_plugins.files.folder_data import read_folder
from art_plugins.files.image_files import ImageReader
from art_plugins.files.sound_files import SoundReader
from art_plugins.files.sources.samples import Samples


class Trusted(NamedTuple):
    """``x``: decoded as the suspect samples are, (m, ...); ``labels``: (m,); ``note``: a sentence on them."""

    x: np.ndarray
    labels: np.ndarray
    note: str


def find_trusted(folder: str | Path | None, found: Samples) -> Samples | None:
    """
    List the trusted files; nothing is decoded.

    :param found: The suspect samples.
    :raises InvalidInputError: If the folder cannot be used, or has a class that the suspect samples lack.
    """
    if folder is None:
        return None
    if found.kind == "sound":
        raise InvalidInputError("trusted is for images: in sounds, groups of a network are not looked at; leave it out.")
    trusted = find_class_folders(folder, found.kind)
    unknown = sorted(set(trusted.class_names) - set(found.class_names))
    if unknown:
        raise InvalidInputError(
            f"trusted must hold folders of the same classes; {folder} has {unknown[0]!r}, and the data have "
            f"{', '.join(found.class_names[:20])}."
        )
    return trusted


@contextmanager
def read_trusted(
    found: Samples | None, reader: SoundReader | ImageReader, class_names: Sequence[str], verbose: bool = True
) -> Iterator[Trusted | None]:
    """
    Decode the trusted samples, in a temporary file that is gone when the block ends; ``None``: there are none.

    :param class_names: Names of the classes of the suspect samples that could be read. Trusted samples of other classes are
        left out.
    """
    if found is None:
        yield None
        return
    with read_folder(found, reader, verbose) as data:
        numbers = np.array([class_names.index(name) if name in class_names else -1 for name in data.class_names])
        labels = numbers[data.labels]
        note = f"{int((labels >= 0).sum()):,} samples of {found.origin} are trusted"
        note += f", and {len(data.skipped_files):,} could not be read." if data.skipped_files else "."
        x = data.x if (labels >= 0).all() else data.x[labels >= 0]
        yield Trusted(x, labels[labels >= 0], note)
