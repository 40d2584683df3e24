"""Gaussians with shrunk covariance, and the likelihood of one set of samples under the Gaussian of another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from sklearn.covariance import ledoit_wolf

from art_plugins.errors import InvalidInputError

SHRINKAGES = ("within", "oas", "ledoit_wolf", "none")


class Gaussian(NamedTuple):
    """Mean, (d,); shrunk covariance, which is the model, (d, d); covariance of the samples without shrinkage, (d, d)."""

    mean: np.ndarray
    covariance: np.ndarray
    sample_covariance: np.ndarray


def oas_covariance(deviations: np.ndarray) -> np.ndarray:
    """
    Give the covariance of centred samples, shrunk by :func:`oas_shrunk`.

    :param deviations: Samples minus their mean, shape (n, d), n >= 1.
    :return: Shape (d, d).
    """
    return oas_shrunk(deviations.T @ deviations / len(deviations), len(deviations))


def oas_shrunk(empirical: np.ndarray, n_samples: int) -> np.ndarray:
    """
    Shrink a covariance towards a sphere by oracle approximating shrinkage (Chen et al. 2010).

    The function ``oas`` of scikit-learn gives the same, but also inverts the matrix, which takes most of its time.

    :param empirical: Covariance of the samples, (d, d).
    :param n_samples: Number of samples, at least 1.
    :return: Shape (d, d).
    """
    n_dims = len(empirical)
    mean_variance = np.trace(empirical) / n_dims
    mean_square = np.mean(empirical**2)
    excess = (n_samples + 1) * (mean_square - mean_variance**2 / n_dims)
    shrinkage = 1.0 if excess <= 0 else min(1.0, (mean_square + mean_variance**2) / excess)
    covariance: np.ndarray = (1 - shrinkage) * empirical
    covariance.flat[:: n_dims + 1] += shrinkage * mean_variance
    return covariance


def fit_gaussian(x: np.ndarray, shrinkage: str = "oas") -> Gaussian:
    """
    Fit a Gaussian with full covariance to the rows of ``x``. The covariance is shrunk towards a multiple of the identity.

    Without shrinkage, a cluster with fewer samples than dimensions has a singular covariance. Its likelihood is then
    unbounded, and so is Eq. 1 of Mehlman et al. 2023.

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
    # A floor far below any real variance keeps the covariance of constant data regular.
    floor = 1e-9 * max(float(np.trace(covariance)) / len(covariance), 1e-9)
    return Gaussian(mean, covariance + floor * np.eye(len(covariance)), sample_covariance)


def fit_gaussian_pair(first: np.ndarray, second: np.ndarray, shrinkage: str = "within") -> tuple[Gaussian, Gaussian]:
    """
    Fit Gaussians to two clusters. Each covariance is shrunk towards the covariance that the clusters share.

    Both clusters are narrow in the direction that separates them. OAS and Ledoit-Wolf shrink towards a sphere, which widens
    this direction and hides the separation that Eq. 1 of Mehlman et al. 2023 measures. ``"within"`` shrinks towards the
    pooled within-cluster covariance W instead, which counts as one sample for each dimension:
    Sigma_k = (n_k S_k + d W) / (n_k + d).

    :param first: Samples (n_1, d), n_1 >= 1.
    :param second: Samples (n_2, d), n_2 >= 1.
    :param shrinkage: ``"within"``, or a shrinkage of :func:`fit_gaussian`.
    :return: The Gaussians of ``first`` and ``second``.
    :raises InvalidInputError: For an unknown shrinkage.
    """
    if shrinkage != "within":
        return fit_gaussian(first, shrinkage), fit_gaussian(second, shrinkage)
    plain = [fit_gaussian(cluster, "none") for cluster in (first, second)]
    sizes = (len(first), len(second))
    n_dims = first.shape[1]
    pooled = sum(n * gaussian.covariance for n, gaussian in zip(sizes, plain, strict=True)) / sum(sizes)
    # W is singular if there are fewer samples than dimensions; a thousandth of its mean variance bounds the likelihood.
    pooled = pooled + 1e-3 * np.trace(pooled) / n_dims * np.eye(n_dims)
    shrunk = [
        gaussian._replace(covariance=(n * gaussian.covariance + n_dims * pooled) / (n + n_dims))
        for n, gaussian in zip(sizes, plain, strict=True)
    ]
    return shrunk[0], shrunk[1]


def mean_negative_log_likelihood(samples: Gaussian, model: Gaussian) -> float:
    """
    Give the mean of -log N(v; model) over the samples that ``samples`` was fitted on, from their moments alone.

    With their mean m and covariance S, and delta = m - mu, it equals
    (d log 2 pi + log|Sigma| + tr(Sigma^-1 S) + delta' Sigma^-1 delta) / 2, so no loop over the samples is needed.

    :return: Nats per sample.
    """
    factor = cho_factor(model.covariance, lower=True)
    delta = samples.mean - model.mean
    log_determinant = 2 * np.log(np.diag(factor[0])).sum()
    spread = np.trace(cho_solve(factor, samples.sample_covariance))
    shift = delta @ cho_solve(factor, delta)
    return float(0.5 * (len(delta) * np.log(2 * np.pi) + log_determinant + spread + shift))
