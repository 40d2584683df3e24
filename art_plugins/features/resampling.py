"""Waveforms at another sample rate."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from scipy.signal import resample_poly

from art_plugins.features.sample_shapes import without_lone_channel

MAX_FACTOR = 100_000  # of a resampling, whose filter is as long; other rates are taken for the nearest ratio, to some ppm
BATCH = 256  # number of waveforms resampled at once


def resample(waveforms: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """
    Give waveforms at another sample rate, by a polyphase filter.

    :param waveforms: Samples along the last axis, (..., S).
    :return: Shape (..., S * to_hz / from_hz, rounded up), float32.
    """
    slow, fast = sorted((from_hz, to_hz))
    ratio = Fraction(slow, fast).limit_denominator(MAX_FACTOR)
    few, many = max(ratio.numerator, 1), ratio.denominator
    up, down = (many, few) if to_hz > from_hz else (few, many)
    return np.asarray(resample_poly(waveforms, up, down, axis=-1), dtype=np.float32)


def resample_clips(clips: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """
    Give the clips of a data set at another sample rate, in memory.

    :param clips: Waveforms (n, S), (n, S, 1) or (n, 1, S), which may be a ``numpy.memmap``; it is read in parts.
    :return: Shape (n, S'), float32; the same array if the rates are equal.
    """
    if from_hz == to_hz:
        return clips
    clips = clips.reshape(len(clips), *without_lone_channel("waveform", clips.shape[1:]))
    parts = [resample(np.asarray(clips[i : i + BATCH], np.float32), from_hz, to_hz) for i in range(0, len(clips), BATCH)]
    return np.concatenate(parts)
