"""
Crowding: it finds samples of a class that lie close together where the other classes have no samples.

The poisoned samples of one attack share the trace of the trigger, which no other class has. Other things that samples share
(silence, loudness, a speaker's noise) occur in all classes. This is an addition to Mehlman et al. 2023, who look at each
class by itself. Distances to neighbours find a crowd of a dozen samples in a class of thousands; the variance does not.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from sklearn.cluster import KMeans

from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.moments import winsorised

# Number of similar samples that make a crowd. It is at least five, because one speaker's repetitions of a word give four
# others; one in 120 in a large class, because it has small groups of its own (a rare word); and at most one in ten.
N_NEIGHBOURS = 5
SAMPLES_PER_NEIGHBOUR = 120
LEAST_NEIGHBOURS = 2
MAX_REFERENCE = 600  # largest number of samples of the other classes, drawn at random, that a class is compared with
# Largest number of its own samples, drawn at random, that a class is compared with. A crowd has 20 neighbours in so many,
# hence the number of crowd members that are drawn varies by a fifth. All samples of a smaller class are taken.
MAX_OWN_REFERENCE = 20 * SAMPLES_PER_NEIGHBOUR
# Added to squared distances for each dimension, in within-class variances. Without it, digital silence or a constant
# background would have an infinite density.
SOFTENING = 0.02
FLOOR = 0.02  # share of the largest variance that is added to all before whitening, for directions of rounding errors
BLOCK = 4_000_000  # largest number of distances held at once
# Two parts of a class are two groups if their medians are at least this far apart, in within-class standard deviations,
# and the smaller part has at least this share. On Speech Commands the distance is at most 3.1 in clean classes, and 4.2 to
# 5.5 in poisoned ones.
APART, LEAST_HALF = 3.5, 0.25


class Crowding(NamedTuple):
    """
    ``crowding`` (n,): crowding of every sample, in nats (see :func:`class_crowding`); ``excess`` (K,): excess of every
    class in nats, NaN for a class that was not judged; ``turned`` (K,) bool: whether the excess was measured from the
    smaller of two groups of the class, so that the crowd is the larger group.
    """

    crowding: np.ndarray
    excess: np.ndarray
    turned: np.ndarray


def whiten_within(x: np.ndarray, labels: np.ndarray, nb_classes: int, nb_dims: int) -> tuple[np.ndarray, np.ndarray]:
    """
    Bring the leading directions of variance within classes, pooled over all classes, to unit variance.

    :param x: Shape (n, D).
    :param labels: Class of each sample, shape (n,).
    :param nb_classes: Number of classes, K.
    :param nb_dims: Largest number of directions to keep.
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
    Compare the density of samples around each sample in its own class with the density in the other classes.

    The crowding of a sample is half the logarithm of a ratio of softened squared distances: to a neighbour in the other
    classes, and to the k-th neighbour in the own class. For n own samples and m others, the neighbour in the other classes
    is the one of rank k m / n, so that equal densities give 0. The excess of a class is the k-th largest crowding in it;
    a high excess means that at least k samples form a crowd.

    The other classes are used twice: as they are, and moved so that their medians lie on the median of the class. The
    smaller distance counts. A class that lies far from all others as a whole is therefore not called crowded.

    If a class has two groups, its median lies in the larger one. If that group is the poison, the moved samples would hide
    it. The other classes are therefore also moved onto the smaller group, and the result with the larger excess is taken.

    The time grows with the number of samples: the other classes are represented by at most ``MAX_REFERENCE`` samples, drawn
    at random, and the class itself by at most ``MAX_OWN_REFERENCE`` (:func:`own_squared_distance`).

    When this breaks: k + 1 copies of a sample are a crowd; k or fewer poisoned samples are not; a class with natural
    crowds (a sound that only one word has) looks like a poisoned one. A small group of the other classes may have few
    samples among those that are drawn, so a class that shares its crowd with such a group only may be called crowded. In a
    class larger than ``MAX_OWN_REFERENCE``, a crowd of hardly more than k samples may be missed, and one of slightly fewer
    may be found, since the number of its members that are drawn varies by chance.

    :param x: Whitened samples (n, d) and class medians (K, d), from :func:`whiten_within`.
    :param labels: Class of each sample, shape (n,).
    :param nb_classes: Number of classes, K.
    :param random: Generator that draws samples of the other classes if they are many.
    :param only: Classes to judge; ``None`` for all.
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
        here = own_squared_distance(x[own], n_neighbours, random)
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
    Give the median of the smaller of two separate groups. The groups are found by 2-means, which starts from the two sides
    of the direction of largest variance.

    :param x: Whitened samples of a class minus their median, (n, d).
    :return: Shape (d,); ``None`` if the class does not have two groups.
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
    """Give the number of similar samples, k, that make a crowd in a class of ``n_samples``."""
    return int(np.clip(n_samples // 10, LEAST_NEIGHBOURS, max(N_NEIGHBOURS, n_samples // SAMPLES_PER_NEIGHBOUR)))


def own_squared_distance(x: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
    """
    Give the squared distance of each sample to its k-th nearest neighbour among the samples themselves.

    If there are more than ``MAX_OWN_REFERENCE`` samples, the neighbours are sought among that many of them, m, at the rank
    k m / n, so that the time grows with n and not with its square. No sample is its own neighbour.

    :param x: Shape (n, d), n > k.
    :param k: Rank of the neighbour, k >= 1.
    :param random: Generator from which one that draws the sample is spawned; its own next numbers stay the same.
    :return: Shape (n,).
    """
    if len(x) <= MAX_OWN_REFERENCE:
        return kth_squared_distance(x, x, k + 1)  # the first is the sample itself
    drawn = np.zeros(len(x), dtype=bool)
    drawn[random.spawn(1)[0].choice(len(x), size=MAX_OWN_REFERENCE, replace=False)] = True
    rank = max(1, round(k * MAX_OWN_REFERENCE / len(x)))
    found = np.empty(len(x))
    found[drawn] = kth_squared_distance(x[drawn], x[drawn], rank + 1)
    found[~drawn] = kth_squared_distance(x[~drawn], x[drawn], rank)
    return found


def kth_squared_distance(x: np.ndarray, reference: np.ndarray, k: int) -> np.ndarray:
    """Give the squared distance of each row of ``x`` to the k-th nearest row of ``reference``, k >= 1; shape (len(x),)."""
    squares = (reference**2).sum(axis=1)
    rows = max(1, BLOCK // len(reference))
    found = np.empty(len(x))
    for start in range(0, len(x), rows):
        block = x[start : start + rows]
        partial = squares - 2 * block @ reference.T
        partial.partition(k - 1, axis=1)
        found[start : start + rows] = partial[:, k - 1] + (block**2).sum(axis=1)
    return found.clip(min=0)
