"""Gradients of a class's output with respect to the activations of hidden layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import _modules, layers_in_order
from art_plugins.features.classifiers import class_outputs, evaluating, forward, preprocessed, torch_module
from art_plugins.features.forward_pass import first_tensor, hooks, not_finite_message, not_finite_rows
from art_plugins.features.watched_modules import checked_batch_size

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def channel_gradients(
    classifier: Any, x: np.ndarray, labels: np.ndarray, layers: Sequence[str], batch_size: int = 128
) -> dict[str, np.ndarray]:
    """
    Give the gradient of each sample's output for its label with respect to the output of each layer, averaged over the
    places of each channel.

    :param classifier: ART ``PyTorchClassifier``. Its preprocessing is applied; the passes run on its device and in
        evaluation mode. The gradients of its parameters are left as they are.
    :param x: Inputs as the classifier takes them, (n, ...).
    :param labels: Class of each input, (n,).
    :param layers: Names from ``named_modules()``, whose outputs are (B, channels, ...).
    :param batch_size: Number of inputs in one pass.
    :return: Layer -> (n, channels), float32.
    :raises InvalidInputError: For an unknown layer, one that did not run or that the outputs do not depend on, or if a
        gradient is not finite.
    """
    watched = _modules(classifier, layers)
    found: dict[str, list[np.ndarray]] = {name: [] for name in layers}
    checked_batch_size(batch_size)
    for start in range(0, len(x), batch_size):
        rows = slice(start, start + batch_size)
        gradients = _batch_gradients(classifier, x[rows], labels[rows], {name: one[0] for name, one in watched.items()})
        for name, gradient in gradients.items():
            of_channel = gradient.flatten(2).mean(dim=2) if gradient.ndim > 2 else gradient
            found[name].append(of_channel.cpu().numpy())
    joined = {name: np.concatenate(parts) for name, parts in found.items()}
    for name, values in joined.items():
        broken = ~np.isfinite(values).all(axis=1)
        if broken.any():
            raise InvalidInputError(
                f"The gradient at layer {name!r} is not finite for {int(broken.sum())} of the {len(x)} samples, the first "
                f"in row {int(broken.argmax())}: such samples cannot be judged. Remove them, or mend the model's weights."
            )
    return joined


def gradient_layers(classifier: Any, x: np.ndarray) -> list[str]:
    """
    Find the convolutions of a network, or its linear layers without the last one if it has none, in running order.

    :param classifier: ART ``PyTorchClassifier``.
    :param x: At least one input, shape (n, ...); the first is used.
    :raises InvalidInputError: If there is no such layer.
    """
    names = layers_in_order(classifier, x, lambda module: isinstance(module, CONVOLUTIONS), lambda given: True)
    if not names:
        names = layers_in_order(classifier, x, lambda module: isinstance(module, nn.Linear), lambda given: True)[:-1]
    if not names:
        raise InvalidInputError("The network has no convolution and no hidden linear layer, so no gradients can be seen.")
    return names


def _batch_gradients(
    classifier: Any, x: np.ndarray, labels: np.ndarray, watched: dict[str, nn.Module]
) -> dict[str, Tensor]:
    network = torch_module(classifier)
    seen: dict[str, Tensor] = {}

    def keeper(name: str) -> Any:
        def keep(module: nn.Module, inputs: Any, output: Any) -> Any:
            tensor = first_tensor(output)
            if tensor is not output:
                raise InvalidInputError(f"Layer {name!r} gives a {type(output).__name__}; choose one that gives a tensor.")
            seen[name] = tensor if tensor.requires_grad else tensor.detach().requires_grad_()
            return seen[name].clone()  # what the network does to its copy in place does not touch the original

        return keep

    with (
        evaluating(network),
        torch.enable_grad(),
        hooks([module.register_forward_hook(keeper(name)) for name, module in watched.items()]),
    ):
        tensor = preprocessed(classifier, x, network)
        outputs = class_outputs(forward(classifier, network, tensor), len(x))
        wrong = not_finite_rows({"outputs": outputs})
        if wrong:
            raise InvalidInputError(not_finite_message(wrong, len(x)))
        if not outputs.requires_grad:
            raise InvalidInputError(
                "The network's outputs have no gradients, which are needed here: it rounds them, or cuts them off."
            )
        own = outputs.gather(1, torch.from_numpy(np.asarray(labels, dtype=np.int64)).to(outputs.device)[:, None]).sum()
        missing = [name for name in watched if name not in seen]
        if missing:
            raise InvalidInputError(f"Layer {', '.join(missing)} took no part in the forward pass; choose another.")
        gradients = torch.autograd.grad(own, list(seen.values()), allow_unused=True)
    unused = [name for name, gradient in zip(seen, gradients, strict=True) if gradient is None]
    if unused:
        raise InvalidInputError(f"The outputs do not depend on layer {', '.join(unused)}; choose another.")
    return {name: gradient.detach().float() for name, gradient in zip(seen, gradients, strict=True)}
