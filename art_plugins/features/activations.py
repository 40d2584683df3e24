"""Activations of any modules of a PyTorch model, all in one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from art_plugins.errors import InvalidInputError
from art_plugins.features.classifiers import layer_modules, torch_module
from art_plugins.features.devices import PASS_PRECISIONS
from art_plugins.features.forward_pass import hooks, run_batch
from art_plugins.features.watched_modules import ActivationBatch, checked_batch_size, store_rows, watch
from art_plugins.parameters import check_choice

__all__ = [
    "ActivationBatch",
    "collect_activations",
    "collect_outputs",
    "hidden_layers",
    "logits_and_hidden",
    "penultimate_activations",
    "stream_activations",
]


def stream_activations(
    classifier: Any,
    x: np.ndarray,
    layers: Sequence[str],
    batch_size: int = 128,
    precision: str = "32-true",
    of_inputs: bool = False,
) -> Iterator[ActivationBatch]:
    """
    Give the outputs of several modules and of the model, one batch at a time, so that memory does not grow with ``x``.

    If a module runs several times in a pass, its last output is given. If the output is a tuple, a list or a mapping, its
    first tensor is given. If an output is overwritten later in the pass (``out += identity``, ``ReLU(inplace=True)``), the
    value before is given. Between two batches, the model has no hooks and its former training mode.

    :param classifier: ART ``PyTorchClassifier``. Its preprocessing is applied; the pass runs on its device, in evaluation
        mode and without gradients.
    :param x: Inputs as the classifier takes them, shape (n, ...).
    :param layers: Names from ``classifier.model.named_modules()``; ``""`` is the whole model.
    :param batch_size: Number of inputs in one pass, at least 1.
    :param precision: ``"32-true"``, or ``"bf16-mixed"`` to run the pass under PyTorch's autocast in bfloat16 (in 32
        bits on a processor that would only imitate it).
    :param of_inputs: Whether the first inputs of the modules are given instead of their outputs.
    :return: The batches. Values that are not finite are given unchanged; a caller must not call such samples clean.
    :raises InvalidInputError: At once for an unknown layer, a bad batch size or precision; in the first batch for a module
        that did not run, or whose output holds no tensor.
    """
    watched = _modules(classifier, layers)
    checked_batch_size(batch_size)
    check_choice("precision", precision, PASS_PRECISIONS)
    return watch(classifier, x, watched, batch_size, precision, of_inputs)


def collect_activations(
    classifier: Any, x: np.ndarray, layers: Sequence[str], batch_size: int = 128
) -> dict[str, np.ndarray]:
    """
    Give the outputs of several modules for all of ``x``, each flattened to one row for each sample.

    The method ``get_activations`` of ART gives only one layer in a pass, with gradients, and leaves its hooks on the model.
    The parameters are those of :func:`stream_activations`.

    :return: Name -> array (n, features), float32.
    :raises InvalidInputError: As :func:`stream_activations`; also if an output or an activation is not finite. The message
        says for how many samples and in which layers.
    """
    collected: dict[str, np.ndarray] = {}
    watched = _modules(classifier, layers)
    for batch in watch(classifier, x, watched, checked_batch_size(batch_size), strict=True):
        for name, output in batch.activations.items():
            store_rows(collected, name, output, batch, len(x))
    return {name: collected[name] for name in layers}


def collect_outputs(classifier: Any, x: np.ndarray, batch_size: int = 128) -> np.ndarray:
    """
    Give the network's outputs for all of ``x``, before ART's postprocessing. The parameters are those of
    :func:`stream_activations`.

    :return: Shape (n, K), float32.
    :raises InvalidInputError: As :func:`stream_activations`.
    """
    return np.concatenate([batch.outputs.cpu().numpy() for batch in stream_activations(classifier, x, [], batch_size)])


def penultimate_activations(classifier: Any, x: np.ndarray, batch_size: int = 128) -> np.ndarray:
    """
    Give the penultimate features: the flattened input of the last linear layer that runs.

    :param classifier: ART ``PyTorchClassifier``.
    :param x: Inputs as the classifier takes them, shape (n, ...).
    :param batch_size: Number of inputs in one pass.
    :return: Shape (n, features), float32.
    :raises InvalidInputError: If no linear layer runs, or a feature is not finite.
    """
    linear = [module for module in layer_modules(classifier).values() if isinstance(module, nn.Linear)]
    complaint = "No linear layer runs in the model, so it has no penultimate features."
    collected: dict[str, np.ndarray] = {}
    for batch in watch(
        classifier, x, {"penultimate": linear}, batch_size, of_inputs=True, complaint=complaint, strict=True
    ):
        store_rows(collected, "penultimate", batch.activations["penultimate"], batch, len(x))
    return collected["penultimate"]


def hidden_layers(classifier: Any, x: np.ndarray, n_layers: int) -> list[str]:
    """
    Find the linear layers whose inputs are the last ``n_layers`` hidden vectors, in the order in which they run.

    The last one is the classification head, so its input is the penultimate layer. A layer counts only if its input is one
    vector for each sample, so the layers over the tokens of a transformer do not count. If the model has fewer such layers,
    all of them are given.

    :param classifier: ART ``PyTorchClassifier``.
    :param x: At least one input, shape (n, ...); the first is used.
    :param n_layers: Number of layers.
    :return: Names from ``named_modules()``.
    :raises InvalidInputError: If no such layer runs.
    """
    order = layers_in_order(
        classifier,
        x,
        lambda module: isinstance(module, nn.Linear),
        lambda given: given.ndim == 2 and len(given) == 1,
    )
    if not order:
        raise InvalidInputError("No linear layer over one vector a sample runs in the model: it has no penultimate layer.")
    return order[-n_layers:]


def layers_in_order(
    classifier: Any, x: np.ndarray, wanted: Callable[[nn.Module], bool], counts: Callable[[Tensor], bool]
) -> list[str]:
    """
    Find modules of one kind in the order in which they run; one that runs several times stands where it runs last.

    :param classifier: ART ``PyTorchClassifier``.
    :param x: At least one input, shape (n, ...); the first is used.
    :param wanted: Whether a module is of the kind.
    :param counts: Whether a run counts, by the first input of the module for the one sample.
    :return: Names from ``named_modules()``.
    """
    order: dict[str, None] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if counts(inputs[0]):
                order.pop(name, None)
                order[name] = None

        return hook

    found = [(name, module) for name, module in layer_modules(classifier).items() if wanted(module)]
    with hooks([module.register_forward_pre_hook(note(name)) for name, module in found]):
        run_batch(classifier, x[:1])
    return list(order)


def logits_and_hidden(
    classifier: Any, x: np.ndarray, layers: Sequence[str], batch_size: int = 128
) -> tuple[np.ndarray, np.ndarray]:
    """
    Give the model's outputs and the inputs of the named layers, side by side, in one pass.

    :param classifier: ART ``PyTorchClassifier``.
    :param x: Inputs as the classifier takes them, shape (n, ...).
    :param layers: Names that :func:`hidden_layers` gave.
    :param batch_size: Number of inputs in one pass.
    :return: Outputs (n, K) and features (n, D), float32.
    :raises InvalidInputError: For a name that the model does not have, or a module that did not run.
    """
    modules = layer_modules(classifier)
    unknown = [name for name in layers if name not in modules]
    if unknown:
        raise InvalidInputError(f"The model has no layer {', '.join(unknown)}; was the detector fitted on another model?")
    collected: dict[str, np.ndarray] = {}
    for batch in watch(classifier, x, {name: [modules[name]] for name in layers}, batch_size, of_inputs=True):
        store_rows(collected, "outputs", batch.outputs, batch, len(x))
        store_rows(collected, "hidden", torch.cat([batch.activations[name] for name in layers], dim=1), batch, len(x))
    return collected["outputs"], collected["hidden"]


def _modules(classifier: Any, layers: Sequence[str]) -> dict[str, list[nn.Module]]:
    if not layers:  # only the outputs are asked for, which every network has
        torch_module(classifier)
        return {}
    modules = layer_modules(classifier)
    unknown = [name for name in layers if name not in modules]
    if unknown:
        known = ", ".join(name for name in modules if name)
        raise InvalidInputError(f"The model has no layer {', '.join(unknown)}; it has: {known}.")
    return {name: [modules[name]] for name in layers}
