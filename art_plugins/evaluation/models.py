"""Classifiers to attack, wrapped for ART and trained by a seed."""

from __future__ import annotations

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn

from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.networks import NETWORKS, Compression, STFTMagnitude
from art_plugins.features.training import seeded


def train_classifier(
    x: np.ndarray,
    y: np.ndarray,
    nb_classes: int,
    *,
    network: str = "cnn",
    nb_epochs: int = 15,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    random_state: int = 0,
    verbose: bool = False,
) -> PyTorchClassifier:
    """
    A classifier for waveforms (n, S), through Armory's front end, or images (n, C, H, W), trained with Adam by ART.

    :param y: Labels, shape (n,).
    :param network: A name in ``NETWORKS``; for waveforms ``"cnn"``, ``"resnet18"``, ``"resnet18_narrow"`` (16 channels at
        first), ``"resnet18_tiny"`` (8) or ``"resnet50"``.
    :param random_state: Seed of the weights and of the order of the samples; global generators are not touched.
    :raises InvalidInputError: For an unknown network.
    """
    if network not in NETWORKS:
        raise InvalidInputError(f"classifier must be one of {', '.join(NETWORKS)}; received {network!r}.")
    with seeded(random_state):
        is_audio = x.ndim == 2
        body = NETWORKS[network](1 if is_audio else x.shape[1], nb_classes)
        front_end = [STFTMagnitude(), *([Compression()] if network == "cnn" else [])] if is_audio else []
        model = nn.Sequential(*front_end, *body)
        classifier = PyTorchClassifier(
            model=model,
            loss=nn.CrossEntropyLoss(),
            optimizer=torch.optim.Adam(model.parameters(), lr=learning_rate),
            input_shape=x.shape[1:],
            nb_classes=nb_classes,
            clip_values=(-1.0, 1.0) if is_audio else (0.0, 1.0),
        )
        # A last batch of one sample has no variance for batch normalisation.
        drop_last = len(x) % batch_size == 1
        classifier.fit(x, y, batch_size=batch_size, nb_epochs=nb_epochs, drop_last=drop_last, verbose=verbose)
    return classifier
