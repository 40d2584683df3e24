"""TED's topology (Mo et al. 2024): how many samples lie nearer than the nearest of the expected class."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist


def neighbour_ranks(
    features: np.ndarray, classes: np.ndarray, reference: np.ndarray, reference_labels: np.ndarray, own: bool = False
) -> np.ndarray:
    """
    For each sample the number of reference samples that are nearer to it than the nearest one of its class.

    0: its nearest neighbour is of its class. Euclidean distances, in double precision (section IV of the paper).

    :param features: Shape (n, d).
    :param classes: The class expected of each, (n,); each must have a reference sample, with ``own`` another one.
    :param reference: Shape (m, d).
    :param reference_labels: Shape (m,).
    :param own: The samples are the reference samples, in their order; none is its own neighbour.
    :return: Shape (n,), int64, from 0 to m - 1.
    """
    distances = cdist(features.astype(np.float64), reference.astype(np.float64))
    if own:
        np.fill_diagonal(distances, np.inf)
    of_class = np.where(classes[:, None] == reference_labels, distances, np.inf).min(axis=1)
    ranks: np.ndarray = (distances < of_class[:, None]).sum(axis=1)
    return ranks
