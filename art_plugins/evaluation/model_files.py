"""An image classifier that somebody else has trained: a TorchScript file, or weights beside the code of their network."""

from __future__ import annotations

import importlib
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn

from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import hidden_layers
from art_plugins.features.training import seeded

N_HIDDEN = 2  # hidden vectors of a TorchScript model that can be looked at: as many as the detectors use
TOLERANCE = 1e-4  # largest difference between the outputs of a TorchScript model and of what is made from it
# Kind of a node in TorchScript's graph -> which of its inputs is the vector that a linear layer is given.
LINEAR_NODES = {"aten::linear": 0, "aten::addmm": 1, "aten::mm": 0, "aten::matmul": 0}
WRAPPINGS = ("state_dict", "model_state_dict", "model")  # names under which a checkpoint holds the weights
PARALLEL = "module."  # before every name in the weights of a network that was trained in parallel
GIVE_WEIGHTS = (
    "save its weights alone, torch.save(model.state_dict(), 'weights.pt'), and give the function that makes the network "
    "as --factory package.module:function"
)


def load_classifier(
    path: str | Path,
    size: tuple[int, int],
    *,
    is_grey: bool = False,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    factory: str | None = None,
    factory_args: Mapping[str, Any] | None = None,
) -> Any:
    """
    A model file as a classifier of images with values 0 to 1.

    Whether the model takes grey or coloured images, channels first or last, is found by giving it one of each; a network
    that flattens coloured images first would take both orders, and is given channels first.

    A file is never unpickled. A TorchScript file is a program all the same: it runs in torch's own interpreter, which
    knows no Python, but do not run what you would not run. The factory is Python code of yours, and is imported and called.

    :param path: A TorchScript file; or weights: a safetensors file, or a ``state_dict`` that torch has saved.
    :param size: Width and height of the images.
    :param is_grey: Which of both to try first.
    :param mean: Subtracted from the images, one value or one for each channel; ``None``: 0.
    :param std: What they are divided by then; ``None``: 1. A model of images from 0 to 255 needs 1 / 255.
    :param factory: For weights: ``"package.module:function"``, from an installed package or the current folder; the
        function returns the network.
    :param factory_args: Keyword arguments of the function.
    :return: An ART ``PyTorchClassifier``; its ``input_shape``, ``channels_first`` and ``nb_classes`` say what was found.
    :raises InvalidInputError: If the file, the factory or the normalisation cannot be used, or the model does not map
        images of this size to one row of class scores each.
    """
    source = Path(path)
    if not source.is_file():
        raise InvalidInputError(f"{source} {'is not a file' if source.exists() else 'does not exist'}; give a model file.")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    is_script = _is_torchscript(source)
    if is_script and factory is not None:
        raise InvalidInputError(f"{source} is a TorchScript file, which holds its network; leave out the factory.")
    network = _load_script(source, device) if is_script else _load_weights(source, factory, factory_args or {})
    network = network.to(device).eval()
    shape, channels_first, nb_classes = _find_input(network, size, is_grey, device)
    if is_script:
        network = ScriptedNetwork.from_script(network, shape, device)
    n_channels = shape[0] if channels_first else shape[-1]
    classifier = PyTorchClassifier(
        model=network,
        loss=nn.CrossEntropyLoss(),
        input_shape=shape,
        nb_classes=nb_classes,
        channels_first=channels_first,
        clip_values=(0.0, 1.0),
        preprocessing=(_normalisation("mean", mean, n_channels, 0.0), _normalisation("std", std, n_channels, 1.0)),
        device_type="gpu" if device.type == "cuda" else "cpu",
    )
    hidden_layers(classifier, np.zeros((1, *shape), dtype=np.float32), 1)
    return classifier


