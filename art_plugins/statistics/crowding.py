"""
Do some samples of a class crowd together where the other classes have nobody?

Poison of one attack is alike in what the trigger left, and no other class has it. What makes samples of every class alike
(silence, loudness, a speaker's noise) has neighbours in all of them. A deviation from Mehlman et al. 2023, who look at each
class by itself: neighbours find a crowd of a dozen in a class of thousands, which no variance shows.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.moments import winsorised

# So many alike samples are a crowd: at least five, since four others are what one speaker's repetitions of a word give; of
# a large class one in 120, since it has small groups of its own (a rare word among the unknown ones); at most one in ten.
N_NEIGHBOURS = 5
SAMPLES_PER_NEIGHBOUR = 120
LEAST_NEIGHBOURS = 2
MAX_REFERENCE = 600  # samples of the other classes that a class is compared with, drawn at random
# Added to squared distances for each dimension, in within-class variances: nearer than that is equal. Otherwise digital
# silence, or a constant background, is an endless density.
SOFTENING = 0.02
FLOOR = 0.02  # of the largest variance, added to all when they are brought to one: directions that hold only rounding
BLOCK = 4_000_000  # distances at once


class Crowding(NamedTuple):
    """
    ``crowding`` (n,): of every sample, in nats (:func:`class_crowding`); ``excess`` (K,): of every class, NaN where it
    was not judged.
    """

    crowding: np.ndarray
    excess: np.ndarray


def whiten_within(x: np.ndarray, labels: np.ndarray, nb_classes: int, nb_dims: int) -> tuple[np.ndarray, np.ndarray]:
    """
    Bring the leading directions of variance within classes, pooled over all classes, to unit variance.

    :param x: Shape (n, D).
    :param labels: Class of each sample, shape (n,).
    :param nb_dims: Most directions to keep.
    :return: The samples, and the median of each class (zeros for an empty one), in the whitened directions: (n, d) and
        (K, d), float32.
    """
    members = [indices for indices in indices_by_class(labels, nb_classes) if len(indices)]
    x = np.asarray(x, dtype=np.float64)
    x = x - np.median(x, axis=0)
    second_moments = np.zeros((x.shape[1],) * 2)
    medians = np.zeros((nb_classes, x.shape[1]))
    for indices in members:
        median = np.median(x[indices], axis=0)
        medians[labels[indices[0]]] = median
        deviations = winsorised(x[indices] - median)
        second_moments += deviations.T @ deviations
    variances, axes = np.linalg.eigh(second_moments / len(x))
    variances, axes = variances[::-1][:nb_dims].clip(min=0), axes[:, ::-1][:, :nb_dims]
    scale = np.sqrt(variances + FLOOR * variances[0])
    whitening = axes / np.where(scale > 0, scale, 1) * (scale > 0)
    return (x @ whitening).astype(np.float32), (medians @ whitening).astype(np.float32)


def class_crowding(
    x: np.ndarray,
    medians: np.ndarray,
    labels: np.ndarray,
    nb_classes: int,
    random: np.random.Generator,
    only: Collection[int] | None = None,
) -> Crowding:
    """
    How much closer each sample has its k-th neighbour in its own class than it would have it if the class were like the
    others: half the logarithm of the ratio of squared distances, softened.

    The others are asked twice, as they are and moved so that their medians lie on the class's own, and the nearer answer
    counts: neither a class that lies apart as a whole nor one that a large poison has moved aside is crowded for it. Of n
    own samples and m others, the others' neighbour is the one of rank k m / n, so that equal densities give 0.

    A class's excess is the k-th largest crowding in it: k samples at least are in the crowd.

    When this breaks: k + 1 copies of a sample are a crowd; poison of k samples and fewer is none; a class whose
    crowds are its own nature (a sound that one word alone has) cannot be told from a poisoned one.

    :param x: Whitened samples (n, d) and class medians (K, d), from :func:`whiten_within`.
    :param random: Draws the samples that stand for the others, where they are many.
    :param only: Classes to judge; ``None``: all.
    """
    crowding = np.zeros(len(x))
    excess = np.full(nb_classes, np.nan)
    softening = SOFTENING * x.shape[1]
    moved = x - medians[labels]
    for label, own in enumerate(indices_by_class(labels, nb_classes)):
        others = np.flatnonzero(labels != label)
        if len(own) < 2 * LEAST_NEIGHBOURS or not len(others) or (only is not None and label not in only):
            continue
        if len(others) > MAX_REFERENCE:
            others = random.choice(others, size=MAX_REFERENCE, replace=False)
        n_neighbours = neighbours_of(len(own))
        rank = int(np.clip(round(n_neighbours * len(others) / len(own)), 1, len(others)))
        there = np.minimum(
            kth_squared_distance(x[own], x[others], rank),
            kth_squared_distance(moved[own], moved[others], rank),
        )
        here = kth_squared_distance(x[own], x[own], n_neighbours + 1)  # the first is the sample itself
        crowding[own] = 0.5 * np.log((there + softening) / (here + softening))
        excess[label] = np.sort(crowding[own])[-n_neighbours]
    return Crowding(crowding, excess)


def neighbours_of(n_samples: int) -> int:
    """How many alike samples are a crowd in a class of so many."""
    return int(np.clip(n_samples // 10, LEAST_NEIGHBOURS, max(N_NEIGHBOURS, n_samples // SAMPLES_PER_NEIGHBOUR)))


def kth_squared_distance(x: np.ndarray, reference: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of each row of ``x`` to its k-th nearest in ``reference``, k from 1; shape (len(x),)."""
    squares = (reference**2).sum(axis=1)
    rows = max(1, BLOCK // len(reference))
    found = np.empty(len(x))
    for start in range(0, len(x), rows):
        block = x[start : start + rows]
        partial = squares - 2 * block @ reference.T
        partial.partition(k - 1, axis=1)
        found[start : start + rows] = partial[:, k - 1] + (block**2).sum(axis=1)
    return found.clip(min=0)
