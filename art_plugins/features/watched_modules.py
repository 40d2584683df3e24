"""Forward passes in which modules are watched: batches of outputs and activations, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from art_plugins.errors import InvalidInputError
from art_plugins.features.classifiers import class_outputs, predicted_classes
from art_plugins.features.forward_pass import first_tensor, hooks, not_finite_message, not_finite_rows, run_batch


class ActivationBatch(NamedTuple):
    """
    Outputs and activations of one batch. The tensors are float32 and on the model's device.

    :param start: Row of ``x`` with which the batch starts.
    :param outputs: Outputs of the network, (B, K).
    :param predicted: Classes that ``classifier.predict`` gives, (B,), int64, a NumPy array.
    :param activations: Layer -> output of the module, (B, ...). The mapping is emptied before the next batch is computed,
        so that only one batch is in memory: copy what you want to keep.
    """

    start: int
    outputs: Tensor
    predicted: np.ndarray
    activations: dict[str, Tensor]


def checked_batch_size(batch_size: int) -> int:
    if not isinstance(batch_size, (int, np.integer)) or isinstance(batch_size, bool) or batch_size < 1:
        raise InvalidInputError(f"batch_size must be a whole number of at least 1; received {batch_size!r}.")
    return int(batch_size)


def watch(
    classifier: Any,
    x: np.ndarray,
    watched: Mapping[str, Sequence[nn.Module]],
    batch_size: int,
    precision: str = "32-true",
    of_inputs: bool = False,
    complaint: str = "Layer {} took no part in the forward pass; choose another.",
    strict: bool = False,
) -> Iterator[ActivationBatch]:
    """
    Run the batches of :func:`stream_activations`. It has eight parameters because its callers differ in all of them.

    :param watched: Name -> modules; if there are several, the last one that runs counts.
    :param of_inputs: Whether the first inputs of the modules are given instead of their outputs.
    :param complaint: Message of the error if a name has no tensor at the end of a pass.
    :param strict: Whether values that are not finite raise an error, after the last batch.
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

    wrong: dict[str, list[int]] = {}
    batch_size = checked_batch_size(batch_size)
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
        outputs = class_outputs(output, len(x[start : start + batch_size])).float()
        for name, rows in not_finite_rows({"outputs": outputs, **activations}).items() if strict else ():
            wrong.setdefault(name, []).extend(start + row for row in rows)
        if not wrong:
            yield ActivationBatch(start, outputs, predicted_classes(classifier, outputs.cpu().numpy()), activations)
        activations.clear()
    if wrong:
        raise InvalidInputError(not_finite_message(wrong, len(x)))


def store_rows(collected: dict[str, np.ndarray], name: str, output: Tensor, batch: ActivationBatch, n_total: int) -> None:
    rows = output.reshape(len(batch.outputs), -1).cpu().numpy()
    if name not in collected:
        collected[name] = np.empty((n_total, rows.shape[1]), dtype=np.float32)
    collected[name][batch.start : batch.start + len(rows)] = rows
