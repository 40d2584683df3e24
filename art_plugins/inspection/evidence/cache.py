"""Decoded samples by the hash of their content, so that a second scan of a grown data set decodes only what is new."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from art_plugins.errors import FileFormatError
from art_plugins.files.image_files import ImageReader
from art_plugins.files.sound_files import SoundReader
from art_plugins.files.sources.items import Item, content_hash
from art_plugins.storage import load_arrays, save_arrays

logger = logging.getLogger(__name__)

FILE_KIND = "decoded_samples"
SHARD_BYTES = 32 * 2**20  # of samples in one file: what is lost at most when the process is killed
MOST_ROWS = 4_096  # in one file, for tiny samples


class CachedReader:
    """
    A reader that keeps what it has decoded. It is called like the reader that it stands for.

    The samples lie in files of about 32 MB, each of which is complete or absent. Files are never changed, so that several
    scans can use one folder at once: at worst, each decodes the same sample. A damaged file is removed, and its samples are
    decoded again.

    :param reader: Decodes what is not there yet.
    :param folder: Samples of this reader are in a folder of their own in it.
    """

    def __init__(self, reader: SoundReader | ImageReader, folder: Path) -> None:
        self.reader, self.shape, self.dtype = reader, reader.shape, reader.dtype
        self.folder = folder / _fingerprint(reader)
        self.places: dict[str, tuple[Any, int, list[str]]] = {}
        self.new: dict[str, tuple[np.ndarray, list[str]]] = {}
        self.n_found = 0
        for path in sorted(self.folder.glob("*.safetensors")):
            self._open(path)

    def read(self, item: Item) -> tuple[np.ndarray, list[str]]:
        """One sample, and what had to be done to get it, as the reader gives them."""
        key = content_hash(item)
        if key in self.places:
            self.n_found += 1
            samples, row, what = self.places[key]
            return np.asarray(samples[row : row + 1])[0], list(what)
        if key in self.new:
            sample, what = self.new[key]
            return sample, list(what)
        sample, what = self.reader.read(item)
        if key:
            self.new[key] = (np.array(sample, dtype=self.dtype), list(what))
            if len(self.new) * sample.nbytes >= SHARD_BYTES or len(self.new) >= MOST_ROWS:
                self.flush()
        return sample, what

    def flush(self) -> None:
        """Write what is new. The name of the file comes from the samples in it, so that two scans write the same file."""
        if not self.new:
            return
        keys = list(self.new)
        name = hashlib.sha256("".join(keys).encode()).hexdigest()[:32]
        path = self.folder / f"{name}.safetensors"
        samples = np.stack([sample for sample, _ in self.new.values()])
        save_arrays(
            path, FILE_KIND, {"samples": samples}, {"keys": keys, "mended": [what for _, what in self.new.values()]}
        )
        self.new = {}
        self._open(path)

    def _open(self, path: Path) -> None:
        """Check a file as a whole; then only the rows that are asked for are read."""
        try:
            arrays, settings = load_arrays(path, FILE_KIND)
            keys, mended, samples = settings["keys"], settings["mended"], arrays["samples"]
            if samples.shape != (len(keys), *self.shape) or samples.dtype != self.dtype or len(mended) != len(keys):
                raise FileFormatError(f"{path} holds samples of another form")
        except (FileFormatError, KeyError, TypeError) as error:
            logger.warning("%s cannot be used (%s), so it is removed, and its samples are decoded again.", path, error)
            path.unlink(missing_ok=True)
            return
        rows = safetensors.safe_open(path, framework="numpy").get_slice("samples")  # type: ignore[no-untyped-call]
        for row, (key, what) in enumerate(zip(keys, mended, strict=True)):
            self.places[key] = (rows, row, what)


@contextmanager
def cached(reader: SoundReader | ImageReader, folder: str | Path | None) -> Iterator[Any]:
    """
    The reader, or one that keeps what it decodes in a folder; what is new is written also where the block breaks off.

    :param folder: ``None``: nothing is kept.
    """
    if folder is None:
        yield reader
        return
    keeping = CachedReader(reader, Path(folder))
    try:
        yield keeping
    finally:
        keeping.flush()


def _fingerprint(reader: SoundReader | ImageReader) -> str:
    """What the decoded samples depend on besides the content: all settings of the reader, and the release."""
    settings = {name: value for name, value in vars(reader).items() if name != "notes"}
    text = json.dumps([type(reader).__name__, version("art-plugins"), settings], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
