"""One density for each class in feature space, and the log-likelihoods of new samples (Li et al. 2022, section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp
from sklearn.mixture import GaussianMixture

from art_plugins.file_rules import TINY, ArrayRule
from art_plugins.parameters import check_choice, check_number
from art_plugins.statistics.factor_densities import FactorDensities
from art_plugins.statistics.factor_gaussians import FLOOR, fit_factor_densities, shrinkage_of
from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.standardise import Standardisation, fit_standardisation, signed_power, standardise

FAMILIES = ("mixture", "oas", "tied", "regularised")
MAX_COMPONENTS = 3
MIXTURE_FLOOR = 0.1  # smallest variance of a component; the standardised features have variance 1


class MixtureDensities(NamedTuple):
    """
    Gaussian mixtures of K classes with up to M components over d standardised features.

    ``power``, ``centre``, ``scale``, ``used``: see :class:`~art_plugins.statistics.standardise.Standardisation`;
    ``log_weights`` (K, M): -inf where a class has fewer components, all -inf for a class without samples; ``means``
    (K, M, d); ``whitening`` (K, M, d): one divided by the standard deviations; in files of the release before also
    (K, M, d, d), lower triangular with ``W' W`` the inverse covariance; ``log_scales`` (K, M): log |det W|.
    """

    power: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    used: np.ndarray
    log_weights: np.ndarray
    means: np.ndarray
    whitening: np.ndarray
    log_scales: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Which classes have a density, (K,), bool."""
        known: np.ndarray = np.isfinite(self.log_weights).any(axis=1)
        return known

    def log_likelihoods(self, features: np.ndarray) -> np.ndarray:
        """
        Evaluate the density of every class at new samples.

        :param features: Shape (n, D).
        :return: Log-density of each sample under each class, in nats, (n, K); -inf for a class without samples.
        """
        z = standardise(features, Standardisation(self.power, self.centre, self.scale, self.used))
        n_classes, n_components, n_dims = self.means.shape
        terms = np.full((len(z), n_classes, n_components), -np.inf)
        for label, component in np.argwhere(np.isfinite(self.log_weights)):
            delta, whitening = z - self.means[label, component], self.whitening[label, component]
            whitened = delta * whitening if whitening.ndim == 1 else delta @ whitening.T
            constant = self.log_weights[label, component] + self.log_scales[label, component]
            squared = np.einsum("ij,ij->i", whitened, whitened)
            terms[:, label, component] = constant - 0.5 * (squared + n_dims * np.log(2 * np.pi))
        return terms[:, :, 0] if n_components == 1 else logsumexp(terms, axis=2)


ClassDensities = FactorDensities | MixtureDensities


def mixture_rules(is_diagonal: bool) -> dict[str, ArrayRule]:
    """
    Rules that the arrays of a saved :class:`MixtureDensities` must meet; ``K``, ``M``, ``D`` and ``d`` name their sizes.

    :param is_diagonal: Whether the covariances are diagonal, as all but those of the release before are.
    """
    return {
        "power": ArrayRule("f", (), low=TINY, high=1),
        "centre": ArrayRule("f", ("D",)),
        "scale": ArrayRule("f", ("D",), low=TINY),
        "used": ArrayRule("b", ("D",)),
        "log_weights": ArrayRule("f", ("K", "M"), high=1e-9, also=(-np.inf,)),
        "means": ArrayRule("f", ("K", "M", "d")),
        "whitening": ArrayRule("f", ("K", "M", "d") if is_diagonal else ("K", "M", "d", "d")),
        "log_scales": ArrayRule("f", ("K", "M")),
    }


def fit_class_densities(
    features: np.ndarray,
    labels: np.ndarray,
    nb_classes: int,
    *,
    family: str = "regularised",
    tie: float = 0.9,
    power: float = 1.0,
    random_state: int = 0,
) -> ClassDensities:
    """
    Standardise the features over all classes, drop those that are constant, and fit one density for each class.

    The families are:

    - ``"mixture"``: a diagonal Gaussian mixture of 1 to 3 components for each class. The Bayesian information criterion
      (BIC) chooses their number. Variances are at least 0.1: with a smaller floor, units that are constant in one class
      give infinite likelihood ratios. (The paper states neither the number of components nor the form of covariance.)
    - ``"oas"``: one full Gaussian for each class, shrunk towards a sphere (Chen et al. 2010).
    - ``"tied"``: one covariance for all classes, shrunk by the method of Ledoit and Wolf.
    - ``"regularised"``: (1 - tie) * the class's covariance + tie * the tied one (regularised discriminant analysis,
      Friedman 1989).

    A class of fewer than two samples has no covariance of its own, so it takes the tied one (its diagonal for
    ``"mixture"``). A class without samples has the log-likelihood -inf.

    When this breaks: with fewer than about ten samples in a class, even its mean is uncertain.

    :param features: Shape (n, D), finite.
    :param labels: Class of each sample, (n,), 0 to K - 1.
    :param nb_classes: Number of classes, K.
    :param family: Family of the densities.
    :param tie: Weight of the tied covariance, 0 to 1, for ``"regularised"``.
    :param power: Exponent, above 0 and at most 1, of a signed power that is applied to the features first. The value 0.5
        shortens the long right tail of rectified units, so that they are closer to Gaussian (Perronnin et al. 2010).
    :param random_state: Random seed of the mixtures.
    :raises InvalidInputError: For an unknown family, ``tie`` or ``power`` out of range, or features that are all constant.
    """
    check_density(family, tie, power)
    powered = signed_power(features, power)
    return _fit(powered, labels, nb_classes, family=family, tie=tie, power=power, random_state=random_state)


