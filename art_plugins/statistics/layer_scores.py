"""Does a sample look like another class at early layers, and foreign to its own at late ones, as benign samples go?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from art_plugins.errors import InvalidInputError
from art_plugins.statistics.gaussian import oas_covariance
from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.moments import centre_and_spread
from art_plugins.statistics.thresholds import threshold_at_fpr

LEAST_DISTANCE = 1e-6  # squared; what is nearer to its class's mean counts as this near
MOST_RIVAL, MOST_ODD = 2, 5  # layers that count
MOST_DEVIATIONS = 6.0  # of a layer: a benign sample that is very odd at one of them shall not outweigh all others


class LayerGaussian(NamedTuple):
    """
    Gaussians of K classes with one covariance, over the d of D features of a layer that vary.

    ``centre``, ``scale`` (D,): of the standardisation; ``used`` (D,) bool; ``means`` (K, d): whitened; ``whitening``
    (d, d): lower triangular with ``W' W`` the inverse covariance; ``known`` (K,) bool: the classes that had samples.
    """

    centre: np.ndarray
    scale: np.ndarray
    used: np.ndarray
    means: np.ndarray
    whitening: np.ndarray
    known: np.ndarray

    def oddness(self, features: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """
        Logarithm of the squared Mahalanobis distance to the mean of each sample's class.

        Squared distances have a long tail on the right; their logarithms are close to normal.

        :param features: (n, D).
        :param labels: Class of each sample, (n,).
        :return: (n,); higher is further. A layer without varying features gives equal values.
        """
        own: np.ndarray = self._log_distances(features)[np.arange(len(features)), labels]
        return own

    def rivalry(self, features: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """
        How much further away the sample's class is than the nearest other class: the difference of the logarithms of both
        squared distances.

        :return: (n,); above 0 for a sample that looks like another class, 0 where no other class is known.
        """
        distances = self._log_distances(features)
        rows = np.arange(len(features))
        own = distances[rows, labels]
        distances[:, ~self.known] = np.inf
        distances[rows, labels] = np.inf
        nearest = distances.min(axis=1)
        rivalry: np.ndarray = np.where(np.isfinite(nearest), own - nearest, 0.0)
        return rivalry

    def _log_distances(self, features: np.ndarray) -> np.ndarray:
        """To the mean of every class, (n, K)."""
        z = (np.asarray(features, dtype=np.float64)[:, self.used] - self.centre[self.used]) / self.scale[self.used]
        white = z @ self.whitening.T
        squared = np.stack([((white - mean) ** 2).sum(axis=1) for mean in self.means], axis=1)
        log_distances: np.ndarray = np.log(np.maximum(squared, LEAST_DISTANCE))
        return log_distances


def fit_layer_gaussian(features: np.ndarray, labels: np.ndarray, nb_classes: int) -> LayerGaussian:
    """
    Standardise the features, and fit class means and one covariance within classes, shrunk to a sphere (Chen et al. 2010).

    The covariance is shared since a class has far fewer samples than a layer has features. A class without samples gets
    the mean of all.

    :param features: Of benign samples, (n, D).
    :param labels: Their classes, (n,).
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
    Measures of each sample by Gaussians that were fitted without it: those of a fold by the other folds.

    A Gaussian is nearer to the samples that it was fitted on than to new ones, the more so the more features there are; a
    threshold from such distances would catch far more benign samples than it says.

    :param features: (n, D).
    :param labels: True classes, (n,), that the Gaussians are fitted by.
    :param judged: Classes that the samples are held against, (n,).
    :param fits: Whether a sample takes part in the fits, (n,), bool; all are measured.
    :param measures: ``"rivalry"``, ``"oddness"`` or both, in this order of columns.
    :param n_folds: At least 2; at most n are used.
    :return: (n, number of measures).
    """
    n_samples = len(features)
    random = np.random.default_rng(random_state)
    order = random.permutation(n_samples)
    order = order[np.argsort(labels[order], kind="stable")]  # every class is spread over all folds
    fold = np.empty(n_samples, dtype=int)
    fold[order] = np.arange(n_samples) % min(n_folds, n_samples)
    found = np.empty((n_samples, len(measures)))
    for index in range(min(n_folds, n_samples)):
        held, rest = fold == index, (fold != index) & fits
        if not rest.any():
            rest = fits
        gaussian = fit_layer_gaussian(features[rest], labels[rest], nb_classes)
        for column, measure in enumerate(measures):
            found[held, column] = getattr(gaussian, measure)(features[held], judged[held])
    return found


class Calibration(NamedTuple):
    """What benign samples look like: ``means``, ``deviations`` (K, M) of each of M measures."""

    means: np.ndarray
    deviations: np.ndarray

    def standardise(self, measured: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """
        In standard deviations above the mean of benign samples of the class.

        :param measured: (n, M).
        :return: (n, M); 0 where benign samples do not vary.
        """
        deviations = self.deviations[labels]
        varies = deviations > 1e-9
        return np.where(varies, (measured - self.means[labels]) / np.where(varies, deviations, 1), 0.0)


def fit_calibration(
    measured: np.ndarray, labels: np.ndarray, nb_classes: int, least: int, robust: bool = False
) -> Calibration:
    """
    Mean and standard deviation of each measure for each class; of all together for classes of fewer than ``least`` samples.

    :param measured: Cross-fitted, of benign samples, (n, M).
    :param labels: The classes that they are judged by, (n,).
    :param robust: Medians in place of means, for samples of which a minority may not be benign.
    """
    means, deviations = (np.tile(row, (nb_classes, 1)) for row in centre_and_spread(measured, robust))
    for label, rows in enumerate(indices_by_class(labels, nb_classes)):
        if len(rows) >= max(least, 2):
            means[label], deviations[label] = centre_and_spread(measured[rows], robust)
    return Calibration(means, deviations)


def left_out_deviations(measured: np.ndarray, labels: np.ndarray, calibration: Calibration, least: int) -> np.ndarray:
    """
    :meth:`Calibration.standardise` for the samples that it was fitted on, each by the mean and deviation of the *others*.

    With m and v the mean and variance of n samples, those without x are m + (m - x) / (n - 1) and
    (n v - (x - m)^2 n / (n - 1)) / (n - 1). With 100 samples a class, an odd one widens the deviation that it is measured
    in by some percent, and a threshold set so catches more than it says.

    :return: (n, M).
    """
    sizes = np.bincount(labels, minlength=len(calibration.means))
    counts = np.where(sizes[labels] >= max(least, 2), sizes[labels], len(labels))[:, None]
    means, variances = calibration.means[labels], calibration.deviations[labels] ** 2
    rest = np.maximum(counts - 1, 1)
    delta = measured - means
    variances = np.maximum(counts * variances - delta**2 * counts / rest, 0) / rest
    varies = variances > 1e-18
    return np.where(varies, delta * counts / rest / np.sqrt(np.where(varies, variances, 1)), 0.0)


class Question(NamedTuple):
    """
    What is asked of some of the layers: ``measure``, ``"rivalry"`` or ``"oddness"``; ``layers``; ``most``: how many of them
    count, those with the highest answers.
    """

    measure: str
    layers: range
    most: int


def questions(n_layers: int, trusted: bool) -> tuple[Question, ...]:
    """
    Of the first half of the layers: does the sample look like another class? Of the second half, and of the last five at
    least: is it foreign to its class?

    On its way through the network a triggered sample first looks like the class that it is of; later it comes to the class
    of the attacker by features that no benign sample of that class has. Where the one goes over into the other differs
    between models and is not known. A benign oddity is often seen at one or two layers only.

    What was learned from samples that may be poisoned takes the poison's looks for the class's own to some extent, so
    there the second question alone is asked, of all layers.
    """
    if not trusted:
        return (Question("oddness", range(n_layers), MOST_ODD),)
    first, second = range((n_layers + 1) // 2), range(max(0, min(n_layers // 2, n_layers - MOST_ODD)), n_layers)
    return Question("rivalry", first, MOST_RIVAL), Question("oddness", second, MOST_ODD)


def answers(standardised: np.ndarray, asked: Sequence[Question]) -> np.ndarray:
    """
    For each question, the sum of its layers' largest values, none above 6.

    :param standardised: A column for each layer of each question, (n, M).
    :return: (n, number of questions).
    """
    bounded = np.minimum(standardised, MOST_DEVIATIONS)
    ends = np.cumsum([len(question.layers) for question in asked])
    parts = np.split(bounded, ends[:-1], axis=1)
    sums = [np.sort(part, axis=1)[:, -one.most :].sum(axis=1) for part, one in zip(parts, asked, strict=True)]
    return np.stack(sums, axis=1)


def benign_threshold(
    scores: np.ndarray, tau: float | None = None, quantile: float | None = None, fpr: float | None = None
) -> float:
    """
    A threshold on scores that are standardised to benign samples, in one of three terms; above it is suspicious.

    :param scores: Of benign samples that the model of the scores was not fitted on, (n,).
    :param tau: Standard deviations above their mean: the threshold itself.
    :param quantile: Share of benign samples that shall pass, above 0, at most 1; the same as ``fpr = 1 - quantile``.
    :param fpr: Share of benign samples that may be caught, 0 to below 1.
    :raises InvalidInputError: If not exactly one is given, or it is out of range.
    """
    check_terms(tau, quantile, fpr)
    if tau is not None:
        return float(tau)
    # 1 - .99 is a little more than .01.
    share = fpr if fpr is not None else round(1 - float(quantile or 0), 12)
    return threshold_at_fpr(scores, share)


def check_terms(tau: float | None, quantile: float | None, fpr: float | None) -> None:
    """
    :raises InvalidInputError: If not exactly one is given, or it is out of range.
    """
    given = {name: value for name, value in (("tau", tau), ("quantile", quantile), ("fpr", fpr)) if value is not None}
    if len(given) != 1:
        said = ", ".join(f"{name}={value!r}" for name, value in given.items()) or "none"
        raise InvalidInputError(f"Give exactly one of tau, quantile and fpr; received {said}.")
    ((name, value),) = given.items()
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))
    ranges = {"tau": (-np.inf, np.inf), "quantile": (1e-12, 1), "fpr": (0, 1 - 1e-12)}
    if not number or not ranges[name][0] <= value <= ranges[name][1]:
        words = {"tau": "a finite number", "quantile": "a share above 0, at most 1", "fpr": "a share from 0 to below 1"}
        accepted = words[name]
        raise InvalidInputError(f"{name} must be {accepted}; received {value!r}.")
