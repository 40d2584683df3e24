"""Pretrained encoders of timm, torchvision and torchaudio by name, and what the inputs of their training looked like."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from art_plugins.errors import ArtPluginsError, InvalidInputError
from art_plugins.features.input_checks import NARROW, typical_range
from art_plugins.features.sample_shapes import has_channels_first, image_shape, without_lone_channel
from art_plugins.optional import import_optional

PACKAGES = ("timm", "torchvision", "torchaudio")
MARGIN = 0.01  # that images may lie outside 0 to 1, as interpolation leaves some


@dataclass(frozen=True)
class Pictures:
    """
    Turns images of 0 to 1 into what an encoder was trained on. Images of one colour are repeated three times. The whole
    image is resized, by bilinear interpolation; nothing is cropped, because a trigger may lie at the border.

    :param size: Height and width.
    :param mean: Value that is subtracted from each of the three colours.
    :param std: Value by which each colour is then divided.
    :param channels_first: Whether the colours come before height and width; ``None``: as the shape shows.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels_first: bool | None = None

    def __call__(self, batch: Tensor) -> Tensor:
        """(B, ...) -> (B, 3, H, W)."""
        if batch.ndim == 3:
            batch = batch[:, None]
        elif not has_channels_first(tuple(batch.shape[1:]), self.channels_first):
            batch = batch.movedim(-1, 1)
        batch = batch.expand(-1, 3, -1, -1)
        batch = functional.interpolate(batch, self.size, mode="bilinear", align_corners=False, antialias=True)
        mean, std = (batch.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (batch - mean) / std


@dataclass(frozen=True)
class Waveforms:
    """
    Turns waveforms into what an encoder was trained on.

    :param rate_hz: Sampling rate of the waveforms.
    :param encoder_rate_hz: Sampling rate of the encoder's training.
    :param is_normalised: Whether each waveform is brought to mean 0 and variance 1.
    """

    rate_hz: int
    encoder_rate_hz: int
    is_normalised: bool

    def __call__(self, batch: Tensor) -> Tensor:
        """(B, S), (B, 1, S) or (B, S, 1) -> (B, S')."""
        batch = batch.flatten(1)
        if self.rate_hz != self.encoder_rate_hz:
            resample = import_optional("torchaudio.functional").resample
            batch = resample(batch, self.rate_hz, self.encoder_rate_hz)
        return functional.layer_norm(batch, batch.shape[1:]) if self.is_normalised else batch


class NamedEncoder(NamedTuple):
    """A network with its weights, and what turns samples into its inputs."""

    network: nn.Module
    prepare: Callable[[Tensor], Tensor]


def check_encoder_name(name: str) -> None:
    """
    :raises InvalidInputError: If it does not begin with a package, as ``"timm:resnet18"`` does.
    """
    package, _, model = name.partition(":")
    if package not in PACKAGES or not model:
        raise InvalidInputError(
            f"encoder must be a callable, a torch.nn.Module, or a name that begins with {', '.join(PACKAGES)} and a colon, "
            f"such as 'timm:vit_small_patch14_dinov2'; received {name!r}."
        )


def check_inputs(name: str, x: np.ndarray, channels_first: bool | None, sample_rate_hz: int | None) -> None:
    """
    Check that samples are what an encoder of this name can be given, before its weights are loaded.

    :param x: Samples, (n, ...), finite.
    :raises InvalidInputError: For images that are not of one or three colours, or not of 0 to 1; for sounds that are no
        waveforms, or whose sampling rate is not known.
    """
    shape = x.shape[1:]
    if name.startswith("torchaudio:"):
        if len(without_lone_channel("waveform", shape)) != 1:
            raise InvalidInputError(f"encoder={name!r} takes waveforms (n, S); x_train has the shape {x.shape}.")
        if sample_rate_hz is None:
            raise InvalidInputError(f"encoder={name!r} needs the sampling rate of the waveforms; give sample_rate_hz.")
        return
    n_colours = image_shape(shape, channels_first)[0] if len(shape) in (2, 3) else 0
    if n_colours not in (1, 3):
        raise InvalidInputError(
            f"encoder={name!r} takes images of one or three colours, (n, H, W), (n, C, H, W) or (n, H, W, C); x_train has "
            f"the shape {x.shape}. Drop other channels, such as transparency, or give channels_first."
        )
    low, high = typical_range(x)
    if low < -MARGIN or high > 1 + MARGIN or 0 < (high - low) * NARROW < 1:
        raise InvalidInputError(
            f"encoder={name!r} takes images of 0 to 1, and x_train holds values from {low:.4g} to {high:.4g} in the "
            "typical image; bring them to 0 to 1, such as by x_train / 255."
        )


def load_encoder(name: str, channels_first: bool | None = None, sample_rate_hz: int | None = None) -> NamedEncoder:
    """
    Load an encoder with its published weights, by the package's own functions: from the cache of that package, or from the
    network if they are not there. Files of weights are read as arrays of numbers, and never unpickled.

    - ``"timm:NAME"``: an image model, without its classification head.
    - ``"torchvision:NAME"``: a classifier of images, with its default weights.
    - ``"torchaudio:NAME"``: a bundle of wav2vec 2.0, HuBERT or WavLM, such as ``"WAV2VEC2_BASE"``.

    :param name: One that :func:`check_encoder_name` accepts.
    :param channels_first: Whether the colours of the images come before height and width; ``None``: as the shape shows.
    :param sample_rate_hz: Sampling rate of the waveforms.
    :raises InvalidInputError: If the package has no such encoder, or its weights cannot be loaded.
    :raises MissingPackageError: If the package is not installed.
    """
    package, _, model = name.partition(":")
    with torch.random.fork_rng(devices=[]):  # the packages draw weights before they load any
        if package == "timm":
            return _of_timm(model, channels_first)
        if package == "torchvision":
            return _of_torchvision(model, channels_first)
        return _of_torchaudio(model, int(sample_rate_hz or 0))


def _of_timm(model: str, channels_first: bool | None) -> NamedEncoder:
    timm = import_optional("timm")
    tagged = timm.list_pretrained()  # such as "resnet18.a1_in1k"; without the tag, timm takes the default weights
    _check_known("timm", model, {*tagged, *(one.partition(".")[0] for one in tagged)})
    network = _loaded(f"timm:{model}", lambda: timm.create_model(model, pretrained=True, num_classes=0))
    config = import_optional("timm.data").resolve_model_data_config(network)
    n_colours, *size = config["input_size"]
    if n_colours != 3:
        raise InvalidInputError(f"encoder='timm:{model}' takes {n_colours} colours and not three; give it as a module.")
    return NamedEncoder(network, Pictures((size[0], size[1]), tuple(config["mean"]), tuple(config["std"]), channels_first))


def _of_torchvision(model: str, channels_first: bool | None) -> NamedEncoder:
    models = import_optional("torchvision.models")
    _check_known("torchvision", model, models.list_models(module=models))
    weights = models.get_model_weights(model).DEFAULT
    transforms = weights.transforms()
    if type(transforms).__name__ != "ImageClassification":
        raise InvalidInputError(f"encoder='torchvision:{model}' is no classifier of images; give one as a module.")
    network = models.get_model(model, weights=None)
    state = _loaded(
        f"torchvision:{model}", lambda: weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    )
    network.load_state_dict(state)
    side = int(transforms.crop_size[0])
    return NamedEncoder(network, Pictures((side, side), tuple(transforms.mean), tuple(transforms.std), channels_first))


def _of_torchaudio(model: str, sample_rate_hz: int) -> NamedEncoder:
    pipelines = import_optional("torchaudio.pipelines")
    bundles = {name: one for name, one in vars(pipelines).items() if isinstance(one, pipelines.Wav2Vec2Bundle)}
    _check_known("torchaudio", model, bundles)
    bundle = bundles[model]
    network = _loaded(f"torchaudio:{model}", lambda: bundle.get_model(dl_kwargs={"progress": False, "weights_only": True}))
    # The wrapper of some bundles normalises all waveforms of a batch together, so that they change one another's features.
    wrapped = network.model if isinstance(getattr(network, "model", None), nn.Module) else None
    prepare = Waveforms(sample_rate_hz, int(bundle.sample_rate), wrapped is not None and network.normalize_waveform)
    return NamedEncoder(network if wrapped is None else wrapped, prepare)


def _check_known(package: str, model: str, known: Collection[str]) -> None:
    if model in known:
        return
    near = difflib.get_close_matches(model, known, n=3)
    remedy = f"did you mean {' or '.join(near)}?" if near else f"it has, for example, {', '.join(sorted(known)[:3])}."
    raise InvalidInputError(f"encoder='{package}:{model}': {package} has no encoder with weights of this name; {remedy}")


def _loaded(name: str, load: Callable[[], Any]) -> Any:
    """
    What is loaded, from the network or from a cache.

    :raises InvalidInputError: If it cannot be loaded.
    """
    try:
        return load()
    except (ArtPluginsError, MemoryError):
        raise
    except Exception as error:  # of a network, a file, or weights that do not fit, in the words of three packages
        raise InvalidInputError(
            f"The weights of encoder={name!r} cannot be loaded ({type(error).__name__}: {error}). They come from the "
            "network unless they are in the cache; or make the network yourself, and give it as encoder."
        ) from error
