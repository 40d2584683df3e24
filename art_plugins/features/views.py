"""
Views of samples: features of the whole sample and of windows of time.

A trigger is short, and most of a recording does not contain it. The latents of the whole sample are therefore completed by
the latents of its time steps, and by the frames of a finer log-mel spectrogram, which show the trigger better.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from art_plugins.disk_room import scratch_array
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.encodings import FRAME_FLOOR, FRAME_HOP_S, FRAME_WINDOW_S, Memory, encode_all

# With a second of frames, a window has 80 ms, so a trigger of some tens of milliseconds fills a large part of a window.
MAX_WINDOWS = 25
MAX_DIMS = 64  # largest number of principal components of a window
MOST_FOR_AXES = 16_384  # samples from which they are estimated: 50 for each of the 320 values of a window of frames
SETTINGS = (MAX_WINDOWS, MAX_DIMS, FRAME_WINDOW_S, FRAME_HOP_S, FRAME_FLOOR)  # the settings on which stored views depend
BLOCK = 16_384  # samples that are projected together


class Views(NamedTuple):
    """
    ``latents`` (n, D); windows of the ``steps`` and of the ``frames``, each (n, D'), float32; none for images; ``spectra``:
    the whole frames (n, T, F), ``None``: not kept.
    """

    latents: np.ndarray
    steps: list[np.ndarray]
    frames: list[np.ndarray]
    spectra: np.ndarray | None = None

    @property
    def windows(self) -> list[np.ndarray]:
        """The windows of the steps, followed by those of the frames."""
        return [*self.steps, *self.frames]


def describe(autoencoder: Autoencoder, x: np.ndarray, memory: Memory | None = None) -> Views:
    """
    Give the latents of the samples, and the windows of the latents of time steps and of the frames.

    Large arrays lie in temporary files. The principal axes of a window come from at most 16,384 of the samples.

    :param autoencoder: A fitted autoencoder.
    :param x: Samples as it takes them, (n, ...).
    :param memory: As for :func:`~art_plugins.features.encodings.encode_all`.
    """
    return next(describe_alike(autoencoder, [x], memory))


def describe_alike(
    autoencoder: Autoencoder, several: Iterable[np.ndarray], memory: Memory | None = None
) -> Iterator[Views]:
    """Give the views of several data sets in turn, all on the principal axes of the windows of the first one."""
    axes: list[tuple[np.ndarray, np.ndarray]] = []
    for x in several:
        latents, steps, spectra = encode_all(autoencoder, x, memory)
        if steps is None or spectra is None:
            yield Views(latents, [], [])
            continue
        of_steps = [(steps, span) for span in time_spans(steps.shape[1])]
        windows = [*of_steps, *((spectra, span) for span in time_spans(spectra.shape[1]))]
        some = slice(None, None, -(-len(x) // MOST_FOR_AXES))
        axes = axes or [principal_axes(_flat(values[some, span])) for values, span in windows]
        found = [_projected(values, span, *of) for (values, span), of in zip(windows, axes, strict=True)]
        yield Views(latents, found[: len(of_steps)], found[len(of_steps) :], spectra)


def time_spans(n_steps: int) -> list[slice]:
    """Cut steps into about 25 windows at most that overlap by half; a single one if there are too few steps for two."""
    stride = max(1, -(-n_steps // MAX_WINDOWS))
    width = min(2 * stride, n_steps)
    starts = list(range(0, n_steps - width + 1, stride))
    if starts[-1] + width < n_steps:
        starts.append(n_steps - width)
    return [slice(start, start + width) for start in starts]


def time_windows(steps: np.ndarray) -> list[np.ndarray]:
    """
    Flatten each of the windows of :func:`time_spans` to one vector for each sample.

    :param steps: Shape (n, T, Z).
    :return: Windows, each of shape (n, width * Z).
    """
    return [_flat(steps[:, span]) for span in time_spans(steps.shape[1])]


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


def _projected(values: np.ndarray, span: slice, mean: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """A window of steps (n, T, Z) on its axes, (n, d), a block at a time."""
    found = scratch_array((len(values), axes.shape[1]), np.float32, f"The windows of {len(values):,} samples need")
    for start in range(0, len(values), BLOCK):
        rows = slice(start, start + BLOCK)
        found[rows] = project(_flat(values[rows, span]), mean, axes)
    return found


def _flat(steps: np.ndarray) -> np.ndarray:
    return steps.reshape(len(steps), -1)
