"""Activations of any modules of a PyTorch model, all in one forward pass; hooks are removed whatever happens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from art_plugins.errors import InvalidInputError


def collect_activations(
    classifier: Any, x: np.ndarray, layers: Sequence[str], batch_size: int = 128
) -> dict[str, np.ndarray]:
    """
    Outputs of several modules, each flattened to one row a sample.

    ART's ``get_activations`` gives one layer a pass, with gradients, and leaves its hooks on the model.

    :param classifier: ART ``PyTorchClassifier``; its preprocessing is applied.
    :param x: Inputs as the classifier takes them, shape (n, ...).
    :param layers: Names from ``classifier.model.named_modules()``.
    :return: Name -> array (n, features), float32.
    :raises InvalidInputError: For a name that the model does not have, or a module that did not run.
    """
    network = torch_module(classifier)
    modules = dict(network.named_modules())
    unknown = [name for name in layers if name not in modules]
    if unknown:
        known = ", ".join(name for name in modules if name)
        raise InvalidInputError(f"The model has no layer {', '.join(unknown)}; it has: {known}.")
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs, output: seen.__setitem__(name, output)

    collected: dict[str, np.ndarray] = {}
    with hooks([modules[name].register_forward_hook(keep(name)) for name in layers]):
        for start, n_rows, _ in _forward(classifier, x, batch_size):
            missing = [name for name in layers if name not in seen]
            if missing:
                raise InvalidInputError(f"Layer {', '.join(missing)} took no part in the forward pass; choose another.")
            for name, output in seen.items():
                _store(collected, name, output, start, n_rows, len(x))
            seen.clear()
    return {name: collected[name] for name in layers}


def penultimate_activations(classifier: Any, x: np.ndarray, batch_size: int = 128) -> np.ndarray:
    """
    What the classification head sees: the input of the last linear layer that runs, flattened.

    :param classifier: ART ``PyTorchClassifier``.
    :param x: Inputs as the classifier takes them, shape (n, ...).
    :return: Shape (n, features), float32.
    :raises InvalidInputError: If no linear layer runs.
    """
    network = torch_module(classifier)
    inputs_seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        inputs_seen[:] = [inputs[0]]

    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    collected: dict[str, np.ndarray] = {}
    with hooks([module.register_forward_pre_hook(keep) for module in linear]):
        for start, n_rows, _ in _forward(classifier, x, batch_size):
            if not inputs_seen:
                raise InvalidInputError("No linear layer runs in the model, so it has no penultimate features.")
            _store(collected, "penultimate", inputs_seen[0], start, n_rows, len(x))
    return collected["penultimate"]


def hidden_layers(classifier: Any, x: np.ndarray, n_layers: int) -> list[str]:
    """
    The linear layers whose inputs are the last ``n_layers`` hidden vectors, in the order in which they run.

    The last of them is the classification head, so its input is the penultimate layer. A layer counts when it is given
    one vector a sample (in a transformer the layers over tokens do not). A model with fewer gives those that it has.

    :param classifier: ART ``PyTorchClassifier``.
    :param x: At least one input, shape (n, ...); the first is used.
    :return: Names from ``named_modules()``.
    :raises InvalidInputError: If no such layer runs.
    """
    network = torch_module(classifier)
    order: dict[str, None] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if inputs[0].ndim == 2 and len(inputs[0]) == 1:
                order.pop(name, None)
                order[name] = None

        return hook

    linear = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    with hooks([module.register_forward_pre_hook(note(name)) for name, module in linear]):
        for _ in _forward(classifier, x[:1], 1):
            pass
    if not order:
        raise InvalidInputError("No linear layer over one vector a sample runs in the model: it has no penultimate layer.")
    return list(order)[-n_layers:]


def logits_and_hidden(
    classifier: Any, x: np.ndarray, layers: Sequence[str], batch_size: int = 128
) -> tuple[np.ndarray, np.ndarray]:
    """
    The model's outputs, and the inputs of the named layers side by side, in one pass.

    :param layers: From :func:`hidden_layers`.
    :return: Outputs (n, K) and features (n, D), float32.
    :raises InvalidInputError: For a name that the model does not have, or a module that did not run.
    """
    modules = dict(torch_module(classifier).named_modules())
    unknown = [name for name in layers if name not in modules]
    if unknown:
        raise InvalidInputError(f"The model has no layer {', '.join(unknown)}; was the detector fitted on another model?")
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs: seen.__setitem__(name, inputs[0])

    collected: dict[str, np.ndarray] = {}
    with hooks([modules[name].register_forward_pre_hook(keep(name)) for name in layers]):
        for start, n_rows, output in _forward(classifier, x, batch_size):
            missing = [name for name in layers if name not in seen]
            if missing:
                raise InvalidInputError(f"Layer {', '.join(missing)} took no part in the forward pass; choose another.")
            _store(collected, "outputs", output, start, n_rows, len(x))
            _store(collected, "hidden", torch.cat([seen[name] for name in layers], dim=1), start, n_rows, len(x))
    return collected["outputs"], collected["hidden"]


def torch_module(classifier: Any) -> nn.Module:
    """
    The network that the user wrapped (ART puts a wrapper of its own around it).

    :raises InvalidInputError: If the classifier holds no PyTorch network.
    """
    wrapper = getattr(classifier, "model", None)
    network = getattr(wrapper, "_model", wrapper)
    if not isinstance(network, nn.Module):
        raise InvalidInputError(f"An ART PyTorchClassifier is needed; received {type(classifier).__name__}.")
    return network


@contextmanager
def hooks(handles: list[Any]) -> Iterator[None]:
    """Remove the hooks when the block ends, also by an error."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _forward(classifier: Any, x: np.ndarray, batch_size: int) -> Iterator[tuple[int, int, Any]]:
    """Run the batches in evaluation mode without gradients; yield each's first row, size and output. Restores the mode."""
    network = torch_module(classifier)
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(x), batch_size):
                batch, _ = classifier._apply_preprocessing(np.asarray(x[start : start + batch_size]), y=None, fit=False)
                tensor = torch.from_numpy(np.ascontiguousarray(batch)).to(classifier.device)
                output = network(tensor.float() if tensor.dtype == torch.float64 else tensor)
                yield start, len(batch), output
    finally:
        network.train(was_training)


def _store(collected: dict[str, np.ndarray], name: str, output: Tensor, start: int, n_rows: int, n_total: int) -> None:
    rows = output.reshape(n_rows, -1).float().cpu().numpy()
    if name not in collected:
        collected[name] = np.empty((n_total, rows.shape[1]), dtype=np.float32)
    collected[name][start : start + n_rows] = rows
