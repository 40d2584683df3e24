"""One sample of a data set before it is decoded: a file, the content of a file, a picture or a clip."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

BLOCK_BYTES = 2**20
MOST_HASHED = 4 * 2**30  # bytes; a larger file is a recording of many hours, or a sparse file that would be read for hours


class Clip(NamedTuple):
    """``values``: a waveform, (S,) or (channels, S), integers or floats of full scale 1; ``sample_rate_hz``: its rate."""

    values: np.ndarray
    sample_rate_hz: int


# A file; the content of a file; a picture (H, W), (H, W, 3) or (H, W, 4), uint8 or uint16; a clip.
Item: TypeAlias = Path | bytes | np.ndarray | Clip


class Items(Sequence[Any]):
    """
    Items by position, each made when it is asked for, so that none is held in memory.

    :param n: Number of items.
    :param get: Makes the item at a position; an :class:`InvalidInputError` of it is the reason why that item is skipped.
    """

    def __init__(self, n: int, get: Callable[[int], Item]) -> None:
        self.n, self.get = n, get

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            rows = range(self.n)[place]
            return Items(len(rows), lambda index: self.get(rows[index]))
        return self.get(range(self.n)[place])

    def __iter__(self) -> Iterator[Any]:
        return (self.get(index) for index in range(self.n))


def openable(item: Path | bytes) -> Any:
    """What a decoder opens: the path of a file, or a file in memory."""
    return item if isinstance(item, Path) else io.BytesIO(item)


def opened(item: Path | bytes) -> Any:
    """A file that is read as bytes, as a context."""
    return item.open("rb") if isinstance(item, Path) else nullcontext(io.BytesIO(item))


def content_hash(item: Item) -> str:
    """
    SHA-256 of the content, by which a sample is known again under another name.

    For a file it is what ``sha256sum`` gives, and so for the content of a file. For an array it is that of its type, its
    shape and its values.

    :return: Empty for a file that is too large or has become unreadable.
    """
    digest = hashlib.sha256()
    if isinstance(item, Clip):
        digest.update(f"{item.sample_rate_hz}|".encode())
        item = item.values
    if isinstance(item, np.ndarray):
        digest.update(f"{item.dtype.str}|{item.shape}|".encode())
        digest.update(np.ascontiguousarray(item).tobytes())
        return digest.hexdigest()
    try:
        if isinstance(item, Path) and item.stat().st_size > MOST_HASHED:
            return ""
        with opened(item) as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()
