"""A checksum of a model's weights, by which a saved detector recognises its model."""

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
    Give the SHA-256 checksum of the names, types, shapes and bytes of the model's parameters and buffers.

    It changes with every weight, but not with the device or the training mode. It does not see what is no state of the
    network, such as ART's preprocessing or an activation function.

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
    Check that the network has the named layers.

    :raises InvalidInputError: If it has no module of one of the names.
    """
    unknown = set(layers) - {name for name, _ in network.named_modules()}
    if unknown:
        raise InvalidInputError(f"the model has no layer {', '.join(sorted(unknown))}")
