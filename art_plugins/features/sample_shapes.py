"""The meaning of the axes of samples: axes of length one, and spectrograms that look like images."""

from __future__ import annotations

import numpy as np

SEQUENCE_AXES = {"waveform": 1, "spectrogram": 2}
LOOKED_AT = 256  # number of samples that are checked for negative values


def without_lone_channel(kind: str, sample_shape: tuple[int, ...]) -> tuple[int, ...]:
    """
    Remove the axis of a single channel from the shape of a sound. Spectrograms (T, F, 1) and (1, T, F) become (T, F), and
    waveforms (S, 1) and (1, S) become (S,). Images, and shapes without such an axis, stay as they are.

    :param kind: ``"waveform"``, ``"spectrogram"`` or ``"image"``.
    """
    if len(sample_shape) == SEQUENCE_AXES.get(kind, 0) + 1:
        if sample_shape[-1] == 1:
            return tuple(sample_shape[:-1])
        if sample_shape[0] == 1:
            return tuple(sample_shape[1:])
    return tuple(sample_shape)


def spectrogram_notice(x: np.ndarray) -> str | None:
    """
    Give a notice for samples that were treated as grey images but may be spectrograms, because their sides differ or some
    values are negative, as logarithms are.

    :param x: Samples, (n, ...).
    :return: The notice, or ``None`` if the samples look like images.
    """
    shape = x.shape[1:]
    if len(shape) != 3 or 1 not in (shape[0], shape[-1]):
        return None
    sides = shape[:-1] if shape[-1] == 1 else shape[1:]
    if sides[0] == sides[1] and not (np.asarray(x[:LOOKED_AT]) < 0).any():
        return None
    return (
        f"Samples of shape {shape} were taken for images of one colour. If they are spectrograms, give "
        "kind='spectrogram'; kind='image' takes this notice away."
    )
