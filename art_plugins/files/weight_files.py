"""Weights that somebody has saved, in a state_dict, a checkpoint or a safetensors file; read without running anything."""

from __future__ import annotations

import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from art_plugins.errors import InvalidInputError
from art_plugins.files.exported_weights import is_exported, read_exported
from art_plugins.files.file_walk import printable
from art_plugins.files.model_formats import GIVE_WEIGHTS, is_safetensors
from art_plugins.files.script_safety import MOST_EXPANDED

# Names under which a checkpoint holds the weights, the first that is there counts.
WRAPPINGS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params", "module")
COMPILED = "_orig_mod."  # what torch.compile puts before the names, at any depth
MAX_OBJECTS = 100  # kinds of Python objects in one checkpoint
UNKNOWN_KIND = re.compile(r"Unsupported global: GLOBAL (\S+) was not an allowed global")
COUNTERS = "num_batches_tracked"  # of batch normalisation; older files have none


class Inert:
    """Replaces a Python object in a checkpoint, such as options: it accepts all arguments, and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """As a list."""

    def extend(self, values: Any) -> None:
        """As a list."""


def plain_dictionary(*_: Any) -> OrderedDict[Any, Any]:
    """Replaces a ``defaultdict``, whose factory could be any code; torch fills only its own kinds of dictionaries."""
    return OrderedDict()


STAND_INS = {"collections.defaultdict": plain_dictionary}


def read_weights(path: Path) -> dict[str, Tensor]:
    """
    The tensors by name.

    Everything else in a checkpoint is read as :class:`Inert`, so its own code is neither imported nor called.

    :raises InvalidInputError: If the file is damaged, or holds a network instead of its weights, or no tensors.
    """
    if path.suffix == ".safetensors" or is_safetensors(path):
        try:
            return dict(safetensors.torch.load_file(path))
        except Exception as error:  # of its own type for each damage
            raise InvalidInputError(
                f"{path} is no readable model file: as safetensors it is damaged ({shortened(error)})."
            ) from error
    _check_packed(path)
    if is_exported(path):
        return read_exported(path)
    content, kinds = _read_inert(path)
    kinds = [printable(kind) for kind in kinds]
    weights = _state_dict(content)
    if weights is None:
        if kinds:
            raise InvalidInputError(
                f"{path} holds Python objects ({', '.join(kinds[:3])}) instead of weights, such as a whole pickled model. "
                f"Reading them would run code from the file, so it is not read: in the code that has the model, "
                f"{GIVE_WEIGHTS}."
            )
        raise InvalidInputError(f"{path} holds no state_dict, a dictionary of names and tensors: {GIVE_WEIGHTS}.")
    return weights


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], path: Path, factory: str) -> None:
    """
    Put the weights into a network.

    Parallel training, compiling or a trainer may have put a prefix before the names; it is removed. The weights may be
    those of one part of the network, if nothing else in it is learned, such as a step that makes spectrograms.

    :raises InvalidInputError: If they are those of another network, or are not finite.
    """
    network = _learned_part(network, weights)
    own = network.state_dict()
    fitting = _renamed(weights, set(own))
    for name, value in fitting.items():
        reason = _why_odd(value, own.get(name))
        if reason is not None:
            raise InvalidInputError(f"The weight {name!r} in {path} {reason}: {GIVE_WEIGHTS}.")
    try:
        network.load_state_dict(fitting)
    except Exception as error:  # of names or shapes
        raise InvalidInputError(
            f"The weights in {path} are not those of the network that {factory} makes: {shortened(error)}"
        ) from error
    # Of the network's own numbers: those of the file may be of a type without this test, or claim to be endless.
    now = {name: value for name, value in network.state_dict().items() if name in fitting and value.is_floating_point()}
    broken = [name for name, value in now.items() if not bool(value.isfinite().all())]
    if broken:
        raise InvalidInputError(
            f"{len(broken)} of the {len(fitting)} weights in {path} are not finite, such as {broken[0]!r}: the training "
            "has failed, or the file is damaged."
        )


def _learned_part(network: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """The child of a network that the weights fit and that holds all its parameters; else the network itself."""
    if _fits(weights, set(network.state_dict())):
        return network
    for part in network.children():
        inside = {id(one) for one in part.parameters()}
        if all(id(one) in inside for one in network.parameters()) and _fits(weights, set(part.state_dict())):
            return part
    return network


def _why_odd(value: Tensor, own: Tensor | None) -> str | None:
    """
    Why a tensor of a file cannot be copied into a network's as it is meant, as the rest of a sentence.

    :param own: The tensor of the network; ``None``: it has none of this name.
    """
    if value.is_nested or value.layout != torch.strided or value.is_quantized:
        return "is a sparse, nested or quantized tensor, and not a plain one"
    if value.device.type == "meta":
        return "has a shape and no values"
    if own is not None and own.is_floating_point() and not value.is_floating_point():
        return f"is of type {value.dtype}, and that of the network of {own.dtype}"
    return None


def shortened(error: Exception) -> str:
    """An error's message on one line of at most 300 letters."""
    return printable(" ".join(str(error).split())[:300])


