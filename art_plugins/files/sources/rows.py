"""Samples that come one by one as numbers or pictures, such as those of a torch data set: copied into one array on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from art_plugins.disk_room import temporary_file
from art_plugins.errors import InvalidInputError
from art_plugins.files.sources.arrays import Named, read_arrays
from art_plugins.files.sources.reading import Reading
from art_plugins.files.sources.samples import Samples


def read_rows(
    origin: str,
    names: Sequence[str],
    get: Callable[[int], Any],
    raw: Sequence[Any],
    reading: Reading,
    label_names: Sequence[str] | None,
    notes: Sequence[str],
    stack: ExitStack,
) -> Samples:
    """
    Samples of one shape. Those of another shape are skipped, and listed.

    :param names: A name for each sample.
    :param get: The sample at a position: numbers in any form that NumPy takes.
    :param raw: Labels.
    :param stack: Closes the temporary file at the end.
    """
    first = as_numbers(get(0)) if names else np.empty(0)
    if first.dtype.kind not in "biuf" or first.size == 0:
        raise InvalidInputError(f"The samples of {origin} are no numbers: {first.dtype}, shape {first.shape}.")
    what = f"The {len(names)} samples of {origin} need"
    file = stack.enter_context(temporary_file(first.nbytes * len(names), what))
    x = np.memmap(file, first.dtype, "r+", shape=(len(names), *first.shape))
    kept: list[int] = []
    skipped: dict[str, str] = {}
    for index, name in enumerate(names):
        values = as_numbers(get(index))
        if values.shape != first.shape or not np.can_cast(values.dtype, first.dtype, "same_kind"):
            skipped[name] = (
                f"it has shape {values.shape} and {values.dtype}, the first sample {first.shape} and {first.dtype}"
            )
            continue
        x[len(kept)] = values
        kept.append(index)
    part = Named("", x[: len(kept)], [raw[index] for index in kept], [names[index] for index in kept])
    return read_arrays(origin, [part], reading, label_names, notes, skipped)


def as_numbers(value: Any) -> np.ndarray:
    """A sample as an array: of a tensor of torch, a picture of Pillow, or nested lists."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"A sample is a {type(value).__name__}, and no array ({error}).") from error
