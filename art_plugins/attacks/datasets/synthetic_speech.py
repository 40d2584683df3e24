"""
Spoken-word-like sounds, synthesised: no download and no recording.

Each word is a consonant burst and two vowels, a voiced source through three moving formant resonances (a Klatt-like
cascade). Every clip has a speaker of its own: pitch, length of the vocal tract, tempo, loudness and background noise.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from art_plugins.attacks.datasets.labelled import LabelledData

SAMPLE_RATE_HZ = 8_000
LENGTH_S = 0.5
# Formant frequencies of vowels in Hz (Peterson and Barney 1952, adult men).
VOWELS = {
    "a": (730, 1090, 2440),
    "i": (270, 2290, 3010),
    "u": (300, 870, 2240),
    "e": (530, 1840, 2480),
    "o": (570, 840, 2410),
}
WORDS = {
    "sai": ("s", "a", "i"),
    "tuo": ("t", "u", "o"),
    "fea": ("f", "e", "a"),
    "kiu": ("k", "i", "u"),
    "moe": ("m", "o", "e"),
    "sou": ("s", "o", "u"),
}
CONSONANTS = {"s": (0.09, 3000), "t": (0.02, 2500), "f": (0.07, 1500), "k": (0.03, 1200), "m": (0.05, 250)}
BANDWIDTHS_HZ = (80, 110, 160)


def synthetic_speech(n_per_class: int = 160, n_test_per_class: int = 40, random_state: int = 0) -> LabelledData:
    """
    Synthesise waveforms (n, 4000) in [-1, 1], float32: half a second at 8 kHz, of six words.

    :param n_per_class: Training clips of each word.
    :param n_test_per_class: Test clips of each word, by other speakers.
    :param random_state: Random seed of the speakers.
    """
    random = np.random.default_rng(random_state)
    n_clips = n_per_class + n_test_per_class
    clips = np.stack([[speak(*parts, random) for _ in range(n_clips)] for parts in WORDS.values()])
    labels = np.repeat(np.arange(len(WORDS)), n_clips).reshape(len(WORDS), n_clips)

    def split(rows: slice) -> tuple[np.ndarray, np.ndarray]:
        x = clips[:, rows].reshape(-1, clips.shape[-1])
        y = labels[:, rows].reshape(-1)
        order = random.permutation(len(x))
        return x[order], y[order]

    return LabelledData(*split(slice(n_per_class)), *split(slice(n_per_class, None)), tuple(WORDS))


def speak(consonant: str, first: str, second: str, random: np.random.Generator) -> np.ndarray:
    """
    Synthesise one clip by one speaker.

    :return: Waveform in [-1, 1], shape (SAMPLE_RATE_HZ * LENGTH_S,), float32.
    """
    n_samples = round(SAMPLE_RATE_HZ * LENGTH_S)
    pitch_hz = random.uniform(85, 240)
    tract = random.uniform(0.88, 1.18)  # shorter vocal tracts have higher formants
    burst_s, centre_hz = CONSONANTS[consonant]
    burst = _resonate(
        random.normal(size=round(burst_s * random.uniform(0.8, 1.2) * SAMPLE_RATE_HZ)), centre_hz * tract, 600
    )
    vowels_s = random.uniform(0.2, 0.3)
    voiced = _vowels(VOWELS[first], VOWELS[second], round(vowels_s * SAMPLE_RATE_HZ), pitch_hz, tract, random)
    word = np.concatenate([0.3 * burst / np.abs(burst).max(), voiced])
    start = random.integers(round(0.04 * SAMPLE_RATE_HZ), n_samples - len(word))
    clip = random.normal(scale=10 ** random.uniform(-3.5, -2.2), size=n_samples)
    clip[start : start + len(word)] += random.uniform(0.2, 0.7) * word
    return np.clip(clip, -1, 1).astype(np.float32)


def _vowels(
    first: tuple[int, ...], second: tuple[int, ...], n: int, pitch_hz: float, tract: float, random: np.random.Generator
) -> np.ndarray:
    """A pulse train with falling pitch through formants that glide from one vowel to the other, in 20 ms pieces."""
    glide = 1 - random.uniform(0.05, 0.2) * np.linspace(0, 1, n)
    phase = np.cumsum(pitch_hz * glide / SAMPLE_RATE_HZ) + random.uniform()
    source = np.diff(np.floor(phase), prepend=0) + 0.02 * random.normal(size=n)
    weight = 1 / (1 + np.exp(-12 * (np.linspace(0, 1, n) - random.uniform(0.4, 0.6))))
    piece = SAMPLE_RATE_HZ // 50
    for low, high, bandwidth_hz in zip(first, second, BANDWIDTHS_HZ, strict=True):
        state = np.zeros(2)
        filtered = np.empty(n)
        for start in range(0, n, piece):
            rows = slice(start, start + piece)
            centre_hz = tract * (low + (high - low) * weight[start])
            numerator, denominator = _resonance(centre_hz, bandwidth_hz)
            filtered[rows], state = lfilter(numerator, denominator, source[rows], zi=state)
        source = filtered
    word: np.ndarray = np.sin(np.pi * np.linspace(0, 1, n)) ** 0.5 * source / np.abs(source).max()
    return word


def _resonate(noise: np.ndarray, centre_hz: float, bandwidth_hz: float) -> np.ndarray:
    filtered: np.ndarray = lfilter(*_resonance(centre_hz, bandwidth_hz), noise)
    return filtered


def _resonance(centre_hz: float, bandwidth_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Two-pole resonator (Klatt 1980) of unit gain at 0 Hz."""
    radius = np.exp(-np.pi * bandwidth_hz / SAMPLE_RATE_HZ)
    angle = 2 * np.pi * min(centre_hz, 0.47 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    denominator = np.array([1, -2 * radius * np.cos(angle), radius**2])
    return np.array([denominator.sum()]), denominator
