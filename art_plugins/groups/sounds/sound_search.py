"""
Sounds that only one class has, at any place of its clips: which classes hold one, and which of their clips.

It needs neither a model nor samples that are known to be clean.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np

from art_plugins.features.encodings import FRAME_HOP_S
from art_plugins.groups.sounds.growing import grow
from art_plugins.groups.sounds.sampled_clips import (
    STRIDE_FRAMES,
    WINDOW_FRAMES,
    SampledClips,
    crowding_by_class,
    describe_clips,
    sample_clips,
)
from art_plugins.groups.sounds.shared_sound import (
    LEAST_LEARNED_FROM,
    LIMIT,
    N_PARTNERS,
    Candidates,
    Sounds,
    candidates_of,
    clips_with_sound,
)
from art_plugins.statistics.moments import centre_and_spread
from art_plugins.statistics.outlying import outlying_scores

MOST_OTHERS = 1_000  # clips of the other classes that show what a sound matches by chance
NOT_NATURAL = 0.6  # coherence: at most .57 in clean classes of Speech Commands and of spoken digits of two to six speakers
LEAST_COHERENCE = 1e-3
LEAST_Z = 0.1  # height of a crowd in a class without one is about 2


class SharedSounds(NamedTuple):
    """
    For K classes and n clips: ``scores`` (K,): in nats, higher is more suspicious, NaN: not judged; ``p_values`` (K,), NaN:
    not judged; ``coherence`` (K,): share of the sound that six clips of the class have in common sample by sample, 0 to 1;
    ``called``: classes that hold a sound of their own; ``to_hear``: where there are too few classes for a verdict, those
    whose clips share a sound as natural sounds do not; ``matches`` (n,): how well a clip of those matches the sound, above
    1: it holds it; NaN in other classes.
    """

    scores: np.ndarray
    p_values: np.ndarray
    coherence: np.ndarray
    called: list[int]
    to_hear: list[int]
    matches: np.ndarray

    @property
    def members(self) -> np.ndarray:
        """Whether a clip holds the sound of its class, shape (n,)."""
        found: np.ndarray = np.nan_to_num(self.matches) > 1
        return found


def find_shared_sounds(
    sounds: Sounds,
    frames_of: Callable[[np.ndarray], np.ndarray],
    labels: np.ndarray,
    nb_classes: int,
    false_alarm_rate: float,
    random_state: int = 0,
    known: SharedSounds | None = None,
    changed: Collection[int] = (),
) -> SharedSounds:
    """
    Look in every class for a sound that many of its clips share and the other classes do not have.

    The score of a class is the sum of two logarithms: of the height of its crowd of windows (how far the fifth most crowded
    clip lies above the class's typical clip, in robust standard deviations), and of the coherence of the clips in that
    crowd. Each is much larger with an added sound, and each is blind to something: the height to a sound that is mostly
    masked, the coherence to a narrow one, such as a faint tone. A class is called if its score is too high for the normal
    distribution of the scores of the other classes (:func:`~art_plugins.statistics.outlying.outlying_scores`), and if ten
    clips at least have the sound (:func:`confirmed`).

    In a called class, every clip is compared with what the first suspects share, sample by sample; where that finds less
    than half of the clips that have a window like theirs, those are taken.

    When this breaks: fewer than four classes can be judged; fewer than about fifteen clips have the sound; every class has
    it; it differs from clip to clip and is masked; it is louder than the speech and as long as the clips; a class with one
    synthesised voice; a change of the whole clip. Clips of one recording count once (:mod:`~.recordings`).

    :param sounds: The clips.
    :param frames_of: Gives the log-mel frames of clips by their rows, one frame every 10 ms: (m,) to (m, T, F).
    :param labels: Class of each clip, shape (n,), 0 to K - 1.
    :param false_alarm_rate: Accepted chance that any class is called in data without poison, between 0 and 1.
    :param random_state: Seed of the samples of clips.
    :param known: What was found in data that differ in some classes only: the scores of the other classes are taken from
        it. A shortcut for series of like data sets.
    :param changed: The classes that differ.
    """
    random = np.random.default_rng(random_state)
    clips = sample_clips(frames_of, labels, nb_classes, random)
    scores, coherence = (np.full((2, nb_classes), np.nan)) if known is None else np.stack([known.scores, known.coherence])
    found: dict[int, tuple[np.ndarray, Candidates]] = {}
    searched = [
        label
        for label, rows in enumerate(clips.rows)
        if 2 * N_PARTNERS < len(rows) < len(labels) and (known is None or label in changed)
    ]
    for label, crowding in zip(searched, crowding_by_class(clips, searched, N_PARTNERS, random), strict=True):
        centres, rows = _centres(crowding.shape[1], sounds.sample_rate_hz), clips.rows[label]
        candidates = candidates_of(sounds, rows, crowding, centres)
        coherence[label] = candidates.score
        scores[label] = class_score(crowding.max(axis=1)[~np.isin(rows, candidates.repeats)], candidates.score)
        found[label] = crowding, candidates
    judged = outlying_scores(scores, false_alarm_rate)
    called = [int(label) for label in np.flatnonzero(judged.called) if label in found]
    is_judged = np.isfinite(judged.p_values).any()
    to_hear = [] if is_judged else [label for label in found if np.nan_to_num(coherence[label]) > NOT_NATURAL]
    matches = np.full(len(labels), np.nan)
    for label in [*called, *to_hear]:
        own = np.flatnonzero(labels == label)
        matches[own] = _matches(sounds, frames_of, clips, label, own, *found[label], random)
    return confirmed(SharedSounds(scores, judged.p_values, coherence, called, to_hear, matches), labels)


def confirmed(found: SharedSounds, labels: np.ndarray) -> SharedSounds:
    """
    Call only classes in which at least ten clips hold what they share, since it was learned from so many. A few clips of
    one speaker may be as alike as those with an added sound, but then hardly any other clip has what they have.

    :param labels: Class of each clip, shape (n,).
    """
    few = [label for label in found.called if found.members[labels == label].sum() < LEAST_LEARNED_FROM]
    p_values, matches = found.p_values.copy(), found.matches.copy()
    p_values[few] = 1.0
    matches[np.isin(labels, few)] = np.nan
    called = [label for label in found.called if label not in few]
    return found._replace(p_values=p_values, called=called, matches=matches)


def class_score(crowding: np.ndarray, coherence: float) -> float:
    """Give the sum of the logarithms of the height of a crowd and of its coherence (.001 at least), in nats."""
    return float(np.log(crowd_height(crowding)) + np.log(max(coherence, LEAST_COHERENCE)))


def crowd_height(crowding: np.ndarray) -> float:
    """
    How far the fifth most crowded clip of a class lies above its typical clip, in robust standard deviations, .1 at least.

    :param crowding: Crowding of the clips, shape (m,). Fewer than five are no crowd, as in a class of copies of four
        recordings.
    """
    if len(crowding) < N_PARTNERS:
        return LEAST_Z
    median, spread = centre_and_spread(crowding, robust=True)
    height = np.sort(crowding)[-N_PARTNERS] - median
    return float(max(LEAST_Z, height / spread)) if spread > 0 else LEAST_Z


def _centres(n_windows: int, sample_rate_hz: int) -> np.ndarray:
    """Middle of each window in samples, with a frame every 10 ms."""
    middles: np.ndarray = np.round(
        (np.arange(n_windows) * STRIDE_FRAMES + WINDOW_FRAMES / 2) * FRAME_HOP_S * sample_rate_hz
    )
    return middles.astype(int)


def _matches(
    sounds: Sounds,
    frames_of: Callable[[np.ndarray], np.ndarray],
    clips: SampledClips,
    label: int,
    own: np.ndarray,
    crowding: np.ndarray,
    candidates: Candidates,
    random: np.random.Generator,
) -> np.ndarray:
    """How well each clip of a class, (m,), matches what the first suspects share, sample by sample or by its windows."""
    others = random.permutation(np.concatenate([rows for other, rows in enumerate(clips.rows) if other != label]))
    coherent = clips_with_sound(sounds, candidates, own, others[:MOST_OTHERS])
    alike = _grown(clips, frames_of, label, own, crowding, random)
    return alike if 2 * (coherent > 1).sum() < (alike > 1).sum() else coherent


def _grown(
    clips: SampledClips,
    frames_of: Callable[[np.ndarray], np.ndarray],
    label: int,
    own: np.ndarray,
    crowding: np.ndarray,
    random: np.random.Generator,
) -> np.ndarray:
    """:func:`~.growing.grow` for all clips of a class, of which the sampled ones have a crowding."""
    known = np.full((len(own), crowding.shape[1]), -np.inf)
    known[np.searchsorted(own, clips.rows[label])] = crowding
    windows = describe_clips(frames_of, own, clips.axes)
    return grow(windows, known, clips.windows_of_others(label, MOST_OTHERS, random), 1 - LIMIT)