def _fit(
    powered: np.ndarray,
    labels: np.ndarray,
    nb_classes: int,
    *,
    family: str = "regularised",
    tie: float = 0.9,
    power: float = 1.0,
    random_state: int = 0,
) -> ClassDensities:
    """As :func:`fit_class_densities`, for features after the signed power, which are overwritten."""
    rule, z = fit_standardisation(powered, power)
    members = indices_by_class(labels, nb_classes)
    if family != "mixture":
        return fit_factor_densities(z, rule, members, family, tie)
    parts = [_mixture(z, indices, labels, random_state) for indices in members]
    return MixtureDensities(*rule, *_stacked(parts, [len(one) > 0 for one in members]))


def cross_fitted_log_likelihoods(
    features: np.ndarray, labels: np.ndarray, nb_classes: int, n_folds: int = 5, random_state: int = 0, **density: Any
) -> np.ndarray:
    """
    Log-likelihoods of samples under densities that were fitted without them (cross-fitting).

    The samples of every class are spread evenly over the folds. The samples of a fold are judged by densities that
    :func:`fit_class_densities` has fitted on the other folds.

    :param features: Shape (n, D), finite.
    :param labels: Class of each sample, (n,), 0 to K - 1.
    :param nb_classes: Number of classes, K.
    :param n_folds: Number of folds.
    :param random_state: Random seed of the folds and of the densities.
    :param density: Further arguments of :func:`fit_class_densities`.
    :return: Log-likelihoods in nats, (n, K); -inf for a class that has no sample in the other folds.
    """
    random = np.random.default_rng(random_state)
    folds = np.empty(len(labels), dtype=int)
    for indices in indices_by_class(labels, nb_classes):
        folds[random.permutation(indices)] = np.arange(len(indices)) % n_folds
    if folds.max() == 0:  # every class has one sample: hold out samples of several classes together
        folds = np.arange(len(labels)) % n_folds
    found = np.empty((len(labels), nb_classes))
    check_density(density.get("family", "regularised"), density.get("tie", 0.9), density.get("power", 1.0))
    powered = signed_power(features, density.pop("power", 1.0))  # once for all folds
    for fold in range(min(n_folds, folds.max() + 1)):
        held_out = folds == fold
        densities = _fit(powered[~held_out], labels[~held_out], nb_classes, random_state=random_state, **density)
        found[held_out] = densities.log_likelihoods(powered[held_out])
    return found


def check_density(family: str, tie: float, power: float = 1.0) -> None:
    """
    Check the settings of the densities.

    :raises InvalidInputError: For an unknown family, or ``tie`` or ``power`` out of range.
    """
    check_choice("family", family, FAMILIES)
    check_number("tie", tie, least=0, most=1)
    check_number("power", power, above=0, most=1)


Part = tuple[np.ndarray, np.ndarray, np.ndarray]  # weights (M,), means (M, d), whitening (M, d)


def _stacked(parts: Sequence[Part], has_samples: Sequence[bool]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """
    Put the densities of K classes side by side, up to M components each.

    :return: ``log_weights``, ``means``, ``whitening`` and ``log_scales`` of :class:`MixtureDensities`.
    """
    n_components, n_dims = max(len(weights) for weights, _, _ in parts), parts[0][1].shape[1]
    log_weights = np.full((len(parts), n_components), -np.inf)
    means = np.zeros((len(parts), n_components, n_dims))
    whitening = np.zeros((len(parts), n_components, n_dims))
    log_scales = np.zeros((len(parts), n_components))
    for label in np.flatnonzero(has_samples).tolist():
        weights, centres, factors = parts[label]
        count = len(weights)
        log_weights[label, :count] = np.log(weights)
        means[label, :count], whitening[label, :count] = centres, factors
        log_scales[label, :count] = np.log(factors).sum(axis=1)
    return log_weights, means, whitening, log_scales


def _mixture(z: np.ndarray, members: np.ndarray, labels: np.ndarray, random_state: int) -> Part:
    samples = z[members]
    if len(samples) < 2:
        mean = samples.mean(axis=0) if len(samples) else np.zeros(z.shape[1])
        return np.ones(1), mean[None], 1 / np.sqrt(_common_variances(z, labels))[None]
    models = [
        GaussianMixture(n, covariance_type="diag", reg_covar=MIXTURE_FLOOR, random_state=random_state).fit(samples)
        for n in range(1, min(MAX_COMPONENTS, len(samples)) + 1)
    ]
    best = min(models, key=lambda model: model.bic(samples))
    return best.weights_, best.means_, 1 / np.sqrt(best.covariances_)


def _common_variances(z: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The diagonal of the common covariance of :func:`fit_factor_densities`, (d,)."""
    deviations = z.copy()
    for label in np.unique(labels):
        deviations[labels == label] -= z[labels == label].mean(axis=0)
    n, d = z.shape
    products = (deviations @ deviations.T if n < d else deviations.T @ deviations) / n
    lengths = np.einsum("ij,ij->i", deviations, deviations)
    shrinkage = shrinkage_of(np.linalg.eigvalsh(products), lengths, d)
    variances: np.ndarray = np.einsum("ij,ij->j", deviations, deviations) / n
    mean_variance = float(variances.mean())
    return (1 - shrinkage) * variances + shrinkage * mean_variance + (FLOOR * mean_variance or 1.0)
