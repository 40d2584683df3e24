"""Data sets of torch, and everything else that has a length and gives samples by position."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.files.sources.items import Items
from art_plugins.files.sources.labels import labelled
from art_plugins.files.sources.reading import Reading
from art_plugins.files.sources.rows import read_rows
from art_plugins.files.sources.samples import Samples


def read_map(dataset: Any, labels: Any, reading: Reading, stack: ExitStack) -> Samples:
    """
    A data set whose samples are ``(sample, label)``, ``(waveform, rate, label, ...)`` as torchaudio gives them, or, where
    labels are given, the sample alone.

    Each sample is asked for once, in order, and twice where its label is part of it.

    :param labels: A label for each sample; ``None``: they are part of the samples.
    :raises InvalidInputError: If a sample is not of this form.
    """
    origin = type(dataset).__name__
    names = [f"row[{row}]" for row in range(len(dataset))]
    raw = [_label(dataset[row], row, origin) for row in range(len(dataset))] if labels is None else list(labels)
    if names and reading.rate_hz is None and _is_sound(dataset[0]):
        reading = Reading("sound", reading.split, rate_hz=int(dataset[0][1]))
    if names and hasattr(_sample(dataset[0]), "convert"):
        items = Items(len(names), lambda row: _picture(_sample(dataset[row])))
        return labelled(Samples(origin, "image", (), names, [], items), raw, _label_names(dataset, labels))
    return read_rows(
        origin, names, lambda row: _sample(dataset[row]), raw, reading, _label_names(dataset, labels), (), stack
    )


def _label_names(dataset: Any, labels: Any) -> Sequence[str] | None:
    """The names of the numbers, as torchvision has them."""
    names = getattr(dataset, "classes", None)
    return names if isinstance(names, (list, tuple)) and labels is None else None


def _picture(image: Any) -> np.ndarray:
    """A picture of Pillow, of any size, as numbers."""
    return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))


def _is_sound(row: Any) -> bool:
    """Whether it is (waveform, rate, label, ...). A waveform has at most two axes; an image with its colours has three."""
    return isinstance(row, tuple) and len(row) > 2 and isinstance(row[1], int) and getattr(row[0], "ndim", 3) < 3


def _sample(row: Any) -> Any:
    return row[0] if isinstance(row, (tuple, list)) else row


def _label(row: Any, place: int, origin: str) -> Any:
    if not isinstance(row, (tuple, list)) or len(row) < 2:
        raise InvalidInputError(
            f"Sample {place} of {origin} is a {type(row).__name__}, and no pair of sample and label; give the labels too."
        )
    return row[2] if _is_sound(row) else row[1]
