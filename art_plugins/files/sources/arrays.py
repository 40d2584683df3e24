"""Arrays as samples: pictures of any range of values, and waveforms. A memory map is read in parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from art_plugins.arrays import usual_range
from art_plugins.errors import InvalidInputError
from art_plugins.features.vae.waveforms import full_scale
from art_plugins.files.sources.items import Clip, Item, Items
from art_plugins.files.sources.labels import labelled
from art_plugins.files.sources.reading import Reading
from art_plugins.files.sources.samples import Samples

BLOCK_VALUES = 2**22  # looked at together
COLOURS = (1, 3, 4)  # lengths of an axis that holds colours
LOOKED_AT = 256  # first images of an array, which say whether bytes hold a few levels only
FEW_LEVELS = 16  # images of no higher value are masks, or digits of 0 to 16, and would be black as they are


class Named(NamedTuple):
    """
    ``name``: what the array is called; ``x``: samples along the first axis; ``y``: their labels; ``names``: a name for each
    sample, ``None``: that of the array and its position.
    """

    name: str
    x: np.ndarray
    y: Sequence[Any] | np.ndarray
    names: Sequence[str] | None = None


def read_arrays(
    origin: str,
    parts: Sequence[Named],
    reading: Reading,
    label_names: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    skipped: dict[str, str] | None = None,
) -> Samples:
    """
    The samples of one or more arrays of one shape, such as those of the splits of a data set.

    :param label_names: The name of each number in the labels; ``None``: the number is the name.
    :param skipped: Samples that were left out before, with the reason.
    :raises InvalidInputError: If the arrays are no pictures and no waveforms, or do not fit their labels.
    """
    for part in parts:
        if min(np.ndim(part.x), np.ndim(part.y) if isinstance(part.y, np.ndarray) else 1) == 0:
            raise InvalidInputError(
                f"The samples or the labels of {origin} are a single value; give an array with one entry for each sample."
            )
        if len(part.x) != len(part.y):
            raise InvalidInputError(
                f"{part.name} of {origin} has {len(part.x):,} samples and {len(part.y):,} labels; give one for each sample."
            )
    arrays = [part.x for part in parts]
    kind = _kind(arrays, reading, origin)
    convert, how = _sounds(arrays, reading, origin) if kind == "sound" else _pictures(arrays, origin)
    ends = np.cumsum([len(x) for x in arrays])

    def get(index: int) -> Item:
        part = int(np.searchsorted(ends, index, side="right"))
        values = np.asarray(arrays[part][index - (ends[part - 1] if part else 0)])
        if not np.isfinite(values).all():
            raise InvalidInputError("it holds NaN or infinity")
        return convert(values)

    names = [name for part in parts for name in part.names or [f"{part.name}[{row}]" for row in range(len(part.x))]]
    found = Samples(origin, kind, (), names, [], Items(len(names), get), skipped or {}, notes=(*notes, *how))
    if len(parts) == 1:
        return labelled(found, parts[0].y, label_names)
    return labelled(found, np.concatenate([np.asarray(part.y) for part in parts]), label_names)


def _kind(arrays: Sequence[np.ndarray], reading: Reading, origin: str) -> str:
    shapes = {x.shape[1:] for x in arrays}
    if len(shapes) > 1:
        raise InvalidInputError(f"The arrays of {origin} have samples of different shapes: {sorted(shapes)}.")
    first = arrays[0]
    if first.dtype.kind not in "biuf" or first.ndim not in (2, 3, 4) or 0 in first.shape:
        raise InvalidInputError(
            f"The samples of {origin} have shape {first.shape} and dtype {first.dtype}. Give numbers: waveforms (n, S), or "
            "images (n, H, W), (n, H, W, C) or (n, C, H, W)."
        )
    return reading.kind if reading.kind != "auto" else "sound" if first.ndim == 2 else "image"


def _sounds(arrays: Sequence[np.ndarray], reading: Reading, origin: str) -> tuple[Callable[[np.ndarray], Item], list[str]]:
    if reading.rate_hz is None:
        raise InvalidInputError(
            f"The samples of {origin} are arrays of shape {arrays[0].shape[1:]}, which are read as waveforms. Give their "
            "sample rate: --rate HZ, or rate_hz in the settings."
        )
    rate_hz = reading.rate_hz
    if arrays[0].ndim == 4 or any(x.dtype.kind == "b" for x in arrays):
        raise InvalidInputError(f"The samples of {origin}, of shape {arrays[0].shape[1:]}, are no waveforms.")
    whole = [x.dtype.kind != "f" for x in arrays]
    if any(whole) and not (all(whole) and any(x.dtype.itemsize > 2 for x in arrays)):
        return lambda values: Clip(values, rate_hz), []
    if all(whole):
        full = full_scale(arrays, f"The data set {origin}")
        return (
            lambda values: Clip((values / full).astype(np.float32), rate_hz),
            [f"The waveforms are whole numbers, which are divided by {full:,}."],
        )
    lows, highs = _extremes(arrays, origin)
    low, high = float(lows.min()), float(highs.max())
    peak = max(-low, high)
    if peak <= 1:
        return lambda values: Clip(values, rate_hz), []
    return (
        lambda values: Clip(values / peak, rate_hz),
        [f"The waveforms reach {peak:.6g}, so they are divided by it: full scale is 1."],
    )


def _pictures(arrays: Sequence[np.ndarray], origin: str) -> tuple[Callable[[np.ndarray], Item], list[str]]:
    shape = arrays[0].shape[1:]
    if len(shape) == 1:
        raise InvalidInputError(f"The samples of {origin}, of shape {shape}, are no images; images have 2 or 3 axes.")
    if len(shape) == 3 and shape[2] not in COLOURS and shape[0] not in COLOURS:
        raise InvalidInputError(
            f"The samples of {origin} have shape {shape}. Images have 1, 3 or 4 colours, on the first or the last axis."
        )
    is_last = len(shape) == 2 or shape[2] in COLOURS
    if all(x.dtype == np.uint8 or (x.dtype == np.uint16 and 3 not in shape and 4 not in shape) for x in arrays) and any(
        x[:LOOKED_AT].max(initial=0) > FEW_LEVELS for x in arrays
    ):
        return lambda values: _picture(values, is_last), []
    lows, highs = _extremes(arrays, origin)
    low, high = usual_range(lows, highs)
    if high <= low:
        raise InvalidInputError(f"All values of {origin} are {low:g}, so there is nothing to tell apart.")
    notes = []
    if (lows.min(), highs.max()) != (low, high):
        notes.append(
            f"Some images of {origin} reach from {lows.min():.6g} to {highs.max():.6g}, far beyond the others. These are "
            "cut off."
        )
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and FEW_LEVELS < high <= 255:
        low, high = 0.0, 255.0
    elif low >= 0 and high <= FEW_LEVELS:
        low = 0.0  # the highest level is white
    scale = 255 / (high - low)

    def convert(values: np.ndarray) -> Item:
        return _picture(((values.astype(np.float64) - low) * scale).round().clip(0, 255).astype(np.uint8), is_last)

    return convert, [*notes, f"The values from {low:.6g} to {high:.6g} are read as 0 to 255."]


def _picture(values: np.ndarray, is_last: bool) -> np.ndarray:
    """(H, W) or (H, W, C), with the colours last."""
    values = values if is_last else np.moveaxis(values, 0, -1)
    return np.ascontiguousarray(values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values)


def _extremes(arrays: Sequence[np.ndarray], origin: str) -> tuple[np.ndarray, np.ndarray]:
    """
    The smallest and the largest finite value of each sample that has one, (m,) and (m,).

    :raises InvalidInputError: If there is none, or they lie further apart than a number can say.
    """
    lows, highs = [], []
    for x in arrays:
        rows = max(1, BLOCK_VALUES // max(1, x[:1].size))
        for start in range(0, len(x), rows):
            block = np.asarray(x[start : start + rows])
            block = block.reshape(len(block), -1).astype(block.dtype if block.dtype.kind == "f" else np.float64, copy=False)
            finite = np.isfinite(block)
            lows.append(block.min(axis=1, where=finite, initial=np.inf).astype(np.float64))
            highs.append(block.max(axis=1, where=finite, initial=-np.inf).astype(np.float64))
    low, high = np.concatenate(lows), np.concatenate(highs)
    low, high = low[np.isfinite(low)], high[np.isfinite(high)]
    if not len(low):
        raise InvalidInputError(f"The samples of {origin} hold no finite value, only NaN or infinity.")
    if not np.isfinite(high.max() - low.min()):
        raise InvalidInputError(
            f"The values of {origin} reach from {low.min():g} to {high.max():g}, too far to be sounds or images."
        )
    return low, high
