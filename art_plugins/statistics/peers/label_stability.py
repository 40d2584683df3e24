"""Perturbations under which the label of a clip should change, or should stay, for STEP; the last axis is time."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

N_PARTS = 8  # of a clip that is shuffled
EVEN_DB, FAINT_DB = 0.0, 25.0  # signal-to-noise ratios: noise as loud as the clip, and noise that is hardly heard
HALF, SHORT = 0.5, 0.02  # shares of the time that are silenced
GAINS = (0.8, 1.25)  # range of a loudness that words survive
MOST_SHIFT = 0.02  # share of the time by which a clip is moved
SMOOTHING = (0.25, 0.5, 0.25)  # of neighbours in time: the highest frequencies become quieter

Change = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


class Perturbation(NamedTuple):
    """
    One way to change clips.

    ``change(x, references, random)`` gives changed clips of the shape of ``x``, (n, ..., T); it draws once for all of them,
    so that what a clip becomes does not depend on the others. ``is_random``: whether further draws differ.
    """

    name: str
    change: Change
    is_random: bool = True


def _loudness(x: np.ndarray) -> np.ndarray:
    """Root of the mean square of each clip, (n, 1, ...)."""
    axes = tuple(range(1, x.ndim))
    return np.asarray(np.sqrt(np.square(x, dtype=np.float64).mean(axis=axes, keepdims=True)))


def with_noise(x: np.ndarray, ratio_db: float, random: np.random.Generator) -> np.ndarray:
    """
    Add white noise.

    :param ratio_db: Signal-to-noise ratio in dB.
    """
    noise = random.standard_normal(x.shape[1:])
    return np.asarray(x + _loudness(x) * 10 ** (-ratio_db / 20) * noise)


def shuffled(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Cut the time into ``N_PARTS`` parts and put these together in another order."""
    parts = np.array_split(np.arange(x.shape[-1]), min(N_PARTS, x.shape[-1]))
    return np.asarray(x[..., np.concatenate([parts[index] for index in random.permutation(len(parts))])])


def silenced(x: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Set a stretch of the time to 0, at a random place; it has at least one step."""
    length = max(1, round(share * x.shape[-1]))
    start = int(random.integers(0, x.shape[-1] - length + 1))
    changed = np.array(x)
    changed[..., start : start + length] = 0
    return changed


def smoothed(x: np.ndarray) -> np.ndarray:
    """Take weighted means of neighbours in time; the ends are repeated."""
    padded = np.concatenate([x[..., :1], x, x[..., -1:]], axis=-1)
    length = x.shape[-1]
    return np.asarray(sum(weight * padded[..., start : start + length] for start, weight in enumerate(SMOOTHING)))


def _mixed(x: np.ndarray, references: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return np.asarray((x + references[int(random.integers(len(references)))]) / 2)


def _moved(x: np.ndarray, references: np.ndarray, random: np.random.Generator) -> np.ndarray:
    most = max(1, round(MOST_SHIFT * x.shape[-1]))
    return np.roll(x, int(random.integers(-most, most + 1)), axis=-1)


BREAKING = (
    Perturbation("reversed", lambda x, references, random: x[..., ::-1], is_random=False),
    Perturbation("shuffled", lambda x, references, random: shuffled(x, random)),
    Perturbation("loud noise", lambda x, references, random: with_noise(x, EVEN_DB, random)),
    Perturbation("another clip on top", _mixed),
    Perturbation("half silenced", lambda x, references, random: silenced(x, HALF, random)),
)
PRESERVING = (
    Perturbation("faint noise", lambda x, references, random: with_noise(x, FAINT_DB, random)),
    Perturbation("louder or quieter", lambda x, references, random: x * random.uniform(*GAINS)),
    Perturbation("moved", _moved),
    Perturbation("smoothed", lambda x, references, random: smoothed(x), is_random=False),
    Perturbation("a moment silenced", lambda x, references, random: silenced(x, SHORT, random)),
)


def robust_z(scores: np.ndarray, of_benign: np.ndarray, least_spread: float) -> np.ndarray:
    """
    Give scores in standard deviations above the median of benign ones.

    :param scores: Shape (n,).
    :param of_benign: Scores of benign samples, (m,).
    :param least_spread: Lower bound of the standard deviation.
    """
    spread = max(float(of_benign.std()), least_spread)
    return np.asarray((scores - np.median(of_benign)) / spread)
