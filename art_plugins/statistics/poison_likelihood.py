"""Poison likelihood score (PLS) of a class: how badly each half of the class describes the other."""

from __future__ import annotations

import numpy as np

from art_plugins.statistics.gaussian import fit_gaussian_pair, mean_negative_log_likelihood


def poison_likelihood_score(x: np.ndarray, labels: np.ndarray, shrinkage: str = "within") -> float:
    """
    PLS = (L1 + L2) / 2 with L1 the mean negative log-likelihood of cluster 2 under the Gaussian of cluster 1, and L2 the
    reverse (Eq. 1, Mehlman et al. 2023; deviates: the covariances are shrunk).

    :param x: Reduced latents of one class, shape (n, d).
    :param labels: Cluster of each sample, 0 or 1, shape (n,).
    :param shrinkage: See :func:`fit_gaussian_pair`.
    :return: Nats; higher is more suspicious. NaN when a cluster has fewer than two samples: it has no covariance.
    """
    clusters = [x[labels == side] for side in (0, 1)]
    if min(map(len, clusters)) < 2:
        return float("nan")
    first, second = fit_gaussian_pair(clusters[0], clusters[1], shrinkage)
    return 0.5 * (mean_negative_log_likelihood(second, first) + mean_negative_log_likelihood(first, second))


def mean_poison_likelihood(x: np.ndarray, trial_labels: np.ndarray, shrinkage: str = "within") -> float:
    """
    PLS averaged over clustering trials (Mehlman et al. 2023, 3.1); trials that split alike are computed once.

    :param x: Reduced latents of one class, shape (n, d).
    :param trial_labels: Aligned labels, shape (trials, n).
    :return: Nats; NaN when no trial has two clusters of at least two samples.
    """
    splits, counts = np.unique(trial_labels, axis=0, return_counts=True)
    scores = np.array([poison_likelihood_score(x, split, shrinkage) for split in splits])
    usable = np.isfinite(scores)
    return float(np.average(scores[usable], weights=counts[usable])) if usable.any() else float("nan")
