"""Poison likelihood score (PLS) of a class: it says how badly the Gaussian of each cluster describes the other cluster."""

from __future__ import annotations

import numpy as np

from art_plugins.statistics.gaussian import fit_gaussian_pair, mean_negative_log_likelihood


def poison_likelihood_score(x: np.ndarray, labels: np.ndarray, shrinkage: str = "within") -> float:
    """
    Give PLS = (L1 + L2) / 2 (Eq. 1 of Mehlman et al. 2023). L1 is the mean negative log-likelihood of cluster 2 under the
    Gaussian of cluster 1, and L2 the reverse. Deviates from the paper: the covariances are shrunk.

    :param x: Reduced latents of one class, shape (n, d).
    :param labels: Cluster of each sample, 0 or 1, shape (n,).
    :param shrinkage: See :func:`fit_gaussian_pair`.
    :return: Score in nats; higher is more suspicious. NaN if a cluster has fewer than two samples, so no covariance.
    """
    clusters = [x[labels == side] for side in (0, 1)]
    if min(map(len, clusters)) < 2:
        return float("nan")
    first, second = fit_gaussian_pair(clusters[0], clusters[1], shrinkage)
    return 0.5 * (mean_negative_log_likelihood(second, first) + mean_negative_log_likelihood(first, second))


def mean_poison_likelihood(x: np.ndarray, trial_labels: np.ndarray, shrinkage: str = "within") -> float:
    """
    Average the PLS over clustering trials (Mehlman et al. 2023, section 3.1). Equal splits are computed once.

    :param x: Reduced latents of one class, shape (n, d).
    :param trial_labels: Cluster of each sample in each trial, 0 or 1, shape (trials, n); equal splits have equal labels.
    :param shrinkage: See :func:`fit_gaussian_pair`.
    :return: Score in nats; NaN if no trial has two clusters of at least two samples.
    """
    splits, counts = np.unique(trial_labels, axis=0, return_counts=True)
    scores = np.array([poison_likelihood_score(x, split, shrinkage) for split in splits])
    usable = np.isfinite(scores)
    return float(np.average(scores[usable], weights=counts[usable])) if usable.any() else float("nan")
