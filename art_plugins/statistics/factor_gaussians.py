"""Fit of Gaussians in factor form: memory and time grow with the number of features, not with its square."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from art_plugins.file_rules import TINY
from art_plugins.statistics.factor_densities import FactorDensities
from art_plugins.statistics.standardise import Standardisation

FLOOR = 1e-3  # of the mean variance, added to every variance of the common covariance
OWN_FLOOR = 1e-6  # the same for a covariance of one class alone, which is singular for few samples
ROUNDING = 1e-24  # a mean variance below it is a rounding error of equal samples; that of all samples is about 1
LEAST_TIE = 1e-6  # with a smaller weight, the common covariance does not make that of a class regular


def fit_bytes(n_samples: int, n_features: int) -> int:
    """
    Give an upper bound of the memory that a fit with cross-fitting takes beside the features that it is given.

    These are five copies of the features in double precision (all samples, those of a fold, their features that vary, and
    the directions of two fits), and ten square arrays of the smaller side.

    :param n_samples: Number of samples, n.
    :param n_features: Number of features, D.
    :return: Bytes.
    """
    return 8 * (5 * n_samples * n_features + 10 * min(n_samples, n_features) ** 2)


class _Class(NamedTuple):
    """The ``noise`` of a class; its ``factors`` (q, r), each of length 1, with their ``eigenvalues`` (q,)."""

    noise: float
    factors: np.ndarray
    eigenvalues: np.ndarray


class _Axes(NamedTuple):
    """
    Orthonormal axes of the subspace that holds the samples.

    ``weights``: the axes themselves, (r, d), or for fewer samples than features the weights with which the samples add up
    to them, (r, n); ``values`` (r,): variance of the deviations from the class means along each axis, which are
    uncorrelated; ``deviations`` (n, r) and ``means`` (K, r): in these axes.
    """

    weights: np.ndarray
    values: np.ndarray
    deviations: np.ndarray
    means: np.ndarray


def fit_factor_densities(
    z: np.ndarray, rule: Standardisation, members: Sequence[np.ndarray], family: str, tie: float
) -> FactorDensities:
    """
    Fit one Gaussian to each class. All are the same as those of full covariances, but no d x d matrix is made.

    All samples lie in a subspace of at most r = min(d, n - 1) dimensions. Every covariance is a sum of a matrix in this
    subspace and a multiple of the identity, as in probabilistic principal component analysis (Tipping and Bishop 1999). So
    the number of factors is the rank of the data, and nothing is left out.

    :param z: Standardised features, (n, d).
    :param rule: How the features were standardised.
    :param members: Rows of each of the K classes.
    :param family: ``"oas"``, ``"tied"`` or ``"regularised"``.
    :param tie: Weight of the common covariance, 0 to 1, for ``"regularised"``.
    """
    size = z.shape[1]
    axes = _axes(z, members)
    common, remainder = _common_variances(axes, size)
    is_white = family == "tied" or (family == "regularised" and tie >= LEAST_TIE)
    variances = common if is_white else np.ones(len(common))
    roots, remainder_ = np.sqrt(variances), remainder if is_white else 1.0
    parts = [
        _fit_class(axes.deviations[rows] / roots, family, tie, common / variances, remainder / remainder_, size)
        if len(rows)
        else None
        for rows in members
    ]
    basis = axes.weights / roots[:, None]
    basis = basis @ z if len(z) < size else basis
    log_determinant = np.log(variances).sum() + (size - len(variances)) * np.log(remainder_)
    stacked = _stacked(parts, size, len(variances), log_determinant)
    return FactorDensities(*rule, basis, variances, np.array(remainder_), axes.means / roots, *stacked)


def shrinkage_of(values: np.ndarray, squared_lengths: np.ndarray, n_dims: int) -> float:
    """
    Give the weight of the sphere by Ledoit and Wolf 2004, as scikit-learn's ``ledoit_wolf`` does for centred samples.

    :param values: Eigenvalues of the samples' covariance that are not 0, (r,).
    :param squared_lengths: Squared lengths of the centred samples, (n,).
    :param n_dims: Number of dimensions, d.
    :return: 0 to 1.
    """
    trace, square = float(values.sum()), float((values**2).sum())
    delta = (square - trace**2 / n_dims) / n_dims
    beta = (float((squared_lengths**2).mean()) - square) / (n_dims * len(squared_lengths))
    return min(1.0, max(0.0, beta / delta)) if delta > 0 else 0.0


def _axes(z: np.ndarray, members: Sequence[np.ndarray]) -> _Axes:
    """The principal axes of the deviations from the class means, and those that the means need in addition."""
    n, d = z.shape
    if d <= n:
        means = np.stack([z[rows].mean(axis=0) if len(rows) else np.zeros(d) for rows in members])
        deviations = z.copy()
        for rows, mean in zip(members, means, strict=True):
            deviations[rows] -= mean
        values, vectors = np.linalg.eigh(deviations.T @ deviations / n)
        return _Axes(vectors.T, np.maximum(values, 0), deviations @ vectors, means @ vectors)
    average = np.zeros((len(members), n))  # times z: the class means
    centring = np.eye(n)  # times z: the deviations from them
    for label, rows in enumerate(members):
        average[label, rows] = 1 / max(1, len(rows))
        centring[np.ix_(rows, rows)] -= 1 / max(1, len(rows))
    products = z @ z.T
    tolerance = d * np.finfo(np.float64).eps * float(np.trace(products))
    values, vectors = _eigen(centring @ products @ centring, tolerance)
    weights = vectors / np.sqrt(values)[:, None] @ centring
    rest = average - average @ products @ weights.T @ weights
    more, further = _eigen(rest @ products @ rest.T, tolerance)
    weights = np.concatenate([weights, further / np.sqrt(more)[:, None] @ rest])
    deviations = np.concatenate([vectors.T * np.sqrt(values), np.zeros((n, len(more)))], axis=1)
    values = np.append(values / n, np.zeros(len(more)))
    return _Axes(weights, values, deviations, average @ products @ weights.T)


def _eigen(matrix: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues above the tolerance, (r,), and their eigenvectors as rows, (r, n)."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > max(tolerance, TINY)
    return values[kept], vectors.T[kept]


def _common_variances(axes: _Axes, n_dims: int) -> tuple[np.ndarray, float]:
    """
    The covariance of the deviations from the class means, shrunk towards a sphere (Ledoit and Wolf 2004).

    :return: Its variances along the axes, (r,), and its variance in every other direction.
    """
    lengths = np.einsum("ij,ij->i", axes.deviations, axes.deviations)
    shrinkage = shrinkage_of(axes.values, lengths, n_dims)
    mean_variance = float(axes.values.sum()) / n_dims
    # With one sample in each class, no deviation from the means is left; the covariance is then a sphere.
    remainder = shrinkage * mean_variance + (FLOOR * mean_variance or 1.0)
    return (1 - shrinkage) * axes.values + remainder, remainder


def _fit_class(
    deviations: np.ndarray, family: str, tie: float, common: np.ndarray, remainder: float, n_dims: int
) -> _Class:
    """
    One class, from its samples less their mean, (n_c, r).

    :param common: The common covariance's variances along the axes, (r,), and ``remainder``, that of every other direction,
        both in the unit of the deviations.
    """
    if family == "tied" or len(deviations) < 2:
        further = np.flatnonzero(common > remainder)
        return _Class(remainder, np.eye(len(common))[further], common[further] / remainder - 1)
    values, factors = _principal_axes(deviations)
    if family == "regularised" and tie >= LEAST_TIE:
        return _Class(tie, factors, (1 - tie) * values / tie)
    shrinkage = _oas_shrinkage(values, len(deviations), n_dims) if family == "oas" else 0.0
    mean_variance = float(values.sum()) / n_dims
    noise = (shrinkage + OWN_FLOOR) * mean_variance if mean_variance > ROUNDING else OWN_FLOOR
    return _Class(noise, factors, (1 - shrinkage) * values / noise)


def _principal_axes(deviations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances (q,) along the principal axes of centred samples (n, r), and the axes, (q, r), each of length 1."""
    n, r = deviations.shape
    products = (deviations @ deviations.T if n < r else deviations.T @ deviations) / n
    values, vectors = _eigen(products, max(n, r) * np.finfo(np.float64).eps * float(np.trace(products)))
    return values, vectors / np.sqrt(values * n)[:, None] @ deviations if n < r else vectors


