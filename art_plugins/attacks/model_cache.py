"""Keeps trained classifiers on disk, so that several evaluations, or a second run, share one training."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from art_plugins.attacks.training_loop import Training
from art_plugins.features.classifiers import torch_module
from art_plugins.storage import load_arrays, save_arrays

FILE_KIND = "image_classifier"
NO_SETTINGS = ("verbose", "fabric")  # arguments of a training that do not change its result


def load_or_train(folder: str | Path | None, train: Callable[..., Any], **arguments: Any) -> Any:
    """
    Call ``train(**arguments)``, or read its result from ``folder`` where it lies there.

    The name of the file holds a fingerprint of the arguments and of PyTorch's version. Arrays count by their content, and
    a trigger counts by what it does to the rows that it is stamped on. On another machine the same training may give
    slightly other weights.

    :param folder: Folder of trained models; ``None``: no file is read or written.
    :param train: A function that takes ``x``, ``training`` (a :class:`Training`) and other arguments, and returns an ART
        ``PyTorchClassifier``. With no epochs it must return an untrained one.
    """
    if folder is None:
        return train(**arguments)
    training: Training = arguments["training"]
    file = Path(folder) / f"{training.network}-{fingerprint(train, **arguments)}.safetensors"
    if file.is_file():
        weights, _ = load_arrays(file, FILE_KIND)
        classifier = train(**{**arguments, "training": replace(training, nb_epochs=0), "verbose": False})
        torch_module(classifier).load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        return classifier
    classifier = train(**arguments)
    state = torch_module(classifier).state_dict()
    given = {**arguments, **asdict(training)}
    settings = {name: value for name, value in given.items() if isinstance(value, (bool, int, float, str))}
    save_arrays(file, FILE_KIND, {name: tensor.cpu().numpy() for name, tensor in state.items()}, settings)
    return classifier


def fingerprint(train: Callable[..., Any], **arguments: Any) -> str:
    """Twelve hexadecimal digits that tell trainings apart; arguments that are not given count with their defaults."""
    bound = inspect.signature(train).bind(**arguments)
    bound.apply_defaults()
    digest = hashlib.sha256(str(torch.__version__).encode())
    training: Training = bound.arguments.pop("training")
    for name, value in sorted({**bound.arguments, **asdict(training)}.items()):
        if name in NO_SETTINGS:
            continue
        digest.update(name.encode())
        if callable(value):
            value = value(arguments["x"][arguments["is_poison"]])
        elif name == "trigger" and value is not None:
            stamped = [one(arguments["x"][arguments["is_poison"] == number]) for number, one in enumerate(value, start=1)]
            value = np.concatenate(stamped)
        if isinstance(value, np.ndarray):
            digest.update(f"{value.dtype.str}{value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
        else:
            digest.update(json.dumps(value).encode())
    return digest.hexdigest()[:12]
