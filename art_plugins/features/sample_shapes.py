"""What the axes of samples are: how sequences with an axis of length one are laid out, and what may be no image."""

from __future__ import annotations

import numpy as np

SEQUENCE_AXES = {"waveform": 1, "spectrogram": 2}
LOOKED_AT = 256  # samples that are looked at for negative values


def without_lone_channel(kind: str, sample_shape: tuple[int, ...]) -> tuple[int, ...]:
    """
    The shape of a sample without its only channel: (T, F, 1) and (1, T, F) of a spectrogram are (T, F), (S, 1) and (1, S)
    of a waveform (S,). Images keep all their axes, and so does what has no such axis.

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
    A sentence for samples that were taken for images of one colour by their number of axes alone, but may be spectrograms:
    their sides differ, or some values are negative, as logarithms are.

    :param x: Samples, (n, ...).
    :return: ``None`` where they look like images.
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
