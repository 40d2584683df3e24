"""How near a layer's features are to each class: Mahalanobis distances by Gaussians with one shared covariance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from art_plugins.statistics.gaussian import oas_covariance
from art_plugins.statistics.labels import indices_by_class

LEAST_DISTANCE = 1e-6  # squared; what is nearer to its class's mean counts as this near
MAHALANOBIS_DISTANCE = "mahalanobis_distance"
DISTANCE_RATIO = "distance_ratio"


class LayerGaussian(NamedTuple):
    """
    Gaussians of K classes with one covariance, over the d of the D features of a layer that vary.

    ``centre`` and ``scale``, (D,), standardise the features. ``used``, (D,), bool, marks the features that vary. ``means``,
    (K, d), are the whitened means of the classes. ``whitening``, (d, d), is lower triangular; ``W' W`` is the inverse of
    the covariance. ``known``, (K,), bool, marks the classes that had samples.
    """

    centre: np.ndarray
    scale: np.ndarray
    used: np.ndarray
    means: np.ndarray
    whitening: np.ndarray
    known: np.ndarray

    def measure(self, features: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """
        Measure each sample against the class that is given for it.

        ``"mahalanobis_distance"`` is the logarithm of the squared Mahalanobis distance to the mean of that class. Squared
        distances have a long tail on the right; their logarithms are close to normal. A layer without varying features
        gives equal values.

        ``"distance_ratio"`` is the logarithm of the ratio of the squared distance to that class and the squared distance to
        the nearest other class. It is above 0 for a sample that looks like another class, and 0 where no other class is
        known.

        :param features: (n, D).
        :param labels: Classes that the samples are measured against, (n,).
        :param names: Which of both measures are wanted.
        :return: A column for each name, (n, len(names)).
        """
        distances = self._log_distances(features)
        rows = np.arange(len(features))
        own = distances[rows, labels]
        distances[:, ~self.known] = np.inf
        distances[rows, labels] = np.inf
        nearest = distances.min(axis=1)
        ratio = np.where(np.isfinite(nearest), own - nearest, 0.0)
        found = {MAHALANOBIS_DISTANCE: own, DISTANCE_RATIO: ratio}
        return np.stack([found[name] for name in names], axis=1)

    def known_distances(self, features: np.ndarray) -> np.ndarray:
        """
        Squared Mahalanobis distances to the mean of every class.

        :param features: (n, D).
        :return: (n, K), infinite for a class that had no samples.
        """
        distances: np.ndarray = np.exp(self._log_distances(features))
        distances[:, ~self.known] = np.inf
        return distances

    def _log_distances(self, features: np.ndarray) -> np.ndarray:
        """Logarithms of the squared Mahalanobis distances to the mean of every class, (n, K)."""
        z = (np.asarray(features, dtype=np.float64)[:, self.used] - self.centre[self.used]) / self.scale[self.used]
        white = z @ self.whitening.T
        squared = np.stack([((white - mean) ** 2).sum(axis=1) for mean in self.means], axis=1)
        log_distances: np.ndarray = np.log(np.maximum(squared, LEAST_DISTANCE))
        return log_distances


def fit_layer_gaussian(features: np.ndarray, labels: np.ndarray, nb_classes: int) -> LayerGaussian:
    """
    Standardise the features, and fit the means of the classes and one covariance within classes.

    All classes share the covariance because a class has far fewer samples than a layer has features. It is shrunk towards
    a sphere (Y. Chen et al., Shrinkage algorithms for MMSE covariance estimation, 2010). A class without samples gets the
    mean of all samples.

    :param features: Features of benign samples, (n, D).
    :param labels: Classes of these samples, (n,).
    """
    features = np.asarray(features, dtype=np.float64)
    centre, deviation = features.mean(axis=0), features.std(axis=0)
    used = (np.ptp(features, axis=0) > 0) & (deviation > 1e-6 * deviation.max(initial=0))
    scale = np.where(used, deviation, 1.0)
    z = (features[:, used] - centre[used]) / scale[used]
    n_dims = z.shape[1]
    members = indices_by_class(labels, nb_classes)
    known = np.array([len(rows) > 0 for rows in members])
    if n_dims == 0:
        return LayerGaussian(centre, scale, used, np.zeros((nb_classes, 0)), np.zeros((0, 0)), known)
    means = np.stack([z[rows].mean(axis=0) if len(rows) else np.zeros(n_dims) for rows in members])
    covariance = oas_covariance(z - means[labels]) * len(z) / max(len(z) - known.sum(), 1)
    # One sample a class leaves nothing around the means; the features' own variance is 1.
    floor = 1e-3 * np.trace(covariance) / n_dims
    covariance = covariance + (floor or 1.0) * np.eye(n_dims)
    whitening = solve_triangular(np.linalg.cholesky(covariance), np.eye(n_dims), lower=True)
    return LayerGaussian(centre, scale, used, means @ whitening.T, whitening, known)


def cross_fitted_measures(
    features: np.ndarray,
    labels: np.ndarray,
    judged: np.ndarray,
    fits: np.ndarray,
    nb_classes: int,
    measures: Sequence[str],
    n_folds: int,
    random_state: int = 0,
) -> np.ndarray:
    """
    Measure each sample by Gaussians that were fitted without it (:func:`cross_fitted`).

    :param judged: Classes that the samples are measured against, (n,).
    :param measures: Names of measures, as :meth:`LayerGaussian.measure` takes them.
    :return: (n, number of measures).
    """

    def measure(gaussian: LayerGaussian, rows: np.ndarray) -> np.ndarray:
        return gaussian.measure(features[rows], judged[rows], measures)

    return cross_fitted(features, labels, fits, nb_classes, measure, n_folds, random_state)


def cross_fitted(
    features: np.ndarray,
    labels: np.ndarray,
    fits: np.ndarray,
    nb_classes: int,
    measure: Callable[[LayerGaussian, np.ndarray], np.ndarray],
    n_folds: int,
    random_state: int = 0,
) -> np.ndarray:
    """
    Measure each sample by Gaussians that were fitted without it: the samples of one fold by the Gaussians of the others.

    A Gaussian lies nearer to the samples that it was fitted on than to new samples, and the more features there are, the
    stronger this effect is. A threshold from such distances would catch far more benign samples than it promises.

    :param features: (n, D).
    :param labels: True classes, (n,); the Gaussians are fitted by these.
    :param fits: Whether a sample takes part in the fits, (n,), bool. All samples are measured.
    :param measure: Gives a row for each sample, from a Gaussian and which samples they are, (n,), bool.
    :param n_folds: Number of folds, at least 2; at most n are used.
    :param random_state: Random seed of the folds.
    :return: The rows of all samples, (n, M).
    """
    n_samples = len(features)
    random = np.random.default_rng(random_state)
    order = random.permutation(n_samples)
    order = order[np.argsort(labels[order], kind="stable")]  # every class is spread over all folds
    fold = np.empty(n_samples, dtype=int)
    fold[order] = np.arange(n_samples) % min(n_folds, n_samples)
    found: np.ndarray | None = None
    for index in range(min(n_folds, n_samples)):
        held, rest = fold == index, (fold != index) & fits
        if not rest.any():
            rest = fits
        rows = measure(fit_layer_gaussian(features[rest], labels[rest], nb_classes), held)
        if found is None:
            found = np.empty((n_samples, rows.shape[1]))
        found[held] = rows
    assert found is not None  # there is at least one sample
    return found
