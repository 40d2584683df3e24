"""
Views of samples: features of the whole sample and of windows of time.

A trigger is short, and most of a recording does not contain it. The latents of the whole sample are therefore completed by
the latents of its time steps, and by the frames of a finer log-mel spectrogram, which show the trigger better.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from art_plugins.errors import InvalidInputError
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.sample_shapes import without_lone_channel
from art_plugins.features.vae.spectrogram import LogMelSpectrogram

# With a second of frames, a window has 80 ms, so a trigger of some tens of milliseconds fills a large part of a window.
MAX_WINDOWS = 25
MAX_DIMS = 64  # largest number of principal components of a window
FRAME_WINDOW_S, FRAME_HOP_S, FRAME_FLOOR = 0.025, 0.01, 1e-4
SETTINGS = (MAX_WINDOWS, MAX_DIMS, FRAME_WINDOW_S, FRAME_HOP_S, FRAME_FLOOR)  # the settings on which stored views depend
BATCH = 256


class Views(NamedTuple):
    """``latents`` (n, D); windows of the ``steps`` and of the ``frames``, each (n, D'), float32; none for images."""

    latents: np.ndarray
    steps: list[np.ndarray]
    frames: list[np.ndarray]

    @property
    def windows(self) -> list[np.ndarray]:
        """The windows of the steps, followed by those of the frames."""
        return [*self.steps, *self.frames]


def describe(autoencoder: Autoencoder, x: np.ndarray) -> Views:
    """
    Give the latents of the samples, and the windows of the latents of time steps and of the frames.

    :param autoencoder: A fitted autoencoder.
    :param x: Samples as it takes them, (n, ...).
    """
    return next(describe_alike(autoencoder, [x]))


def describe_alike(autoencoder: Autoencoder, several: Iterable[np.ndarray]) -> Iterator[Views]:
    """Give the views of several data sets in turn, all on the principal axes of the windows of the first one."""
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
    Give log-mel frames of waveforms, one every 10 ms; spectrograms are given unchanged.

    :return: Frames, (n, T, F), float32.
    :raises InvalidInputError: For a sample whose frames are not finite.
    """
    settings = autoencoder.settings
    x = x.reshape(len(x), *without_lone_channel(settings.kind, x.shape[1:]))
    if settings.kind != "waveform":
        return np.asarray(x, dtype=np.float32)
    front_end = LogMelSpectrogram(
        settings.sample_rate_hz, settings.n_mels, min(FRAME_WINDOW_S, settings.window_s), FRAME_HOP_S, FRAME_FLOOR
    )
    if not len(x):
        return frames(autoencoder, np.zeros((1, *x.shape[1:]), dtype=np.float32))[:0]
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
    Cut steps into about 25 windows at most that overlap by half, and flatten each to one vector for each sample.

    :param steps: Shape (n, T, Z).
    :return: Windows, each of shape (n, width * Z); a single one if there are too few steps for two.
    """
    n_steps = steps.shape[1]
    stride = max(1, -(-n_steps // MAX_WINDOWS))
    width = min(2 * stride, n_steps)
    starts = list(range(0, n_steps - width + 1, stride))
    if starts[-1] + width < n_steps:
        starts.append(n_steps - width)
    return [steps[:, start : start + width].reshape(len(steps), -1) for start in starts]


def principal_axes(x: np.ndarray, n_dims: int = MAX_DIMS) -> tuple[np.ndarray, np.ndarray]:
    """Give the mean, (D,), and the leading principal axes, (D, n_dims), of samples (n, D)."""
    mean = x.mean(axis=0)
    centred = x - mean
    # Squares of very large or small values may leave single precision; scaling by a power of two changes no digit.
    centred = np.ldexp(centred, -np.frexp(np.abs(centred).max())[1])
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :n_dims]
    return mean, axes


def project(x: np.ndarray, mean: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Project samples, (n, D), on the axes; shape (n, d)."""
    components: np.ndarray = (x - mean) @ axes
    return components
