"""The sound that the members of a group share, told from what clean clips have in common by chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from art_plugins.groups.sounds.coherence import cut_segments, match_template, whitened
from art_plugins.groups.sounds.shared_sound import WINDOW_S
from art_plugins.inspection.deciding.common_sound import MOST_LEVEL, CommonSound, common_sound


def added_sound(
    members: np.ndarray, draws: Sequence[np.ndarray], others: np.ndarray, sample_rate_hz: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """
    Find the sound that was added to the clips of a group: what each clip has of the sound that they have in common.

    Clean clips of few speakers can have something in common as well. So the clips of the group must agree with their common
    sound more than those of every group of clean clips agree with theirs. With 19 of these, a group without a trigger
    passes with a probability of 1/20 at most. A clip holds the sound for certain if it agrees with it more than every clean
    clip does, and if the level of the sound is within 12 dB of that in the median clip.

    :param members: Clips of a group, (m, S).
    :param draws: Groups of clean clips, (m', S) each, of the classes that the members seem to have.
    :param others: Clean clips, (m'', S), that are asked whether they hold the sound of the group.
    :param sample_rate_hz: Sample rate of the clips.
    :return: What was added to each clip, (m, S); and which of them hold it for certain, (m,), bool. Only from these is it
        to be taken off. ``None``: the group has no such sound.
    """
    common = common_sound(members, sample_rate_hz)
    if common is None or not agreement(members, common, sample_rate_hz) > max(
        by_chance(group, sample_rate_hz) for group in draws
    ):
        return None
    least = _peaks(others, common, sample_rate_hz).max(initial=0.0)
    is_alike = (common.levels > 1 / MOST_LEVEL) & (common.levels < MOST_LEVEL)
    is_certain = (_peaks(members, common, sample_rate_hz) > least) & is_alike
    return common.parts(members.shape[1]), is_certain


def by_chance(clips: np.ndarray, sample_rate_hz: int) -> float:
    """How much clean clips (m, S) agree with what they have in common, 0 to 1; 0 if that is nothing."""
    common = common_sound(clips, sample_rate_hz)
    return 0.0 if common is None else agreement(clips, common, sample_rate_hz)


def agreement(clips: np.ndarray, common: CommonSound, sample_rate_hz: int) -> float:
    """The correlation of the median clip, (m, S), with the sound at its place, both whitened, 0 to 1."""
    white = _white(clips, sample_rate_hz)
    matched = np.abs(cut_segments(white, common.places, clips.shape[1]) @ common.template)
    return float(np.median(matched / _norms(white)))


def _peaks(clips: np.ndarray, common: CommonSound, sample_rate_hz: int) -> np.ndarray:
    """The largest correlation of each clip with the sound over all places, (m,)."""
    white = _white(clips, sample_rate_hz)
    peaks: np.ndarray = match_template(white, common.template).peaks / _norms(white)
    return peaks


def _white(clips: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    return whitened(clips, max(8, round(WINDOW_S * sample_rate_hz)))


def _norms(white: np.ndarray) -> np.ndarray:
    norms: np.ndarray = np.maximum(np.linalg.norm(white, axis=1), 1e-12)
    return norms
