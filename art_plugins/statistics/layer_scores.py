"""Does a sample look like another class, and foreign to its own, layer by layer, though the network is sure of it?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from art_plugins.errors import InvalidInputError
from art_plugins.parameters import is_number, shown
from art_plugins.statistics.gaussian import oas_covariance
from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.moments import centre_and_spread
from art_plugins.statistics.thresholds import threshold_at_fpr

LEAST_DISTANCE = 1e-6  # squared; what is nearer to its class's mean counts as this near
MOST_LAYERS = 5  # layers that count in each question
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

    def measure(self, features: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """
        Of each sample, against the class that it is held to be of:

        ``"oddness"``: the logarithm of the squared Mahalanobis distance to the mean of its class. Squared distances have a
        long tail on the right; their logarithms are close to normal. A layer without varying features gives equal values.

        ``"rivalry"``: how much further away its class is than the nearest other class, the difference of both logarithms:
        above 0 for a sample that looks like another class, 0 where no other class is known.

        :param features: (n, D).
        :param labels: (n,).
        :return: A column for each name, (n, len(names)).
        """
        distances = self._log_distances(features)
        rows = np.arange(len(features))
        own = distances[rows, labels]
        distances[:, ~self.known] = np.inf
        distances[rows, labels] = np.inf
        nearest = distances.min(axis=1)
        found = {"oddness": own, "rivalry": np.where(np.isfinite(nearest), own - nearest, 0.0)}
        return np.stack([found[name] for name in names], axis=1)

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
    :param measures: Names, as :meth:`LayerGaussian.measure` has them.
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
        found[held] = gaussian.measure(features[held], judged[held], measures)
    return found


def certainty(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """
    How sure the network is of a class: the square root of how far its output lies above all others, 0 if it does not.

    The root since it matters more whether a sample is sure at all than how sure it is beyond that. In deviations of benign
    samples it does not depend on the scale of the outputs.

    :param outputs: Logits (or probabilities, which tell less), (n, K).
    :param labels: (n,).
    :return: (n,), at least 0; equal where there is one output only.
    """
    rows = np.arange(len(outputs))
    others = np.array(outputs, dtype=np.float64)
    own = others[rows, labels]
    others[rows, labels] = -np.inf
    margin = np.maximum(own - others.max(axis=1), 0)
    found: np.ndarray = np.sqrt(np.where(np.isfinite(margin), margin, 0))
    return found


class Calibration(NamedTuple):
    """
    What benign samples look like: ``means``, ``deviations`` (M,) of each of M measures.

    Of all classes together: the moments of one class rest on few samples, and a wide one would let more pass.
    """

    means: np.ndarray
    deviations: np.ndarray

    def standardise(self, measured: np.ndarray) -> np.ndarray:
        """
        In standard deviations above the mean of benign samples.

        :param measured: (n, M).
        :return: (n, M); 0 where benign samples do not vary.
        """
        varies = self.deviations > 1e-9
        return np.where(varies, (measured - self.means) / np.where(varies, self.deviations, 1), 0.0)


def fit_calibration(measured: np.ndarray, robust: bool = False) -> Calibration:
    """
    Mean and standard deviation of each measure.

    :param measured: Cross-fitted, of benign samples, (n, M).
    :param robust: Medians in place of means, for samples of which a minority may not be benign.
    """
    return Calibration(*centre_and_spread(measured, robust))


class Question(NamedTuple):
    """What is asked of every layer: a ``measure``, ``"rivalry"`` or ``"oddness"``, of a ``view`` of its activations."""

    view: str
    measure: str


def questions(trusted: bool) -> tuple[Question, ...]:
    """
    Does the sample look like another class, by what lies where (``"grid"``)? Does it by the mean and the spread of the
    channels (``"channels"``)? Is it foreign to its class by these?

    On its way through the network a triggered sample first looks like the class that it is of; later it comes to the class
    of the attacker by features that no benign sample of that class has. Where the one goes over into the other differs
    between models and is not known. A patch shows in the grid; a blended pattern or a warp changes the contrast of
    channels everywhere.

    What was learned from samples that may be poisoned takes the poison's looks for the class's own to some extent, so
    there it is only asked whether a sample is foreign, by the grid.
    """
    if not trusted:
        return (Question("grid", "oddness"),)
    return Question("grid", "rivalry"), Question("channels", "rivalry"), Question("channels", "oddness")


def answers(standardised: np.ndarray, n_questions: int) -> np.ndarray:
    """
    For each question, the sum of the five largest values of its layers, none above 6.

    :param standardised: A column for each layer of each question, (n, Q L).
    :return: (n, Q).
    """
    bounded = np.minimum(standardised, MOST_DEVIATIONS).reshape(len(standardised), n_questions, -1)
    sums: np.ndarray = np.sort(bounded, axis=2)[:, :, -MOST_LAYERS:].sum(axis=2)
    return sums


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


def typical_shift(scores: np.ndarray, labels: np.ndarray, benign: np.ndarray, benign_labels: np.ndarray) -> float:
    """
    How much higher samples score than benign ones of their class, in the typical class: the median over the classes of the
    differences between medians. Neither a minority of a class nor a minority of the classes moves it far.

    :param scores: (n,).
    :param labels: (n,).
    :param benign: Scores of benign samples, (m,).
    :param benign_labels: (m,).
    :return: 0 where no class is in both.
    """
    shared = np.intersect1d(labels, benign_labels)
    differences = [np.median(scores[labels == label]) - np.median(benign[benign_labels == label]) for label in shared]
    return float(np.median(differences)) if differences else 0.0


def check_terms(tau: float | None, quantile: float | None, fpr: float | None) -> None:
    """
    :raises InvalidInputError: If not exactly one is given, or it is out of range.
    """
    given = {name: value for name, value in (("tau", tau), ("quantile", quantile), ("fpr", fpr)) if value is not None}
    if len(given) != 1:
        said = ", ".join(f"{name}={value!r}" for name, value in given.items()) or "none"
        raise InvalidInputError(f"Give exactly one of tau, quantile and fpr; received {said}.")
    ((name, value),) = given.items()
    ranges = {"tau": (-np.inf, np.inf), "quantile": (1e-12, 1), "fpr": (0, 1 - 1e-12)}
    if not is_number(value) or not ranges[name][0] <= value <= ranges[name][1]:
        words = {"tau": "a finite number", "quantile": "a share above 0, at most 1", "fpr": "a share from 0 to below 1"}
        raise InvalidInputError(f"{name} must be {words[name]}; received {shown(value)}.")