class ScriptedNetwork(nn.Module):
    """
    A TorchScript classifier whose last hidden vectors can be looked at.

    Hooks do not reach into TorchScript. So a copy of its graph hands out the inputs of its last linear layers beside the
    outputs, and each is passed through a layer of :attr:`heads`, whose results are not used: a hook on such a layer sees
    the hidden vector, as in a network of Python.

    :param function: Of a batch of images: hidden vectors, (n, D) each, then the outputs (n, K).
    :param widths: D of each hidden vector.
    """

    def __init__(self, function: Any, widths: Sequence[int]) -> None:
        super().__init__()
        self._function = function
        with seeded(0):
            self.heads = nn.ModuleList(nn.Linear(width, 1) for width in widths)

    @classmethod
    def from_script(cls, script: Any, shape: tuple[int, ...], device: torch.device) -> ScriptedNetwork:
        """
        :param script: A TorchScript module.
        :param shape: Of one image.
        :raises InvalidInputError: If the graph has no linear layer over one vector an image, or does not give the same
            outputs, or no gradient.
        """
        x = _probe(shape, device)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # torch would rather have torch.export
                frozen = torch.jit.freeze(script.eval(), optimize_numerics=False)  # type: ignore[no-untyped-call]
            graph = frozen.graph.copy()
            torch._C._jit_pass_inline(graph)
            nodes = [node for node in graph.nodes() if node.kind() in LINEAR_NODES]
            vectors = [list(node.inputs())[LINEAR_NODES[node.kind()]] for node in nodes]
            with torch.no_grad():
                *seen, _ = _function_with(graph, vectors)(x)
                hidden = [
                    (vector, value.shape[1])
                    for vector, value in zip(vectors, seen, strict=True)
                    if value.ndim == 2 and len(value) == len(x)
                ][-N_HIDDEN:]
            network = cls(_function_with(graph, [vector for vector, _ in hidden]), [width for _, width in hidden])
            network = network.to(device).eval()
            with torch.no_grad():
                difference = float((network(x) - script(x)).abs().max())
            images = x.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(network(images)[:, 0].sum(), images)
        except Exception as error:  # whatever torch's interpreter does not like about a graph
            raise InvalidInputError(f"{_CANNOT} ({_last_line(error)}): {GIVE_WEIGHTS}.") from error
        reason = None
        if not hidden:
            reason = "it has no linear layer over one vector an image"
        elif not difference <= TOLERANCE:
            reason = f"its outputs and those of its copy differ by {difference:.2g}"
        elif not bool(gradient.isfinite().all()):
            reason = "its gradients are not finite"
        if reason is not None:
            raise InvalidInputError(f"{_CANNOT} ({reason}): {GIVE_WEIGHTS}.")
        return network

    def forward(self, x: Tensor) -> Tensor:
        """(n, ...) -> (n, K), as the TorchScript model."""
        *hidden, outputs = self._function(x)
        for head, vector in zip(self.heads, hidden, strict=True):
            head(vector)
        result: Tensor = outputs
        return result


_CANNOT = "The hidden layers of this TorchScript model cannot be reached"


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
    return torch._C._create_function_from_graph("forward", copy)


