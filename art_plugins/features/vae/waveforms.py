"""The unit of waveforms: floats of -1 to 1, whatever kind of number they come as."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from art_plugins.disk_room import scratch_array
from art_plugins.errors import InvalidInputError

FULL_SCALES = (2**15, 2**23, 2**31, 2**63)  # of numbers of 16, 24, 32 and 64 bits
LOOKED_AT = 256  # clips
VALUES_AT_ONCE = 2**22
# A waveform of S samples, scaled to a variance of 1, has no peak above the root of S: 126 for a click in 16,000 samples.
# Numbers of 16 bits that were not divided reach thousands.
LOUDEST = 100.0


def full_scale(arrays: Sequence[np.ndarray], name: str) -> int:
    """
    What waveforms of whole numbers are divided by.

    Of 8 and 16 bits, it is their full scale. Numbers of 16 and 24 bits often lie in wider types, since torch makes 64 bits
    of a list. So of wider ones it is the full scale of the fewest bits that hold the peak of the typical clip; a single
    loud one may reach beyond 1.

    :param arrays: Parts of one data set, each (n, ...), all of one kind of type.
    :param name: What they are called in messages.
    :raises InvalidInputError: For unsigned numbers of more than 8 bits, whose silence nobody knows.
    """
    kinds = {x.dtype for x in arrays}
    if any(kind.kind == "u" and kind.itemsize > 1 for kind in kinds):
        raise InvalidInputError(
            f"{name} holds {arrays[0].dtype}; give waveforms as floats of -1 to 1, or as signed numbers."
        )
    bits = max(8 * kind.itemsize for kind in kinds)
    if bits <= 16:
        return int(2 ** (bits - 1))
    peaks = np.concatenate([_peaks(_some(x)) for x in arrays])
    typical = float(np.median(peaks[peaks > 0])) if peaks.any() else 0.0
    return next(scale for scale in FULL_SCALES if typical <= scale)


def as_waveforms(x: np.ndarray, name: str) -> np.ndarray:
    """
    Give waveforms as floats around 0.

    :param x: Waveforms, (n, ...). Whole numbers are divided by their full scale (:func:`full_scale`), and of bytes, 128 is
        silence. A ``numpy.memmap`` is read in parts.
    :param name: What they are called in messages.
    :return: The same array if it holds floats, else float32, on the disk where it is large.
    :raises InvalidInputError: For floats that were not divided by the full scale of the numbers that they were, and for
        unsigned numbers of more than 8 bits.
    """
    if x.dtype.kind not in "iu":
        _check_scale(x, name)
        return x
    full = full_scale([x], name)
    middle = full if x.dtype.kind == "u" else 0
    floats = scratch_array(x.shape, np.float32, f"{name} as floats needs")
    for rows in _parts(x):
        floats[rows] = (x[rows].astype(np.float64) - middle) / full
    return floats


def _check_scale(x: np.ndarray, name: str) -> None:
    peaks = _peaks(_some(x))
    finite = peaks[np.isfinite(peaks)]
    if len(finite) and np.median(finite) > LOUDEST:
        raise InvalidInputError(
            f"{name} reaches {np.median(finite):.6g} in the typical clip, and waveforms are floats of -1 to 1; divide by "
            "the full scale of the numbers, 32768 for 16 bits."
        )


def waveform_notice(x: np.ndarray) -> str | None:
    """
    Give a notice for samples that were treated as waveforms because of their shape, and may be images or a table.

    :param x: Samples, (n, S).
    :return: The notice, or ``None`` if the samples look like waveforms.
    """
    looked_at = _some(x)
    if x.dtype.kind == "u" or not looked_at.any() or (looked_at < 0).any():
        return None
    return (
        f"Samples of shape {x.shape[1:]} were taken for waveforms, but none of their values is negative. Give images as "
        "(n, channels, height, width) or (n, height, width, channels); kind='waveform' takes this notice away."
    )


def _some(x: np.ndarray) -> np.ndarray:
    """Evenly spread samples, (m, ...) as (m, S); fewer of long ones."""
    n = min(LOOKED_AT, len(x), max(1, VALUES_AT_ONCE // max(1, x[:1].size)))
    rows = np.asarray(x[np.unique(np.linspace(0, len(x) - 1, n).astype(int))]) if n else np.asarray(x[:0])
    return rows.reshape(n, -1) if x.size else np.zeros((n, 0))


def _peaks(rows: np.ndarray) -> np.ndarray:
    """The largest absolute value of each row, (m,); no whole number is too large for its absolute value."""
    high, low = (extreme(axis=1, initial=0).astype(np.float64) for extreme in (rows.max, rows.min))
    peaks: np.ndarray = np.maximum(high, -low)
    return peaks


def _parts(x: np.ndarray) -> Iterator[slice]:
    n_rows = max(1, VALUES_AT_ONCE // max(1, x[:1].size))
    return (slice(start, start + n_rows) for start in range(0, len(x), n_rows))
