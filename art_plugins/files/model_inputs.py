"""Which samples a network takes, found out by trying: images of each form, or waveforms with or without a channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from art_plugins.errors import InvalidInputError
from art_plugins.features.outputs import check_outputs
from art_plugins.files.script_safety import last_line

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)  # of samples, in the order in which they are tried
N_PROBES = 2


def find_input(
    network: Any, size: Sequence[int], is_grey: bool, device: torch.device
) -> tuple[tuple[int, ...], bool, int, torch.dtype]:
    """
    Find out which samples a network takes, by giving it some of each form.

    :param size: Width and height of images, or the number of samples of waveforms.
    :param is_grey: Try grey images before coloured ones.
    :return: Shape of a sample, whether its channels come first, the number of classes and the type: the first that runs.
    :raises InvalidInputError: If none of them runs, or the outputs are no row of finite class scores for each sample.
    """
    own = {value.dtype for value in [*network.parameters(), *network.buffers()]}
    # A file may hide its type in constants, so all are tried, those that it shows first.
    dtypes = sorted(DTYPES, key=lambda dtype: (dtype not in own, DTYPES.index(dtype)))
    reasons = []
    for dtype in dtypes:
        for shape, channels_first in _shapes(size, is_grey):
            x = probe(shape, device).to(dtype)
            try:
                with torch.no_grad():
                    outputs = network(x)
            except Exception as error:  # torch's errors for shapes are of several types
                reasons.append(last_line(error))
                continue
            if _is_of_frames(outputs, shape):
                continue
            return shape, channels_first, _check_outputs(outputs, len(x)), dtype
    if len(size) == 1:
        raise InvalidInputError(
            f"The model does not take waveforms of {size[0]:,} samples ({reasons[0] if reasons else 'no class scores'}). "
            "If it was trained on clips of another length, give --seconds. If it takes spectrograms, put the step that "
            "makes them before it: save torch.jit.script(nn.Sequential(spectrogram, model)), also for a TorchScript "
            "model; or let the function of --factory return nn.Sequential(spectrogram, model), for the same weights."
        )
    raise InvalidInputError(
        f"The model takes neither grey nor coloured images of {size[0]} x {size[1]} pixels ({reasons[0]}); give --size, "
        "the size that it was trained on."
    )


def _shapes(size: Sequence[int], is_grey: bool) -> list[tuple[tuple[int, ...], bool]]:
    """The shapes of a sample in the order in which they are tried, each with whether the channels come first."""
    if len(size) == 1:
        return [((size[0],), True), ((1, size[0]), True)]
    width, height = size
    counts = (1, 3) if is_grey else (3, 1)
    return [*(((n, height, width), True) for n in counts), *(((height, width, n), False) for n in counts)]


def _is_of_frames(outputs: Any, shape: tuple[int, ...]) -> bool:
    """
    Whether a network that wants a channel took a batch of waveforms as one waveform of several channels, or as something
    else that is not a row of scores for each of them.
    """
    return len(shape) == 1 and isinstance(outputs, Tensor) and (outputs.ndim != 2 or len(outputs) != N_PROBES)


def samples_of(size: Sequence[int]) -> str:
    """What a model of this size takes, in a word."""
    return "images" if len(size) == 2 else "waveforms"


def _check_outputs(outputs: Any, n_images: int) -> int:
    """The number of classes."""
    is_tensor = isinstance(outputs, Tensor) and not outputs.is_nested
    is_row = is_tensor and outputs.ndim == 2 and len(outputs) == n_images and outputs.shape[1] > 1
    if not is_row:
        got = tuple(outputs.shape) if is_tensor else type(outputs).__name__
        if got in ((n_images,), (n_images, 1)):
            check_outputs(outputs, 2)  # its error says what to put behind one output neuron
        raise InvalidInputError(
            "The model must give one tensor with a row of class scores for each image; for "
            f"{n_images} images it gave {got}."
        )
    if not outputs.is_floating_point() or outputs.layout != torch.strided:
        layout = "" if outputs.layout == torch.strided else f" of layout {outputs.layout}"
        raise InvalidInputError(f"The model gives {outputs.dtype}{layout} instead of class scores; remove its last step.")
    if not bool(outputs.isfinite().all()):
        raise InvalidInputError(
            "The model's outputs are not finite (NaN or infinity) for images of noise between 0 and 1: its weights or the "
            "normalisation are broken."
        )
    return int(outputs.shape[1])


def probe(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Two samples of noise."""
    noise = np.random.default_rng(0).random((N_PROBES, *shape), dtype=np.float32)
    return torch.from_numpy(noise).to(device)
