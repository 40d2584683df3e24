"""The autoencoder, which gives one latent for each sample: its front end and network are trained and saved together."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from art_plugins.arrays import check_finite, check_samples
from art_plugins.errors import InvalidInputError, NotFittedError
from art_plugins.features.devices import first_device, in_double, make_fabric
from art_plugins.features.sample_shapes import image_shape, infer_kind
from art_plugins.features.vae import training
from art_plugins.features.vae.convergence import has_settled, settled_words, steps_per_epoch
from art_plugins.features.vae.front_end import FrontEnd, batches
from art_plugins.features.vae.network import AutoencoderNetwork, make_network
from art_plugins.features.vae.saved import check_front_end, check_state, weight_rules
from art_plugins.features.vae.sequential import SequentialAutoencoder
from art_plugins.features.vae.settings import KINDS, AutoencoderSettings
from art_plugins.features.vae.waveforms import as_waveforms
from art_plugins.file_rules import check_arrays, reading
from art_plugins.parameters import check_count, plain, shown
from art_plugins.storage import load_arrays, save_arrays, target_file

if TYPE_CHECKING:
    from lightning.fabric import Fabric

__all__ = ["KINDS", "Autoencoder", "AutoencoderSettings", "image_shape", "infer_kind"]

FILE_KIND = "autoencoder"
NOTHING_TO_SAVE = "This autoencoder has not been trained; there is nothing to save. Call fit(x) first."
FARTHEST = 1e4  # root mean square of a sample, in standard deviations of those fitted on: no network says anything of it


class Autoencoder:
    """
    A variational autoencoder for waveforms, spectrograms or images, trained without labels.

    Fitted once, it encodes any other data set of the same kind and sample shape (Mehlman et al. 2023, section 4.4).

    :param settings: Architecture and front end.
    :ivar history_: Mean losses of each epoch, in nats.
    :ivar steps_per_epoch_: Number of training steps in an epoch; ``None``: not known, for files of an earlier release.
    """

    def __init__(self, settings: AutoencoderSettings | None = None) -> None:
        self.settings = settings or AutoencoderSettings()
        self.history_: list[dict[str, float]] = []
        self.steps_per_epoch_: int | None = None
        self._front_end: FrontEnd | None = None
        self._network: AutoencoderNetwork | None = None

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
        Train a new network on ``x``. There are nine parameters: the data, and the settings of a training.

        :param x: Samples, shape as :class:`AutoencoderSettings` says; a ``numpy.memmap`` is streamed.
        :param nb_epochs: Largest number of passes over ``x``; ``None``: 2,000 training steps, but at least 30 passes.
        :param batch_size: Number of samples in a training batch.
        :param learning_rate: Learning rate of Adam.
        :param random_state: Random seed of the training.
        :param patience: When to stop earlier. ``"settled"``: when the latents have settled (:func:`training.train`).
        :param checkpoint: File by which an interrupted training can continue; see :func:`training.train`.
        :param fabric: Launched Lightning Fabric, for several devices or mixed precision.
        :param verbose: Whether to show a progress bar.
        :raises InvalidInputError: For a bad argument, shape, dtype, or a sample that is not finite.
        """
        training.check_training(nb_epochs, batch_size, learning_rate, patience, random_state)
        if checkpoint is not None and not isinstance(checkpoint, (str, Path)):
            raise InvalidInputError(f"checkpoint must be None or the path of a file; received {shown(checkpoint)}.")
        check_samples(x)
        if self.settings.kind == "waveform":
            x = as_waveforms(x, "x")
        self.history_, self.steps_per_epoch_ = [], None
        with training.seeded(random_state):
            front_end, network = self._build(x.shape[1:])
        fabric = fabric or make_fabric()
        front_end.measure_scale(x, batch_size, fabric.device)
        self.history_ = training.train(
            network,
            x,
            front_end,
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
        """Whether the training was long enough (:mod:`~art_plugins.features.vae.convergence`); ``None``: not known."""
        if not self.history_ or self.steps_per_epoch_ is None:
            return None
        return has_settled(self.history_, self.steps_per_epoch_)

    @property
    def not_settled(self) -> str | None:
        """A sentence that says that the training was too short, and what to do; ``None``: it was not, or not known."""
        if not self.history_ or self.steps_per_epoch_ is None:
            return None
        return settled_words(self.history_, self.steps_per_epoch_)

    def encode(self, x: np.ndarray, batch_size: int = 64) -> np.ndarray:
        """
        Compute the latents of whole samples: the mean of q(f | x) in evaluation mode.

        :param x: Samples of the shape of the training data, (n, ...).
        :param batch_size: Number of samples in one forward pass. The last batch is filled up, so that the latents of a
            sample do not depend on the other samples.
        :return: Latents, shape (n, latent_dim), float32.
        :raises NotFittedError: Before :meth:`fit`.
        :raises InvalidInputError: For another sample shape or a sample that is not finite.
        """
        return self.encode_steps(x, batch_size)[0]

    def encode_steps(self, x: np.ndarray, batch_size: int = 64) -> tuple[np.ndarray, np.ndarray | None]:
        """
        Compute the latents of whole samples, as :meth:`encode` does, and the means of the latents of all time steps.

        :return: (n, latent_dim), and (n, T, step_latent_dim) or ``None`` for images; float32.
        """
        whole, of_steps = self.encode_rows(x, batch_size)
        check_finite(whole, "latents of x", "look for samples with extreme values")
        if of_steps is not None:
            check_finite(of_steps, "latents of the time steps of x", "look for samples with extreme values")
        return whole, of_steps

    def encode_rows(
        self, x: np.ndarray, batch_size: int, numbers: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """
        Do the same for a part of the samples, whose latents may not be finite.

        :param numbers: What a message calls the samples, (n,); ``None``: from 0 on.
        """
        network, front_end = self._network, self._front_end
        if network is None or front_end is None or not self.history_:
            raise NotFittedError("This autoencoder has not been trained; call fit(x) or load a saved one.")
        check_samples(x)
        if tuple(x.shape[1:]) != front_end.sample_shape:
            raise InvalidInputError(
                f"This autoencoder was fitted on samples of shape {front_end.sample_shape}; received {tuple(x.shape[1:])}. "
                "Pad, crop or resample the data, or fit another autoencoder."
            )
        check_count("batch_size", plain(batch_size))
        if self.settings.kind == "waveform" and x.dtype.kind in "iu":
            x = as_waveforms(x, "x")
        device = first_device()
        network.to(device).eval()
        latents, steps = [], []
        with torch.inference_mode():
            for start, n_own, batch in batches(x, batch_size, padded=True):
                inputs = front_end(batch.to(device))
                far = (in_double(inputs[:n_own]).flatten(1) ** 2).mean(dim=1).sqrt() >= FARTHEST  # NaN shows in the latents
                if far.any():
                    row = start + int(far.nonzero()[0])
                    raise InvalidInputError(
                        f"x[{row if numbers is None else int(numbers[row])}] holds values far out of the range of those "
                        "that the autoencoder was fitted on; remove or mend such samples first."
                    )
                if isinstance(network, SequentialAutoencoder):
                    encoded, encoded_steps = network.encode_steps(inputs)
                    steps.append(encoded_steps[:n_own].float().cpu().numpy())
                else:
                    encoded = network.encode(inputs)
                latents.append(encoded[:n_own].float().cpu().numpy())
        network.to("cpu")
        return np.concatenate(latents), np.concatenate(steps) if steps else None

    def save(self, filename: str | Path, path: str | Path | None = None, *, half_precision: bool = False) -> None:
        """
        Write settings, scaling, history and weights as one safetensors file, atomically.

        :param filename: Name of the file, or its whole path.
        :param path: The folder, as in ART; ``None`` if ``filename`` is the whole path.
        :param half_precision: Write the weights as 16-bit floats, which halves the file and rounds them.
        """
        arrays = self.state_arrays()
        if half_precision:
            arrays = {
                name: array.astype(np.float16) if array.dtype.kind == "f" else array for name, array in arrays.items()
            }
        save_arrays(target_file(filename, path), FILE_KIND, arrays, self.state_settings())

    @classmethod
    def load(cls, path: str | Path) -> Autoencoder:
        """
        Read what :meth:`save` wrote; nothing is unpickled.

        :raises FileFormatError: If the file is damaged, of another kind, or its shapes do not fit its settings.
        """
        return cls.from_state(*load_arrays(path, FILE_KIND))

    def state_arrays(self) -> dict[str, np.ndarray]:
        """Give the weights by name, for :func:`save_arrays`."""
        if self._network is None or not self.history_:
            raise NotFittedError(NOTHING_TO_SAVE)
        return {name: value.cpu().contiguous().numpy() for name, value in self._network.state_dict().items()}

    def state_settings(self) -> dict[str, Any]:
        """Give all values to save that are no arrays, JSON-safe."""
        front_end = self._front_end
        if front_end is None:
            raise NotFittedError(NOTHING_TO_SAVE)
        return {
            "settings": asdict(self.settings),
            "sample_shape": list(front_end.sample_shape),
            "mean": front_end.mean,
            "scale": front_end.scale,
            "history": self.history_,
            **({} if self.steps_per_epoch_ is None else {"steps_per_epoch": self.steps_per_epoch_}),
        }

    def for_shape(self, sample_shape: tuple[int, ...]) -> Autoencoder:
        """
        Give a copy that takes waveforms of another length; its network takes any number of time steps.

        :param sample_shape: Shape of one waveform, (S,), (S, 1) or (1, S).
        :raises InvalidInputError: If the shape is not that of a waveform, or the waveform is shorter than half a window.
        """
        if self.settings.kind != "waveform":
            raise InvalidInputError(
                f"Only an autoencoder of waveforms takes another length; this one is of {self.settings.kind}s."
            )
        FrontEnd(self.settings, sample_shape)
        return self.from_state(self.state_arrays(), {**self.state_settings(), "sample_shape": list(sample_shape)})

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray], state: dict[str, Any]) -> Autoencoder:
        """
        Make an autoencoder from what :meth:`state_arrays` and :meth:`state_settings` gave.

        Sizes are checked before anything is allocated, because a small file may claim a network that fills the memory.

        :raises FileFormatError: If arrays and settings do not fit each other, or cannot be used.
        """
        with reading("The file's settings and arrays do not make an autoencoder"):
            check_state(state)
            settings, shape = AutoencoderSettings(**state["settings"]), tuple(state["sample_shape"])
            sized, sized_shape = cls(settings), shape
            if settings.kind == "waveform":  # the network of its spectrograms, without the filters
                check_front_end(settings.sample_rate_hz, settings.window_s, settings.n_mels)
                sized, sized_shape = cls(replace(settings, kind="spectrogram")), (2, settings.n_mels)
            with torch.device("meta"):
                _, sized_network = sized._build(sized_shape)
            check_arrays(arrays, weight_rules(sized_network.state_dict()), {})
            autoencoder = cls(settings)
            with training.seeded(0):
                front_end, network = autoencoder._build(shape)
            front_end.mean, front_end.scale = float(state["mean"]), float(state["scale"])
            autoencoder.history_ = [dict(losses) for losses in state["history"]]
            steps = state.get("steps_per_epoch")  # files of earlier releases have none
            autoencoder.steps_per_epoch_ = None if steps is None else max(1, int(steps))
            network.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in arrays.items()})
            network.eval()
        return autoencoder

    def _build(self, sample_shape: tuple[int, ...]) -> tuple[FrontEnd, AutoencoderNetwork]:
        self._front_end = FrontEnd(self.settings, sample_shape)
        self._network = make_network(self.settings, self._front_end)
        return self._front_end, self._network
