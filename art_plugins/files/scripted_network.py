"""A TorchScript classifier whose layers can be looked at, though hooks do not reach into TorchScript."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from art_plugins.errors import InvalidInputError
from art_plugins.features.vae.training import seeded
from art_plugins.files.model_formats import GIVE_WEIGHTS
from art_plugins.files.script_safety import last_line

N_HIDDEN = 2  # last hidden vectors that are handed out: as many as the in-flight detector uses
# Activation functions that are shown: as many as large networks have blocks (MobileNetV2 17, ResNet-50 16, ViT-B 12). A
# detector holds some vectors of each layer for each clean image, so that the number bounds its memory.
MOST_SHOWN = 20
# Largest difference between the outputs of a TorchScript model and of what is made from it, in units of the largest output
# (at least 1): what the rounding of the type allows.
TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
# Kind of a node in TorchScript's graph -> which of its inputs is the vector that a linear layer is given.
LINEAR_NODES = {"aten::linear": 0, "aten::addmm": 1, "aten::mm": 0, "aten::matmul": 0}
# What activation functions are called in the graph; they are where the layers of a network are looked at.
ACTIVATION_NODES = tuple(
    f"aten::{name}{ending}"
    for name in ("relu", "relu6", "leaky_relu", "elu", "selu", "hardtanh", "hardswish", "silu", "gelu", "tanh", "sigmoid")
    for ending in ("", "_")
)
_CANNOT = "The hidden layers of this TorchScript model cannot be reached"


class ScriptedNetwork(nn.Module):
    """
    A copy of the script's graph hands out the inputs of its last linear layers beside the outputs, and each is passed
    through a layer of :attr:`heads`, whose results are not used: a hook on such a layer sees the hidden vector, as in a
    network of Python. After :func:`show_layers`, another copy hands out the results of the activation functions as well,
    and each is passed through a layer of :attr:`shown`. It runs only while a hook is on one of these, since it keeps all
    of these results in memory.

    :param graph: The script's graph, of the images alone.
    :param hidden: The values of the graph that are hidden vectors, (n, D) each.
    :param widths: D of each of them.
    """

    def __init__(self, graph: Any, hidden: Sequence[Any], widths: Sequence[int]) -> None:
        super().__init__()
        self._graph, self._hidden = graph, list(hidden)
        self._function = _function_with(graph, hidden)
        with seeded(0):
            self.heads = nn.ModuleList(nn.Linear(width, 1) for width in widths)
        self.shown = nn.ModuleList()
        self._function_of_all: Any = None

    @classmethod
    def from_script(cls, script: Any, x: Tensor) -> ScriptedNetwork:
        """
        :param script: A TorchScript module; arguments of its ``forward`` after the first keep their defaults.
        :param x: Some images that it takes.
        :raises InvalidInputError: If the graph has no linear layer over one vector an image, or does not give the same
            outputs, or no gradient.
        """
        try:
            graph = _plain_graph(script)
            nodes = [node for node in graph.nodes() if node.kind() in LINEAR_NODES]
            vectors = [list(node.inputs())[LINEAR_NODES[node.kind()]] for node in nodes]
            with torch.no_grad():
                *seen, _ = _function_with(graph, vectors)(x)
                hidden = [
                    (vector, value.shape[1])
                    for vector, value in zip(vectors, seen, strict=True)
                    if value.ndim == 2 and len(value) == len(x)
                ][-N_HIDDEN:]
            network = cls(graph, [vector for vector, _ in hidden], [width for _, width in hidden])
            network = network.to(x.device, x.dtype).eval()
            with torch.no_grad():
                outputs = script(x).float()
                difference = float((network(x).float() - outputs).abs().max() / outputs.abs().max().clamp_min(1))
            images = x.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(network(images)[:, 0].sum(), images)
        except Exception as error:  # whatever torch's interpreter does not like about a graph
            raise InvalidInputError(f"{_CANNOT} ({last_line(error)}): {GIVE_WEIGHTS}.") from error
        reason = None
        if not hidden:
            reason = "it has no linear layer over one vector an image"
        elif not difference <= TOLERANCES.get(x.dtype, TOLERANCES[torch.float32]):
            reason = f"its outputs and those of its copy differ by {difference:.2g}"
        elif not bool(gradient.isfinite().all()):
            reason = "its gradients are not finite"
        if reason is not None:
            raise InvalidInputError(f"{_CANNOT} ({reason}): {GIVE_WEIGHTS}.")
        return network

    def show_activations(self) -> int:
        """
        Hand out the results of the activation functions, at most 20 of them, which are spread evenly and end with the last.

        :return: Number of layers of :attr:`shown`; 0 if the graph has no activation function that is known.
        """
        found = [node.output() for node in self._graph.nodes() if node.kind() in ACTIVATION_NODES]
        n_shown = min(len(found), MOST_SHOWN)
        found = [found[(index + 1) * len(found) // n_shown - 1] for index in range(n_shown)]
        self._function_of_all = _function_with(self._graph, [*self._hidden, *found])
        self.shown = nn.ModuleList(nn.Identity() for _ in found)
        return n_shown

    def forward(self, x: Tensor) -> Tensor:
        """(n, ...) -> (n, K), as the TorchScript model."""
        is_looked_at = any(layer._forward_hooks or layer._forward_pre_hooks for layer in self.shown)
        *values, outputs = (self._function_of_all if is_looked_at else self._function)(x)
        for layer, value in zip([*self.heads, *self.shown], values, strict=False):
            layer(value)
        result: Tensor = outputs
        return result


def show_layers(model: nn.Module) -> list[str] | None:
    """
    Let a scripted network hand out the results of its activation functions, each as the output of a module.

    :param model: A network that may hold a :class:`ScriptedNetwork`; it is changed.
    :return: Names of these modules in ``model``, and ``""``, which is the model with its outputs; ``None``: it holds no
        scripted network, so that hooks reach all of its modules.
    :raises InvalidInputError: If the graph has no activation function that is known.
    """
    for name, module in model.named_modules():
        if isinstance(module, ScriptedNetwork):
            n_shown = module.show_activations()
            if not n_shown:
                raise InvalidInputError(f"{_CANNOT} (it has no activation function that is known).")
            return [*(f"{name}.shown.{index}".lstrip(".") for index in range(n_shown)), ""]
    return None


def _plain_graph(script: Any) -> Any:
    """A function of the images alone: without calls, attributes and optional arguments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch would rather have torch.export
        frozen = torch.jit.freeze(script.eval(), optimize_numerics=False)  # type: ignore[no-untyped-call]
    graph = frozen.graph.copy()
    torch._C._jit_pass_inline(graph)
    defaults = [argument.default_value for argument in frozen.forward.schema.arguments]
    extra = list(graph.inputs())[2:]
    if extra:
        graph.setInsertPoint(next(iter(graph.nodes())))
        for place, value in reversed(list(enumerate(extra, start=2))):
            constant = graph.insertConstant(defaults[place])
            constant.setType(value.type())
            value.replaceAllUsesWith(constant)
            graph.eraseInput(place)
    return graph


def _function_with(graph: Any, vectors: Sequence[Any]) -> Any:
    """A function of the images from a graph of one output and a module that is no longer needed, with further outputs."""
    copy = graph.copy()
    places = {value.debugName(): value for node in copy.nodes() for value in [*node.inputs(), *node.outputs()]}
    values = [*(places[vector.debugName()] for vector in vectors), *copy.outputs()]
    together = copy.create("prim::TupleConstruct", values, 1)
    copy.appendNode(together)
    together.output().setType(torch._C.TupleType([value.type() for value in values]))
    copy.eraseOutput(0)
    copy.registerOutput(together.output())
    copy.eraseInput(0)
    copy.lint()
    # A function of a compilation unit can be saved, as a part of a guarded model; one of a graph alone cannot.
    return torch._C.CompilationUnit().create_function("__torch__.scripted_network_forward", copy)
