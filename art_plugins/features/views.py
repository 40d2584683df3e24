"""
Views of samples, of the whole and of windows of time: what the autoencoder and its front end know of each.

A trigger is short, and most of a clip knows nothing of it; so the latents of the whole sample are accompanied by those of
time steps, and by log-mel frames of a finer and more audible front end, which tell better who carries it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from art_plugins.errors import InvalidInputError
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.sample_shapes import without_lone_channel
from art_plugins.features.spectrogram import LogMelSpectrogram

# Of a second of frames, windows of 80 ms: a trigger of some tens of milliseconds fills a good part of one.
MAX_WINDOWS = 25
MAX_DIMS = 64  # of a window: its leading principal components
FRAME_WINDOW_S, FRAME_HOP_S, FRAME_FLOOR = 0.025, 0.01, 1e-4
SETTINGS = (MAX_WINDOWS, MAX_DIMS, FRAME_WINDOW_S, FRAME_HOP_S, FRAME_FLOOR)  # of which stored views are
BATCH = 256


class Views(NamedTuple):
    """``latents`` (n, D); ``steps``, ``frames``: windows of either, each (n, D'), float32; none for images."""

    latents: np.ndarray
    steps: list[np.ndarray]
    frames: list[np.ndarray]

    @property
    def windows(self) -> list[np.ndarray]:
        """Those of the steps, then those of the frames."""
        return [*self.steps, *self.frames]


def describe(autoencoder: Autoencoder, x: np.ndarray) -> Views:
    """
    Latents of the samples, and windows of the latents of time steps and of frames.

    :param autoencoder: A fitted one.
    :param x: Samples as it takes them, (n, ...).
    """
    return next(describe_alike(autoencoder, [x]))


def describe_alike(autoencoder: Autoencoder, several: Iterable[np.ndarray]) -> Iterator[Views]:
    """Views of several data sets one after the other, all on the principal axes of the first one's windows."""
    axes: list[tuple[np.ndarray, np.ndarray]] = []
    for x in several:
        latents, steps = autoencoder.encode_steps(x)
        if steps is None:
            yield Views(latents, [], [])
            continue
        of_steps = time_windows(steps)
        windows = [*of_steps, *time_windows(frames(autoencoder, x))]
        axes = axes or [principal_axes(window) for window in windows]
        windows = [project(window, *of) for window, of in zip(windows, axes, strict=True)]
        yield Views(latents, windows[: len(of_steps)], windows[len(of_steps) :])


def frames(autoencoder: Autoencoder, x: np.ndarray) -> np.ndarray:
    """
    Log-mel frames of waveforms, every 10 ms; spectrograms as they are.

    :return: (n, T, F), float32.
    :raises InvalidInputError: For a sample whose frames are not finite.
    """
    settings = autoencoder.settings
    x = x.reshape(len(x), *without_lone_channel(settings.kind, x.shape[1:]))
    if settings.kind != "waveform":
        return np.asarray(x, dtype=np.float32)
    front_end = LogMelSpectrogram(
        settings.sample_rate_hz, settings.n_mels, min(FRAME_WINDOW_S, settings.window_s), FRAME_HOP_S, FRAME_FLOOR
    )
    with torch.inference_mode():
        parts = [
            front_end(torch.from_numpy(np.array(x[start : start + BATCH], dtype=np.float32))).numpy()
            for start in range(0, len(x), BATCH)
        ]
    found = np.concatenate(parts)
    if not np.isfinite(found).all():
        row = int(np.argmin(np.isfinite(found).reshape(len(found), -1).all(axis=1)))
        raise InvalidInputError(f"x[{row}] holds values out of range; remove or mend such samples first.")
    return found


def time_windows(steps: np.ndarray) -> list[np.ndarray]:
    """
    Cut steps into at most 25 windows that overlap by half, and lay out each as one vector a sample.

    :param steps: Shape (n, T, Z).
    :return: Each of shape (n, width * Z); a single one where there are no two steps to overlap.
    """
    n_steps = steps.shape[1]
    stride = max(1, -(-n_steps // MAX_WINDOWS))
    width = min(2 * stride, n_steps)
    starts = list(range(0, n_steps - width + 1, stride))
    if starts[-1] + width < n_steps:
        starts.append(n_steps - width)
    return [steps[:, start : start + width].reshape(len(steps), -1) for start in starts]


def principal_axes(x: np.ndarray, n_dims: int = MAX_DIMS) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and leading axes (D, n_dims) of samples (n, D)."""
    mean = x.mean(axis=0)
    centred = x - mean
    # Squares of values of another size than 1 may be no numbers of single precision; powers of two change no digit.
    centred = np.ldexp(centred, -np.frexp(np.abs(centred).max())[1])
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :n_dims]
    return mean, axes


def project(x: np.ndarray, mean: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Samples (n, D) on the axes, (n, d)."""
    components: np.ndarray = (x - mean) @ axes
    return components
