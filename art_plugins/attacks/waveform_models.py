"""Trains classifiers of waveforms or small images, which attacks are measured on, and wraps them for ART."""

from __future__ import annotations

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn
from torch.nn import functional

from art_plugins.attacks.networks import NETWORKS, Compression, STFTMagnitude
from art_plugins.attacks.training_loop import WAVEFORM_TRAINING, Training, run_epochs
from art_plugins.errors import InvalidInputError
from art_plugins.features.devices import make_fabric
from art_plugins.features.vae.training import seeded
from art_plugins.statistics.labels import class_labels


def train_classifier(
    x: np.ndarray, y: np.ndarray, nb_classes: int, training: Training = WAVEFORM_TRAINING, *, verbose: bool = False
) -> PyTorchClassifier:
    """
    Train a classifier of waveforms (n, S), through Armory's front end, or of images (n, C, H, W), with Adam. The learning
    rate rises over the first tenth of the steps and falls to 0 along a cosine: where it stays constant, the last steps of
    one training decide over several points of accuracy.

    :param y: Labels, (n,), (n, 1) or one-hot.
    :param training: Networks for waveforms are ``"cnn"``, ``"resnet18"``, ``"resnet18_narrow"`` (16 channels in the first
        stage), ``"resnet18_tiny"`` (8 channels) and ``"resnet50"``.
    :raises InvalidInputError: For an unknown network or precision, bad labels, or when the loss is no longer finite.
    """
    if training.network not in NETWORKS:
        raise InvalidInputError(f"classifier must be one of {', '.join(NETWORKS)}; received {training.network!r}.")
    labels, _ = class_labels(y, len(x), nb_classes)
    fabric = make_fabric(training.precision)
    with seeded(training.random_state):
        model = _make_network(training.network, x.shape, nb_classes)
        wrapped, wrapped_optimiser = fabric.setup(model, _adam(model, training))
        samples = fabric.to_device(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)))
        targets = fabric.to_device(torch.from_numpy(labels))

        def loss_of(rows: Tensor, batch: Tensor) -> Tensor:
            return functional.cross_entropy(wrapped(batch), targets[rows])

        run_epochs(samples, loss_of, [wrapped_optimiser], fabric, training, title=training.network, verbose=verbose)
    model.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return PyTorchClassifier(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=_adam(model, training),
        input_shape=x.shape[1:],
        nb_classes=nb_classes,
        clip_values=(-1.0, 1.0) if x.ndim == 2 else (0.0, 1.0),
    )


def _make_network(network: str, shape: tuple[int, ...], nb_classes: int) -> nn.Module:
    """
    Make an untrained network by its name, with Armory's front end where the samples are waveforms.

    :param shape: Shape of all samples, (n, S) or (n, C, H, W).
    """
    is_audio = len(shape) == 2
    body = NETWORKS[network](1 if is_audio else shape[1], nb_classes)
    front_end = [STFTMagnitude(), *([Compression()] if network == "cnn" else [])] if is_audio else []
    model = nn.Sequential(*front_end, *body)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _adam(model: nn.Module, training: Training) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=training.learning_rate)
