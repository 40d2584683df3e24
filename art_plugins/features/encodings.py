"""What an autoencoder and its front end tell of each sample by itself, a block of samples at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import torch

from art_plugins.arrays import check_finite
from art_plugins.disk_room import scratch_array
from art_plugins.errors import InvalidInputError
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.sample_shapes import without_lone_channel
from art_plugins.features.vae.front_end import batches
from art_plugins.features.vae.spectrogram import LogMelSpectrogram

FRAME_WINDOW_S, FRAME_HOP_S, FRAME_FLOOR = 0.025, 0.01, 1e-4
BLOCK = 256  # samples that are held in memory together
BATCH = 64
FRAMES_BATCH = 16  # the spectra of more clips of a second do not stay in the cache of a core
REMEDY = "look for samples with extreme values"

Compute: TypeAlias = Callable[[np.ndarray], dict[str, np.ndarray]]  # rows of a block, (m,) -> arrays by name, (m, ...)
Memory: TypeAlias = Callable[[np.ndarray, Compute], dict[str, np.ndarray]]


class Encodings(NamedTuple):
    """
    ``latents`` (n, D); ``steps`` (n, T, Z), the latents of the time steps, and ``frames`` (n, T', F), the frames of
    :func:`frames`, both ``None`` for images; float32. Large arrays lie in temporary files.
    """

    latents: np.ndarray
    steps: np.ndarray | None
    frames: np.ndarray | None


def encode_all(autoencoder: Autoencoder, x: np.ndarray, memory: Memory | None = None) -> Encodings:
    """
    Encode all samples. What is given for a sample does not depend on the others, to the bit on one processor.

    :param autoencoder: A fitted autoencoder.
    :param x: Samples as it takes them, (n, ...); a memory map is read in parts.
    :param memory: Gives the arrays of a block of samples, (m, ...), and computes only what it does not know, by the
        function that it is given; ``None``: everything is computed.
    :raises InvalidInputError: For a sample that cannot be encoded, or a full disk.
    """
    found: dict[str, np.ndarray] = {}
    for start in range(0, len(x), BLOCK):
        block = np.asarray(x[start : start + BLOCK])

        def compute(rows: np.ndarray, block: np.ndarray = block, start: int = start) -> dict[str, np.ndarray]:
            return _arrays_of(autoencoder, block[rows], start + rows)

        arrays = compute(np.arange(len(block))) if memory is None else memory(block, compute)
        for name, values in arrays.items():
            if name not in found:
                shape = (len(x), *values.shape[1:])
                found[name] = scratch_array(shape, values.dtype, f"The {name} of {len(x):,} samples need")
            found[name][start : start + len(block)] = values
    check_finite(found["latents"], "latents of x", REMEDY)
    if "steps" in found:
        check_finite(found["steps"], "latents of the time steps of x", REMEDY)
    return Encodings(found["latents"], found.get("steps"), found.get("frames"))


def frames(autoencoder: Autoencoder, x: np.ndarray, numbers: np.ndarray | None = None) -> np.ndarray:
    """
    Give log-mel frames of waveforms, one every 10 ms; spectrograms are given unchanged.

    :param numbers: What a message calls the samples, (n,); ``None``: from 0 on.
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
        parts = [front_end(batch)[:n_own].numpy() for _, n_own, batch in batches(x, FRAMES_BATCH, padded=True)]
    found = np.concatenate(parts)
    if not np.isfinite(found).all():
        row = int(np.argmin(np.isfinite(found).reshape(len(found), -1).all(axis=1)))
        number = row if numbers is None else int(numbers[row])
        raise InvalidInputError(f"x[{number}] holds values out of range; remove or mend such samples first.")
    return found


def _arrays_of(autoencoder: Autoencoder, x: np.ndarray, numbers: np.ndarray) -> dict[str, np.ndarray]:
    latents, steps = autoencoder.encode_rows(x, BATCH, numbers)
    if steps is None:
        return {"latents": latents}
    return {"latents": latents, "steps": steps, "frames": frames(autoencoder, x, numbers)}
