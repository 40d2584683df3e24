"""A classifier that somebody else has trained: a TorchScript file, or weights with the code of their network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn

from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import hidden_layers
from art_plugins.files.exported_weights import is_exported
from art_plugins.files.file_walk import is_file
from art_plugins.files.model_formats import foreign_folder, foreign_format, is_safetensors, is_torchscript
from art_plugins.files.model_inputs import find_input, probe, samples_of
from art_plugins.files.network_factory import make_network
from art_plugins.files.script_safety import load_script
from art_plugins.files.scripted_network import ScriptedNetwork
from art_plugins.files.weight_files import load_weights, read_weights


def load_classifier(
    path: str | Path,
    size: Sequence[int],
    *,
    is_grey: bool = False,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    factory: str | None = None,
    factory_args: Mapping[str, Any] | None = None,
    trust_model: bool = False,
) -> Any:
    """
    A model file as a classifier of images with values 0 to 1, or of mono waveforms with values -1 to 1.

    The function gives the model images of each form to find out which it takes: grey or coloured, channels first or last,
    and which floating-point type. A network that first flattens coloured images would take both orders of channels; it gets
    channels first. A model of waveforms takes them as (n, S) or as (n, 1, S); its classifier takes them as (n, S).

    A file is never unpickled. A TorchScript file is a program, which torch's own interpreter runs in this process. It is
    refused before any part of it runs if it does more than compute (:mod:`~art_plugins.files.script_safety`). Its time and
    memory are not limited here; :func:`~art_plugins.inspection.detect.detect_folder` runs it in a process that has limits
    and cannot write. The factory is your own Python code, which is imported and called.

    :param path: A TorchScript file; or weights: a safetensors file, or a ``state_dict`` that torch has saved,
        or, with a factory, a program of ``torch.export``, of which only the weights are read.
    :param size: Width and height of the images, or the number of samples S of the waveforms alone.
    :param is_grey: Try grey images first, then coloured ones; ``False``: the other way round.
    :param mean: What is subtracted from the images: one value, or one for each channel; ``None``: 0.
    :param std: What the images are then divided by; ``None``: 1. A model of images from 0 to 255 needs 1 / 255. Waveforms
        are given as they are.
    :param factory: For weights: ``"package.module:function"``, from an installed package or the current folder; the
        function returns the network.
    :param factory_args: Keyword arguments of the function.
    :param trust_model: Run a TorchScript file whatever it does.
    :return: An ART ``PyTorchClassifier``; its ``input_shape``, ``channels_first`` and ``nb_classes`` say what was found.
    :raises InvalidInputError: If the file, the factory or the normalisation cannot be used, or the model does not map
        images or waveforms of this size to one row of class scores each.
    """
    source = Path(path)
    is_script = check_model_file(source, factory)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if is_script:
        script = load_script(source.read_bytes(), str(source), device, trust_model)
        return script_classifier(script, size, is_grey=is_grey, mean=mean, std=std, device=device)
    assert factory is not None
    weights = read_weights(source)
    network = make_network(factory, factory_args or {})
    load_weights(network, weights, source, factory)
    network = network.to(device).eval()
    shape, channels_first, nb_classes, dtype = find_input(network, size, is_grey, device)
    return _classifier(_adapted(network, shape, dtype), shape, channels_first, nb_classes, mean, std, device)


def check_model_file(path: Path, factory: str | None) -> bool:
    """
    :return: Whether it is a TorchScript file; else it may hold weights.
    :raises InvalidInputError: If it is no model file of torch's, or needs a factory, or needs none.
    """
    if not is_file(path):
        raise InvalidInputError(f"{path} {foreign_folder(path) if path.exists() else 'does not exist; give a model file.'}")
    if is_torchscript(path):
        if factory is not None:
            raise InvalidInputError(f"{path} is a TorchScript file, which holds its network; leave out the factory.")
        return True
    holds_weights = is_safetensors(path) or (factory is not None and is_exported(path))
    foreign = None if holds_weights else foreign_format(path)
    if foreign is not None:
        raise InvalidInputError(f"{path} {foreign}")
    if factory is None:
        read_weights(path)  # what is wrong with the file comes first
        raise InvalidInputError(
            f"{path} holds weights only, so the function that makes their network is needed: --factory "
            "package.module:function."
        )
    return False


def script_classifier(
    script: Any,
    size: Sequence[int],
    *,
    is_grey: bool,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    device: torch.device,
) -> Any:
    """A TorchScript module as :func:`load_classifier` gives it."""
    _, _, *further = script.forward.schema.arguments  # after the module and the images
    needed = [argument.name for argument in further if not argument.has_default_value()]
    if needed:
        raise InvalidInputError(
            f"The model needs more than {samples_of(size)}: its forward takes {', '.join(needed)} as well. Give a model "
            f"that takes only {samples_of(size)}."
        )
    script = script.to(device).eval()
    shape, channels_first, nb_classes, dtype = find_input(script, size, is_grey, device)
    network: nn.Module = ScriptedNetwork.from_script(script, probe(shape, device).to(dtype))
    return _classifier(_adapted(network, shape, dtype), shape, channels_first, nb_classes, mean, std, device)


def _adapted(network: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> nn.Module:
    """The network for float32, and for waveforms without a channel."""
    network = WithChannel(network) if _is_channel_of_sound(shape) else network
    return network if dtype == torch.float32 else InAnotherType(network, dtype)


def _is_channel_of_sound(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2


class WithChannel(nn.Module):
    """A network of waveforms with one channel, (n, 1, S), for waveforms without channels."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """(n, S) -> (n, K)."""
        outputs: Tensor = self.network(x[:, None])
        return outputs


class InAnotherType(nn.Module):
    """
    A network of another floating-point type, for images of float32 and with outputs of float32.

    :param dtype: What the network takes.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network, dtype

    def forward(self, x: Tensor) -> Tensor:
        """(n, ...) -> (n, K)."""
        outputs: Tensor = self.network(x.to(self.dtype))
        return outputs.float()


