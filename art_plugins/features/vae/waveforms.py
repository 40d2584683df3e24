"""The unit of waveforms: floats of -1 to 1, whatever kind of number they come as."""

from __future__ import annotations

from typing import Any

import numpy as np

from art_plugins.disk_room import scratch_array
from art_plugins.errors import InvalidInputError

FULL_SCALES = (2**15, 2**23, 2**31, 2**63)  # of numbers of 16, 24, 32 and 64 bits
AT_ONCE = 256  # clips
# A waveform of S samples, scaled to a variance of 1, has no peak above the root of S: 126 for a click in 16,000 samples.
# Numbers of 16 bits that were not divided reach thousands.
LOUDEST = 100.0


def full_scale(dtype: Any, peak: float) -> int:
    """
    What whole numbers are divided by: the full scale of 8 or 16 bits, and of wider ones that of the fewest bits that hold
    the peak. torch makes 64 bits of a list, and 24 bits lie in 32.

    :param dtype: Type of the numbers.
    :param peak: The largest of their absolute values.
    """
    bits = np.iinfo(dtype).bits
    return int(2 ** (bits - 1)) if bits <= 16 else next(scale for scale in FULL_SCALES if peak <= scale)


def as_waveforms(x: np.ndarray, name: str) -> np.ndarray:
    """
    Give waveforms as floats around 0.

    :param x: Waveforms, (n, ...); whole numbers are divided by their full scale, and of unsigned ones silence is the
        middle. A ``numpy.memmap`` is read in parts.
    :param name: What they are called in messages.
    :return: The same array if it holds floats, else float32, on the disk where it is large.
    :raises InvalidInputError: For floats that were not divided by the full scale of the numbers that they were.
    """
    if x.dtype.kind not in "iu":
        _check_scale(x, name)
        return x
    starts = range(0, len(x), AT_ONCE)
    peaks = [float(np.abs(x[start : start + AT_ONCE].astype(np.float64)).max(initial=0)) for start in starts]
    full = full_scale(x.dtype, max(peaks, default=0))
    middle = full if x.dtype.kind == "u" else 0
    floats = scratch_array(x.shape, np.float32, f"{name} as floats needs")
    for start in starts:
        floats[start : start + AT_ONCE] = (x[start : start + AT_ONCE].astype(np.float64) - middle) / full
    return floats


def _check_scale(x: np.ndarray, name: str) -> None:
    peaks = np.abs(_some(x)).max(axis=1, initial=0)
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
    """Evenly spread samples, (m, ...) as (m, S)."""
    rows = np.asarray(x[np.unique(np.linspace(0, len(x) - 1, AT_ONCE).astype(int))]) if len(x) else np.asarray(x)
    return rows.reshape(len(rows), -1)
