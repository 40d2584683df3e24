"""How gradients of one class spread in direction: the two measures and the filtering of AGPD (Yuan et al. 2025)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import jensenshannon

from art_plugins.statistics.outliers import MAD_TO_SIGMA

# All values are the authors'.
LEAST_INDEX = math.exp(2)  # outlier index of a class from which it is a target
LEAST_SPREAD = 0.3  # spread of a target class where no index is that high, as when every class is a target
LATE_LAYERS = slice(-4, -1)  # the layers that are then looked at
N_BINS = 99  # of the histograms of closeness, which is 0 to 1
WINDOW, WEIGHT_OF_SPREAD = 10, 5  # rounds in which the histograms must be alike, and how much their differences weigh


class Targets(NamedTuple):
    """Classes that hold poison, and the index of the layer that shows it; ``None`` and no class for a clean set."""

    layer: int | None
    classes: list[int]


def cosines(vectors: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """
    Give the cosine similarity of each vector to a direction, 0 where either has no length.

    :param vectors: Shape (n, d).
    :param direction: Shape (d,).
    :return: Shape (n,), -1 to 1.
    """
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(direction)
    return np.asarray(np.divide(vectors @ direction, lengths, out=np.zeros(len(vectors)), where=lengths > 0))


def class_spread(gradients: np.ndarray, reference: np.ndarray) -> float:
    """
    Give the spread of a class between the reference and the sample that is farthest from it in direction: the root of the
    mean squared difference of the cosines to the two.

    :param gradients: Gradients of the samples of a class, (n, d), n at least 1.
    :param reference: Mean gradient of trusted samples of the class, (d,).
    :return: 0 to 2; a larger spread is more suspicious.
    """
    to_reference = cosines(gradients, reference)
    farthest = int(np.argmin(to_reference))
    differences = np.delete(to_reference - cosines(gradients, gradients[farthest]), farthest)
    return float(np.linalg.norm(differences) / math.sqrt(len(gradients)))


def target_classes(spreads: np.ndarray) -> Targets:
    """
    Find the classes whose spread stands out at some layer; or, where none does, those that spread widely at a late layer.

    :param spreads: Spread of each class at each layer, (L, K); NaN for classes that are not judged.
    """
    if not np.isfinite(spreads).any():
        return Targets(None, [])
    above = spreads - np.nanmedian(spreads, axis=1, keepdims=True)
    deviations = np.nanmedian(np.abs(above), axis=1, keepdims=True)
    index = np.nan_to_num(np.maximum(above, 0) / (MAD_TO_SIGMA * (deviations + 1e-6)))
    if index.max() >= LEAST_INDEX:
        layer = int(index.max(axis=1).argmax())
        return Targets(layer, np.flatnonzero(index[layer] >= LEAST_INDEX).tolist())
    wide = np.nan_to_num(spreads)[LATE_LAYERS] > LEAST_SPREAD
    if not wide.any():
        return Targets(None, [])
    late = int(wide.sum(axis=1).argmax())
    return Targets(list(range(len(spreads)))[LATE_LAYERS][late], np.flatnonzero(wide[late]).tolist())


def closeness_to_clean(gradients: np.ndarray, reference: np.ndarray, poison: np.ndarray) -> np.ndarray:
    """
    Give d_poison / (d_poison + d_clean) of each sample, where both distances are 1 minus a cosine.

    :param gradients: Shape (n, d).
    :param reference: Mean gradient of trusted samples, (d,).
    :param poison: Mean gradient of the poison found so far, (d,).
    :return: Shape (n,), 0 to 1; a smaller value is more suspicious, and a half is as near to both.
    """
    to_poison, to_clean = (1 - cosines(gradients, direction).clip(-1, 1) for direction in (poison, reference))
    total = to_poison + to_clean
    return np.asarray(np.divide(to_poison, total, out=np.full(len(total), 0.5), where=total > 0))


def split_target_class(gradients: np.ndarray, reference: np.ndarray, step: float) -> np.ndarray:
    """
    Move samples to the poison in rounds, the nearest first, and stop before the rounds in which little changes any more.

    The poison begins with the sample that is farthest from the reference. In each round, closeness is measured anew, scaled
    to 0 to 1 over the samples that are left, and those up to ``step`` are moved. This goes on until none is left. Then the
    rounds are compared by the Jensen-Shannon distance between the histograms of closeness before and after. The poison is
    what was moved before the ten rounds with the smallest and steadiest distances.

    :param gradients: Gradients of the samples of a target class, (n, d), n at least 1.
    :param reference: Mean gradient of trusted samples of the class, (d,).
    :param step: Share of the range of closeness that is moved in a round, above 0 and below 1.
    :return: Which samples are poison, (n,), bool.
    """
    round_of = np.full(len(gradients), -1)
    round_of[int(np.argmin(cosines(gradients, reference)))] = 0
    distances: list[float] = []
    before = closeness_to_clean(gradients[round_of < 0], reference, gradients[round_of == 0][0])
    while (round_of < 0).any():
        rest = np.flatnonzero(round_of < 0)
        near = closeness_to_clean(gradients[rest], reference, gradients[round_of >= 0].mean(axis=0))
        moved = near - near.min() <= step * np.ptp(near)
        round_of[rest[moved]] = len(distances) + 1
        distances.append(_histogram_distance(before, near[~moved]))
        before = near[~moved]
    n_rounds = 1
    if distances:
        windows = np.lib.stride_tricks.sliding_window_view(np.array(distances), min(WINDOW, len(distances)))
        n_rounds = max(1, int(np.argmin(windows.mean(axis=1) + WEIGHT_OF_SPREAD * windows.std(axis=1))))
    return np.asarray(round_of < n_rounds)


def _histogram_distance(first: np.ndarray, second: np.ndarray) -> float:
    if not len(first) or not len(second):
        return 1.0
    counts = [np.histogram(values, N_BINS, (0, 1))[0] for values in (first, second)]
    return float(jensenshannon(*counts))
