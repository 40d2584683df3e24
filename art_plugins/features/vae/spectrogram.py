"""Waveform to log-mel spectrogram."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from art_plugins.errors import InvalidInputError
from art_plugins.optional import import_optional

MOST_SAMPLES = 2**20  # largest length of a window or hop, about a minute at 16 kHz


class LogMelSpectrogram(nn.Module):
    """
    Logarithm of the mel-scaled power spectrogram, ``log(power + floor)``.

    The floor decides which sounds the autoencoder can see: 1e-3 hides the background noise of the recordings and shows
    short broadband events; 1e-5 shows faint tones too.

    :param sample_rate_hz: Sample rate of the waveforms.
    :param n_mels: Number of mel bands F.
    :param window_s: Length of the Hann window in seconds.
    :param hop_s: Step between windows in seconds.
    :param floor: Value added to the power before the logarithm, greater than 0.
    :raises InvalidInputError: For a value out of range.
    :raises MissingPackageError: If torchaudio cannot be imported.
    """

    def __init__(
        self,
        sample_rate_hz: int = 16_000,
        n_mels: int = 40,
        window_s: float = 0.032,
        hop_s: float = 0.03125,
        floor: float = 1e-3,
    ) -> None:
        super().__init__()
        if min(sample_rate_hz, n_mels, window_s, hop_s, floor) <= 0:
            raise InvalidInputError(
                "sample_rate_hz, n_mels, window_s, hop_s and floor must be greater than 0; received "
                f"{(sample_rate_hz, n_mels, window_s, hop_s, floor)}."
            )
        if max(window_s, hop_s) * sample_rate_hz > MOST_SAMPLES:
            raise InvalidInputError(
                f"A window of {window_s} s or a hop of {hop_s} s is longer than {MOST_SAMPLES} samples; "
                f"the rate is {sample_rate_hz} Hz."
            )
        self.floor = floor
        self.hop_samples = round(hop_s * sample_rate_hz)
        self.window_samples = round(window_s * sample_rate_hz)
        if min(self.hop_samples, self.window_samples) < 1:
            raise InvalidInputError(
                f"A window of {window_s} s and a hop of {hop_s} s are shorter than a sample at {sample_rate_hz} Hz."
            )
        self.n_fft = 1 << (self.window_samples - 1).bit_length()
        self.mel = import_optional("torchaudio.transforms").MelSpectrogram(
            sample_rate=sample_rate_hz,
            n_fft=self.n_fft,
            win_length=self.window_samples,
            hop_length=self.hop_samples,
            n_mels=n_mels,
            norm="slaney",
            mel_scale="slaney",
        )

    def forward(self, waveforms: Tensor) -> Tensor:
        """
        Compute the spectrograms of waveforms.

        :param waveforms: Samples in [-1, 1], shape (B, S).
        :return: Log-mel frames, shape (B, T, F) with T = S // hop; the incomplete last frame is dropped.
        """
        frames = self._power(waveforms)[..., : max(1, waveforms.shape[-1] // self.hop_samples), :]
        return torch.log(frames @ self.mel.mel_scale.fb + self.floor)

    def _power(self, waveforms: Tensor) -> Tensor:
        """
        Give the power spectrogram, shape (B, T + 1, frequencies). Torchaudio takes the root of the power and squares it
        again; without that it needs half the time.
        """
        own = self.mel.spectrogram
        spectrum = torch.stft(
            waveforms,
            own.n_fft,
            own.hop_length,
            own.win_length,
            own.window,
            center=own.center,
            pad_mode=own.pad_mode,
            return_complex=True,
        )
        return spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag).transpose(-1, -2)
