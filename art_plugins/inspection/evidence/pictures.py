"""The samples of a scan as small pictures with values 0 to 1, which the scan's own network looks at."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from art_plugins.disk_room import temporary_file
from art_plugins.features.vae.spectrogram import LogMelSpectrogram
from art_plugins.files.image_files import ImageReader
from art_plugins.files.sound_files import SoundReader

LEAST_SIDE = 8  # of a picture: three poolings of the network halve it
MOST_SIDE = 64  # of an image: the time of the training grows with the area
MOST_FRAMES = 128  # of a spectrogram, for the same reason
N_MELS, WINDOW_S, HOP_S = 40, 0.032, 0.016  # usual for speech
FLOOR = 1e-5  # of the power: faint tones are seen too
AT_ONCE = 256


@contextmanager
def pictures_of(reader: SoundReader | ImageReader, *parts: np.ndarray) -> Iterator[list[np.ndarray]]:
    """
    Turn samples into pictures, in a temporary file without a name that is gone when the block ends.

    Images keep their colours. A side longer than 64 pixels is made shorter by averaging. Sounds become log-mel
    spectrograms, whose values are scaled by the smallest and the largest of all.

    :param reader: It has decoded the samples.
    :param parts: Decoded samples, (n, S) or (n, H, W) or (n, H, W, 3) each, which share one scale.
    :return: Pictures of each part, (n, C, H, W), float32, 0 to 1.
    :raises InvalidInputError: If the disk is too full.
    """
    to_pictures = _Spectrograms(reader) if isinstance(reader, SoundReader) else _images
    n = sum(map(len, parts))
    shape = (n, *to_pictures(parts[0][:1]).shape[1:])
    with temporary_file(4 * math.prod(shape), f"The {n} pictures of the samples need") as file:
        pictures = np.memmap(file, np.float32, "r+", shape=shape)
        views = np.split(pictures, np.cumsum([len(part) for part in parts])[:-1])
        for view, part in zip(views, parts, strict=True):
            for start in range(0, len(part), AT_ONCE):
                view[start : start + AT_ONCE] = to_pictures(part[start : start + AT_ONCE]).numpy()
        if isinstance(reader, SoundReader):
            low, high = float(pictures.min()), float(pictures.max())
            for start in range(0, n, AT_ONCE):
                rows = (pictures[start : start + AT_ONCE] - low) / max(high - low, 1e-9)
                pictures[start : start + AT_ONCE] = np.clip(rows, 0, 1)
        yield views


class _Spectrograms:
    """Clips, (B, S), to their spectrograms, (B, 1, T, F), of at most 128 frames."""

    def __init__(self, reader: SoundReader) -> None:
        window_s = min(WINDOW_S, reader.seconds)
        hop_s = max(min(HOP_S, reader.seconds / LEAST_SIDE), 1 / reader.sample_rate_hz)
        n_mels = min(N_MELS, max(LEAST_SIDE, int(window_s * reader.sample_rate_hz) // 4))
        self.spectrogram = LogMelSpectrogram(reader.sample_rate_hz, n_mels, window_s, hop_s, FLOOR)

    def __call__(self, clips: np.ndarray) -> Tensor:
        with torch.no_grad():
            frames = self.spectrogram(torch.from_numpy(np.array(clips, dtype=np.float32)))[:, None]
            return _sized(frames, MOST_FRAMES)


def _images(pictures: np.ndarray) -> Tensor:
    images = torch.from_numpy(np.array(pictures, dtype=np.float32)) / 255
    return _sized(images[:, None] if images.ndim == 3 else images.movedim(-1, 1), MOST_SIDE)


def _sized(pictures: Tensor, most: int) -> Tensor:
    """The pictures with sides of at least 8 and at most ``most``."""
    height, width = (min(max(side, LEAST_SIDE), most) for side in pictures.shape[2:])
    if (height, width) == tuple(pictures.shape[2:]):
        return pictures
    return functional.interpolate(pictures, (height, width), mode="area")
