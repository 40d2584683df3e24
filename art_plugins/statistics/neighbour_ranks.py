"""Ranks of the nearest neighbour of the expected class, the features of TED (Mo et al. 2024)."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist


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
    distances = cdist(features.astype(np.float64), reference.astype(np.float64))
    if own:
        np.fill_diagonal(distances, np.inf)
    of_class = np.where(classes[:, None] == reference_labels, distances, np.inf).min(axis=1)
    ranks: np.ndarray = (distances < of_class[:, None]).sum(axis=1)
    return ranks
