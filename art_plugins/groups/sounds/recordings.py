"""
Clips of one recording: copies that were moved in time, made louder or fainter, or mixed with some noise.

What they share sample by sample is the recording, and no sound that somebody has added. Data sets that were augmented are
full of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from art_plugins.groups.sounds.coherence import cut_segments, whitened

COPY = 0.95  # correlation of two whitened clips, from which they are equal
# Correlation of two clips of one recording, as they are and whitened: what they share is more than half of their energy,
# and, since all times and frequencies have one weight in whitened clips, of their time. A loud and short sound that two
# clips share is most of their energy, but little of their time.
HALF = 0.5
BATCH = 64

AreOne = Callable[[np.ndarray, np.ndarray], np.ndarray]  # rows (m,) and rows (m,) to (m,), bool


def never_one(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Tell that no pairs of clips are of one recording, (m,), bool."""
    return np.zeros(len(rows), dtype=bool)


def are_copies(white: np.ndarray) -> np.ndarray:
    """
    Tell which pairs of clips are equal, but for their level: a person who is recorded once shares no sound with others.

    :param white: Whitened, shape (m, S).
    :return: Shape (m, m), bool.
    """
    unit = white / np.maximum(np.linalg.norm(white, axis=1), 1e-30)[:, None]
    pairs: np.ndarray = np.abs(unit @ unit.T) > COPY
    return pairs


def are_moved_copies(waveforms: np.ndarray, white: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """
    Tell which pairs of clips are of one recording, where it is known by how much one would be later than the other.

    Two clips are, if they correlate by more than a half, and by more than a half when they are whitened.

    When this breaks: a recording that was mixed with as much noise, or played faster, is no copy; clips with one added
    sound that is louder than their speech, and as long, are copies.

    :param waveforms: Shape (m, S).
    :param white: The same, whitened.
    :param lags: Samples by which the clip of the row is later than that of the column, (m, m).
    :return: Shape (m, m), bool.
    """
    waveforms = waveforms.astype(np.float32)  # products of whole numbers of 16 bits would not fit into 16 bits
    found = np.zeros(lags.shape, dtype=bool)
    for row in range(len(lags)):
        like = _likeness(np.broadcast_to(waveforms[row], waveforms.shape), waveforms, lags[row])
        columns = np.flatnonzero(like > HALF)
        columns = columns[_likeness(white[[row] * len(columns)], white[columns], lags[row, columns]) > HALF]
        found[row, columns] = True
    return found | found.T


def one_recording(first: np.ndarray, second: np.ndarray, window_samples: int) -> np.ndarray:
    """
    Tell of pairs of clips whether they are of one recording (:func:`are_moved_copies`), wherever it is in them.

    :param first: Waveforms, shape (m, S).
    :param second: The others, shape (m, S).
    :param window_samples: For :func:`~.coherence.whitened`.
    :return: Shape (m,), bool.
    """
    found = np.zeros(len(first), dtype=bool)
    length = next_fast_len(2 * first.shape[1], real=True)
    for start in range(0, len(first), BATCH):
        one, other = (of[start : start + BATCH].astype(np.float32) for of in (first, second))
        correlation = np.abs(irfft(rfft(one, length, axis=1) * np.conj(rfft(other, length, axis=1)), length, axis=1))
        best = correlation.argmax(axis=1)
        lags = np.where(best < length // 2, best, best - length)
        rows = np.flatnonzero(_likeness(one, other, lags) > HALF)
        white = [whitened(of[rows], window_samples) for of in (one, other)]
        found[start + rows] = _likeness(white[0], white[1], lags[rows]) > HALF
    return found


def _likeness(first: np.ndarray, second: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Absolute correlation of pairs of clips, (m, S), the first of which is later by ``lags`` samples, (m,)."""
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    products = np.abs(np.einsum("ij,ij->i", cut_segments(first, lags, first.shape[1]), second))
    likeness: np.ndarray = products / np.where(norms > 0, norms, np.inf)
    return likeness