def _classifier(
    network: nn.Module,
    shape: tuple[int, ...],
    channels_first: bool,
    nb_classes: int,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    device: torch.device,
) -> Any:
    if len(shape) == 3:
        n_channels = shape[0] if channels_first else shape[-1]
        normalisation = _normalisation("mean", mean, n_channels, 0.0), _normalisation("std", std, n_channels, 1.0)
        form: dict[str, Any] = {"clip_values": (0.0, 1.0), "preprocessing": normalisation}
    elif mean is not None or std is not None:
        raise InvalidInputError("--mean and --std are for images; a model of sounds gets the waveforms as they are.")
    else:
        shape, form = shape[-1:], {"clip_values": (-1.0, 1.0)}
    classifier = PyTorchClassifier(
        model=network.eval(),
        loss=nn.CrossEntropyLoss(),
        input_shape=shape,
        nb_classes=nb_classes,
        channels_first=channels_first,
        device_type="gpu" if device.type == "cuda" else "cpu",
        **form,
    )
    hidden_layers(classifier, np.zeros((1, *shape), dtype=np.float32), 1)
    return classifier


def _normalisation(name: str, values: Sequence[float] | None, n_channels: int, default: float) -> np.ndarray:
    """One value for each channel: ART asks for equal shapes of mean and std."""
    array = np.asarray([default] if values is None else values, dtype=np.float32)
    fits = array.ndim == 1 and len(array) in (1, n_channels) and np.isfinite(array).all()
    if not fits or (name == "std" and (array <= 0).any()):
        above = " above 0" if name == "std" else ""
        each = "" if n_channels == 1 else f", or one for each of the {n_channels} channels"
        raise InvalidInputError(f"--{name} must be one number{above}{each}, in units of 0 to 1; received {values}.")
    return np.repeat(array, n_channels) if len(array) == 1 else array
