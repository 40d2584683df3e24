"""Spectral signatures (Tran et al. 2018): projection on the top singular vector, without the whole decomposition."""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import svds

SMALLEST_FOR_ITERATION = 32  # below it a full decomposition is as fast, and the iteration needs more than one dimension


def spectral_scores(features: np.ndarray) -> np.ndarray:
    """
    ART's outlier score of each sample: the length of its projection on the top right singular vector of the centred
    features (Algorithm 1; like ART, and unlike the paper, the projected features themselves are not centred).

    :param features: Of one class, shape (n, d), n >= 1.
    :return: Shape (n,), at least 0; higher is more suspicious.
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
