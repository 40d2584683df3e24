"""Which model a saved detector belongs to: a checksum of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from art_plugins.errors import FileFormatError, InvalidInputError
from art_plugins.features.classifiers import torch_module


def model_fingerprint(classifier: Any) -> str:
    """
    SHA-256 over the names, types, shapes and bytes of the model's parameters and buffers.

    The device and the training mode do not matter; one changed weight does. What is no state of the network (ART's
    preprocessing, an activation function) is not seen.

    :param classifier: ART ``PyTorchClassifier``.
    :return: 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, value in sorted(torch_module(classifier).state_dict().items()):
        if isinstance(value, torch.Tensor):
            plain = value.detach().cpu().contiguous()
            digest.update(f"{name}|{plain.dtype}|{tuple(plain.shape)}|".encode())
            digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def check_saved_for(path: str | Path, fingerprint: str, classifier: Any) -> None:
    """
    :param path: The file, for the message.
    :param fingerprint: The fingerprint in the file.
    :raises FileFormatError: If the file was saved for another model than the classifier's.
    """
    if fingerprint != model_fingerprint(classifier):
        raise FileFormatError(f"{path} was saved for another model: the weights differ. Fit a detector for this model.")


def check_known_layers(layers: Sequence[str], network: nn.Module) -> None:
    """
    :raises InvalidInputError: If the network has no module of one of the names.
    """
    unknown = set(layers) - {name for name, _ in network.named_modules()}
    if unknown:
        raise InvalidInputError(f"the model has no layer {', '.join(sorted(unknown))}")
