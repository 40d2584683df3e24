"""Scores of spectral signatures (Tran et al. 2018): projections on the top singular vector."""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import svds

SMALLEST_FOR_ITERATION = 32  # for smaller matrices a full decomposition is as fast


def spectral_scores(features: np.ndarray) -> np.ndarray:
    """
    Give the outlier score of each sample, as ART computes it: the absolute value of its projection on the top right
    singular vector of the centred features (Algorithm 1 of Tran et al. 2018). Deviates from the paper, as ART does: the
    features that are projected are not centred.

    :param features: Features of one class, shape (n, d), n >= 1.
    :return: Scores, shape (n,), at least 0; higher is more suspicious.
    """
    features = np.asarray(features, dtype=np.float64)
    centred = features - features.mean(axis=0)
    if min(centred.shape) < SMALLEST_FOR_ITERATION or not centred.any():
        top = np.linalg.svd(centred, full_matrices=False)[2][0]
    else:
        start = np.random.default_rng(0).normal(size=min(centred.shape))
        top = svds(centred, k=1, v0=start, return_singular_vectors="vh")[2][0]
    scores: np.ndarray = np.abs(features @ top)
    return scores
