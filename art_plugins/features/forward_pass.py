"""One forward pass of a classifier's network: hooks that are always removed, and checks that the values are finite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from art_plugins.errors import InvalidInputError
from art_plugins.features.classifiers import evaluating, forward, preprocessed, torch_module
from art_plugins.features.devices import computes_mixed


@contextmanager
def hooks(handles: list[Any]) -> Iterator[None]:
    """Remove the hooks when the block ends, even if it raises an error."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run_batch(classifier: Any, x: np.ndarray, precision: str = "32-true") -> Any:
    """
    Run the network on one batch, in evaluation mode and without gradients. Every module gets its former mode back.

    :param x: Inputs as the classifier takes them, (B, ...), of any real type. The preprocessing of ART and the processor of
        Hugging Face are applied.
    :param precision: One of ``PASS_PRECISIONS``. A processor that would only imitate bfloat16 computes in 32 bits.
    :return: The output of the network, as its ``forward`` gives it.
    """
    network = torch_module(classifier)
    with evaluating(network):
        tensor = preprocessed(classifier, x, network)
        with torch.autocast(tensor.device.type, torch.bfloat16, enabled=computes_mixed(precision, tensor.device)):
            return forward(classifier, network, tensor)


def first_tensor(output: Any) -> Tensor:
    """
    Give the first tensor in the output of a module: the output itself, or an entry of a tuple, a list or a mapping.

    :raises InvalidInputError: If the output holds no tensor.
    """
    if isinstance(output, Tensor):
        return output
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, (tuple, list)) else ()
    for part in parts:
        if isinstance(part, (Tensor, Mapping, tuple, list)):
            return first_tensor(part)
    raise InvalidInputError(f"A module gave {type(output).__name__} without a tensor; choose another layer.")


def not_finite_rows(tensors: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """
    Find the samples of a batch that have NaN or infinity in some tensor.

    The sums are looked at first, because one value that is not finite makes the sum not finite.

    :param tensors: Name -> (B, ...), floating.
    :return: Name -> rows of such samples; names without any are left out.
    """
    sums = torch.stack([tensor.sum() for tensor in tensors.values()])
    if bool(sums.isfinite().all()):
        return {}
    n_samples = len(next(iter(tensors.values())))
    found = {}
    for name, tensor in tensors.items():
        finite = (
            tensor.isfinite().reshape(n_samples, -1).all(dim=1) if len(tensor) == n_samples else tensor.isfinite().all()
        )
        if not bool(finite.all()):
            found[name] = torch.nonzero(~finite.expand(n_samples)).flatten().tolist()
    return found


def not_finite_message(wrong: Mapping[str, Sequence[int]], n_samples: int) -> str:
    """Say in a sentence which samples and layers are not finite, and what to do."""
    rows = sorted({row for of_name in wrong.values() for row in of_name})
    names = ", ".join("its outputs" if name == "outputs" else f"layer {name!r}" for name in wrong)
    shown = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
    remedy = "mend the model: its weights may be NaN" if len(rows) == n_samples else "remove these samples, or scale them"
    return (
        f"The model gives NaN or infinity for {len(rows)} of {n_samples} samples (rows {shown}; in {names}). What is not "
        f"finite cannot be judged, and is not clean; {remedy}."
    )
