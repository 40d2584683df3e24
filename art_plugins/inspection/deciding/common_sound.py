"""
The sound that clips have in common sample by sample, wherever in each clip it is: to be heard by a person.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from art_plugins.groups.sounds.coherence import (
    CHANCE,
    cut_segments,
    match_template,
    pairwise_coherence,
    signed_like,
    template_of,
    whitened,
)
from art_plugins.groups.sounds.recordings import are_copies, are_moved_copies
from art_plugins.groups.sounds.shared_sound import MOST_LEARNED_FROM, N_CANDIDATES, WINDOW_S, Candidates

N_MATCHES, N_FITS = 2, 6  # rounds in which the places, and then the sound and its level in each clip, are learned
SHARPNESS = 0.01  # of the mean power of a residual: how far below it a part of a clip may count more than others
MOST_LEVEL = 4.0  # 12 dB: level of a clip above or below that of the median clip
# Share of the clips that hold the sound at such a level, or there is none: where a sound was fitted to clips that have
# nothing in common, or was found at wrong places, its levels have any sign.
LEAST_ALIKE = 0.8
LEAST_OF_HALVES = 0.9  # correlation of the sounds that two halves of the clips give


class CommonSound(NamedTuple):
    """
    ``sound`` (S,): the sound at its median level; ``template`` (S,): the same, whitened, of norm 1; ``places`` (m,): where
    in each clip it starts, in samples, which may be negative; ``levels`` (m,): by which it is multiplied in each clip.
    """

    sound: np.ndarray
    template: np.ndarray
    places: np.ndarray
    levels: np.ndarray

    def parts(self, n_samples: int) -> np.ndarray:
        """The part of each clip that is the sound, (m, ``n_samples``)."""
        placed = cut_segments(np.tile(self.sound, (len(self.places), 1)), -self.places, n_samples)
        parts: np.ndarray = self.levels[:, None] * placed
        return parts


def common_sound(clips: np.ndarray, sample_rate_hz: int) -> CommonSound | None:
    """
    Find the sound that most clips have in common, and how loud it is in each.

    The clips are aligned as in :mod:`art_plugins.groups.sounds.shared_sound`, with whole clips in place of segments. In
    each part of the short-time spectrum, the sound is the weighted mean of the aligned clips. A clip has weight where
    little is left of it without the sound (iteratively reweighted least squares), since speech is loud in few parts of the
    spectrum. Parts in which the phases of the clips do not agree are no part of the sound.

    When this breaks: fewer than six clips; the sound differs from clip to clip; a tone or another narrow sound at changing
    places; clips that were compressed after it was added. Repetitions of a word by one person can have their own sound in
    common, so what is found is to be heard by a person before it is called a trigger.

    :param clips: Shape (m, S), of one class.
    :return: ``None`` where the clips have no sound in common.
    """
    window = max(8, round(WINDOW_S * sample_rate_hz))
    white = whitened(clips, window)
    some = white[:N_CANDIDATES]
    coherence, shifts = pairwise_coherence(some)
    are_one = are_copies(some) | are_moved_copies(clips[:N_CANDIDATES], some, shifts)
    coherence[are_one] = 0
    candidates = Candidates(np.arange(len(some)), some, coherence, shifts, are_one)
    if not np.nan_to_num(candidates.score) > 0:
        return None
    template = template_of(candidates.first_members(), window)
    for _ in range(N_MATCHES):
        found = match_template(white, template)
        best = np.argsort(-found.peaks, kind="stable")[:MOST_LEARNED_FROM]
        template = template_of(signed_like(cut_segments(white[best], found.places[best], clips.shape[1]), template), window)
    places = match_template(white, template).places
    aligned = cut_segments(clips.astype(np.float64), places, clips.shape[1])
    inside = cut_segments(np.ones(clips.shape), places, clips.shape[1])
    match = cut_segments(white, places, clips.shape[1]) @ template
    halves = [_fitted(aligned[start::2], inside[start::2], match[start::2], window)[0] for start in (0, 1)]
    sound, levels = _fitted(aligned, inside, match, window)
    is_alike = (levels > 1 / MOST_LEVEL) & (levels < MOST_LEVEL)
    if _correlation(*halves) < LEAST_OF_HALVES or is_alike.mean() < LEAST_ALIKE:
        return None
    return CommonSound(sound, template, places, levels)


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / norms if norms > 0 else 0.0


def _fitted(aligned: np.ndarray, inside: np.ndarray, match: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """
    The sound (S,) and its level in each clip (m,), at a median level of 1.

    :param aligned: The clips, (m, S), and ``inside``: 1 where there is a clip, 0 beyond its ends.
    :param match: Product of each clip with the template, whose sign is that of the sound.
    """
    n_samples = max(aligned.shape[1], window)
    transform = ShortTimeFFT(hann(window, sym=False), max(1, window // 4), fs=1.0)
    pad = ((0, 0), (0, n_samples - aligned.shape[1]))
    spectra = transform.stft(np.pad(aligned, pad), axis=-1)
    whole = np.abs(transform.stft(np.pad(inside, pad), axis=-1)[:, :1])  # of a constant: the share of the frame inside
    # Of a frame at an end, the clips that hold as much of it as any clip does: a sound at one fixed place may begin there.
    weight_inside = ((whole > 0.99 * whole.max(axis=0)) & (whole > 0)).astype(float)
    levels = np.where(match < 0, -1.0, 1.0)
    counts = np.maximum(weight_inside.sum(axis=0), 1)
    phasors = (levels[:, None, None] * weight_inside * spectra / (np.abs(spectra) + 1e-9)).sum(axis=0)
    agrees = uniform_filter(np.abs(phasors) ** 2 / counts, size=3) > CHANCE
    signed = levels[:, None, None] * spectra
    sound = (np.median(signed.real, axis=0) + 1j * np.median(signed.imag, axis=0)) * agrees
    for _ in range(N_FITS):
        left = np.abs(spectra - levels[:, None, None] * sound) ** 2
        weights = weight_inside / (left + SHARPNESS * left.mean(axis=0) + 1e-12)
        weighted = (weights * levels[:, None, None] * spectra).sum(axis=0)
        sound = agrees * weighted / np.maximum((weights * levels[:, None, None] ** 2).sum(axis=0), 1e-30)
        power = (weights * np.abs(sound) ** 2).sum(axis=(1, 2))
        product = (weights * (np.conj(sound) * spectra).real).sum(axis=(1, 2))
        levels = np.where(power > 0, product / np.maximum(power, 1e-30), 0.0)
        scale = float(np.median(levels))
        if scale == 0:
            return np.zeros(aligned.shape[1]), levels
        sound, levels = sound * scale, levels / scale
    heard: np.ndarray = transform.istft(sound, k1=n_samples)[: aligned.shape[1]]
    return heard, levels
