"""Which model a saved detector belongs to: a checksum of its weights."""

from __future__ import annotations

import hashlib
from typing import Any

import torch

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
