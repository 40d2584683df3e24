"""
Triggers that change speech in its short-time spectrum: tempo and rhythm (RSRT, Yao et al. 2024), pitch with a masking sound
(PBSM, Cai et al. 2024) and timbre (VSVC, Cai et al. 2023). Each is a callable for ART's ``PoisoningAttackBackdoor``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from art_plugins.errors import InvalidInputError
from art_plugins.optional import import_optional
from art_plugins.parameters import check_number, plain, shown
from art_plugins.triggers.sound_styles import BATCH, SLICE_S, PitchShift
from art_plugins.triggers.sounds import check_waveforms, factor_of, n_samples_of, tone

SLOWEST, FASTEST = 0.25, 4.0  # beyond them no speech is left
LIFTER_S = 0.002  # quefrencies below it are the voice's tract, those above it the pitch: voices are below 500 Hz
FLOOR = 1e-6  # of the largest magnitude of a clip, 120 dB: the logarithm of silence


@dataclass(frozen=True)
class Tempo:
    """
    Plays each waveform faster or slower at the same pitch, by a phase vocoder, and keeps its length: what is missing at
    the end is silence, what is too much is cut off.

    :param factor: How much faster, 1/4 to 4, not 1; below 1 is slower.
    :param sample_rate_hz: Sample rate of the waveforms.
    :raises InvalidInputError: For a value out of range.
    """

    factor: float = 1.5
    sample_rate_hz: int = 16_000

    def __post_init__(self) -> None:
        _check_factors("factor", [self.factor])
        n_samples_of(self.sample_rate_hz, "The window", SLICE_S)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """
        Change the tempo of waveforms in [-1, 1], shape (n, S) or (S,); a copy of the same shape and dtype.

        :raises MissingPackageError: If torchaudio cannot be imported.
        """
        return by_rows(x, lambda rows: _stretched(rows, self.factor, self.sample_rate_hz))


@dataclass(frozen=True)
class Rhythm:
    """
    Cuts each waveform into equal parts and plays each at a tempo of its own (after RSRT, Yao et al. 2024, section 3, which
    stretches or squeezes the voiced parts of the mel spectrogram). The parts follow one another without a gap; the whole is
    cut, or filled with silence, to the old length.

    :param factors: How much faster each part becomes, 1/4 to 4 each; not all of them 1.
    :param sample_rate_hz: Sample rate of the waveforms.
    :raises InvalidInputError: For no factor, or one out of range.
    """

    factors: Sequence[float] = (2.0, 0.5, 2.0, 0.5)
    sample_rate_hz: int = 16_000

    def __post_init__(self) -> None:
        _check_factors("factors", self.factors)
        n_samples_of(self.sample_rate_hz, "The window", SLICE_S)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """
        Change the rhythm of waveforms in [-1, 1], shape (n, S) or (S,); a copy of the same shape and dtype.

        :raises InvalidInputError: If the waveforms have fewer samples than there are parts.
        :raises MissingPackageError: If torchaudio cannot be imported.
        """

        def changed(rows: Tensor) -> Tensor:
            if rows.shape[1] < len(self.factors):
                raise InvalidInputError(f"{len(self.factors)} parts need as many samples; received {rows.shape[1]}.")
            parts = [
                _stretched(part, factor, self.sample_rate_hz)
                for part, factor in zip(torch.tensor_split(rows, len(self.factors), dim=1), self.factors, strict=True)
            ]
            return torch.cat(parts, dim=1)

        return by_rows(x, changed)


@dataclass(frozen=True)
class PitchBoost:
    """
    Raises the pitch, then adds a short high tone where the clip is loudest, which masks the tone (PBSM, Cai et al. 2024,
    section 3: pitch boosting and sound masking).

    :param semitones: Change of the pitch, as in :class:`~art_plugins.triggers.sound_styles.PitchShift`.
    :param frequency_hz: Frequency of the tone, below half of the sample rate.
    :param level_db: Peak of the tone relative to that of the clip, in dB.
    :param length_s: Length of the tone in seconds.
    :param sample_rate_hz: Sample rate of the waveforms.
    :raises InvalidInputError: For a value out of range.
    """

    semitones: float = 5.0
    frequency_hz: float = 6_000.0
    level_db: float = -12.0
    length_s: float = 0.1
    sample_rate_hz: int = 16_000

    def __post_init__(self) -> None:
        PitchShift(self.semitones, self.sample_rate_hz)
        check_number("frequency_hz", plain(self.frequency_hz), "in Hz", above=0, below=self.sample_rate_hz / 2)
        factor_of(self.level_db)
        if n_samples_of(self.sample_rate_hz, "length_s", self.length_s) < 3:
            raise InvalidInputError(f"length_s must be at least three samples; received {self.length_s!r}.")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """
        Change waveforms in [-1, 1], shape (n, S) or (S,); a copy of the same shape and dtype.

        :raises InvalidInputError: If the tone does not fit into the waveforms.
        :raises MissingPackageError: If torchaudio cannot be imported.
        """
        check_waveforms(x)
        sound = tone(self.sample_rate_hz, self.frequency_hz, self.length_s)
        if x.shape[-1] < len(sound):
            raise InvalidInputError(f"The tone has {len(sound)} samples; the waveforms have {x.shape[-1]}.")
        boosted = np.array(PitchShift(self.semitones, self.sample_rate_hz)(x), dtype=np.float64)
        rows = boosted.reshape(-1, x.shape[-1])
        energy = np.cumsum(np.pad(rows**2, ((0, 0), (1, 0))), axis=1)
        starts = (energy[:, len(sound) :] - energy[:, : -len(sound)]).argmax(axis=1)
        for row, start in zip(rows, starts, strict=True):
            row[start : start + len(sound)] += factor_of(self.level_db) * np.abs(row).max() * sound
        changed: np.ndarray = np.clip(rows, -1, 1).reshape(x.shape).astype(x.dtype)
        return changed


@dataclass(frozen=True)
class Timbre:
    """
    Gives each clip the timbre of another voice, whose tract is shorter or longer, and keeps its pitch: the frequencies of
    the smoothed spectrum are multiplied by one factor. VSVC (Cai et al. 2023) converts the voice by a network instead.

    :param factor: By which the frequencies of the formants are multiplied, 1/4 to 4, not 1.
    :param sample_rate_hz: Sample rate of the waveforms.
    :raises InvalidInputError: For a value out of range.
    """

    factor: float = 1.35
    sample_rate_hz: int = 16_000

    def __post_init__(self) -> None:
        _check_factors("factor", [self.factor])
        n_samples_of(self.sample_rate_hz, "The window", SLICE_S)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """
        Change the timbre of waveforms in [-1, 1], shape (n, S) or (S,); a copy of the same shape, dtype and energy.

        :raises MissingPackageError: If torchaudio cannot be imported.
        """
        return by_rows(x, self._changed)

    def _changed(self, rows: Tensor) -> Tensor:
        n_fft, forth, back = _transforms(self.sample_rate_hz)
        spectra = forth(rows)
        floor = FLOOR * spectra.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1e-30)
        logarithms = torch.log(torch.maximum(spectra.abs(), floor))
        envelope = _smoothed(logarithms, max(2, round(LIFTER_S * self.sample_rate_hz)), n_fft)
        change = _warped(envelope, self.factor) - envelope
        changed: Tensor = back(spectra * torch.exp(change), rows.shape[1])
        energy = changed.norm(dim=1, keepdim=True).clamp(min=1e-30)
        scaled: Tensor = changed * rows.norm(dim=1, keepdim=True) / energy
        return scaled


def _smoothed(logarithms: Tensor, n_kept: int, n_fft: int) -> Tensor:
    """The logarithms of spectra, (n, F, T), without the fine structure that the pitch makes, by their cepstra."""
    cepstra = torch.fft.irfft(logarithms, n=n_fft, dim=1)
    cepstra[:, n_kept : n_fft - n_kept + 1] = 0
    smooth: Tensor = torch.fft.rfft(cepstra, dim=1).real
    return smooth


def _warped(envelope: Tensor, factor: float) -> Tensor:
    """What stood at frequency f stands at ``factor`` f, by linear interpolation; (n, F, T)."""
    n_bins = envelope.shape[1]
    places = (torch.arange(n_bins) / factor).clamp(max=n_bins - 1)
    below = places.floor().long().clamp(max=n_bins - 2)
    part = (places - below)[:, None]
    return (1 - part) * envelope[:, below] + part * envelope[:, below + 1]


def _stretched(rows: Tensor, factor: float, sample_rate_hz: int) -> Tensor:
    """Rows (n, S) played ``factor`` times as fast, (n, round(S / factor))."""
    if factor == 1:
        return rows
    transforms = import_optional("torchaudio.transforms")
    n_fft, forth, back = _transforms(sample_rate_hz)
    stretch = transforms.TimeStretch(hop_length=n_fft // 4, n_freq=n_fft // 2 + 1, fixed_rate=float(factor))
    stretched: Tensor = back(stretch(forth(rows)), round(rows.shape[1] / factor))
    return stretched


def _transforms(sample_rate_hz: int) -> tuple[int, Callable[..., Tensor], Callable[..., Tensor]]:
    """The number of samples of a window, the short-time Fourier transform of rows, and its inverse."""
    transforms = import_optional("torchaudio.transforms")
    n_fft = 1 << (n_samples_of(sample_rate_hz, "The window", SLICE_S) - 1).bit_length()
    forth = transforms.Spectrogram(n_fft, hop_length=n_fft // 4, power=None, pad_mode="constant")
    return n_fft, forth, transforms.InverseSpectrogram(n_fft, hop_length=n_fft // 4)


def by_rows(x: np.ndarray, change: Callable[[Tensor], Tensor]) -> np.ndarray:
    """
    Change waveforms in [-1, 1], shape (n, S) or (S,), a batch of rows at a time; clip to [-1, 1].

    :param change: Takes rows (n, S), float32, and gives rows of any length, which are cut or filled with silence.
    :return: A copy of the same shape and dtype.
    :raises InvalidInputError: If ``x`` is no array of waveforms.
    """
    check_waveforms(x)
    rows = torch.from_numpy(np.array(x.reshape(-1, x.shape[-1]), dtype=np.float32))
    done = np.zeros(rows.shape, dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(rows), BATCH):
            changed = change(rows[start : start + BATCH])[:, : rows.shape[1]]
            done[start : start + BATCH] = functional.pad(changed, (0, rows.shape[1] - changed.shape[1])).numpy()
    clipped: np.ndarray = np.clip(done, -1, 1).reshape(x.shape).astype(x.dtype)
    return clipped


def _check_factors(name: str, factors: Sequence[float]) -> None:
    for factor in factors:
        check_number(name, plain(factor), "a factor", least=SLOWEST, most=FASTEST)
    if not len(factors) or all(factor == 1 for factor in factors):
        raise InvalidInputError(f"{name} must change something: not 1; received {shown(factors)}.")
