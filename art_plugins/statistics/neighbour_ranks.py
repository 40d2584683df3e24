"""Ranks of the nearest neighbour of the expected class, the features of TED (Mo et al. 2024) and TED++ (Le et al. 2025)."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.utils import gen_batches

BLOCK = 4_000_000  # largest number of distances held at once


def neighbour_ranks(
    features: np.ndarray, classes: np.ndarray, reference: np.ndarray, reference_labels: np.ndarray, own: bool = False
) -> np.ndarray:
    """
    Give for each sample the number of reference samples that are nearer than the nearest one of its class.

    The rank 0 means that the nearest neighbour is of the sample's class. Distances are Euclidean, in double precision
    (Mo et al. 2024, section IV).

    :param features: Shape (n, d).
    :param classes: Expected class of each sample, (n,). Each class must have a reference sample other than the sample.
    :param reference: Features of the reference samples, shape (m, d).
    :param reference_labels: Classes of the reference samples, shape (m,).
    :param own: Whether the samples are the reference samples, in the same order; no sample is then its own neighbour.
    :return: Ranks, shape (n,), int64, from 0 to m - 1.
    """
    return _ranks(features, classes, reference.astype(np.float64), reference_labels, own, None)


def tube_radii(reference: np.ndarray, reference_labels: np.ndarray, share: float) -> np.ndarray:
    """
    Give for each reference sample the radius within which the nearest ``share`` of its class lie: the distance to the
    ceil(``share`` n)-th nearest other sample of its class, where n is the size of the class (Le et al. 2025).

    Copies of a sample do not count as its neighbours. A sample whose class has fewer others takes the farthest of them, and
    one without others has the radius 0.

    :param reference: Features of the reference samples, shape (m, d).
    :param reference_labels: Classes of the reference samples, shape (m,).
    :param share: Share of the class, above 0 to 1.
    :return: Radii, shape (m,), 0 or above.
    """
    radii = np.zeros(len(reference))
    for label in np.unique(reference_labels):
        members = np.flatnonzero(reference_labels == label)
        own = reference[members].astype(np.float64)
        for rows in gen_batches(len(own), max(1, BLOCK // len(own))):
            distances = np.sort(cdist(own[rows], own), axis=1)
            n_copies = (distances == 0).sum(axis=1)  # the sample itself is among them
            place = np.minimum(n_copies + math.ceil(share * len(own)), len(own)) - 1
            radii[members[rows]] = distances[np.arange(len(distances)), place]
    return radii


def tube_ranks(
    features: np.ndarray,
    classes: np.ndarray,
    reference: np.ndarray,
    reference_labels: np.ndarray,
    radii: np.ndarray,
    own: bool = False,
) -> np.ndarray:
    """
    Give the ranks of :func:`neighbour_ranks`, and the worst one to every sample outside the tube around its class (the
    locally adaptive ranking of Le et al. 2025).

    A sample is outside if the nearest reference sample of its class is farther away than that sample's radius.

    :param radii: Radii of the reference samples, shape (m,); see :func:`tube_radii`.
    :return: Ranks, shape (n,), int64, from 0 to m - 1, which is the worst.

    The other parameters are those of :func:`neighbour_ranks`.
    """
    return _ranks(features, classes, reference.astype(np.float64), reference_labels, own, radii)


def _ranks(
    features: np.ndarray,
    classes: np.ndarray,
    reference: np.ndarray,
    reference_labels: np.ndarray,
    own: bool,
    radii: np.ndarray | None,
) -> np.ndarray:
    ranks = np.empty(len(features), dtype=np.int64)
    for rows in gen_batches(len(features), max(1, BLOCK // len(reference))):
        distances = cdist(features[rows].astype(np.float64), reference)
        if own:
            distances[np.arange(len(distances)), np.arange(rows.start, rows.stop)] = np.inf
        of_class = np.where(classes[rows, None] == reference_labels, distances, np.inf)
        nearest = of_class.min(axis=1)
        ranks[rows] = (distances < nearest[:, None]).sum(axis=1)
        if radii is not None:
            ranks[rows][nearest > radii[of_class.argmin(axis=1)]] = len(reference) - 1
    return ranks
