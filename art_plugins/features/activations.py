"""Activations of any modules of a PyTorch model, all in one forward pass; hooks are removed whatever happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from art_plugins.errors import InvalidInputError

PRECISIONS = ("32-true", "bf16-mixed")


class ActivationBatch(NamedTuple):
    """
    What a model made of one batch. The tensors are float32 and on the model's device.

    :param start: Row of ``x`` with which the batch starts.
    :param outputs: The model's outputs, (B, K).
    :param activations: Layer -> (B, ...), as the module gave it. Emptied when the next batch is asked for, so that two are
        never held at once: take out what you want to keep.
    """

    start: int
    outputs: Tensor
    activations: dict[str, Tensor]


def stream_activations(
    classifier: Any, x: np.ndarray, layers: Sequence[str], batch_size: int = 128, precision: str = "32-true"
) -> Iterator[ActivationBatch]:
    """
    Outputs of several modules and of the model, a batch at a time: reduce each batch, and memory does not grow with ``x``.

    A module that runs several times in a pass gives its last output. Of a tuple, a list or a mapping the first tensor
    counts. A module whose output is overwritten later in the pass (``out += identity``, ``ReLU(inplace=True)``) still gives
    what it put out itself: such outputs are copied. Between two batches the model has no hooks, and the training mode that
    it had before.

    :param classifier: ART ``PyTorchClassifier``; its preprocessing is applied, on its device, in evaluation mode and
        without gradients.
    :param x: Inputs as the classifier takes them, shape (n, ...).
    :param layers: Names from ``classifier.model.named_modules()``; ``""`` is the whole model.
    :param batch_size: At least 1.
    :param precision: ``"32-true"``, or ``"bf16-mixed"``: the pass runs under PyTorch's autocast.
    :raises InvalidInputError: At once for a name that the model does not have, a bad batch size or precision; in the first
        batch for a module that did not run, or whose output holds no tensor.
    """
    modules = dict(torch_module(classifier).named_modules())
    unknown = [name for name in layers if name not in modules]
    if unknown:
        known = ", ".join(name for name in modules if name)
        raise InvalidInputError(f"The model has no layer {', '.join(unknown)}; it has: {known}.")
    if batch_size < 1:
        raise InvalidInputError(f"batch_size must be at least 1; received {batch_size}.")
    if precision not in PRECISIONS:
        raise InvalidInputError(f"precision must be one of {', '.join(PRECISIONS)}; received {precision!r}.")
    return _stream(classifier, x, {name: [modules[name]] for name in layers}, batch_size, precision)


def collect_activations(
    classifier: Any, x: np.ndarray, layers: Sequence[str], batch_size: int = 128
) -> dict[str, np.ndarray]:
    """
    Outputs of several modules, each flattened to one row a sample, for all of ``x`` at once.

    ART's ``get_activations`` gives one layer a pass, with gradients, and leaves its hooks on the model.

    :return: Name -> array (n, features), float32.
    :raises InvalidInputError: As :func:`stream_activations`, which also says what the parameters are.
    """
    collected: dict[str, np.ndarray] = {}
    for batch in stream_activations(classifier, x, layers, batch_size):
        for name, output in batch.activations.items():
            _store(collected, name, output, batch, len(x))
    return {name: collected[name] for name in layers}


def penultimate_activations(classifier: Any, x: np.ndarray, batch_size: int = 128) -> np.ndarray:
    """
    What the classification head sees: the input of the last linear layer that runs, flattened.

    :param classifier: ART ``PyTorchClassifier``.
    :param x: Inputs as the classifier takes them, shape (n, ...).
    :return: Shape (n, features), float32.
    :raises InvalidInputError: If no linear layer runs.
    """
    linear = [module for module in torch_module(classifier).modules() if isinstance(module, nn.Linear)]
    complaint = "No linear layer runs in the model, so it has no penultimate features."
    collected: dict[str, np.ndarray] = {}
    for batch in _stream(classifier, x, {"penultimate": linear}, batch_size, of_inputs=True, complaint=complaint):
        _store(collected, "penultimate", batch.activations["penultimate"], batch, len(x))
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
        run_batch(classifier, x[:1])
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
    collected: dict[str, np.ndarray] = {}
    for batch in _stream(classifier, x, {name: [modules[name]] for name in layers}, batch_size, of_inputs=True):
        _store(collected, "outputs", batch.outputs, batch, len(x))
        _store(collected, "hidden", torch.cat([batch.activations[name] for name in layers], dim=1), batch, len(x))
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


def run_batch(classifier: Any, x: np.ndarray, precision: str = "32-true") -> Any:
    """
    What the model gives for one batch, in evaluation mode and without gradients; every module gets its mode back.

    :param x: As the classifier takes it; ART's preprocessing is applied.
    :param precision: One of ``PRECISIONS``.
    """
    network = torch_module(classifier)
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        # Not inference_mode: its tensors do not count the changes made to them, and the caller's code would be inside it.
        with torch.inference_mode(False), torch.no_grad():
            batch, _ = classifier._apply_preprocessing(np.asarray(x), y=None, fit=False)
            tensor = torch.from_numpy(np.ascontiguousarray(batch)).to(classifier.device)
            with torch.autocast(tensor.device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
                return network(tensor.float() if tensor.dtype == torch.float64 else tensor)
    finally:
        for module, mode in modes:
            module.training = mode


def first_tensor(output: Any) -> Tensor:
    """
    The first tensor in what a module gave: itself, or from a tuple, a list or a mapping.

    :raises InvalidInputError: If there is none.
    """
    if isinstance(output, Tensor):
        return output
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, (tuple, list)) else ()
    for part in parts:
        if isinstance(part, (Tensor, Mapping, tuple, list)):
            return first_tensor(part)
    raise InvalidInputError(f"A module gave {type(output).__name__} without a tensor; choose another layer.")


def _stream(
    classifier: Any,
    x: np.ndarray,
    watched: Mapping[str, Sequence[nn.Module]],
    batch_size: int,
    precision: str = "32-true",
    of_inputs: bool = False,
    complaint: str = "Layer {} took no part in the forward pass; choose another.",
) -> Iterator[ActivationBatch]:
    """
    :param watched: Name -> modules; of several the last one that runs counts.
    :param of_inputs: The modules' first inputs instead of their outputs.
    :param complaint: Said if a name has no tensor at the end of a pass.
    """
    seen: dict[str, tuple[Tensor, int]] = {}
    overwritten: set[str] = set()

    def keep(name: str, value: Any) -> None:
        tensor = first_tensor(value)
        tensor = tensor.clone() if name in overwritten else tensor
        seen[name] = (tensor, tensor._version)

    def register(name: str, module: nn.Module) -> Any:
        if of_inputs:
            return module.register_forward_pre_hook(lambda module, inputs: keep(name, inputs))
        return module.register_forward_hook(lambda module, inputs, output: keep(name, output))

    for start in range(0, len(x), batch_size):
        while True:
            with hooks([register(name, module) for name, modules in watched.items() for module in modules]):
                output = run_batch(classifier, x[start : start + batch_size], precision)
            missing = [name for name in watched if name not in seen]
            if missing:
                raise InvalidInputError(complaint.format(", ".join(missing)))
            changed = {name for name, (tensor, version) in seen.items() if tensor._version != version}
            if not changed:
                break
            overwritten |= changed
            seen.clear()
        activations = {name: seen.pop(name)[0].float() for name in watched}
        yield ActivationBatch(start, first_tensor(output).float(), activations)
        activations.clear()


def _store(collected: dict[str, np.ndarray], name: str, output: Tensor, batch: ActivationBatch, n_total: int) -> None:
    rows = output.reshape(len(batch.outputs), -1).cpu().numpy()
    if name not in collected:
        collected[name] = np.empty((n_total, rows.shape[1]), dtype=np.float32)
    collected[name][batch.start : batch.start + len(rows)] = rows
