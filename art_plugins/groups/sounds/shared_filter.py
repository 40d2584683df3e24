"""
Clips of one class that went through one and the same filter: an echo, the reverberation of one room.

Nothing is added to such a clip, so no window shows it. A filter multiplies the spectrum, so it adds one term to the
cepstrum, the inverse Fourier transform of the logarithm of the spectrum (Bogert, Healy and Tukey 1963). At lags beyond
those of the voice, the cepstra of different recordings have nothing in common, and those of clips with one filter do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from art_plugins.groups.sounds.recordings import COPY, AreOne, never_one
from art_plugins.groups.sounds.shared_sound import (
    LEAST_LEARNED_FROM,
    LIMIT,
    MOST_LEARNED_FROM,
    N_PARTNERS,
    above_limit,
    mean_of_strangers,
)
from art_plugins.groups.sounds.sound_search import MOST_OTHERS, SharedSounds, class_score, confirmed
from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.outlying import outlying_scores

LAGS_S = 0.02, 0.25  # beyond the lags of the vocal tract and of most of the voice; within those of echoes and small rooms
LOWEST_HZ = 200.0  # hum of the mains and its first harmonics are left out
QUIETEST = 1e-3  # share of the median power, that is added to all: noise in the gaps of the spectrum has no say
MOST_CLIPS, MOST_REFERENCE = 1_500, 600  # of one class that are judged, and that they are compared with
N_ROUNDS = 3
MOST_PARTNERS = 60  # of one clip, among which five are sought that are of other recordings
BATCH = 256

Signals = Callable[[np.ndarray], np.ndarray]  # rows (m,) to signals (m, L)


def cepstra(waveforms: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """
    Give the cepstra of waveforms at lags of 20 to 250 ms, at most half of their length, each of norm 1.

    :param waveforms: Shape (n, S).
    :return: Shape (n, L), float32; zeros for silence.
    """
    n_samples = waveforms.shape[1]
    first, last = (min(round(lag_s * sample_rate_hz), n_samples // 2) for lag_s in LAGS_S)
    length = next_fast_len(2 * n_samples, real=True)
    lowest = min(round(LOWEST_HZ * length / sample_rate_hz), length // 4)
    found = np.zeros((n_samples and len(waveforms), last - first), dtype=np.float32)
    for start in range(0, len(waveforms), BATCH):
        power = np.abs(rfft(waveforms[start : start + BATCH].astype(np.float32), length, axis=1)) ** 2
        logarithm = np.log(power + QUIETEST * np.median(power, axis=1, keepdims=True) + 1e-12)
        logarithm[:, :lowest] = logarithm[:, lowest : lowest + 1]
        found[start : start + BATCH] = irfft(logarithm, length, axis=1)[:, first:last]
    norms = np.linalg.norm(found, axis=1, keepdims=True)
    return found / np.where(norms > 1e-6, norms, np.inf)


def find_shared_filters(
    cepstra_of: Signals,
    labels: np.ndarray,
    nb_classes: int,
    false_alarm_rate: float,
    random_state: int = 0,
    are_one: AreOne = never_one,
) -> SharedSounds:
    """
    Look in every class for clips that went through one filter, which those of the other classes did not.

    A clip is crowded if its cepstrum is more like that of its fifth most similar clip of the class than like that of the
    clip of matched rank of the other classes (difference of Fisher's z). The score of a class is that of
    :func:`~.sound_search.class_score`, and it is called as for sounds. In a called class, every clip is compared with the
    mean cepstrum of the group, which is learned in two halves.

    When this breaks: fewer than four classes can be judged; one room or device recorded a part of one class alone; a change
    of pitch or tempo, which is no filter.

    :param cepstra_of: Gives :func:`cepstra` of clips by their rows.
    :param labels: Class of each clip, shape (n,), 0 to K - 1.
    :param false_alarm_rate: Accepted chance that any class is called in data without poison, between 0 and 1.
    :param random_state: Seed of the samples of clips.
    :param are_one: Tells which pairs of clips are of one recording, whose cepstra are alike without a filter.
    :return: As for sounds; ``coherence`` is the correlation of the fifth most crowded clip with its fifth most similar one.
    """
    random = np.random.default_rng(random_state)
    rows = [random.permutation(indices)[:MOST_CLIPS] for indices in indices_by_class(labels, nb_classes)]
    scores, coherence = np.full(nb_classes, np.nan), np.full(nb_classes, np.nan)
    crowded: dict[int, np.ndarray] = {}
    for label, own in enumerate(rows):
        others = _others(rows, label, MOST_REFERENCE, random)
        if len(own) > 2 * N_PARTNERS and len(others):
            like_own, crowding = cepstral_crowding(cepstra_of(own), cepstra_of(others), partial(_are_one_of, are_one, own))
            crowded[label] = own[np.argsort(-crowding, kind="stable")]
            coherence[label] = np.sort(like_own)[-N_PARTNERS]
            scores[label] = class_score(crowding, coherence[label])
    judged = outlying_scores(scores, false_alarm_rate)
    called = [int(label) for label in np.flatnonzero(judged.called)]
    matches = np.full(len(labels), np.nan)
    for label in called:
        own = np.flatnonzero(labels == label)
        others = _others(rows, label, MOST_OTHERS, random)
        matches[own] = clips_with_filter(cepstra_of, crowded[label], own, others, are_one)
    return confirmed(SharedSounds(scores, judged.p_values, coherence, called, [], matches), labels)


def cepstral_crowding(own: np.ndarray, others: np.ndarray, are_one: AreOne = never_one) -> tuple[np.ndarray, np.ndarray]:
    """
    Compare the similarity of clips to those of their class and to those of the other classes.

    :param own: Cepstra of a class, shape (m, L); the first 600 are those that all are compared with.
    :param others: Cepstra of the other classes, shape (m', L).
    :param are_one: Tells by positions in the class which pairs are of one recording. It is asked only of those pairs on
        which the ten most crowded and the ten most similar clips depend.
    :return: Correlation of each clip with its fifth most similar other clip of the class, and crowding: the difference of
        that and the correlation of matched rank with the other classes, both as Fisher's z. Copies of a clip do not count.
    """
    reference = own[:MOST_REFERENCE]
    within = own @ reference.T
    within[within > COPY] = -1  # the clip itself is one
    rank = int(np.clip(round(N_PARTNERS * len(others) / len(reference)), 1, len(others)))
    like_others = np.sort(own @ others.T, axis=1)[:, -rank]
    asked = within == -1
    while True:
        like_own = np.sort(within, axis=1)[:, -N_PARTNERS]
        crowding: np.ndarray = np.arctanh(like_own.clip(-COPY, COPY)) - np.arctanh(like_others.clip(-COPY, COPY))
        first = np.unique([np.argsort(-of, kind="stable")[: 2 * N_PARTNERS] for of in (crowding, like_own)])
        partners = np.argsort(-within[first], axis=1, kind="stable")[:, :N_PARTNERS]
        rows, columns = np.repeat(first, partners.shape[1]), partners.reshape(-1)
        new = ~asked[rows, columns]
        if not new.any():
            return like_own, crowding
        rows, columns = rows[new], columns[new]
        asked[rows, columns] = True
        is_one = are_one(rows, columns)
        within[rows[is_one], columns[is_one]] = -1


def clips_with_filter(
    cepstra_of: Signals, crowded: np.ndarray, own: np.ndarray, others: np.ndarray, are_one: AreOne = never_one
) -> np.ndarray:
    """
    Find the clips of a class that have what its most crowded clip and the clips like it have in common.

    No clip is judged by a mean that it is a part of.

    :param crowded: Sampled rows of the class, the most crowded first.
    :param own: All rows of the class, in order, shape (m,).
    :param others: Rows of other classes, which show what a clip matches by chance.
    :param are_one: As for :func:`find_shared_filters`.
    :return: Shape (m,): ratio of each clip's match to the limit; above 1 it has the filter.
    """
    described, reference = cepstra_of(own), cepstra_of(others)
    pivot = np.searchsorted(own, crowded[0])
    like_pivot = described @ described[pivot]
    like_pivot[like_pivot > COPY] = -1
    partners = np.argsort(-like_pivot, kind="stable")[:MOST_PARTNERS]
    is_one = are_one(np.full(len(partners), own[pivot]), own[partners])
    learned = [np.concatenate([[pivot], partners[~is_one][:N_PARTNERS]])]
    for _ in range(N_ROUNDS + 1):
        means = np.stack([described[chosen].mean(axis=0) for chosen in learned], axis=1)
        ratios = (described @ means) / np.maximum(np.quantile(reference @ means, LIMIT, axis=0), 1e-30)
        taught = np.stack([np.isin(np.arange(len(own)), chosen) for chosen in learned], axis=1)
        best = mean_of_strangers(ratios, taught if len(learned) > 1 else np.zeros_like(taught))
        n_learned = int(np.clip((best > 1).sum(), LEAST_LEARNED_FROM, MOST_LEARNED_FROM))
        chosen = np.argsort(-best, kind="stable")[:n_learned]
        learned = [chosen[::2], chosen[1::2]]
    return above_limit(best)


def _are_one_of(are_one: AreOne, own: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return are_one(own[first], own[second])


def _others(rows: list[np.ndarray], label: int, most: int, random: np.random.Generator) -> np.ndarray:
    others = np.concatenate([own for other, own in enumerate(rows) if other != label] or [np.zeros(0, dtype=int)])
    return random.permutation(others)[:most]
