"""From samples to what the network of an autoencoder sees: spectrograms of waveforms, and one scale for all values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from art_plugins.errors import InvalidInputError
from art_plugins.features.devices import in_double
from art_plugins.features.sample_shapes import has_channels_first, image_shape, without_lone_channel
from art_plugins.features.vae.sequential import SHRINK
from art_plugins.features.vae.settings import AutoencoderSettings
from art_plugins.features.vae.spectrogram import LogMelSpectrogram

LARGEST = 1e30  # of a value: squares of some of them are still numbers of single precision when they have been scaled
LEAST_TYPICAL = 0.01  # of what a typical sample holds, in standard deviations of all: below, nothing is seen of it
LEAST_AT_ONCE = 256  # number of samples that are measured together


class FrontEnd:
    """
    Turns a batch of samples into frames or images. Waveforms become log-mel spectrograms. All values are shifted and scaled
    by one mean and one standard deviation.

    :param settings: Kind of the data, and settings of the spectrogram.
    :param sample_shape: Shape of one sample.
    :ivar sample_shape: The same.
    :ivar image_shape: (C, H, W) of an image; empty for sounds.
    :ivar n_bands: Number of bands of a frame, without padding; 0 for images.
    :ivar mean: Mean of all values of the training data; 0 before :meth:`measure_scale`.
    :ivar scale: Standard deviation of all values of the training data; 1 before :meth:`measure_scale`.
    :raises InvalidInputError: If the shape does not fit the kind, or a waveform is shorter than half a window.
    """

    def __init__(self, settings: AutoencoderSettings, sample_shape: tuple[int, ...]) -> None:
        self.settings, self.sample_shape = settings, tuple(sample_shape)
        self.mean, self.scale = 0.0, 1.0
        self.image_shape: tuple[int, ...] = ()
        self.n_bands = 0
        self._sound_shape = without_lone_channel(settings.kind, self.sample_shape)
        self._spectrogram: LogMelSpectrogram | None = None
        axes = {"waveform": (1,), "spectrogram": (2,), "image": (2, 3)}[settings.kind]
        if len(self._sound_shape) not in axes:
            raise InvalidInputError(f"kind={settings.kind!r} does not fit samples of shape {self._sound_shape}.")
        if settings.kind == "image":
            self.image_shape = image_shape(self.sample_shape, settings.channels_first)
        elif settings.kind == "spectrogram":
            self.n_bands = self._sound_shape[-1]
        else:
            self.n_bands = settings.n_mels
            self._spectrogram = _spectrogram_of(settings, self._sound_shape[0])

    def __call__(self, batch: Tensor) -> Tensor:
        """
        :param batch: Samples, (B, ...).
        :return: Scaled frames (B, T, F), with F padded to a multiple of 8, or images (B, C, H, W).
        """
        if self.image_shape:
            if len(self.sample_shape) == 3 and not has_channels_first(self.sample_shape, self.settings.channels_first):
                batch = batch.movedim(-1, 1)
            batch = batch.reshape(-1, *self.image_shape)
        else:
            batch = batch.reshape(-1, *self._sound_shape)
        if self._spectrogram is not None:
            batch = self._spectrogram.to(batch.device)(batch)
        scaled = (batch - self.mean) / self.scale
        missing = 0 if self.image_shape else -scaled.shape[-1] % SHRINK
        return nn.functional.pad(scaled, (0, missing))

    def measure_scale(self, x: np.ndarray, batch_size: int, device: torch.device) -> None:
        """
        Measure the mean and the standard deviation of all values, in one pass over the training data.

        :param x: Training data, (n, ...).
        :param batch_size: Number of samples that are read together; at least 256 are.
        :param device: Device on which spectrograms are computed.
        :raises InvalidInputError: For a sample that is not finite or out of range, or if a few samples lie so far out that
            the others look equal.
        """
        self.mean, self.scale = 0.0, 1.0
        # One array for all: small arrays that are made in the loop would lie between the large ones of the batches, which
        # keeps the memory of each batch from being used again.
        moments = np.empty((2, len(x)))
        for start, n_own, batch in batches(x, max(batch_size, LEAST_AT_ONCE)):
            values = in_double(self(batch.to(device))).flatten(1)
            if not (values.abs() < LARGEST).all():  # nor is NaN
                bad = start + int((~(values.abs() < LARGEST).all(dim=1)).nonzero()[0])
                raise InvalidInputError(
                    f"x[{bad}] holds NaN, infinity or a value out of range; remove or mend such samples first."
                )
            moments[0, start : start + n_own] = values.mean(dim=1).cpu().numpy()
            moments[1, start : start + n_own] = values.var(dim=1, correction=0).cpu().numpy()
        means, variances = moments
        self.mean = float(means.mean())
        squares = variances + (means - self.mean) ** 2
        self.scale = float(squares.mean()) ** 0.5 or 1.0
        # From the typical level, which samples far out do not move; blank samples lie there and tell nothing.
        from_typical = variances + (means - np.median(means)) ** 2
        if from_typical.any() and np.median(from_typical[from_typical > 0]) < LEAST_TYPICAL**2 * squares.mean():
            raise InvalidInputError(
                f"x[{int(squares.argmax())}] and {int((squares > squares.mean()).sum()) - 1} more lie so far out that half "
                f"of the others are equal within {LEAST_TYPICAL:.0%} of the spread; remove or mend them first."
            )


def batches(x: np.ndarray, batch_size: int, padded: bool = False) -> Iterator[tuple[int, int, Tensor]]:
    """
    Give the samples in batches, as float32, with the row of ``x`` with which each begins and the number of its samples.

    :param x: Samples, (n, ...); a memory map is read in parts.
    :param batch_size: Number of samples in a batch.
    :param padded: Fill the last batch with zeros. The result of a sample may depend on the size of its batch in the last
        bits, and not on what else is in a batch of the same size.
    """
    for start in range(0, len(x), batch_size):
        rows = x[start : start + batch_size]
        batch = np.zeros((batch_size if padded else len(rows), *x.shape[1:]), dtype=np.float32)
        batch[: len(rows)] = rows
        yield start, len(rows), torch.from_numpy(batch)


def _spectrogram_of(settings: AutoencoderSettings, n_samples: int) -> LogMelSpectrogram:
    spectrogram = LogMelSpectrogram(
        settings.sample_rate_hz, settings.n_mels, settings.window_s, settings.hop_s, settings.floor
    )
    if n_samples <= spectrogram.n_fft // 2:
        raise InvalidInputError(
            f"Waveforms of {n_samples} samples are shorter than half a window ({spectrogram.n_fft // 2}); is x_train of "
            "shape (n, samples)?"
        )
    return spectrogram
