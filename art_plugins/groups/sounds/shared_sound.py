"""
Clips of one class that hold one and the same sound, wherever in the clip it is: first suspects, then all of them.

Windows that are crowded in their class (:mod:`.sampled_clips`) name the clips that may hold such a sound. Coherence
(:mod:`.coherence`) tells whether they do, since sounds of nature are alike and an added sound is the same sample by sample.
What the first suspects share is then looked for in every clip of the class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from art_plugins.groups.sounds.coherence import (
    cut_segments,
    match_template,
    pairwise_coherence,
    signed_like,
    template_of,
    whitened,
)
from art_plugins.groups.sounds.recordings import are_copies, are_moved_copies, one_recording

N_CANDIDATES = 40  # clips of the most crowded windows of a class
N_PARTNERS = 5  # other candidates that a clip must share its sound with: one speaker's repetitions of a word give four
SEGMENT_S, WINDOW_S = 0.3, 0.032  # of the whitened sound around a window, and of its short-time spectra
N_ROUNDS = 2  # times that the sound is learned again from the clips in which it was found
LEAST_LEARNED_FROM, MOST_LEARNED_FROM = 2 * N_PARTNERS, 60  # clips from which it is learned
MOST_SEARCHED = 600  # clips of the class that are searched for them
LIMIT = 0.998  # quantile of the matches with clips of other classes, above which a clip holds the sound
# Of the median match in the group: masked by loud speech, an added clap or burst keeps .45 of it in all but a fiftieth of
# the clips. Chosen with clap and tone, on five of eleven words.
LEAST_SHARE = 0.35
BATCH = 256


class Sounds:
    """
    The clips of a data set, whitened when they are asked for.

    :param waveforms_of: Gives waveforms by their rows: (m,) to (m, S).
    :param sample_rate_hz: Sample rate of the clips.
    """

    def __init__(self, waveforms_of: Callable[[np.ndarray], np.ndarray], sample_rate_hz: int) -> None:
        self.waveforms_of, self.sample_rate_hz = waveforms_of, sample_rate_hz
        self.window = max(8, round(WINDOW_S * sample_rate_hz))
        self.segment = max(self.window, round(SEGMENT_S * sample_rate_hz))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Give the whitened clips of some rows, (m, S)."""
        return whitened(self.waveforms_of(rows), self.window)

    def are_one(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Tell whether the clips of some rows, (m,), are of one recording with those of other rows, (m,); (m,), bool."""
        return one_recording(self.waveforms_of(rows), self.waveforms_of(others), self.window)


class Candidates(NamedTuple):
    """
    The most suspicious clips of a class: ``rows`` (m,) in the data; ``segments`` (m, s) of their whitened sound;
    ``coherence`` and ``shifts`` (m, m), see :func:`~.coherence.pairwise_coherence`; ``are_one`` (m, m), bool: which pairs
    are of one recording.
    """

    rows: np.ndarray
    segments: np.ndarray
    coherence: np.ndarray
    shifts: np.ndarray
    are_one: np.ndarray

    @property
    def repeats(self) -> np.ndarray:
        """Rows of candidates whose recording a candidate before them has as well."""
        repeats: np.ndarray = self.rows[np.triu(self.are_one, 1).any(axis=0)]
        return repeats

    @property
    def score(self) -> float:
        """Coherence, 0 to 1, that one candidate has with at least five others; NaN if there are no five."""
        if len(self.rows) <= N_PARTNERS:
            return float("nan")
        return float(self._with_fifth().max())

    def first_members(self) -> np.ndarray:
        """Give that candidate and its five best partners, each shifted and signed to lie on it; shape (6, s)."""
        pivot = int(self._with_fifth().argmax())
        partners = np.argsort(-self.coherence[pivot], kind="stable")[:N_PARTNERS]
        starts = np.concatenate([[0], -self.shifts[pivot, partners]])
        aligned = cut_segments(self.segments[[pivot, *partners]], starts, self.segments.shape[1])
        return signed_like(aligned, aligned[0])

    def _with_fifth(self) -> np.ndarray:
        ranked: np.ndarray = np.sort(self.coherence, axis=1)[:, -N_PARTNERS]
        return ranked


def candidates_of(sounds: Sounds, rows: np.ndarray, crowding: np.ndarray, centres: np.ndarray) -> Candidates:
    """
    Take the clips of the most crowded windows of a class, and correlate what is around those windows. Clips of one
    recording count as not correlated.

    :param rows: Rows of the clips, shape (m,).
    :param crowding: Crowding of the windows of the clips, shape (m, W).
    :param centres: Middle of each window, in samples, shape (W,).
    """
    chosen = np.argsort(-crowding.max(axis=1), kind="stable")[:N_CANDIDATES]
    middles = centres[crowding[chosen].argmax(axis=1)]
    waveforms = sounds.waveforms_of(rows[chosen])
    clips, starts = whitened(waveforms, sounds.window), middles - sounds.segment // 2
    segments = cut_segments(clips, starts, sounds.segment)
    coherence, shifts = pairwise_coherence(segments)
    are_one = are_copies(clips) | are_moved_copies(waveforms, clips, starts[:, None] + shifts - starts)
    coherence[are_one] = 0
    return Candidates(rows[chosen], segments, coherence, shifts, are_one)


def clips_with_sound(sounds: Sounds, candidates: Candidates, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """
    Find the clips of a class that hold what its first suspects share.

    The sound is learned from the first members, looked for in the class, and learned again from the clips that match it
    best, in two halves. No clip is judged by a template that was learned from it, so it does not match itself. A clip holds
    the sound if it matches better than .998 of the clips of the other classes do.

    When this breaks: the sound differs from clip to clip; the other classes have it too.

    :param candidates: Candidate sounds of the class, six at least.
    :param rows: All clips of the class, shape (m,).
    :param others: Clips of the other classes, shape (m',).
    :return: Shape (m,): for each clip the ratio of its match to that limit; above 1 it holds the sound.
    """
    reference = sounds(others)
    searched = rows if len(rows) <= MOST_SEARCHED else np.union1d(rows[:: -(-len(rows) // MOST_SEARCHED)], candidates.rows)
    clips = sounds(searched)
    templates, learned = [template_of(candidates.first_members(), sounds.window)], np.zeros((0, 1), dtype=bool)
    suspected = np.isin(searched, candidates.rows)
    for first in [True] + [False] * (N_ROUNDS - 1):
        found = [match_template(clips, template) for template in templates]
        ratios = np.stack([match.peaks for match in found], axis=1) / _limits(reference, templates)
        best = np.where(suspected | (not first), mean_of_strangers(ratios, learned), -np.inf)
        chosen = np.argsort(-best, kind="stable")[: min(MOST_LEARNED_FROM, max(LEAST_LEARNED_FROM, int((best > 1).sum())))]
        segments = signed_like(cut_segments(clips[chosen], found[0].places[chosen], sounds.segment), templates[0])
        halves = [chosen[::2], chosen[1::2]]
        templates = [template_of(segments[start::2], sounds.window) for start in (0, 1)]
        learned = np.stack([np.isin(searched, searched[half]) for half in halves], axis=1)
    limits = _limits(reference, templates)
    taught = np.stack([np.isin(rows, searched[half]) for half in halves], axis=1)
    parts = []
    for start in range(0, len(rows), BATCH):
        part = sounds(rows[start : start + BATCH])
        peaks = np.stack([match_template(part, template).peaks for template in templates], axis=1)
        parts.append(mean_of_strangers(peaks / limits, taught[start : start + BATCH]))
    return above_limit(np.concatenate(parts))


def above_limit(ratios: np.ndarray) -> np.ndarray:
    """
    Raise the limit where the clips of a group lie far above it: a clip holds the sound if its ratio is also .35 of the
    group's median.

    :param ratios: Match of each clip, divided by the limit, shape (m,).
    :return: Match of each clip, divided by the raised limit, shape (m,).
    """
    group = ratios[ratios > 1]
    return ratios / max(1.0, LEAST_SHARE * float(np.median(group))) if len(group) else ratios


def _limits(reference: np.ndarray, templates: list[np.ndarray]) -> np.ndarray:
    limits = [np.quantile(match_template(reference, template).peaks, LIMIT) for template in templates]
    return np.maximum(limits, 1e-30)


def mean_of_strangers(ratios: np.ndarray, learned: np.ndarray) -> np.ndarray:
    """
    Mean ratio of each clip over the templates that were not learned from it, (m,).

    :param ratios: Match of each clip with each template, over the limit of the template; shape (m, templates).
    :param learned: Whether the template was learned from the clip, (m, templates), one at most of each clip; no rows: none.
    """
    weights = ~learned if len(learned) else np.ones_like(ratios)
    mean: np.ndarray = (ratios * weights).sum(axis=1) / weights.sum(axis=1)
    return mean
