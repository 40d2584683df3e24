"""Robust mean and covariance, on which a minority of outliers has little influence (filter of Diakonikolas et al. 2017)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

EARLY = 10.0  # samples this many times beyond the farthest expected from a normal distribution are removed at once
SLACK = 10.0  # allowed excess of the fourth moments, in fraction * log(1 / fraction)^2, as in the code of SPECTRE
SHIFT = 3.0  # width of the outermost part that is removed if no sample is beyond the limit of a normal distribution
FAILURE = 0.1  # accepted probability that the filter fails
LEAST_EIGENVALUE = 1e-8  # share of the largest eigenvalue below which a direction counts as constant
TOLERANCE = 5e-2  # relative tolerance of the eigenvalue, which is only compared with a bound


class RobustMoments(NamedTuple):
    """``mean`` (d,) and ``covariance`` (d, d) of the samples that were kept; ``kept`` (n,), bool: those samples."""

    mean: np.ndarray
    covariance: np.ndarray
    kept: np.ndarray


def robust_moments(x: np.ndarray, fraction: float) -> RobustMoments:
    """
    Remove outliers until the fourth moments look like those of a normal distribution; give the moments of the rest.

    Whitened samples y of a normal distribution have ``var(y' P y) = 2`` for every symmetric matrix P of norm 1. While some
    P has more than ``1 + 10 fraction log(1 / fraction)^2``, the samples with extreme ``y' P y`` are removed. These are the
    samples more than ``10 log(1 / fraction)`` from the median. If there are none, they are the samples within 3 of the most
    extreme one. Source: I. Diakonikolas et al., Being robust (in high dimensions) can be practical, ICML 2017, filter for
    the covariance, with the constants and the limits of the code of Hayase et al. 2021.

    At most a share of ``2 * fraction`` of the samples is removed, as in that code, and never more than half.

    When this breaks: outliers that lie close together and are more than about a fifth of the samples, because the fourth
    moments are then smaller than those of a normal distribution; fewer samples than a few times d; features with heavy
    tails.

    :param x: Shape (n, d), n >= 2.
    :param fraction: Upper bound of the share of outliers, above 0 and below 0.5.
    """
    n_samples, n_dims = x.shape
    kept = np.ones(n_samples, dtype=bool)
    left = int(min(2 * fraction, 0.5) * n_samples)
    while True:
        mean = x[kept].mean(axis=0)
        covariance = np.atleast_2d(np.cov(x[kept].T, bias=True))
        whitened = (x[kept] - mean) @ inverse_root(covariance)
        distances = (whitened**2).sum(axis=1)
        outer = distances >= EARLY * n_dims * np.log(n_samples / FAILURE)
        if not outer.any():
            outer, distances = _beyond_the_tail(whitened, fraction)
        n_outer = min(int(outer.sum()), left)
        if n_outer == 0:
            return RobustMoments(mean, covariance, kept)
        rows = np.flatnonzero(kept)
        kept[rows[np.argsort(-distances, kind="stable")[:n_outer]]] = False
        left -= n_outer


def inverse_root(covariance: np.ndarray) -> np.ndarray:
    """Give the symmetric inverse square root, (d, d), of a covariance; constant directions give 0."""
    values, vectors = np.linalg.eigh(covariance)
    known = values > LEAST_EIGENVALUE * max(values[-1], 0.0)
    root: np.ndarray = (vectors[:, known] / np.sqrt(values[known])) @ vectors[:, known].T
    return root


def largest_fourth_moment(whitened: np.ndarray) -> tuple[float, np.ndarray]:
    """
    Find the symmetric matrix P of Frobenius norm 1 for which ``mean((y' P y)^2) - tr(P)^2`` is largest.

    :param whitened: Samples y, (n, d), of mean 0 and covariance I.
    :return: That value, which is 2 for a normal distribution, and P, (d, d).
    """
    n_samples, n_dims = whitened.shape

    def apply(vector: np.ndarray) -> np.ndarray:
        matrix = vector.reshape(n_dims, n_dims)
        forms = np.einsum("ni,ni->n", whitened @ matrix, whitened)
        moved = (whitened * forms[:, None]).T @ whitened / n_samples
        moved[np.diag_indices(n_dims)] -= np.trace(matrix)
        flat: np.ndarray = moved.ravel()
        return flat

    size = n_dims**2
    if size < 10:  # too small for the iterative solver
        values, vectors = np.linalg.eigh(np.stack([apply(row) for row in np.eye(size)]))
        value, vector = values[-1], vectors[:, -1]
    else:
        operator = LinearOperator((size, size), matvec=apply, dtype=np.float64)
        start = (
            whitened * (whitened**2).sum(axis=1)[:, None]
        ).T @ whitened  # depends on the samples only, so a rotation of them rotates the result
        found, vectors = eigsh(operator, k=1, which="LA", v0=start.ravel(), tol=TOLERANCE)
        value, vector = found[0], vectors[:, 0]
    matrix = vector.reshape(n_dims, n_dims)
    matrix = (matrix + matrix.T) / 2
    return float(value), matrix / max(float(np.linalg.norm(matrix)), np.finfo(float).tiny)


def _beyond_the_tail(whitened: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Give the samples to remove, (n,), bool, and the distance of each from the median, (n,)."""
    value, matrix = largest_fourth_moment(whitened)
    nothing = np.zeros(len(whitened), dtype=bool)
    if value <= 1 + SLACK * fraction * np.log(1 / fraction) ** 2:
        return nothing, np.zeros(len(whitened))
    forms = (np.einsum("ni,ni->n", whitened @ matrix, whitened) - np.trace(matrix)) / np.sqrt(2)
    distances = np.abs(forms - np.median(forms))
    cut = min(10 * np.log(1 / fraction), float(distances.max()) - SHIFT)
    return distances > max(cut, 0.0), distances
