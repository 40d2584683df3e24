"""Data set in, per-sample latents out: a front end, a scaling and a variational autoencoder, fitted and kept together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from art_plugins.arrays import check_finite, check_samples
from art_plugins.errors import InvalidInputError, NotFittedError
from art_plugins.features import training
from art_plugins.features.convergence import has_settled, settled_words, steps_per_epoch
from art_plugins.features.convolutional_autoencoder import ConvolutionalAutoencoder
from art_plugins.features.sample_shapes import without_lone_channel
from art_plugins.features.saved_autoencoder import check_front_end, check_state, weight_rules
from art_plugins.features.sequential_autoencoder import POSTERIORS, SHRINK, SequentialAutoencoder
from art_plugins.features.spectrogram import LogMelSpectrogram
from art_plugins.file_rules import check_arrays, reading
from art_plugins.parameters import check_choice, check_count, check_flag, check_number, plain, shown
from art_plugins.storage import load_arrays, save_arrays, target_file

if TYPE_CHECKING:
    from lightning.fabric import Fabric

FILE_KIND = "autoencoder"
KINDS = ("waveform", "spectrogram", "image")
MOST_SIZE = 2**16  # of a layer: weights between two such layers fill 16 GB, and more is a mistake
MOST_RATE = 2**27  # Hz; no sound is sampled faster, and a window of a second still fits memory
LARGEST = 1e30  # of a value: squares of some of them are still numbers of single precision when they have been scaled
LEAST_TYPICAL = 0.01  # of what a typical sample holds, in standard deviations of all: below, nothing is seen of it
FARTHEST = 1e4  # root mean square of a sample, in standard deviations of those fitted on: no network says anything of it
WHOLE_NUMBERS = ("sample_rate_hz", "n_mels", "latent_dim", "step_latent_dim", "embedding_dim", "hidden_dim", "channels")


@dataclass(frozen=True)
class AutoencoderSettings:
    """
    What an autoencoder is made of; JSON-safe, saved with it.

    :param kind: ``"waveform"`` (n, S), ``"spectrogram"`` (n, T, F) or ``"image"`` (n, C, H, W), (n, H, W, C), (n, H, W); of
        the first two an axis of length one, before or after, may hold the only channel.
    :param channels_first: Where an image's colours are; ``None``: inferred from the shape.
    :param sample_rate_hz: Of waveforms.
    :param n_mels: Mel bands of the front end for waveforms; a multiple of 8.
    :param window_s: Length of its window in seconds.
    :param hop_s: Its step in seconds.
    :param floor: Added to the mel power before the logarithm.
    :param latent_dim: Size of the per-sample latent.
    :param step_latent_dim: Size of the latent of a time step (sequences only).
    :param embedding_dim: Size of a frame's embedding (sequences only).
    :param hidden_dim: Size of the recurrent states (sequences only).
    :param channels: Channels of the convolutions.
    :param posterior: ``"factorised"`` or ``"full"`` (sequences only).
    :param video_like: The paper's two-dimensional form (sequences only).
    :param reconstruction_weight: Weight of the squared error against the divergences; see :class:`SequentialAutoencoder`.
    """

    kind: str = "waveform"
    channels_first: bool | None = None
    sample_rate_hz: int = 16_000
    n_mels: int = 40
    window_s: float = 0.032
    hop_s: float = 0.03125
    floor: float = 1e-3
    latent_dim: int = 64
    step_latent_dim: int = 24
    embedding_dim: int = 256
    hidden_dim: int = 128
    channels: int = 32
    posterior: str = "factorised"
    video_like: bool = False
    reconstruction_weight: float = 192.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if isinstance(getattr(self, field.name), np.generic):  # from a sweep over np.arange; JSON has no such type
                object.__setattr__(self, field.name, getattr(self, field.name).item())
        check_choice("kind", self.kind, KINDS)
        check_choice("posterior", self.posterior, POSTERIORS)
        check_flag("video_like", self.video_like)
        if self.channels_first is not None:
            check_flag("channels_first", self.channels_first)
        for name in WHOLE_NUMBERS:
            check_count(name, getattr(self, name), most=MOST_RATE if name == "sample_rate_hz" else MOST_SIZE)
        for name in ("window_s", "hop_s", "floor", "reconstruction_weight"):
            value = getattr(self, name)
            check_number(name, value, above=0)


def infer_kind(shape: tuple[int, ...]) -> str:
    """
    The kind of data from the shape of ``x_train``: two axes are waveforms, four are images.

    :raises InvalidInputError: For three axes, which may be spectrograms or grey images, and for any other number.
    """
    if len(shape) == 2:
        return "waveform"
    if len(shape) == 4:
        return "image"
    if len(shape) == 3:
        raise InvalidInputError(
            f"x_train of shape {shape} may be spectrograms (n, time, bands) or grey images (n, height, width); "
            "say which with kind='spectrogram' or kind='image'."
        )
    raise InvalidInputError(
        f"x_train has shape {shape}; waveforms are (n, samples), spectrograms (n, time, bands), "
        "images (n, channels, height, width) or (n, height, width, channels)."
    )


class Autoencoder:
    """
    A variational autoencoder for waveforms, spectrograms or images, trained without labels.

    Fitted once, it encodes any other data set of the same kind and sample shape (Mehlman et al. 2023, section 4.4).

    :param settings: Architecture and front end.
    :ivar history_: Mean losses of each epoch, in nats.
    :ivar steps_per_epoch_: Of the optimiser; ``None``: not known, of an autoencoder saved by an earlier release.
    """

    def __init__(self, settings: AutoencoderSettings | None = None) -> None:
        self.settings = settings or AutoencoderSettings()
        self.history_: list[dict[str, float]] = []
        self.steps_per_epoch_: int | None = None
        self._sample_shape: tuple[int, ...] | None = None
        self._mean, self._scale = 0.0, 1.0
        self._spectrogram: LogMelSpectrogram | None = None
        self._network: SequentialAutoencoder | ConvolutionalAutoencoder | None = None

    @property
    def is_fitted(self) -> bool:
        """Whether :meth:`fit` has run or a fitted autoencoder was loaded."""
        return self._network is not None and bool(self.history_)

    def fit(
        self,
        x: np.ndarray,
        *,
        nb_epochs: int | None = None,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        random_state: int = 0,
        patience: int | str | None = training.SETTLED,
        checkpoint: str | Path | None = None,
        fabric: Fabric | None = None,
        verbose: bool = True,
    ) -> Autoencoder:
        """
        Train on ``x`` from scratch. There are nine parameters: the data, and what a user sets of a training by name.

        :param x: Samples, shape as :class:`AutoencoderSettings` says; a ``numpy.memmap`` is streamed.
        :param nb_epochs: Most passes over ``x``; ``None``: 2,000 steps of the optimiser, but 30 passes at least.
        :param patience: When to stop before; ``"settled"``: when the latents have (:func:`training.train`).
        :param checkpoint: File from which an interrupted training goes on; see :func:`training.train`.
        :param fabric: A launched Lightning Fabric for several devices or mixed precision.
        :raises InvalidInputError: For a bad argument, shape, dtype, or a sample that is not finite.
        """
        training.check_training(nb_epochs, batch_size, learning_rate, patience, random_state)
        if checkpoint is not None and not isinstance(checkpoint, (str, Path)):
            raise InvalidInputError(f"checkpoint must be None or the path of a file; received {shown(checkpoint)}.")
        check_samples(x)
        self.history_, self.steps_per_epoch_ = [], None
        with training.seeded(random_state):
            self._build(x.shape[1:])
        assert self._network is not None
        fabric = fabric or training.make_fabric()
        self._measure_scale(x, batch_size, fabric.device)
        self.history_ = training.train(
            self._network,
            x,
            self._front_end,
            nb_epochs=nb_epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            random_state=random_state,
            patience=patience,
            checkpoint=checkpoint,
            identity=json.dumps(self.state_settings()),
            fabric=fabric,
            verbose=verbose,
        )
        self.steps_per_epoch_ = steps_per_epoch(len(x), batch_size, fabric.world_size)
        return self

    @property
    def has_settled(self) -> bool | None:
        """Whether the training was long enough (:mod:`~art_plugins.features.convergence`); ``None``: not known."""
        if not self.history_ or self.steps_per_epoch_ is None:
            return None
        return has_settled(self.history_, self.steps_per_epoch_)

    @property
    def not_settled(self) -> str | None:
        """A sentence that says that the training was too short, and what to do; ``None``: it was not, or not known."""
        if not self.history_ or self.steps_per_epoch_ is None:
            return None
        return settled_words(self.history_, self.steps_per_epoch_)

    def encode(self, x: np.ndarray, batch_size: int = 256) -> np.ndarray:
        """
        Per-sample latents: the mean of q(f | x) in evaluation mode.

        :param x: Samples of the shape that was fitted, (n, ...).
        :return: Latents, shape (n, latent_dim), float32.
        :raises NotFittedError: Before :meth:`fit`.
        :raises InvalidInputError: For another sample shape or a sample that is not finite.
        """
        return self.encode_steps(x, batch_size)[0]

    def encode_steps(self, x: np.ndarray, batch_size: int = 256) -> tuple[np.ndarray, np.ndarray | None]:
        """
        Per-sample latents as :meth:`encode` gives them, and the means of the latents of every time step.

        :return: (n, latent_dim), and (n, T, step_latent_dim) or ``None`` for images; float32.
        """
        network = self._network
        if network is None or not self.history_:
            raise NotFittedError("This autoencoder has not been trained; call fit(x) or load a saved one.")
        check_samples(x)
        if tuple(x.shape[1:]) != self._sample_shape:
            raise InvalidInputError(
                f"This autoencoder was fitted on samples of shape {self._sample_shape}; received {tuple(x.shape[1:])}. "
                "Pad, crop or resample the data, or fit another autoencoder."
            )
        check_count("batch_size", plain(batch_size))
        device = training.make_fabric().device
        network.to(device).eval()
        latents, steps = [], []
        with torch.inference_mode():
            for start, batch in _batches(x, batch_size):
                inputs = self._front_end(batch.to(device))
                far = (inputs.flatten(1).double() ** 2).mean(dim=1).sqrt() >= FARTHEST  # NaN is found in the latents
                if far.any():
                    raise InvalidInputError(
                        f"x[{start + int(far.nonzero()[0])}] holds values far out of the range of those that the "
                        "autoencoder was fitted on; remove or mend such samples first."
                    )
                if isinstance(network, SequentialAutoencoder):
                    encoded, encoded_steps = network.encode_steps(inputs)
                    steps.append(encoded_steps.float().cpu().numpy())
                else:
                    encoded = network.encode(inputs)
                latents.append(encoded.float().cpu().numpy())
        network.to("cpu")
        whole = np.concatenate(latents)
        check_finite(whole, "latents of x", "look for samples with extreme values")
        of_steps = np.concatenate(steps) if steps else None
        if of_steps is not None:
            check_finite(of_steps, "latents of the time steps of x", "look for samples with extreme values")
        return whole, of_steps

    def save(self, filename: str | Path, path: str | Path | None = None) -> None:
        """
        Write settings, scaling, history and weights as one safetensors file, atomically.

        :param filename: Name of the file, or its whole path.
        :param path: The folder, as ART has it; ``None``: ``filename`` says where.
        """
        save_arrays(target_file(filename, path), FILE_KIND, self.state_arrays(), self.state_settings())

    @classmethod
    def load(cls, path: str | Path) -> Autoencoder:
        """
        Read what :meth:`save` wrote; nothing is unpickled.

        :raises FileFormatError: If the file is damaged, of another kind, or its shapes do not fit its settings.
        """
        return cls.from_state(*load_arrays(path, FILE_KIND))

    def state_arrays(self) -> dict[str, np.ndarray]:
        """The weights by name, for :func:`save_arrays`."""
        if self._network is None or not self.history_:
            raise NotFittedError("This autoencoder has not been trained; there is nothing to save. Call fit(x) first.")
        return {name: value.cpu().contiguous().numpy() for name, value in self._network.state_dict().items()}

    def state_settings(self) -> dict[str, Any]:
        """All that is not an array, JSON-safe."""
        return {
            "settings": asdict(self.settings),
            "sample_shape": list(self._sample_shape or ()),
            "mean": self._mean,
            "scale": self._scale,
            "history": self.history_,
            **({} if self.steps_per_epoch_ is None else {"steps_per_epoch": self.steps_per_epoch_}),
        }

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray], state: dict[str, Any]) -> Autoencoder:
        """
        The inverse of :meth:`state_arrays` and :meth:`state_settings`.

        Sizes are compared without making anything of them first: a small file may claim a network that fills the memory.

        :raises FileFormatError: If they do not fit each other, or are of no use.
        """
        with reading("The file's settings and arrays do not make an autoencoder"):
            check_state(state)
            settings, shape = AutoencoderSettings(**state["settings"]), tuple(state["sample_shape"])
            sized, sized_shape = cls(settings), shape
            if settings.kind == "waveform":  # the network of its spectrograms, without the filters
                check_front_end(settings.sample_rate_hz, settings.window_s, settings.n_mels)
                sized, sized_shape = cls(replace(settings, kind="spectrogram")), (2, settings.n_mels)
            with torch.device("meta"):
                sized._build(sized_shape)
            assert sized._network is not None
            check_arrays(arrays, weight_rules(sized._network.state_dict()), {})
            autoencoder = cls(settings)
            with training.seeded(0):
                autoencoder._build(shape)
            autoencoder._mean, autoencoder._scale = float(state["mean"]), float(state["scale"])
            autoencoder.history_ = [dict(losses) for losses in state["history"]]
            steps = state.get("steps_per_epoch")  # files of earlier releases have none
            autoencoder.steps_per_epoch_ = None if steps is None else max(1, int(steps))
            assert autoencoder._network is not None
            autoencoder._network.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
            autoencoder._network.eval()
        return autoencoder

    def _build(self, sample_shape: tuple[int, ...]) -> None:
        settings = self.settings
        self._sample_shape = tuple(sample_shape)
        sample_shape = without_lone_channel(settings.kind, self._sample_shape)
        axes = {"waveform": (1,), "spectrogram": (2,), "image": (2, 3)}[settings.kind]
        if len(sample_shape) not in axes:
            raise InvalidInputError(f"kind={settings.kind!r} does not fit samples of shape {sample_shape}.")
        self._spectrogram = None
        if settings.kind == "image":
            self._network = ConvolutionalAutoencoder(
                image_shape(self._sample_shape, settings.channels_first),
                settings.latent_dim,
                settings.channels,
                reconstruction_weight=settings.reconstruction_weight,
            )
            return
        bands = sample_shape[-1]
        if settings.kind == "waveform":
            self._spectrogram = LogMelSpectrogram(
                settings.sample_rate_hz, settings.n_mels, settings.window_s, settings.hop_s, settings.floor
            )
            if sample_shape[0] <= self._spectrogram.n_fft // 2:
                raise InvalidInputError(
                    f"Waveforms of {sample_shape[0]} samples are shorter than half a window "
                    f"({self._spectrogram.n_fft // 2}); is x_train of shape (n, samples)?"
                )
            bands = settings.n_mels
        self._network = SequentialAutoencoder(
            n_bands=-(-bands // SHRINK) * SHRINK,
            latent_dim=settings.latent_dim,
            step_latent_dim=settings.step_latent_dim,
            embedding_dim=settings.embedding_dim,
            hidden_dim=settings.hidden_dim,
            channels=settings.channels,
            posterior=settings.posterior,
            video_like=settings.video_like,
            reconstruction_weight=settings.reconstruction_weight,
        )

    def _front_end(self, batch: Tensor) -> Tensor:
        """Raw batch -> scaled frames (B, T, F) or images (B, C, H, W)."""
        assert self._sample_shape is not None
        if self.settings.kind == "image":
            colours, height, width = image_shape(self._sample_shape, self.settings.channels_first)
            if len(self._sample_shape) == 3 and not has_channels_first(self._sample_shape, self.settings.channels_first):
                batch = batch.movedim(-1, 1)
            batch = batch.reshape(-1, colours, height, width)
        else:
            batch = batch.reshape(-1, *without_lone_channel(self.settings.kind, self._sample_shape))
        if self._spectrogram is not None:
            batch = self._spectrogram.to(batch.device)(batch)
        scaled = (batch - self._mean) / self._scale
        missing = -scaled.shape[-1] % SHRINK if self.settings.kind != "image" else 0
        return nn.functional.pad(scaled, (0, missing))

    def _measure_scale(self, x: np.ndarray, batch_size: int, device: torch.device) -> None:
        """Mean and standard deviation over all values that the front end gives, in one pass over ``x``."""
        self._mean, self._scale = 0.0, 1.0
        parts = []
        for start, batch in _batches(x, max(batch_size, 256)):
            values = self._front_end(batch.to(device)).double().flatten(1)
            if not (values.abs() < LARGEST).all():  # nor is NaN
                bad = start + int((~(values.abs() < LARGEST).all(dim=1)).nonzero()[0])
                raise InvalidInputError(
                    f"x[{bad}] holds NaN, infinity or a value out of range; remove or mend such samples first."
                )
            parts.append(torch.stack([values.mean(dim=1), values.var(dim=1, correction=0)]).cpu().numpy())
        means, variances = np.concatenate(parts, axis=1)
        self._mean = float(means.mean())
        squares = variances + (means - self._mean) ** 2
        self._scale = float(squares.mean()) ** 0.5 or 1.0
        # From the typical level, which samples far out do not move; blank samples lie there and tell nothing.
        from_typical = variances + (means - np.median(means)) ** 2
        if from_typical.any() and np.median(from_typical[from_typical > 0]) < LEAST_TYPICAL**2 * squares.mean():
            raise InvalidInputError(
                f"x[{int(squares.argmax())}] and {int((squares > squares.mean()).sum()) - 1} more lie so far out that half "
                f"of the others are equal within {LEAST_TYPICAL:.0%} of the spread; remove or mend them first."
            )


def image_shape(sample_shape: tuple[int, ...], channels_first: bool | None) -> tuple[int, int, int]:
    """
    (C, H, W) of a sample of shape (H, W), (C, H, W) or (H, W, C).

    :raises InvalidInputError: See :func:`has_channels_first`.
    """
    if len(sample_shape) == 2:
        return (1, sample_shape[0], sample_shape[1])
    first, middle, last = sample_shape
    return (first, middle, last) if has_channels_first(sample_shape, channels_first) else (last, first, middle)


def has_channels_first(sample_shape: tuple[int, ...], channels_first: bool | None) -> bool:
    """
    Whether a sample is (C, H, W) and not (H, W, C): as ``channels_first`` says, or inferred from the shape.

    :raises InvalidInputError: If the colours' axis cannot be told from the shape and ``channels_first`` is ``None``.
    """
    if channels_first is not None:
        return channels_first
    likely_first, likely_last = sample_shape[0] in (1, 3, 4), sample_shape[-1] in (1, 3, 4)
    if likely_first == likely_last:
        raise InvalidInputError(
            f"The colour axis of images of shape {sample_shape} cannot be inferred; give channels_first=True or False."
        )
    return likely_first


def _batches(x: np.ndarray, batch_size: int) -> Iterator[tuple[int, Tensor]]:
    for start in range(0, len(x), batch_size):
        yield start, torch.from_numpy(np.array(x[start : start + batch_size], dtype=np.float32))
