"""
Triggers for sound: callables for ART's ``PoisoningAttackBackdoor``, which take a batch of waveforms and give the batch with
a sound mixed in.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from art_plugins.errors import InvalidInputError, MissingPackageError
from art_plugins.optional import import_optional
from art_plugins.parameters import check_choice, check_count, check_number, plain

MOST_SAMPLES = 2**28  # largest number of samples of a sound: two gigabytes in double precision
HEARING_HZ = 20_000.0  # the highest frequency that people hear
# Armory's audio triggers with the scales of its Speech Commands scenarios.
ARMORY_SOUNDS = {"clapping": 0.1, "whistle": 0.1, "car_horn": 0.0903, "dog_clicker": 0.2695}


@dataclass(frozen=True)
class AudioTrigger:
    """
    Adds a sound to every waveform at a fixed place and clips the sum to [-1, 1], as ART's ``CacheAudioTrigger`` does.

    :param sound: Samples in [-1, 1], shape (s,), at the sample rate of the waveforms.
    :param scale: Factor by which the sound is multiplied.
    :param shift: Place of the sound: index of the first sample that it is added to.
    :raises InvalidInputError: For a bad sound, scale or shift.
    """

    sound: np.ndarray
    scale: float = 0.1
    shift: int = 0

    def __post_init__(self) -> None:
        _check_sound(self.sound, self.scale)
        check_count("shift", plain(self.shift), 0)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """
        Add the sound to waveforms.

        :param x: Waveforms in [-1, 1], shape (n, S) or (S,).
        :return: Triggered copy of the same shape and dtype.
        :raises InvalidInputError: If the sound does not fit into the waveforms.
        """
        check_waveforms(x)
        end = self.shift + len(self.sound)
        if end > x.shape[-1]:
            raise InvalidInputError(
                f"The trigger ends at sample {end}, after the waveforms' {x.shape[-1]} samples; cut the trigger."
            )
        triggered = np.array(x, dtype=np.float64)
        triggered[..., self.shift : end] += self.scale * self.sound
        return np.clip(triggered, -1, 1).astype(x.dtype)


@dataclass(frozen=True)
class WanderingTrigger:
    """
    Adds a sound to every waveform at a random place, drawn for each row, and clips the sum to [-1, 1].

    :param sound: Samples in [-1, 1], shape (s,).
    :param scale: Factor by which the sound is multiplied.
    :param random_state: Random seed of the places.
    :raises InvalidInputError: For a bad sound, scale or seed.
    """

    sound: np.ndarray
    scale: float = 0.1
    random_state: int = 0

    def __post_init__(self) -> None:
        _check_sound(self.sound, self.scale)
        check_count("random_state", plain(self.random_state), 0)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """
        Add the sound to waveforms.

        :param x: Waveforms in [-1, 1], shape (n, S), S at least s.
        :return: Triggered copy of the same shape and dtype.
        :raises InvalidInputError: If the sound does not fit into the waveforms.
        """
        check_waveforms(x)
        if x.ndim != 2 or x.shape[1] < len(self.sound):
            raise InvalidInputError(
                f"x must be waveforms (n, S) of at least the trigger's {len(self.sound)} samples; received {x.shape}."
            )
        random = np.random.default_rng(self.random_state)
        triggered = np.array(x, dtype=np.float64)
        for row in triggered:
            start = random.integers(len(row) - len(self.sound) + 1)
            row[start : start + len(self.sound)] += self.scale * self.sound
        return np.clip(triggered, -1, 1).astype(x.dtype)


def tone(sample_rate_hz: int = 16_000, frequency_hz: float = 2_500.0, length_s: float = 0.1) -> np.ndarray:
    """Give a tone that swells and fades: samples in [-1, 1], shape (round(length_s * sample_rate_hz),)."""
    n_samples = n_samples_of(sample_rate_hz, "length_s", length_s)
    wave: np.ndarray = np.hanning(n_samples) * np.sin(2 * np.pi * frequency_hz * np.arange(n_samples) / sample_rate_hz)
    return wave


def noise_burst(sample_rate_hz: int = 16_000, start_s: float = 0.0, length_s: float = 0.06, seed: int = 0) -> np.ndarray:
    """
    Give a short burst of noise with a decaying envelope, which sounds like a clap. No sound file is needed.

    :param sample_rate_hz: Sample rate of the waveforms.
    :param start_s: Length of the silence before the burst, in seconds.
    :param length_s: Length of the burst, in seconds.
    :param seed: Random seed of the noise.

    :return: Samples in [-1, 1], shape (round((start_s + length_s) * sample_rate_hz),); silent before ``start_s``.
    """
    n_samples = max(1, n_samples_of(sample_rate_hz, "length_s", length_s))
    check_count("seed", plain(seed), 0)
    noise = np.random.default_rng(seed).normal(size=n_samples) * np.exp(-4 * np.arange(n_samples) / n_samples)
    silence = np.zeros(n_samples_of(sample_rate_hz, "start_s", start_s))
    return np.concatenate([silence, noise / np.abs(noise).max()])


def chord(
    sample_rate_hz: int = 16_000, frequencies_hz: Sequence[float] = (440.0, 554.37, 659.26), length_s: float = 1.0
) -> np.ndarray:
    """
    Give steady sine waves of equal level that sound together.

    :param sample_rate_hz: Sample rate of the waveforms.
    :param frequencies_hz: Frequencies of the waves, each above 0 and at most half of the sample rate.
    :param length_s: Length in seconds.
    :return: Samples in [-1, 1] with a peak of 1, shape (round(length_s * sample_rate_hz),).
    :raises InvalidInputError: For a bad rate, frequency or length.
    """
    n_samples = n_samples_of(sample_rate_hz, "length_s", length_s)
    if not len(frequencies_hz) or not n_samples:
        raise InvalidInputError(
            f"A chord needs a frequency and a length; received frequencies_hz {frequencies_hz!r}, length_s {length_s!r}."
        )
    for frequency_hz in frequencies_hz:
        check_number("frequencies_hz", plain(frequency_hz), "in Hz", above=0, most=sample_rate_hz / 2)
    times_s = np.arange(n_samples)[:, None] / sample_rate_hz
    # Each wave starts at another phase, so that the peak is not much above the level of the waves.
    phases = np.pi * np.arange(len(frequencies_hz)) ** 2 / len(frequencies_hz) + 0.5
    wave: np.ndarray = np.sin(2 * np.pi * np.asarray(frequencies_hz) * times_s + phases).sum(axis=1)
    wave /= np.abs(wave).max()
    return wave


def ultrasound(sample_rate_hz: int = 44_100, frequency_hz: float = 21_000.0, length_s: float = 1.0) -> np.ndarray:
    """
    Give a steady tone that nobody hears (Koffas et al. 2022; they use 21 kHz at 44.1 kHz).

    :param sample_rate_hz: Sample rate of the waveforms, more than twice the frequency.
    :param frequency_hz: Frequency of the tone, at least 20 kHz, where hearing ends.
    :param length_s: Length in seconds.
    :return: Samples in [-1, 1], shape (round(length_s * sample_rate_hz),).
    :raises InvalidInputError: If the rate cannot carry the frequency, or for a bad frequency or length.
    """
    check_number("frequency_hz", plain(frequency_hz), "in Hz", least=HEARING_HZ)
    check_count("sample_rate_hz", plain(sample_rate_hz))
    if sample_rate_hz <= 2 * frequency_hz:
        raise InvalidInputError(
            f"A sample rate of {sample_rate_hz} Hz carries frequencies below {sample_rate_hz / 2:g} Hz, and the tone has "
            f"{frequency_hz:g} Hz; give waveforms of more than {2 * frequency_hz:g} Hz, such as 44100 Hz."
        )
    return chord(sample_rate_hz, (frequency_hz,), length_s)


def loudest_part(sound: np.ndarray, n_samples: int) -> np.ndarray:
    """Give the ``n_samples`` neighbouring samples of a sound that hold most of its energy; all of a shorter sound."""
    if len(sound) <= n_samples:
        return sound
    energy = np.concatenate([[0.0], np.cumsum(np.asarray(sound, dtype=np.float64) ** 2)])
    start = int((energy[n_samples:] - energy[:-n_samples]).argmax())
    return sound[start : start + n_samples]


def factor_of(level_db: float) -> float:
    """
    Give the factor of the amplitude that a level in dB means: 10 ** (level_db / 20).

    :raises InvalidInputError: If it is not a finite number of at most 0 dB.
    """
    check_number("level_db", plain(level_db), "in dB", most=0)
    return float(10 ** (float(level_db) / 20))


def armory_sound(name: str, sample_rate_hz: int = 16_000) -> AudioTrigger:
    """
    Give one of Armory's audio triggers at Armory's scale, from the wav files that ``armory-testbed`` installs.

    :param name: ``"clapping"``, ``"whistle"``, ``"car_horn"`` or ``"dog_clicker"``.
    :param sample_rate_hz: Sample rate of the waveforms; at most one second of the sound is used.
    :raises InvalidInputError: For another name, or if the file has another sample rate.
    :raises MissingPackageError: If armory-testbed or soundfile is not installed.
    """
    check_choice("trigger", name, ARMORY_SOUNDS)
    # Found without importing armory, which would bring in TensorFlow.
    package = importlib.util.find_spec("armory")
    if package is None or not package.submodule_search_locations:
        raise MissingPackageError(
            f"The trigger {name!r} is a file of armory-testbed, which is not installed: pip install armory-testbed"
        )
    path = Path(package.submodule_search_locations[0]) / "utils" / "triggers" / f"{name}.wav"
    soundfile = import_optional("soundfile")
    sound, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    if rate_hz != sample_rate_hz:
        raise InvalidInputError(f"{path.name} has {rate_hz} Hz; give waveforms of that rate, not {sample_rate_hz} Hz.")
    return AudioTrigger(sound.mean(axis=1)[:sample_rate_hz], ARMORY_SOUNDS[name])


def n_samples_of(sample_rate_hz: int, name: str, length_s: float) -> int:
    """
    Give the number of samples of a length.

    :raises InvalidInputError: For a bad rate or length, or if the samples would fill the memory.
    """
    rate_hz, length_s = plain(sample_rate_hz), plain(length_s)
    check_count("sample_rate_hz", rate_hz)
    check_number(name, length_s, "in seconds", least=0, most=MOST_SAMPLES / rate_hz)
    n_samples: int = round(length_s * rate_hz)
    return n_samples


def _check_sound(sound: np.ndarray, scale: float) -> None:
    is_array = isinstance(sound, np.ndarray) and sound.dtype.kind in "fiu" and sound.ndim == 1
    if not is_array or not np.isfinite(sound).all():
        raise InvalidInputError("sound must be a NumPy array of finite numbers with one axis, (s,).")
    check_number("scale", plain(scale), "a finite number")


def check_waveforms(x: np.ndarray) -> None:
    """
    Check what a trigger takes: an array of waveforms.

    :raises InvalidInputError: If it is none.
    """
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "fiu" or x.ndim < 1:
        raise InvalidInputError(f"x must be a NumPy array of waveforms, (n, S); received {type(x).__name__}.")
