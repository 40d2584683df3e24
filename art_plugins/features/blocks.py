"""The layers at which to look at a network, found in one forward pass: blocks (residual, dense, transformer) or stages."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from art_plugins.errors import InvalidInputError
from art_plugins.features.classifiers import class_outputs, layer_modules
from art_plugins.features.forward_pass import first_tensor, hooks, run_batch

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Call:
    """
    One run of a module.

    ``inner`` holds the runs of the modules inside it. ``given`` and ``gave`` are the memory addresses of the first input
    and of the output, each with the number of changes to it so far; ``tensors`` keeps both in memory. ``started`` and
    ``ended`` are times of one clock, which counts the events of the pass. ``output`` is a copy of the output.
    """

    name: str
    module: nn.Module
    started: int
    given: tuple[int, int] | None
    ended: int = -1
    gave: tuple[int, int] | None = None
    output: Tensor | None = None
    inner: list[Call] = field(default_factory=list)
    tensors: list[Tensor | None] = field(default_factory=list)

    @property
    def has_weights(self) -> bool:
        """Whether the module itself has a matrix of weights. Those of modules inside it do not count."""
        return any(parameter.ndim > 1 for parameter in self.module.parameters(recurse=False))

    @property
    def n_weights(self) -> int:
        """The number of modules with weights that ran, with the module itself."""
        return self.has_weights + sum(call.n_weights for call in self.inner)

    @property
    def is_sequential(self) -> bool:
        """Whether the module is a plain ``nn.Sequential``."""
        return type(self.module).forward is nn.Sequential.forward

    @property
    def is_chain(self) -> bool:
        """Whether the input of each module inside is the output of the one before, so that there is no shortcut."""
        at = self.given
        for call in self.inner:
            if call.given != at:
                return False
            at = call.gave
        return self.gave == at


def _has_time_first(output: Any) -> bool:
    """Whether what a module gave for one sample has its rows on the second axis, (T, 1, ...), as recurrent layers may."""
    return output is not None and output.ndim > 1 and len(output) > 1 and output.shape[1] == 1


def find_blocks(classifier: Any, x: np.ndarray) -> list[str]:
    """
    Find the layers at which to look at a network, in the order in which they run. The last layer gives the logits.

    The names of the modules do not matter. The rules use which modules run inside which, and how tensors are passed on:

    1. A *block* has at least two modules with weights and is no plain sequence. A module that only wraps several blocks of
       one class is replaced by these blocks; examples are a stage of residual blocks and an encoder. A module that occurs
       several times and has shortcuts is kept whole; an example is a dense block.
    2. If blocks of one class occur several times, the layers are the stem, the blocks, the modules with weights between and
       after the blocks (such as a transition, or the last convolution of MobileNetV2), and the logits. The stem is the
       input of the first block. If that block has no shortcut, its output replaces the stem.
    3. Otherwise the layers are *stages*. A stage is a convolution or a linear layer with the modules that follow it
       (normalisation, activation, pooling, flattening). Its layer is the last of these modules.

    ResNet-18 has 10 layers (stem, 8 blocks, logits), MobileNetV2 19 (17 blocks, pooled features, logits), ViT-B 14 (tokens,
    12 blocks, logits), DenseNet-121 9 (stem, 4 dense blocks, 3 transitions, logits), LeNet-5 5 and VGG-16 16.

    When this breaks: an operation that is no module has no name. If the activation is ``functional.relu``, the stage ends
    before it. A stage also ends before an activation module that is used again later, because only the last output of a
    module is seen.

    :param classifier: ART ``PyTorchClassifier``.
    :param x: At least one input, shape (n, ...). Only the first is used.
    :return: Names from ``named_modules()``. The name ``""`` is the whole model; it is given if no module in it has the
        logits as its output.
    :raises InvalidInputError: If ``x`` is empty, or no module with weights runs.
    """
    if len(x) < 1:
        raise InvalidInputError(f"At least one input is needed to see which layers run; received shape {x.shape}.")
    root, output = _record(classifier, x[:1])
    calls = sorted(_inside(root), key=lambda call: call.ended)
    last_calls = {id(call.module): call for call in calls}
    calls = [call for call in calls if last_calls[id(call.module)] is call]
    blocks = [call for call in _blocks(root, Counter(type(call.module) for call in calls)) if call in calls]
    if not _repeats(blocks):
        blocks = []
    layers = _with_stages(blocks, calls)
    if not layers:
        raise InvalidInputError(f"No module with weights runs in the model {type(root.module).__name__}: it has no layers.")
    logits = next((call for call in calls if _equal(call.output, output)), None)
    if logits is None:
        last = layers[-1].output
        logits = layers[-1] if last is not None and last.numel() == output.numel() else root
    names = [call.name for call in layers if call.ended < logits.ended and not _has_time_first(call.output)] + [logits.name]
    kind = f"{len(blocks)} blocks ({', '.join(sorted({type(block.module).__name__ for block in blocks}))})"
    logger.info("%d layers, by %s: %s.", len(names), kind if blocks else "stages", ", ".join(map(repr, names)))
    return names


def _record(classifier: Any, x: np.ndarray) -> tuple[Call, Tensor]:
    """Run the model, and give the run of the whole model, with all runs inside it, and the output."""
    names = {module: name for name, module in layer_modules(classifier).items()}
    stack = [Call("", nn.Identity(), 0, None)]
    clock = iter(range(1, 1_000_000_000))

    def start(module: nn.Module, positional: Any, named: Any) -> None:
        tensor = _tensor((positional, named))
        call = Call(names[module], module, next(clock), _place(tensor), tensors=[tensor])
        stack[-1].inner.append(call)
        stack.append(call)

    def end(module: nn.Module, inputs: Any, output: Any) -> None:
        call = stack.pop()
        tensor = _tensor(output)
        call.ended, call.gave = next(clock), _place(tensor)
        call.output = None if tensor is None else tensor.clone()
        call.tensors.append(tensor)

    handles = [module.register_forward_pre_hook(start, with_kwargs=True) for module in names]
    handles += [module.register_forward_hook(end) for module in names]
    with hooks(handles):
        output = class_outputs(run_batch(classifier, x), 1)
    return stack[0].inner[-1], output


def _blocks(call: Call, n_of_class: Counter[type]) -> Iterator[Call]:
    """Find the blocks by rule 1, from the outermost module inwards."""
    for inner in call.inner:
        if inner.n_weights < 2 or not inner.inner:
            continue
        within = list(_blocks(inner, n_of_class))
        if inner.is_sequential or (_repeats(within) and (inner.is_chain or n_of_class[type(inner.module)] == 1)):
            yield from within
        else:
            yield inner


def _with_stages(blocks: list[Call], calls: list[Call]) -> list[Call]:
    """Apply rules 2 and 3: give the blocks and the last run of each stage outside them, without stages before the stem."""
    parts = [
        call
        for call in calls
        if (not call.inner or (call.has_weights and call.n_weights == 1)) and not _within(call, blocks)
    ]
    events = sorted([*parts, *blocks], key=lambda call: call.ended)
    layers: list[Call] = []
    for call in events:
        if call in blocks or call.has_weights:
            layers.append(call)
        elif layers and layers[-1] not in blocks and call.gave != layers[-1].gave:
            layers[-1] = call  # the stage goes on
    if blocks:
        n_before = layers.index(blocks[0])
        layers = layers[n_before if blocks[0].is_chain else max(0, n_before - 1) :]
    return layers


def _within(call: Call, blocks: list[Call]) -> bool:
    return any(block.started <= call.started and call.ended <= block.ended for block in blocks)


def _inside(call: Call) -> Iterator[Call]:
    for inner in call.inner:
        yield inner
        yield from _inside(inner)


def _repeats(blocks: list[Call]) -> bool:
    return any(count > 1 for count in Counter(type(block.module) for block in blocks).values())


def _tensor(value: Any) -> Tensor | None:
    try:
        return first_tensor(value)
    except InvalidInputError:
        return None


def _place(tensor: Tensor | None) -> tuple[int, int] | None:
    return None if tensor is None else (tensor.data_ptr(), tensor._version)


def _equal(tensor: Tensor | None, output: Tensor) -> bool:
    return tensor is not None and tensor.numel() == output.numel() and torch.equal(tensor.flatten(), output.flatten())
