"""Ranks of the nearest neighbour of the expected class, the features of TED (Mo et al. 2024)."""

from __future__ import annotations

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
    reference = reference.astype(np.float64)
    ranks = np.empty(len(features), dtype=np.int64)
    for rows in gen_batches(len(features), max(1, BLOCK // len(reference))):
        distances = cdist(features[rows].astype(np.float64), reference)
        if own:
            distances[np.arange(len(distances)), np.arange(rows.start, rows.stop)] = np.inf
        of_class = np.where(classes[rows, None] == reference_labels, distances, np.inf).min(axis=1)
        ranks[rows] = (distances < of_class[:, None]).sum(axis=1)
    return ranks
