"""Gaussians with shrunk covariance, and the mean negative log-likelihood of one sample set under another's Gaussian."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from sklearn.covariance import ledoit_wolf

from art_plugins.errors import InvalidInputError

SHRINKAGES = ("within", "oas", "ledoit_wolf", "none")


class Gaussian(NamedTuple):
    """Mean (d,), covariance used as a model (d, d), and the plain moments' covariance (d, d) of the samples."""

    mean: np.ndarray
    covariance: np.ndarray
    sample_covariance: np.ndarray


def oas_covariance(deviations: np.ndarray) -> np.ndarray:
    """
    Second moments of samples that are centred already, shrunk to a sphere (Chen et al. 2010, oracle approximating
    shrinkage). scikit-learn's ``oas`` gives the same, but inverts the matrix as well, which takes most of its time.

    :param deviations: Shape (n, d), n >= 1.
    :return: (d, d).
    """
    n_samples, n_dims = deviations.shape
    empirical: np.ndarray = deviations.T @ deviations / n_samples
    mean_variance = np.trace(empirical) / n_dims
    mean_square = np.mean(empirical**2)
    excess = (n_samples + 1) * (mean_square - mean_variance**2 / n_dims)
    shrinkage = 1.0 if excess <= 0 else min(1.0, (mean_square + mean_variance**2) / excess)
    covariance = (1 - shrinkage) * empirical
    covariance.flat[:: n_dims + 1] += shrinkage * mean_variance
    return covariance


def fit_gaussian(x: np.ndarray, shrinkage: str = "oas") -> Gaussian:
    """
    Full-covariance Gaussian of the rows of ``x``, shrunk towards a multiple of the identity.

    Without shrinkage a cluster of fewer samples than dimensions has a singular covariance and its likelihood is without
    bound; Eq. 1 of Mehlman et al. 2023 then explodes.

    :param x: Samples, shape (n, d), n >= 1.
    :param shrinkage: ``"oas"`` (Chen et al. 2010), ``"ledoit_wolf"`` (2004) or ``"none"``.
    :raises InvalidInputError: For an unknown shrinkage.
    """
    if shrinkage not in SHRINKAGES[1:]:
        raise InvalidInputError(f"shrinkage must be one of {SHRINKAGES[1:]}; received {shrinkage!r}.")
    mean = x.mean(axis=0)
    sample_covariance = (x - mean).T @ (x - mean) / len(x)
    if shrinkage == "oas":
        covariance = oas_covariance(x - mean)
    elif shrinkage == "ledoit_wolf":
        covariance = ledoit_wolf(x - mean, assume_centered=True)[0]
    else:
        covariance = sample_covariance
    # A floor far below any real variance keeps constant data from a singular matrix.
    floor = 1e-9 * max(float(np.trace(covariance)) / len(covariance), 1e-9)
    return Gaussian(mean, covariance + floor * np.eye(len(covariance)), sample_covariance)


def fit_gaussian_pair(first: np.ndarray, second: np.ndarray, shrinkage: str = "within") -> tuple[Gaussian, Gaussian]:
    """
    Gaussians of two clusters, each covariance shrunk towards what the two have in common.

    Along the direction that separates the clusters both are narrow. OAS and Ledoit-Wolf shrink towards a sphere of the
    mean variance, widen just that direction, and hide the separation that Eq. 1 is to measure. ``"within"`` shrinks
    towards the pooled within-cluster covariance W with the weight of one sample per dimension:
    Sigma_k = (n_k S_k + d W) / (n_k + d).

    :param first: Samples (n_1, d), n_1 >= 1.
    :param second: Samples (n_2, d), n_2 >= 1.
    :param shrinkage: ``"within"``, or one of :func:`fit_gaussian`'s.
    """
    if shrinkage != "within":
        return fit_gaussian(first, shrinkage), fit_gaussian(second, shrinkage)
    plain = [fit_gaussian(cluster, "none") for cluster in (first, second)]
    sizes = (len(first), len(second))
    n_dims = first.shape[1]
    pooled = sum(n * gaussian.covariance for n, gaussian in zip(sizes, plain, strict=True)) / sum(sizes)
    # Fewer samples than dimensions leave W singular: a thousandth of its mean variance keeps the likelihood bounded.
    pooled = pooled + 1e-3 * np.trace(pooled) / n_dims * np.eye(n_dims)
    shrunk = [
        gaussian._replace(covariance=(n * gaussian.covariance + n_dims * pooled) / (n + n_dims))
        for n, gaussian in zip(sizes, plain, strict=True)
    ]
    return shrunk[0], shrunk[1]


def mean_negative_log_likelihood(samples: Gaussian, model: Gaussian) -> float:
    """
    Mean of -log N(v; model) over the samples that ``samples`` was fitted on, from their moments alone.

    With samples' mean m and covariance S, and delta = m - mu, it is
    (d log 2 pi + log|Sigma| + tr(Sigma^-1 S) + delta' Sigma^-1 delta) / 2: no loop over samples.

    :return: Nats per sample.
    """
    factor = cho_factor(model.covariance, lower=True)
    delta = samples.mean - model.mean
    log_determinant = 2 * np.log(np.diag(factor[0])).sum()
    spread = np.trace(cho_solve(factor, samples.sample_covariance))
    shift = delta @ cho_solve(factor, delta)
    return float(0.5 * (len(delta) * np.log(2 * np.pi) + log_determinant + spread + shift))
