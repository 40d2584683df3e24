"""
What a scan keeps of each sample, so that a second scan of a grown data set computes only what is new.

Decoded samples are found again by the hash of the content of their file, features by the hash of the decoded sample and of
the model. What depends on the other samples is never kept: a second scan gives the answer of a whole one, to the byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.encodings import FRAME_FLOOR, FRAME_HOP_S, FRAME_WINDOW_S, Compute
from art_plugins.files.image_files import ImageReader
from art_plugins.files.sound_files import SoundReader
from art_plugins.files.sources.items import Item, content_hash
from art_plugins.inspection.evidence.shards import Form, Shards

SAMPLES, FEATURES = "decoded_samples", "features_of_samples"  # kinds of files


class CachedReader:
    """
    A reader that keeps what it has decoded. It is called like the reader that it stands for.

    :param reader: Decodes what is not there yet.
    :param folder: Samples of this reader are in a folder of their own in it.
    """

    def __init__(self, reader: SoundReader | ImageReader, folder: Path) -> None:
        self.reader, self.shape, self.dtype = reader, reader.shape, reader.dtype
        settings = {name: value for name, value in vars(reader).items() if name != "notes"}
        self.shards = Shards(
            folder / _fingerprint(type(reader).__name__, settings), SAMPLES, {"samples": Form(reader.shape, reader.dtype)}
        )

    def read(self, item: Item) -> tuple[np.ndarray, list[str]]:
        """One sample, and what had to be done to get it, as the reader gives them."""
        key = content_hash(item)
        if key in self.shards:
            arrays, what = self.shards.find(key)
            return arrays["samples"], what
        sample, what = self.reader.read(item)
        if key:
            self.shards.add(key, {"samples": sample}, what)
        return sample, what

    def flush(self) -> None:
        """Write what is new."""
        self.shards.flush()


class KeptFeatures:
    """
    Keeps the features of each sample; a memory of :func:`~art_plugins.features.encodings.encode_all`.

    :param autoencoder: Gives the features. Those of another one are in another folder.
    :param shape: Shape of one sample.
    :param folder: Folder of the cache.
    """

    def __init__(self, autoencoder: Autoencoder, shape: tuple[int, ...], folder: Path) -> None:
        digest = hashlib.sha256()
        for name, array in sorted(autoencoder.state_arrays().items()):
            digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        settings = {**autoencoder.state_settings(), "sample_shape": shape, "weights": digest.hexdigest()}
        settings |= {"frames": [FRAME_WINDOW_S, FRAME_HOP_S, FRAME_FLOOR], "torch": version("torch")}
        self.shards = Shards(folder / _fingerprint(FEATURES, settings), FEATURES)

    def __call__(self, block: np.ndarray, compute: Compute) -> dict[str, np.ndarray]:
        """The arrays of a block of samples, (m, ...), by name; those of samples that are not known are computed."""
        keys = [hashlib.sha256(np.ascontiguousarray(sample).tobytes()).hexdigest() for sample in block]
        is_known = np.array([key in self.shards for key in keys])
        new = np.flatnonzero(~is_known)
        computed = compute(new) if len(new) else {}
        known = {int(row): self.shards.find(keys[row])[0] for row in np.flatnonzero(is_known)}
        first = {name: values[0] for name, values in computed.items()} or next(iter(known.values()))
        found = {name: np.empty((len(block), *value.shape), value.dtype) for name, value in first.items()}
        for name, values in found.items():
            if len(new):
                values[new] = computed[name]
            for row, arrays in known.items():
                values[row] = arrays[name]
        for row in new.tolist():
            self.shards.add(keys[row], {name: values[row] for name, values in found.items()}, [])
        return found

    def flush(self) -> None:
        """Write what is new."""
        self.shards.flush()


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


@contextmanager
def kept_features(
    autoencoder: Autoencoder | None, shape: tuple[int, ...], folder: str | Path | None
) -> Iterator[KeptFeatures | None]:
    """
    A memory for the features of an autoencoder; what is new is written also where the block breaks off.

    :param autoencoder: Fitted on other data. ``None``: it is trained on these, so that its features change with the data,
        and nothing is kept.
    :param shape: Shape of one sample.
    :param folder: ``None``: nothing is kept.
    """
    if folder is None or autoencoder is None:
        yield None
        return
    memory = KeptFeatures(autoencoder, shape, Path(folder))
    try:
        yield memory
    finally:
        memory.flush()


def _fingerprint(name: str, settings: dict[str, Any]) -> str:
    """What kept arrays depend on besides the content: all settings, and the release."""
    text = json.dumps([name, version("art-plugins"), settings], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
