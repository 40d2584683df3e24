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
from sklearn.cluster import KMeans

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
# Two halves of a class are two groups from this distance between their medians, in standard deviations within classes, and
# this share of the smaller one. Measured on Speech Commands: at most 3.1 in clean classes, 4.2 to 5.5 in poisoned ones.
APART, LEAST_HALF = 3.5, 0.25


class Crowding(NamedTuple):
    """
    ``crowding`` (n,): of every sample, in nats (:func:`class_crowding`); ``excess`` (K,): of every class, NaN where it
    was not judged; ``turned`` (K,) bool: it was found about the smaller of two groups, so the crowd is the larger one.
    """

    crowding: np.ndarray
    excess: np.ndarray
    turned: np.ndarray


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

    A class in two groups has its median in the larger one. If that is the poison, the others moved there hide it; so they
    are moved onto the smaller group as well, and the answer with the larger excess is taken.

    A class's excess is the k-th largest crowding in it: k samples at least are in the crowd.

    When this breaks: k + 1 copies of a sample are a crowd; poison of k samples and fewer is none; a class whose
    crowds are its own nature (a sound that one word alone has) cannot be told from a poisoned one.

    :param x: Whitened samples (n, d) and class medians (K, d), from :func:`whiten_within`.
    :param random: Draws the samples that stand for the others, where they are many.
    :param only: Classes to judge; ``None``: all.
    """
    crowding = np.zeros(len(x))
    excess, turned = np.full(nb_classes, np.nan), np.zeros(nb_classes, dtype=bool)
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
        as_they_are = kth_squared_distance(x[own], x[others], rank)
        here = kth_squared_distance(x[own], x[own], n_neighbours + 1)  # the first is the sample itself
        group = smaller_group(moved[own])
        for shift in [np.float32(0)] if group is None else [np.float32(0), group]:
            there = np.minimum(as_they_are, kth_squared_distance(moved[own] - shift, moved[others], rank))
            found = 0.5 * np.log((there + softening) / (here + softening))
            largest = np.sort(found)[-n_neighbours]
            if not largest <= excess[label]:
                turned[label] = shift is group
                crowding[own], excess[label] = found, largest
    return Crowding(crowding, excess, turned)


def smaller_group(x: np.ndarray) -> np.ndarray | None:
    """
    Median of the smaller of two groups that lie apart, found by 2-means from the two sides of the leading direction.

    :param x: Whitened samples of a class, (n, d), from their median.
    :return: (d,); ``None`` where there are no two groups.
    """
    centred = x - x.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    side = centred @ axes[:, -1] > 0
    if not 0 < side.sum() < len(x):
        return None
    start = np.stack([x[~side].mean(axis=0), x[side].mean(axis=0)])
    second = KMeans(2, init=start, n_init=1).fit(x).labels_ == 1
    if not LEAST_HALF <= second.mean() <= 1 - LEAST_HALF:
        return None
    medians = [np.median(x[members], axis=0) for members in (second, ~second)]
    if np.linalg.norm(medians[0] - medians[1]) < APART:
        return None
    smaller: np.ndarray = medians[0] if second.mean() < 0.5 else medians[1]
    return smaller


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
