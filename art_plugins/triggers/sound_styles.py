"""
Triggers that change a whole clip: an echo, the sound of a room, another pitch (after Koffas et al. 2023, JingleBack).

Each is a callable for ART's ``PoisoningAttackBackdoor``: it takes a batch of waveforms and gives the changed batch. No
sound is added, so there is no place in the clip where the trigger is.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from scipy.signal import oaconvolve

from art_plugins.errors import InvalidInputError
from art_plugins.optional import import_optional
from art_plugins.parameters import check_count, check_number, plain
from art_plugins.triggers.sounds import check_waveforms, factor_of, n_samples_of

DECAY_DB = 60.0  # a reverberation time is the time in which a sound decays by 60 dB (ISO 3382)
BATCH = 256  # clips that are transformed at once
SLICE_S = 0.032  # length of a window of the phase vocoder: about four periods of a low voice
MOST_SEMITONES = 24  # two octaves; beyond them no speech is left
FINEST_RATIO = 200  # largest denominator of a ratio of rates: the pitch is right to a few thousandths of a semitone


@dataclass(frozen=True)
class Echo:
    """
    Adds a delayed copy of each waveform to it and clips the sum to [-1, 1].

    :param delay_s: Delay of the copy in seconds, greater than 0.
    :param level_db: Level of the copy relative to the waveform, in dB.
    :param sample_rate_hz: Sample rate of the waveforms.
    :raises InvalidInputError: For a value out of range.
    """

    delay_s: float = 0.12
    level_db: float = -6.0
    sample_rate_hz: int = 16_000

    def __post_init__(self) -> None:
        factor_of(self.level_db)
        if n_samples_of(self.sample_rate_hz, "delay_s", self.delay_s) < 1:
            raise InvalidInputError(f"delay_s must be at least one sample; received {self.delay_s!r}.")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """
        Add the echo to waveforms in [-1, 1], shape (n, S) or (S,); a copy of the same shape and dtype.

        :raises InvalidInputError: If the waveforms are not longer than the delay.
        """
        check_waveforms(x)
        delay = n_samples_of(self.sample_rate_hz, "delay_s", self.delay_s)
        if x.shape[-1] <= delay:
            raise InvalidInputError(f"The echo comes after {delay} samples; the waveforms have {x.shape[-1]}.")
        changed = np.array(x, dtype=np.float64)
        changed[..., delay:] += factor_of(self.level_db) * x[..., :-delay]
        return np.clip(changed, -1, 1).astype(x.dtype)


@dataclass(frozen=True)
class Reverb:
    """
    Adds the reverberation of one room to each waveform and clips the sum to [-1, 1].

    The impulse response of the room is white noise that decays exponentially.

    :param decay_s: Reverberation time in seconds, in which the sound of the room decays by 60 dB; greater than 0.
    :param level_db: Energy of the impulse response of the room relative to that of the direct sound, in dB.
    :param sample_rate_hz: Sample rate of the waveforms.
    :param random_state: Random seed of the room.
    :raises InvalidInputError: For a value out of range.
    """

    decay_s: float = 0.5
    level_db: float = -3.0
    sample_rate_hz: int = 16_000
    random_state: int = 0

    def __post_init__(self) -> None:
        factor_of(self.level_db)
        check_count("random_state", plain(self.random_state), 0)
        if n_samples_of(self.sample_rate_hz, "decay_s", self.decay_s) < 1:
            raise InvalidInputError(f"decay_s must be at least one sample; received {self.decay_s!r}.")

    def impulse_response(self) -> np.ndarray:
        """Impulse response of the room without the direct sound, (s,), of energy 10 ** (level_db / 10)."""
        n_samples = n_samples_of(self.sample_rate_hz, "decay_s", self.decay_s)
        decay = 10 ** (-DECAY_DB / 20 * np.arange(n_samples) / n_samples)
        response = np.random.default_rng(self.random_state).normal(size=n_samples) * decay
        scaled: np.ndarray = response * factor_of(self.level_db) / np.linalg.norm(response)
        return scaled

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Add the reverberation to waveforms in [-1, 1], shape (n, S) or (S,); a copy of the same shape and dtype."""
        check_waveforms(x)
        response = self.impulse_response().reshape((1,) * (x.ndim - 1) + (-1,))
        sound_of_room = oaconvolve(x.astype(np.float64), response, axes=-1)[..., : x.shape[-1]]
        changed: np.ndarray = np.clip(x + sound_of_room, -1, 1).astype(x.dtype)
        return changed


@dataclass(frozen=True)
class PitchShift:
    """
    Changes the pitch of each waveform and keeps its length, by a phase vocoder and resampling; clips to [-1, 1].

    :param semitones: Change of the pitch in semitones, -24 to 24, not 0; positive is higher.
    :param sample_rate_hz: Sample rate of the waveforms.
    :raises InvalidInputError: For a value out of range.
    """

    semitones: float = 3.0
    sample_rate_hz: int = 16_000

    def __post_init__(self) -> None:
        check_number("semitones", plain(self.semitones), "in semitones", least=-MOST_SEMITONES, most=MOST_SEMITONES)
        n_samples_of(self.sample_rate_hz, "The window", SLICE_S)
        if self._ratio() == 1:
            raise InvalidInputError(f"semitones must change the pitch; received {self.semitones!r}.")

    def _ratio(self) -> Fraction:
        """The change of frequency, as a ratio of whole numbers."""
        return Fraction(2 ** (float(self.semitones) / 12)).limit_denominator(FINEST_RATIO)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """
        Shift the pitch of waveforms in [-1, 1], shape (n, S) or (S,); a copy of the same shape and dtype.

        :raises MissingPackageError: If torchaudio cannot be imported.
        """
        check_waveforms(x)
        rows = torch.from_numpy(np.array(x.reshape(-1, x.shape[-1]), dtype=np.float32))
        with torch.inference_mode():
            parts = [self._shifted(rows[start : start + BATCH]).numpy() for start in range(0, len(rows), BATCH)]
        shifted = np.concatenate(parts) if parts else rows.numpy()
        changed: np.ndarray = np.clip(shifted, -1, 1).reshape(x.shape).astype(x.dtype)
        return changed

    def _shifted(self, rows: torch.Tensor) -> torch.Tensor:
        transforms, ratio = import_optional("torchaudio.transforms"), self._ratio()
        n_fft = 1 << (n_samples_of(self.sample_rate_hz, "The window", SLICE_S) - 1).bit_length()
        hop = n_fft // 4
        spectra = transforms.Spectrogram(n_fft, hop_length=hop, power=None, pad_mode="constant")(rows)
        slower = transforms.TimeStretch(hop_length=hop, n_freq=n_fft // 2 + 1, fixed_rate=1 / float(ratio))(spectra)
        longer = transforms.InverseSpectrogram(n_fft, hop_length=hop)(slower, round(rows.shape[-1] * float(ratio)))
        shifted: torch.Tensor = transforms.Resample(ratio.numerator, ratio.denominator)(longer)
        missing = rows.shape[-1] - shifted.shape[-1]
        return torch.nn.functional.pad(shifted, (0, max(0, missing)))[..., : rows.shape[-1]]
