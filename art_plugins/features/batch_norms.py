"""What the batch normalisations of a network say of its inputs: how rare the rarest value is in each of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import layers_in_order, stream_activations
from art_plugins.features.classifiers import layer_modules, torch_module
from art_plugins.features.forward_pass import not_finite_message, not_finite_rows


def has_running_moments(module: nn.Module) -> bool:
    """Whether the module normalises by means and variances that it noted in training, as batch normalisation does."""
    moments = [getattr(module, name, None) for name in ("running_mean", "running_var")]
    return all(isinstance(moment, Tensor) for moment in moments)


def has_batch_norms(classifier: Any) -> bool:
    """Whether any module of the network has running means and variances; the network does not run."""
    return any(has_running_moments(module) for module in torch_module(classifier).modules())


def batch_norms(classifier: Any, x: np.ndarray) -> list[str]:
    """
    Find the batch normalisations that run, in the order in which they run.

    :param classifier: ART ``PyTorchClassifier``.
    :param x: At least one input, shape (n, ...); the first is used.
    :return: Names from ``named_modules()``. A layer over another number of rows than samples, such as the tokens of a
        transformer, is left out.
    :raises InvalidInputError: If none runs.
    """
    names = layers_in_order(classifier, x, has_running_moments, lambda given: given.ndim >= 2 and len(given) == 1)
    if not names:
        raise InvalidInputError(
            f"No batch normalisation with running means and variances runs in the model "
            f"{type(torch_module(classifier)).__name__}, and the densities of its values are needed here; give a network "
            "with batch normalisation, such as a ResNet, or take another filter."
        )
    return names


def lowest_log_densities(classifier: Any, x: np.ndarray, layers: list[str], batch_size: int = 128) -> np.ndarray:
    """
    Give for each sample and layer the smallest log-density of any value that enters the batch normalisation.

    Channel c of a layer has the Gaussian N(running mean of c, running variance of c + eps), by which the layer normalises.
    A sample's number is the minimum over all channels and places of log N(value).

    :param classifier: ART ``PyTorchClassifier``.
    :param x: Inputs as the classifier takes them, shape (n, ...).
    :param layers: Names that :func:`batch_norms` gave.
    :param batch_size: Number of inputs in one pass.
    :return: Shape (n, layers), float64, in nats.
    :raises InvalidInputError: If an output, or a value that a layer receives, is not finite. The message says for how many
        samples.
    """
    modules = layer_modules(classifier)
    found = np.empty((len(x), len(layers)))
    wrong: dict[str, list[int]] = {}
    for batch in stream_activations(classifier, x, layers, batch_size, of_inputs=True):
        for column, name in enumerate(layers):
            lowest = lowest_log_density(batch.activations[name], modules[name])
            found[batch.start : batch.start + len(lowest), column] = lowest.cpu().numpy()
        for row in not_finite_rows({"outputs": batch.outputs}).get("outputs", []):
            wrong.setdefault("outputs", []).append(batch.start + row)
    for name, values in zip(layers, found.T, strict=True):
        if not np.isfinite(values).all():
            wrong[name] = np.flatnonzero(~np.isfinite(values)).tolist()
    if wrong:
        raise InvalidInputError(not_finite_message(wrong, len(x)))
    return found


def lowest_log_density(values: Tensor, module: Any) -> Tensor:
    """
    Give the smallest log-density of each sample's values under the Gaussians of their channels.

    :param values: What enters the layer, (B, channels, ...).
    :param module: The layer, with ``running_mean`` and ``running_var`` of shape (channels,).
    :return: Shape (B,), float64, in nats; NaN if any value is NaN.
    """
    mean, variance = module.running_mean.double(), module.running_var.double() + float(getattr(module, "eps", 0.0))
    rows = values.reshape(len(values), values.shape[1], -1).double()
    farthest = torch.stack([rows.amin(dim=2) - mean, rows.amax(dim=2) - mean]).square().amax(dim=0)
    lowest: Tensor = (-0.5 * (farthest / variance + variance.log() + math.log(2 * math.pi))).amin(dim=1)
    return lowest
