"""The settings of an autoencoder: the kind of its data, its front end and the sizes of its network."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from art_plugins.features.vae.sequential import POSTERIORS
from art_plugins.parameters import check_choice, check_count, check_flag, check_number

KINDS = ("waveform", "spectrogram", "image")
MOST_SIZE = 2**16  # largest size of a layer: weights between two such layers fill 16 GB, and more is a mistake
MOST_RATE = 2**27  # Hz; no sound is sampled faster, and a window of a second still fits memory
WHOLE_NUMBERS = ("sample_rate_hz", "n_mels", "latent_dim", "step_latent_dim", "embedding_dim", "hidden_dim", "channels")


@dataclass(frozen=True)
class AutoencoderSettings:
    """
    Settings of an autoencoder. They are JSON-safe and are saved with it.

    :param kind: ``"waveform"`` (n, S), ``"spectrogram"`` (n, T, F) or ``"image"`` (n, C, H, W), (n, H, W, C), (n, H, W); of
        the first two an axis of length one, before or after, may hold the only channel.
    :param channels_first: Whether the colour axis of images is before height and width; ``None``: inferred from the shape.
    :param sample_rate_hz: Sample rate of the waveforms.
    :param n_mels: Number of mel bands of the spectrogram of a waveform; a multiple of 8.
    :param window_s: Length of the spectrogram's window in seconds.
    :param hop_s: Step of the spectrogram's window in seconds.
    :param floor: Number that is added to the mel power before the logarithm.
    :param latent_dim: Size of the latent of a whole sample.
    :param step_latent_dim: Size of the latent of a time step (sequences only).
    :param embedding_dim: Size of a frame's embedding (sequences only).
    :param hidden_dim: Size of the recurrent states (sequences only).
    :param channels: Number of channels of the convolutions.
    :param posterior: Form of the posterior: ``"factorised"`` or ``"full"`` (sequences only).
    :param video_like: Whether to use the paper's two-dimensional form (sequences only).
    :param reconstruction_weight: Weight of the squared error relative to the divergences; see
        :class:`SequentialAutoencoder`.
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
