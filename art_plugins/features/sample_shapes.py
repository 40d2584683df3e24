"""The meaning of the axes of samples: kind of data, colours, axes of length one, and spectrograms that look like images."""

from __future__ import annotations

import numpy as np

from art_plugins.errors import InvalidInputError

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


def infer_kind(shape: tuple[int, ...]) -> str:
    """
    The kind of data from the shape of ``x_train``: two axes are waveforms, four are images.

    :raises InvalidInputError: For three axes, which may be spectrograms or grey images, and for any other number.
    """
    if len(shape) == 2:
        return "waveform"
    if len(shape) == 4:
        return "image"
    if len(shape) == 3:
        raise InvalidInputError(
            f"x_train of shape {shape} may be spectrograms (n, time, bands) or grey images (n, height, width); "
            "say which with kind='spectrogram' or kind='image'."
        )
    raise InvalidInputError(
        f"x_train has shape {shape}; waveforms are (n, samples), spectrograms (n, time, bands), "
        "images (n, channels, height, width) or (n, height, width, channels)."
    )


def image_shape(sample_shape: tuple[int, ...], channels_first: bool | None) -> tuple[int, int, int]:
    """
    (C, H, W) of a sample of shape (H, W), (C, H, W) or (H, W, C).

    :raises InvalidInputError: See :func:`has_channels_first`.
    """
    if len(sample_shape) == 2:
        return (1, sample_shape[0], sample_shape[1])
    first, middle, last = sample_shape
    return (first, middle, last) if has_channels_first(sample_shape, channels_first) else (last, first, middle)


def has_channels_first(sample_shape: tuple[int, ...], channels_first: bool | None) -> bool:
    """
    Whether a sample is (C, H, W) and not (H, W, C): as ``channels_first`` says, or inferred from the shape.

    :raises InvalidInputError: If the colours' axis cannot be told from the shape and ``channels_first`` is ``None``, or if
        the shape contradicts it.
    """
    if channels_first is not None:
        said, other = (sample_shape[0], sample_shape[-1])[:: 1 if channels_first else -1]
        sides = sorted((said, sample_shape[1]))  # if the other axis had the colours
        # A few sensors over time, (8, 1000, 1), and spectra of small patches, (3, 3, 103), are no such case: the smallest
        # images that people classify have 8 x 8 pixels.
        if (other == 3 and sides[0] >= 8) or (other == 1 and sides[0] == sides[1] >= 8):
            raise InvalidInputError(
                f"channels_first is {channels_first}, but images of shape {sample_shape} have their colours on the "
                f"{'last' if channels_first else 'first'} axis; give channels_first={not channels_first}, to a "
                "PyTorchClassifier as well."
            )
        return channels_first
    likely_first, likely_last = sample_shape[0] in (1, 3, 4), sample_shape[-1] in (1, 3, 4)
    if likely_first == likely_last:
        raise InvalidInputError(
            f"The colour axis of images of shape {sample_shape} cannot be inferred; give channels_first=True or False."
        )
    return likely_first
