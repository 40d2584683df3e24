"""What Confusion Training (Qi et al. 2023) computes beside its networks: wrong labels, shares, weights, and a test."""

from __future__ import annotations

import math

import numpy as np

from art_plugins.statistics.labels import indices_by_class

# All values are the authors'.
LEAST_SHARE = 1 / 50  # of each class stays in the distilled set
SMOOTHING = 1e-3  # added to the frequencies of the classes
MEDIAN_SHARE = 0.1  # of each class, around its median loss, stands for its clean samples
LEAST_RATIO, LEAST_HIGHEST_RATIO = math.e, 1.5  # from which a class is called, and the class with the highest ratio
RIDGE = 1e-3  # added to the variances
N_DIMS = 2  # of the plane on which the samples of a class are projected
LEAST_POINTS = 3  # fewer points lie on a line in the plane, and have no covariance


def wrong_labels(labels: np.ndarray, nb_classes: int, random: np.random.Generator) -> np.ndarray:
    """
    Draw a label for each sample from the classes other than its own, each with the same probability.

    :param labels: True labels, (n,).
    :param nb_classes: Number of classes, K, at least 2.
    :return: Labels, (n,).
    """
    drawn: np.ndarray = (labels + random.integers(1, nb_classes, size=len(labels))) % nb_classes
    return drawn


def distilled_rows(losses: np.ndarray, labels: np.ndarray, nb_classes: int, share: float) -> np.ndarray:
    """
    Choose the samples with the lowest losses, and the lowest of each class, at least one in fifty.

    :param losses: Loss of each sample, (n,), finite.
    :param labels: Labels as given, (n,).
    :param share: Share of all samples, above 0 and at most 1; at least two samples are chosen.
    :return: Rows in increasing order.
    """
    chosen = np.zeros(len(losses), dtype=bool)
    chosen[np.argsort(losses, kind="stable")[: max(2, int(share * len(losses)))]] = True
    for rows in indices_by_class(labels, nb_classes):
        chosen[rows[np.argsort(losses[rows], kind="stable")[: int(LEAST_SHARE * len(rows))]]] = True
    return np.flatnonzero(chosen)


def class_weights(labels: np.ndarray, nb_classes: int) -> np.ndarray:
    """
    Give the weight of a sample of each class: 1 over the root of the frequency of the class.

    :param labels: Labels of the distilled set, (n,), n at least 1.
    :return: Shape (K,), above 0.
    """
    weights: np.ndarray = 1 / np.sqrt(np.bincount(labels, minlength=nb_classes) / len(labels) + SMOOTHING)
    return weights


def likelihood_ratio(features: np.ndarray, losses: np.ndarray, is_fitted: np.ndarray) -> float:
    """
    Give by how much two Gaussians, one of the clean and one of the fitted samples of a class, explain the class better than
    that of the clean ones alone. Samples around the median loss stand for the clean ones.

    :param features: Features of the samples of one class under the confused model, (n, d), finite.
    :param losses: Losses of these samples, (n,).
    :param is_fitted: Whether the confused model predicts the label of each, (n,).
    :return: Geometric mean of the likelihood ratio of a sample; 1 for a class that has too few samples for a covariance.
    """
    n, half = len(losses), len(losses) * MEDIAN_SHARE / 2
    middle = np.argsort(losses, kind="stable")[int(n / 2 - half) : int(n / 2 + half)]
    if min(len(middle), int(is_fitted.sum())) < LEAST_POINTS:
        return 1.0
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    plane = centred @ np.linalg.svd(centred, full_matrices=False)[2][:N_DIMS].T
    single = _log_densities(plane, plane[middle])
    both = np.where(is_fitted, _log_densities(plane, plane[is_fitted]), single)
    return float(np.exp(np.clip((both - single).mean(), -500, 500)))


def called_classes(ratios: np.ndarray) -> list[int]:
    """
    Give the classes that hold poison: those with a ratio above e, and that with the highest one if it is above 1.5.

    :param ratios: Likelihood ratio of each class, (K,).
    """
    highest = (ratios == ratios.max()) & (ratios > LEAST_HIGHEST_RATIO)
    return np.flatnonzero(highest | (ratios > LEAST_RATIO)).tolist()


def _log_densities(points: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """The log density of each point under the Gaussian of a cluster, up to a constant that all Gaussians have, (n,)."""
    covariance = np.atleast_2d(np.cov(cluster.T)) + RIDGE * np.eye(points.shape[1])
    apart = points - cluster.mean(axis=0)
    squared = (apart * np.linalg.solve(covariance, apart.T).T).sum(axis=1)
    densities: np.ndarray = -0.5 * (squared + np.linalg.slogdet(covariance)[1])
    return densities
