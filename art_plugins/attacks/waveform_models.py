"""Classifiers of waveforms or images to attack, wrapped for ART and trained by a seed."""

from __future__ import annotations

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn
from torch.nn import functional

from art_plugins.attacks.networks import NETWORKS, Compression, STFTMagnitude
from art_plugins.attacks.training_loop import run_epochs
from art_plugins.errors import InvalidInputError
from art_plugins.features.training import make_fabric, seeded
from art_plugins.statistics.labels import class_labels


def train_classifier(
    x: np.ndarray,
    y: np.ndarray,
    nb_classes: int,
    *,
    network: str = "cnn",
    nb_epochs: int = 15,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    precision: str = "32-true",
    random_state: int = 0,
    verbose: bool = False,
) -> PyTorchClassifier:
    """
    A classifier for waveforms (n, S), through Armory's front end, or images (n, C, H, W), trained with Adam and a learning
    rate that rises over the first tenth of the steps and falls to 0 along a cosine: where it stays, the last steps of one
    training decide over several points of accuracy.

    :param y: Labels, (n,), (n, 1) or one-hot.
    :param network: A name in ``NETWORKS``; for waveforms ``"cnn"``, ``"resnet18"``, ``"resnet18_narrow"`` (16 channels at
        first), ``"resnet18_tiny"`` (8) or ``"resnet50"``.
    :param nb_epochs: 0 gives an untrained classifier.
    :param learning_rate: The highest of the schedule.
    :param precision: Of the training, ``"32-true"`` or ``"bf16-mixed"``; the classifier itself has 32 bits.
    :param random_state: Seed of the weights and of the order of the samples; global generators are not touched.
    :raises InvalidInputError: For an unknown network or precision, bad labels, or when the loss is no longer finite.
    """
    if network not in NETWORKS:
        raise InvalidInputError(f"classifier must be one of {', '.join(NETWORKS)}; received {network!r}.")
    labels, _ = class_labels(y, len(x), nb_classes)
    is_audio = x.ndim == 2
    fabric = make_fabric(precision)
    with seeded(random_state):
        body = NETWORKS[network](1 if is_audio else x.shape[1], nb_classes)
        front_end = [STFTMagnitude(), *([Compression()] if network == "cnn" else [])] if is_audio else []
        model = nn.Sequential(*front_end, *body).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate)
        wrapped, wrapped_optimiser = fabric.setup(model, optimiser)
        samples = fabric.to_device(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)))
        targets = fabric.to_device(torch.from_numpy(labels))

        def loss_of(rows: Tensor, batch: Tensor) -> Tensor:
            return functional.cross_entropy(wrapped(batch), targets[rows])

        run_epochs(
            samples,
            loss_of,
            [wrapped_optimiser],
            fabric,
            nb_epochs=nb_epochs,
            batch_size=batch_size,
            title=network,
            verbose=verbose,
        )
    model.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return PyTorchClassifier(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=learning_rate),
        input_shape=x.shape[1:],
        nb_classes=nb_classes,
        clip_values=(-1.0, 1.0) if is_audio else (0.0, 1.0),
    )