def _is_torchscript(path: Path) -> bool:
    """TorchScript files are archives with code; those of ``torch.save`` hold none."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name or name.endswith("/constants.pkl") for name in archive.namelist())


def _load_script(path: Path, device: torch.device) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return torch.jit.load(path, map_location=device)  # type: ignore[no-untyped-call]
    except Exception as error:
        raise InvalidInputError(f"{path} is a TorchScript file that cannot be read: {_last_line(error)}.") from error


def _load_weights(path: Path, factory: str | None, arguments: Mapping[str, Any]) -> nn.Module:
    weights = _read_weights(path)
    if factory is None:
        raise InvalidInputError(
            f"{path} holds weights only, so the function that makes their network is needed: --factory "
            "package.module:function."
        )
    network = _make_network(factory, arguments)
    try:
        network.load_state_dict(weights)
    except Exception as error:  # of names or shapes
        raise InvalidInputError(
            f"The weights in {path} are not those of the network that {factory} makes: {_shortened(error)}"
        ) from error
    return network


def _read_weights(path: Path) -> dict[str, Tensor]:
    """The weights by name, without what training in parallel or a checkpoint puts around them."""
    try:
        if path.suffix == ".safetensors":
            weights: Any = safetensors.torch.load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format has its own errors for damaged files
        if "Weights only load failed" in str(error):
            raise InvalidInputError(
                f"{path} holds Python objects, such as a whole pickled model, and reading those would run code from the "
                f"file, so it is not read: in the code that has the model, {GIVE_WEIGHTS}."
            ) from error
        raise InvalidInputError(
            f"{path} is no readable model file: neither TorchScript nor safetensors nor a state_dict saved by torch."
        ) from error
    if isinstance(weights, dict) and not all(isinstance(value, Tensor) for value in weights.values()):
        weights = next((weights[name] for name in WRAPPINGS if isinstance(weights.get(name), dict)), None)
    if not isinstance(weights, dict) or not weights or not all(isinstance(value, Tensor) for value in weights.values()):
        raise InvalidInputError(f"{path} holds no state_dict, a dictionary of names and tensors: {GIVE_WEIGHTS}.")
    if all(str(name).startswith(PARALLEL) for name in weights):
        weights = {name.removeprefix(PARALLEL): value for name, value in weights.items()}
    state_dict: dict[str, Tensor] = weights
    return state_dict


def _make_network(factory: str, arguments: Mapping[str, Any]) -> nn.Module:
    module_name, _, function_name = factory.partition(":")
    if not module_name or not function_name:
        raise InvalidInputError(f"A factory is named package.module:function; received {factory!r}.")
    with _current_folder_importable():
        try:
            function = getattr(importlib.import_module(module_name), function_name, None)
        except Exception as error:  # anything may go wrong in the user's code
            raise InvalidInputError(
                f"The module of the factory {factory!r} cannot be imported ({_shortened(error)}); it must be installed, or "
                "lie in the current folder."
            ) from error
        if not callable(function):
            raise InvalidInputError(f"The module {module_name!r} has no function {function_name!r}.")
        try:
            with seeded(0):
                network = function(**arguments)
        except Exception as error:
            raise InvalidInputError(
                f"The factory {factory!r}, called with {dict(arguments)}, failed: {type(error).__name__}: "
                f"{_shortened(error)}"
            ) from error
    if not isinstance(network, nn.Module):
        raise InvalidInputError(
            f"The factory {factory!r} must return a torch.nn.Module; received {type(network).__name__}."
        )
    return network


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _find_input(
    network: Any, size: tuple[int, int], is_grey: bool, device: torch.device
) -> tuple[tuple[int, ...], bool, int]:
    """Shape of an image, whether its channels come first, and the number of classes: the first combination that runs."""
    width, height = size
    reasons = []
    for channels_first in (True, False):
        for channels in (1, 3) if is_grey else (3, 1):
            shape = (channels, height, width) if channels_first else (height, width, channels)
            x = _probe(shape, device)
            try:
                with torch.no_grad():
                    outputs = network(x)
            except Exception as error:  # torch's errors for shapes are of several types
                reasons.append(_last_line(error))
                continue
            if isinstance(outputs, Tensor) and outputs.ndim == 2 and len(outputs) == len(x) and outputs.shape[1] > 1:
                return shape, channels_first, outputs.shape[1]
            got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise InvalidInputError(
                "The model must give one tensor with a row of class scores for each image; for "
                f"{len(x)} images it gave {got}."
            )
    raise InvalidInputError(
        f"The model takes neither grey nor coloured images of {width} x {height} pixels ({reasons[0]}); give --size, the "
        "size that it was trained on."
    )


def _probe(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Two images of noise."""
    noise = np.random.default_rng(0).random((2, *shape), dtype=np.float32)
    return torch.from_numpy(noise).to(device)


def _normalisation(name: str, values: Sequence[float] | None, n_channels: int, default: float) -> np.ndarray:
    """One value for each channel: ART asks for equal shapes of mean and std."""
    array = np.asarray([default] if values is None else values, dtype=np.float32)
    fits = array.ndim == 1 and len(array) in (1, n_channels) and np.isfinite(array).all()
    if not fits or (name == "std" and (array <= 0).any()):
        above = " above 0" if name == "std" else ""
        each = "" if n_channels == 1 else f", or one for each of the {n_channels} channels"
        raise InvalidInputError(f"--{name} must be one number{above}{each}, in units of 0 to 1; received {values}.")
    return np.repeat(array, n_channels) if len(array) == 1 else array


def _last_line(error: Exception) -> str:
    """TorchScript puts its traceback before the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".")[:300] if lines else type(error).__name__


def _shortened(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
