"""Steps of fine-tuning a copy of a classifier's network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn
from torch.nn import functional

from art_plugins.errors import InvalidInputError
from art_plugins.features.classifiers import class_outputs, forward, preprocessed, torch_module


def copyable_network(classifier: Any) -> nn.Module:
    """
    Give the network of the classifier.

    :raises InvalidInputError: If a copy of it would still run the original.
    """
    network = torch_module(classifier)
    if "forward" in vars(network):
        raise InvalidInputError(
            f"The network of a {type(classifier).__name__} cannot be copied, since its forward is set on the object; give "
            "a PyTorchClassifier around it."
        )
    return network


def training_step(
    classifier: Any,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    x: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None = None,
) -> None:
    """
    Take one step on a batch of images, which the classifier's preprocessing prepares.

    :param x: Images, (B, ...).
    :param labels: Labels, (B,).
    :param weights: Weights of the images in the loss, (B,), with the sum 1; ``None``: all are equal.
    """
    outputs = class_outputs(forward(classifier, network, preprocessed(classifier, x, network)), len(x))
    targets = torch.from_numpy(labels).to(outputs.device)
    if weights is None:
        loss = functional.cross_entropy(outputs, targets)
    else:
        losses = functional.cross_entropy(outputs, targets, reduction="none")
        loss = losses @ torch.from_numpy(weights).to(losses.device, losses.dtype)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def wrapped_like(classifier: Any, network: nn.Module, optimiser: torch.optim.Optimizer) -> PyTorchClassifier:
    """Wrap another network in an ART classifier with the same settings."""
    return PyTorchClassifier(
        model=network,
        loss=classifier.loss,
        input_shape=classifier.input_shape,
        nb_classes=classifier.nb_classes,
        optimizer=optimiser,
        channels_first=classifier.channels_first,
        clip_values=classifier.clip_values,
        preprocessing_defences=classifier.preprocessing_defences,
        postprocessing_defences=classifier.postprocessing_defences,
        preprocessing=classifier.preprocessing,
        device_type="cpu" if classifier.device.type == "cpu" else "gpu",
    )
