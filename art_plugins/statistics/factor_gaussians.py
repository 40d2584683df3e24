"""Gaussians of several classes in factor form: memory and time grow with the number of features, not with its square."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from art_plugins.file_rules import TINY, ArrayRule
from art_plugins.statistics.standardise import Standardisation, standardise

FLOOR = 1e-3  # of the mean variance, added to every variance of the common covariance
OWN_FLOOR = 1e-6  # the same for a covariance of one class alone, which is singular for few samples
LEAST_TIE = 1e-6  # with a smaller weight, the common covariance does not make that of a class regular
BLOCK = 2**23  # values of the largest array that one step of an evaluation holds: 64 MiB


class FactorDensities(NamedTuple):
    """
    Gaussians of K classes over d standardised features, with r directions that all classes share.

    ``power``, ``centre``, ``scale``, ``used``: see :class:`~art_plugins.statistics.standardise.Standardisation`.
    ``basis`` (r, d): the directions, each divided by the standard deviation of the common covariance T along it, so that
    y = basis z is white; ``variances`` (r,): the variances of T along the directions; ``remainder`` (): its variance in
    every other direction. ``means`` (K, r): means of the classes in y. The covariance of class c in y is
    ``noise[c]`` (I + F F'), where the rows of ``factors`` (Q, r) that belong to c (``owners``, (Q,), sorted) are the
    directions of F, each with the length sqrt(v / (1 + v)) for the eigenvalue v of F F'. ``log_scales`` (K,): half the
    negative log-determinant of the covariance in z; -inf for a class without samples.
    """

    power: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    used: np.ndarray
    basis: np.ndarray
    variances: np.ndarray
    remainder: np.ndarray
    means: np.ndarray
    noise: np.ndarray
    factors: np.ndarray
    owners: np.ndarray
    log_scales: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Which classes have a density, (K,), bool."""
        known: np.ndarray = np.isfinite(self.log_scales)
        return known

    def log_likelihoods(self, features: np.ndarray) -> np.ndarray:
        """
        Evaluate the density of every class at new samples.

        :param features: Shape (n, D).
        :return: Log-density of each sample under each class, in nats, (n, K); -inf for a class without samples.
        """
        found = np.empty((len(features), len(self.means)))
        n_rows = max(1, BLOCK // max(self.basis.shape[1], len(self.owners), 1))
        offsets = np.einsum("qr,qr->q", self.factors, self.means[self.owners])
        classes, starts = np.unique(self.owners, return_index=True)
        for start in range(0, len(features), n_rows):
            rows = slice(start, start + n_rows)
            z = standardise(features[rows], Standardisation(self.power, self.centre, self.scale, self.used))
            y = z @ self.basis.T
            outside = np.maximum(np.einsum("ij,ij->i", z, z) - y**2 @ self.variances, 0) / self.remainder
            squared = (np.einsum("ij,ij->i", y, y) + outside)[:, None] - 2 * y @ self.means.T + (self.means**2).sum(axis=1)
            if len(starts):
                squared[:, classes] -= np.add.reduceat((y @ self.factors.T - offsets) ** 2, starts, axis=1)
            found[rows] = self.log_scales - 0.5 * (squared / self.noise + z.shape[1] * np.log(2 * np.pi))
        return found


def factor_rules() -> dict[str, ArrayRule]:
    """Rules that the arrays of a saved :class:`FactorDensities` must meet; ``K``, ``D``, ``d``, ``r``, ``Q`` name sizes."""
    return {
        "power": ArrayRule("f", (), low=TINY, high=1),
        "centre": ArrayRule("f", ("D",)),
        "scale": ArrayRule("f", ("D",), low=TINY),
        "used": ArrayRule("b", ("D",)),
        "basis": ArrayRule("f", ("r", "d")),
        "variances": ArrayRule("f", ("r",), low=TINY),
        "remainder": ArrayRule("f", (), low=TINY),
        "means": ArrayRule("f", ("K", "r")),
        "noise": ArrayRule("f", ("K",), low=TINY),
        "factors": ArrayRule("f", ("Q", "r")),
        "owners": ArrayRule("iu", ("Q",), low=0),
        "log_scales": ArrayRule("f", ("K",), also=(-np.inf,)),
    }


def fit_bytes(n_samples: int, n_features: int) -> int:
    """
    Give an upper bound of the memory that a fit takes beside the features that it is given.

    Three copies of the features in double precision: the features, one step of their standardisation, and the directions.
    Further, five square arrays of the smaller side.

    :param n_samples: Number of samples, n.
    :param n_features: Number of features, D.
    :return: Bytes.
    """
    return 8 * (3 * n_samples * n_features + 5 * min(n_samples, n_features) ** 2)


class _Class(NamedTuple):
    """Mean (r,) and noise of a class; its ``factors`` (q, r), each of length 1, with their ``eigenvalues`` (q,)."""

    mean: np.ndarray
    noise: float
    factors: np.ndarray
    eigenvalues: np.ndarray


class _Common(NamedTuple):
    """The common covariance T: ``eigenvalues`` (r,) along the rows of ``directions`` (r, r), and the ``remainder``."""

    eigenvalues: np.ndarray
    directions: np.ndarray
    remainder: float


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
    coordinates, mixing = _subspace(z)
    means = np.stack([coordinates[rows].mean(axis=0) if len(rows) else np.zeros(len(mixing)) for rows in members])
    deviations = coordinates.copy()
    for rows, mean in zip(members, means, strict=True):
        deviations[rows] -= mean
    common = _common_covariance(deviations, z.shape[1])
    is_white = family == "tied" or (family == "regularised" and tie >= LEAST_TIE)
    if is_white:  # the directions of T, in its own unit
        whitening = common.directions / np.sqrt(common.eigenvalues)[:, None]
        mixing, deviations, means = whitening @ mixing, deviations @ whitening.T, means @ whitening.T
        variances, remainder, size = common.eigenvalues, common.remainder, z.shape[1]
    else:
        variances, remainder, size = np.ones(len(mixing)), 1.0, z.shape[1]
    parts = [
        _fit_class(deviations[rows], mean, family, tie, common, is_white, size) if len(rows) else None
        for rows, mean in zip(members, means, strict=True)
    ]
    basis = mixing @ z if len(z) < z.shape[1] else mixing
    log_determinant = np.log(variances).sum() + (size - len(mixing)) * np.log(remainder)
    return FactorDensities(*rule, basis, variances, np.array(remainder), means, *_stacked(parts, size, log_determinant))


def shrinkage_of(deviations: np.ndarray, covariance: np.ndarray, n_dims: int) -> float:
    """
    Give the weight of the sphere by Ledoit and Wolf 2004, as scikit-learn's ``ledoit_wolf`` does for centred samples.

    Nothing but lengths enters it. So the samples may be given by their coordinates in a subspace that holds them.

    :param deviations: Samples less their means, (n, r).
    :param covariance: Their covariance, (r, r), or their inner products divided by n, (n, n).
    :param n_dims: Number of dimensions of the whole space, d.
    :return: 0 to 1.
    """
    trace, square = float(np.trace(covariance)), float(np.sum(covariance**2))
    fourth = float(np.mean(np.einsum("ij,ij->i", deviations, deviations) ** 2))
    delta = (square - trace**2 / n_dims) / n_dims
    beta = (fourth - square) / (n_dims * len(deviations))
    return min(1.0, max(0.0, beta / delta)) if delta > 0 else 0.0


def _subspace(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Find the subspace that holds the samples.

    :return: Coordinates of the samples in an orthonormal basis, (n, r); and the basis: its rows, (r, d), or for more
        features than samples the weights with which the samples add up to its rows, (r, n).
    """
    n, d = z.shape
    eigenvalues, vectors = _eigen(z @ z.T if n < d else z.T @ z, max(n, d))
    if n < d:
        roots = np.sqrt(eigenvalues)
        return vectors.T * roots, vectors / roots[:, None]
    return z @ vectors.T, vectors


def _eigen(matrix: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (r,) above the rounding error, and their eigenvectors as rows, (r, n); the largest first."""
    eigenvalues, vectors = np.linalg.eigh(matrix)
    kept = eigenvalues > max(size * np.finfo(np.float64).eps * eigenvalues.max(initial=0.0), TINY)
    return eigenvalues[kept][::-1], vectors.T[kept][::-1]


def _common_covariance(deviations: np.ndarray, n_dims: int) -> _Common:
    """The covariance of all deviations from the class means, shrunk towards a sphere (Ledoit and Wolf 2004)."""
    covariance = deviations.T @ deviations / len(deviations)
    shrinkage = shrinkage_of(deviations, covariance, n_dims)
    mean_variance = float(np.trace(covariance)) / n_dims
    # With one sample in each class, no deviation from the means is left; the covariance is then a sphere.
    remainder = shrinkage * mean_variance + (FLOOR * mean_variance or 1.0)
    eigenvalues, vectors = np.linalg.eigh(covariance)
    return _Common((1 - shrinkage) * np.maximum(eigenvalues, 0) + remainder, vectors.T, remainder)


def _fit_class(
    deviations: np.ndarray, mean: np.ndarray, family: str, tie: float, common: _Common, is_white: bool, n_dims: int
) -> _Class:
    """One class, from its samples less their mean, (n_c, r), in the common covariance's unit if ``is_white``."""
    none = _Class(mean, 1.0, np.zeros((0, len(mean))), np.zeros(0))
    if family == "tied" or len(deviations) < 2:  # the common covariance
        if is_white:
            return none
        eigenvalues = common.eigenvalues / common.remainder - 1
        return _Class(mean, common.remainder, common.directions[eigenvalues > 0], eigenvalues[eigenvalues > 0])
    values, factors = _principal_axes(deviations)
    mean_variance = float(values.sum()) / n_dims
    if family == "oas":
        shrinkage = _oas_shrinkage(values, len(deviations), n_dims)
        noise = (shrinkage + OWN_FLOOR) * mean_variance or OWN_FLOOR
        return _Class(mean, noise, factors, (1 - shrinkage) * values / noise)
    if is_white:
        return _Class(mean, tie, factors, (1 - tie) * values / tie)
    noise = OWN_FLOOR * mean_variance or OWN_FLOOR
    return _Class(mean, noise, factors, values / noise)


def _principal_axes(deviations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances (q,) along the principal axes of centred samples (n, r), and the axes, (q, r), each of length 1."""
    n, r = deviations.shape
    if n < r:
        values, vectors = _eigen(deviations @ deviations.T / n, r)
        return values, vectors / np.sqrt(values * n)[:, None] @ deviations
    return _eigen(deviations.T @ deviations / n, n)


def _oas_shrinkage(values: np.ndarray, n_samples: int, n_dims: int) -> float:
    """Weight of the sphere by oracle approximating shrinkage (Chen et al. 2010), from the eigenvalues of a covariance."""
    mean_square, square_of_mean = float((values**2).sum()) / n_dims**2, (float(values.sum()) / n_dims) ** 2
    excess = (n_samples + 1) * (mean_square - square_of_mean / n_dims)
    return 1.0 if excess <= 0 else min(1.0, (mean_square + square_of_mean) / excess)


def _stacked(
    parts: Sequence[_Class | None], n_dims: int, log_determinant: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """
    Put the classes one after another.

    :param log_determinant: Of the common covariance.
    :return: ``noise``, ``factors``, ``owners`` and ``log_scales`` of :class:`FactorDensities`.
    """
    noise, log_scales = np.ones(len(parts)), np.full(len(parts), -np.inf)
    factors: list[np.ndarray] = []
    owners: list[int] = []
    for label, part in _known(parts):
        noise[label] = part.noise
        log_scales[label] = -0.5 * (n_dims * np.log(part.noise) + log_determinant + np.log1p(part.eigenvalues).sum())
        factors.append(part.factors * np.sqrt(part.eigenvalues / (1 + part.eigenvalues))[:, None])
        owners += [label] * len(part.factors)
    return noise, np.concatenate(factors), np.array(owners, dtype=np.int64), log_scales


def _known(parts: Sequence[_Class | None]) -> Iterator[tuple[int, _Class]]:
    """The classes that have samples."""
    return ((label, part) for label, part in enumerate(parts) if part is not None)
