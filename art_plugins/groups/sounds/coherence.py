"""
Coherence: do clips hold one sound, the same sample by sample?

Two recordings of a word, of a clap or of a whistle are never equal sample by sample. A trigger that was added by a computer
is. Cross-correlation of spectrally whitened sounds (Knapp and Carter 1976, generalised cross-correlation) finds it under
louder speech, at any place and level.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

# Spectral magnitudes are raised to this power, and the phases are kept: 0 gives each part of the spectrum one weight, as
# the phase transform does; 1 leaves the sound as it is. A little of the magnitude keeps the noise of silent parts down.
MAGNITUDE_POWER = 0.3
QUIETEST = 1e-6  # magnitude that is added before the power is taken: far below one step of 16 bits
CHANCE = 3.0  # multiple of the coherence that unrelated sounds have on average, from which a part of a template counts
MOST_CHANCE = 0.5  # weight from which it counts at least: few segments agree often
BATCH = 128  # clips that are correlated at once


class Matches(NamedTuple):
    """``peaks`` (n,): largest absolute correlation of each clip with a template; ``places`` (n,): start, in samples."""

    peaks: np.ndarray
    places: np.ndarray


def whitened(waveforms: np.ndarray, window_samples: int) -> np.ndarray:
    """
    Bring all times and frequencies of waveforms to like levels; the phases are kept.

    :param waveforms: Shape (n, S).
    :param window_samples: Length of the Hann windows of the short-time spectra, in samples, at least 4.
    :return: Shape (n, S), float32.
    """
    transform = _transform(window_samples, 4)
    n_samples = waveforms.shape[1]
    found = np.empty(waveforms.shape, dtype=np.float32)
    for start in range(0, len(waveforms), BATCH):
        padded = _long_enough(np.asarray(waveforms[start : start + BATCH], dtype=np.float64), window_samples)
        spectra = transform.stft(padded, axis=-1)
        spectra *= (np.abs(spectra) + QUIETEST) ** (MAGNITUDE_POWER - 1)
        found[start : start + BATCH] = transform.istft(spectra, k1=padded.shape[1])[:, :n_samples]
    return found


def cut_segments(sounds: np.ndarray, starts: np.ndarray, n_samples: int) -> np.ndarray:
    """Cut ``n_samples`` of each sound (m, S) from its start (m,), which may be negative; zeros where the sound ends."""
    places = starts[:, None] + np.arange(n_samples)
    inside = (places >= 0) & (places < sounds.shape[1])
    return np.where(inside, np.take_along_axis(sounds, places.clip(0, sounds.shape[1] - 1), axis=1), 0)


def pairwise_coherence(segments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Give the largest absolute correlation of each pair of segments over all shifts.

    :param segments: Shape (m, s).
    :return: Coherence (m, m), 0 to 1, with zeros on the diagonal; and shifts (m, m): the samples by which the segment of
        the row is later than that of the column.
    """
    n_segments, n_samples = segments.shape
    length = next_fast_len(2 * n_samples, real=True)
    spectra = rfft(segments.astype(np.float32), length, axis=1)
    norms = np.linalg.norm(segments, axis=1)
    coherence, shifts = np.zeros((n_segments, n_segments)), np.zeros((n_segments, n_segments), dtype=int)
    for row in range(n_segments):
        correlation = np.abs(irfft(spectra[row] * np.conj(spectra), length, axis=1))
        best = correlation.argmax(axis=1)
        shifts[row] = np.where(best < length // 2, best, best - length)
        scale = norms[row] * norms
        coherence[row] = correlation.max(axis=1) / np.where(scale > 0, scale, 1)
    np.fill_diagonal(coherence, 0)
    return coherence, shifts


def signed_like(segments: np.ndarray, model: np.ndarray) -> np.ndarray:
    """Turn the sign of each segment (m, s) whose product with the model (s,) is negative."""
    signed: np.ndarray = segments * np.where(segments @ model < 0, -1, 1)[:, None]
    return signed


def template_of(aligned: np.ndarray, window_samples: int) -> np.ndarray:
    """
    Give what aligned segments share sample by sample.

    In each part of the short-time spectrum, m segments have a mean phasor of length |C|. Unrelated sounds have |C|^2 = 1 /
    m on average, so the weight of a part is (m |C|^2 - 1) / (m - 1), and 0 where it is not well above what chance gives.

    :param aligned: Whitened segments of one sign (:func:`signed_like`), shape (m, s), m at least 2.
    :param window_samples: As in :func:`whitened`.
    :return: The template, shape (s,), of norm 1; zeros if the segments share nothing.
    """
    n_segments, n_samples = aligned.shape
    transform = _transform(window_samples, 8)
    spectra = transform.stft(_long_enough(aligned, window_samples), axis=-1)
    phasor = (spectra / (np.abs(spectra) + 1e-9)).mean(axis=0)
    weight = ((n_segments * np.abs(phasor) ** 2 - 1) / (n_segments - 1)).clip(min=0)
    weight[weight < min(CHANCE / n_segments, MOST_CHANCE)] = 0
    shared = spectra.mean(axis=0) * weight
    template: np.ndarray = transform.istft(shared, k1=max(n_samples, window_samples))[:n_samples]
    norm = np.linalg.norm(template)
    return template / norm if norm > 0 else template


def match_template(sounds: np.ndarray, template: np.ndarray) -> Matches:
    """
    Correlate whitened sounds with a template at every place, also where only a part of it is inside.

    :param sounds: Shape (n, S).
    :param template: Shape (s,).
    """
    length = next_fast_len(sounds.shape[1] + len(template), real=True)
    wanted = np.conj(rfft(template.astype(np.float32), length))
    peaks, places = np.empty(len(sounds)), np.empty(len(sounds), dtype=int)
    for start in range(0, len(sounds), BATCH):
        rows = slice(start, start + BATCH)
        correlation = np.abs(irfft(rfft(sounds[rows].astype(np.float32), length, axis=1) * wanted, length, axis=1))
        best = correlation.argmax(axis=1)
        peaks[rows] = correlation.max(axis=1)
        places[rows] = np.where(best < sounds.shape[1], best, best - length)
    return Matches(peaks, places)


def _transform(window_samples: int, overlaps: int) -> ShortTimeFFT:
    return ShortTimeFFT(hann(window_samples, sym=False), max(1, window_samples // overlaps), fs=1.0)


def _long_enough(sounds: np.ndarray, n_samples: int) -> np.ndarray:
    """The sounds with zeros at their ends, so that a window fits in."""
    return np.pad(sounds, ((0, 0), (0, max(0, n_samples - sounds.shape[1]))))