def _oas_shrinkage(values: np.ndarray, n_samples: int, n_dims: int) -> float:
    """Weight of the sphere by oracle approximating shrinkage (Chen et al. 2010), from the eigenvalues of a covariance."""
    mean_square, square_of_mean = float((values**2).sum()) / n_dims**2, (float(values.sum()) / n_dims) ** 2
    excess = (n_samples + 1) * (mean_square - square_of_mean / n_dims)
    return 1.0 if excess <= 0 else min(1.0, (mean_square + square_of_mean) / excess)


def _stacked(
    parts: Sequence[_Class | None], n_dims: int, n_axes: int, log_determinant: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """
    Put the classes one after another.

    :param log_determinant: Logarithm of the determinant of the common covariance.
    :return: ``noise``, ``factors``, ``owners`` and ``log_scales`` of :class:`FactorDensities`.
    """
    noise, log_scales = np.ones(len(parts)), np.full(len(parts), -np.inf)
    factors, owners = [np.zeros((0, n_axes))], [np.zeros(0, dtype=np.int64)]
    for label, part in enumerate(parts):
        if part is not None:
            noise[label] = part.noise
            log_scales[label] = -0.5 * (n_dims * np.log(part.noise) + log_determinant + np.log1p(part.eigenvalues).sum())
            factors.append(part.factors * np.sqrt(part.eigenvalues / (1 + part.eigenvalues))[:, None])
            owners.append(np.full(len(part.factors), label))
    return noise, np.concatenate(factors), np.concatenate(owners), log_scales