def _check_packed(path: Path) -> None:
    """
    :raises InvalidInputError: If the file is an archive that is small on the disk and huge in memory.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            n_bytes = sum(entry.file_size for entry in archive.infolist())
    except Exception as error:  # zipfile raises many types
        raise InvalidInputError(f"{path} is a damaged archive ({shortened(error)}).") from error
    if n_bytes > MOST_EXPANDED * path.stat().st_size + 2**20:
        raise InvalidInputError(f"{path} is compressed beyond what torch writes, so it is not read.")


def _read_inert(path: Path) -> tuple[Any, list[str]]:
    """What torch reads, and the kinds of Python objects in it that were not made."""
    kinds: list[str] = []
    while True:
        try:
            with torch.serialization.safe_globals([(STAND_INS.get(name, Inert), name) for name in kinds]):  # type: ignore[no-untyped-call]
                return torch.load(path, map_location="cpu", weights_only=True), kinds
        except Exception as error:  # torch has many types for each kind of damage
            unknown = UNKNOWN_KIND.search(str(error))
            if unknown is not None and len(kinds) < MAX_OBJECTS:
                name = unknown.group(1)
                name = name if "." in name.lstrip(".") else f"builtins.{name.lstrip('.')}"
                if name not in kinds:
                    kinds.append(name)
                    continue
            if "Only persistent_load of storage" in str(error):  # a network beside its source
                return None, kinds or ["a network"]
            if "Weights only load failed" in str(error) and "Unsupported operand" not in str(error):
                reason = printable(str(error).split("WeightsUnpickler error:")[-1].strip().splitlines()[0])
                raise InvalidInputError(
                    f"{path} holds more than weights ({reason.rstrip('.')[:200]}). Reading it would run code from the "
                    f"file, so it is not read: in the code that has the model, {GIVE_WEIGHTS}."
                ) from error
            raise InvalidInputError(
                f"{path} is no readable model file: neither TorchScript nor safetensors nor a state_dict saved by torch, "
                f"or damaged ({shortened(error)[:120].rstrip('.')})."
            ) from error


def _state_dict(content: Any) -> dict[str, Tensor] | None:
    """The names and tensors in what was read, or under one of the usual names in it."""
    for _ in range(3):  # a checkpoint in a checkpoint
        if not isinstance(content, dict):
            return None
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        inner = next((content[name] for name in WRAPPINGS if isinstance(content.get(name), dict)), None)
        if inner is None:
            # Beside the weights there may be extra state, of a quantiser or a metric, that is no tensor.
            return tensors or None
        content = inner
    return None


def _fits(weights: Mapping[str, Tensor], wanted: set[str]) -> bool:
    """Whether the weights are those of a network with these names, perhaps behind a common beginning."""
    needed = {name for name in wanted if not name.endswith(COUNTERS)}
    return bool(needed) and needed <= set(_renamed(weights, wanted)) <= wanted


def _renamed(weights: Mapping[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    """The weights under the network's names, if taking a common beginning away gives just those; else as they are."""
    plain = {name.replace(COMPILED, ""): value for name, value in weights.items()}
    plain = plain if len(plain) == len(weights) else dict(weights)
    needed = {name for name in wanted if not name.endswith(COUNTERS)}
    beginnings = {""} | {
        ".".join(name.split(".")[:depth]) + "." for name in plain for depth in range(1, min(5, name.count(".") + 1))
    }
    for beginning in sorted(beginnings, key=lambda text: (len(text), text)):
        inner = {name.removeprefix(beginning): value for name, value in plain.items() if name.startswith(beginning)}
        if needed <= set(inner) <= wanted and needed:
            return inner
    return plain
