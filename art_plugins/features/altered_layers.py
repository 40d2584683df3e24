"""A trained network whose hidden layers are altered while a block of code runs: dropout, or outputs that are scaled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import _modules
from art_plugins.features.blocks import find_blocks
from art_plugins.features.classifiers import layer_modules
from art_plugins.features.forward_pass import hooks


@contextmanager
def altering(classifier: Any, layers: Sequence[str], change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """
    Put ``change(output)`` in place of the outputs of some modules while the block runs, by hooks.

    :param classifier: ART ``PyTorchClassifier``.
    :param layers: Names from ``named_modules()``.
    :raises InvalidInputError: For an unknown layer; in the block, for a module whose output is no tensor.
    """

    def hook(module: nn.Module, inputs: Any, output: Any) -> Tensor:
        if not isinstance(output, Tensor):
            raise InvalidInputError(
                f"A layer that is altered must give one tensor; a {type(module).__name__} gives a {type(output).__name__}: "
                "choose other layers."
            )
        return change(output)

    modules = [module for found in _modules(classifier, layers).values() for module in found]
    with hooks([module.register_forward_hook(hook) for module in modules]):
        yield


@contextmanager
def dropping_out(classifier: Any, layers: Sequence[str], rate: float, random_state: int) -> Iterator[None]:
    """
    Set outputs of modules to 0 at random while the block runs, and scale the others by 1 / (1 - rate).

    The network stays in evaluation mode, so its own dropout modules do nothing unless they are named. The masks come from
    a generator of this call: two blocks with the same passes draw the same masks, and no global generator moves.

    :param classifier: ART ``PyTorchClassifier``.
    :param layers: Names from ``named_modules()``.
    :param rate: Share of the values that are dropped, 0 to below 1.
    :param random_state: Random seed of the masks.
    :raises InvalidInputError: As :func:`altering` does.
    """
    generators: dict[torch.device, torch.Generator] = {}

    def drop(output: Tensor) -> Tensor:
        if output.device not in generators:
            generators[output.device] = torch.Generator(output.device).manual_seed(random_state)
        kept = torch.rand(output.shape, generator=generators[output.device], device=output.device) >= rate
        return output * kept / (1 - rate)

    with altering(classifier, layers, drop):
        yield


def dropout_layers(classifier: Any, x: np.ndarray) -> list[str]:
    """
    Find the modules behind which dropout is put: the blocks of the network, or its stages if it has no blocks; see
    :func:`~art_plugins.features.blocks.find_blocks`. The stem of a network with blocks and the logits are left out.

    :param classifier: ART ``PyTorchClassifier``.
    :param x: At least one input, shape (n, ...); the first is used.
    :raises InvalidInputError: If nothing runs before the logits.
    """
    modules = layer_modules(classifier)
    names = find_blocks(classifier, x)[:-1]
    if not names:
        raise InvalidInputError("The network has one layer only, so there are no hidden layers for dropout.")
    return [name for name in names if [*modules[name].children()]] or names
