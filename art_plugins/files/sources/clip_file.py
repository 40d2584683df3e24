"""A waveform in memory that is read like an opened sound file."""

from __future__ import annotations

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.files.sources.items import Clip

MOST_LEADING_CHANNELS = 64  # a first axis that is not longer, and shorter than the second, holds channels


class ClipFile:
    """
    What the readers use of ``soundfile.SoundFile``.

    :param clip: Values (S,), (channels, S) or (S, channels). Integers are divided by the largest number of their type.
    :raises InvalidInputError: If the values are no waveform.
    """

    subtype = "FLOAT"

    def __init__(self, clip: Clip) -> None:
        values = np.asarray(clip.values)
        if values.ndim not in (1, 2) or values.dtype.kind not in "fiu":
            raise InvalidInputError(f"it is no waveform: shape {values.shape}, dtype {values.dtype}")
        if values.ndim == 1:
            values = values[:, None]
        elif values.shape[0] < values.shape[1] and values.shape[0] <= MOST_LEADING_CHANNELS:
            values = values.T
        self.values = values
        self.samplerate = int(clip.sample_rate_hz)
        self.frames, self.channels = values.shape
        self.place = 0

    def read(self, n_frames: int, dtype: str = "float32", always_2d: bool = True) -> np.ndarray:
        """The next samples, (n, channels)."""
        block = self.values[self.place : self.place + n_frames]
        self.place += len(block)
        kind = block.dtype.kind
        if kind == "f":
            return block.astype(dtype)
        full = np.iinfo(block.dtype).max + 1
        if kind == "u":  # as in wav files of 8 bits, silence is the middle
            return ((block.astype(np.float64) - full / 2) / (full / 2)).astype(dtype)
        return (block.astype(np.float64) / full).astype(dtype)
