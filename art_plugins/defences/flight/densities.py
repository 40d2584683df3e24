"""The class densities of the in-flight detector: their settings, their fit, and the margin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from art_plugins.parameters import Renamed, check_settings_dict
from art_plugins.statistics.density import ClassDensities, check_density, cross_fitted_log_likelihoods, fit_class_densities

MISSED = 0.01  # the margin is a share of the log-likelihood ratio that all but this share of the stamped images exceed
OWN_WEIGHT, ENOUGH_SAMPLES = 0.1, 100  # weight of a class's own covariance, reached from this number of samples on
DEFAULTS: dict[str, Any] = {"family": "regularised", "tie": None, "power": 0.5}
OLD_NAMES = {name: Renamed("density", name) for name in DEFAULTS}


def density_settings(density: Mapping[str, Any] | None) -> dict[str, Any]:
    """All settings of the densities: those given, and the defaults of the others."""
    return {**DEFAULTS, **(density or {})}


def check_density_settings(density: Any) -> None:
    """
    :raises InvalidInputError: If ``density`` is no dict of such settings, or if one of them cannot be used.
    """
    check_settings_dict("density", density, tuple(DEFAULTS))
    values = density_settings(density)
    check_density(values["family"], 1.0 if values["tie"] is None else values["tie"], values["power"])


def fit_densities(
    features: np.ndarray, labels: np.ndarray, nb_classes: int, density: Mapping[str, Any] | None, random_state: int
) -> tuple[ClassDensities, dict[str, Any]]:
    """
    One density for each class, and the arguments that it was fitted with.

    Without a given ``tie``, the common covariance weighs .9 where the smallest class has 100 samples or more, and nearer to
    1 for fewer, since the covariance of a small class says less.

    :param features: (n, D).
    :param labels: (n,).
    """
    values = density_settings(density)
    sizes = np.bincount(labels, minlength=nb_classes)
    smallest = sizes[sizes > 0].min()
    if values["tie"] is None:
        values["tie"] = 1 - OWN_WEIGHT * min(1.0, smallest / ENOUGH_SAMPLES)
    arguments = {**values, "random_state": random_state}
    return fit_class_densities(features, labels, nb_classes, **arguments), arguments


def fit_margin(
    features: np.ndarray, labels: np.ndarray, nb_classes: int, target: int, share: float, arguments: Mapping[str, Any]
) -> float:
    """
    The margin in nats: a share of the log-likelihood ratio that all but 1 % of the stamped images exceed.

    Each image is scored by densities that were fitted without it. The margin is 0 where no class has two images.

    :param features: Features of stamped images, and of clean ones of the target class, (n, D).
    :param labels: True classes, (n,).
    :param share: 0 to below 1.
    :param arguments: Arguments of the densities, as :func:`fit_densities` gives them.
    """
    if share == 0 or np.bincount(labels, minlength=nb_classes).max() < 2:
        return 0.0
    held_out = cross_fitted_log_likelihoods(features, labels, nb_classes, **arguments)
    ratios = log_likelihood_ratios(held_out[labels != target], target)
    ratios = ratios[np.isfinite(ratios)]  # a class whose only image is held out has no density
    return share * max(0.0, float(np.quantile(ratios, MISSED))) if len(ratios) else 0.0


def log_likelihood_ratios(log_likelihoods: np.ndarray, target: int) -> np.ndarray:
    """The log-likelihood of the best other class less that of the target class, (n,), from (n, K)."""
    others = np.delete(log_likelihoods, target, axis=1)
    ratios: np.ndarray = others.max(axis=1) - log_likelihoods[:, target]
    return ratios
