"""SPECTRE's scores of one class (Hayase et al. 2021): robust whitening, then quantum entropy scores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from art_plugins.statistics.robust_covariance import inverse_root, robust_moments

REMOVED = 1.5  # times the expected number of poisoned samples is removed, as in Tran et al. 2018
N_CHOICES = 10  # numbers of dimensions that are tried
LEAST_EIGENVALUE = 1e-10  # relative to the largest; below it a direction counts as constant
SAMPLES_PER_DIM = 4  # at least so many, that what is kept determines a covariance


class SpectreScores(NamedTuple):
    """
    ``scores`` (n,): higher is more suspicious; ``n_dims``: the k that was chosen; ``strength``: mean quantum entropy score
    once the class is whitened by what the filter keeps, by which k and the target class are chosen.
    """

    scores: np.ndarray
    n_dims: int
    strength: float


def quantum_entropy_scores(whitened: np.ndarray, alpha: float = 4.0) -> np.ndarray:
    """
    ``y' Q y / tr(Q)`` with ``Q = exp(alpha (S - I) / (|S| - 1))``, S the second moments of the samples y (section 3.3).

    With alpha 0 this is the squared length over d, with a large alpha the squared projection on the top direction; between,
    all directions count that vary more than robust whitening leaves to clean samples. In one dimension, and where no
    direction varies more, Q is the identity.

    :param whitened: Shape (n, d), by a covariance of clean samples.
    :param alpha: At least 0.
    :return: Shape (n,), at least 0; higher is more suspicious.
    """
    values, vectors = np.linalg.eigh(whitened.T @ whitened / len(whitened))
    excess = values[-1] - 1
    # Up to a factor, which the trace takes out again; so it cannot overflow.
    weights = np.exp(alpha * (values - values[-1]) / excess) if excess > 0 and len(values) > 1 else np.ones(len(values))
    scores: np.ndarray = (whitened @ vectors) ** 2 @ (weights / weights.sum())
    return scores


def spectre_scores(features: np.ndarray, fraction: float, alpha: float = 4.0, max_dims: int = 100) -> SpectreScores:
    """
    Algorithms 1 and 2: project on the top k principal directions, estimate the clean mean and covariance robustly, whiten,
    score; k is that for which the samples it would keep make all stand out most.

    Deviates: the robust mean is taken out as well, as in the paper but not in its code; and k is at most a quarter of the
    number of samples.

    When this breaks: poison of more than ``fraction``; classes that are several clusters by nature.

    :param features: Of one class, (n, d), n >= 4.
    :param fraction: Upper bound of the poisoned share of the class, above 0 and below .5.
    :param alpha: Of the quantum entropy scores.
    :param max_dims: Largest k.
    """
    n_samples = len(features)
    projected = principal_projections(features, max(1, min(max_dims, n_samples // SAMPLES_PER_DIM)))
    most = projected.shape[1]
    if most == 0:
        return SpectreScores(np.zeros(n_samples), 0, 0.0)
    best = SpectreScores(np.zeros(n_samples), 0, -np.inf)
    for n_dims in np.unique(np.round(np.linspace(1, np.sqrt(most), N_CHOICES) ** 2).astype(int)):
        moments = robust_moments(projected[:, :n_dims], fraction)
        whitened = (projected[:, :n_dims] - moments.mean) @ inverse_root(moments.covariance)
        scores = quantum_entropy_scores(whitened, alpha)
        kept = projected[np.argsort(scores, kind="stable")[: len(scores) - n_removed(len(scores), fraction)]]
        seen = (projected - kept.mean(axis=0)) @ inverse_root(np.atleast_2d(np.cov(kept.T, bias=True)))
        strength = float(quantum_entropy_scores(seen, alpha).mean())
        if strength > best.strength:
            best = SpectreScores(scores, int(n_dims), strength)
    return best


def principal_projections(features: np.ndarray, most: int) -> np.ndarray:
    """
    The centred samples on their principal directions that vary, the loudest first, at most ``most`` of them.

    The decomposition is that of the smaller of the two products, d x d or n x n, whose eigenvalues above 0 are the same:
    with d = 16,384 features the covariance alone would be 2 GB, and its eigenvectors minutes. Signs are arbitrary.

    :param features: Shape (n, d).
    :return: Shape (n, k), k at most ``most``; k is 0 where all samples are equal.
    """
    centred = np.asarray(features, dtype=np.float64)
    centred = centred - centred.mean(axis=0)
    n_samples, n_dims = centred.shape
    wide = n_dims > n_samples
    values, vectors = np.linalg.eigh((centred @ centred.T if wide else centred.T @ centred) / n_samples)
    rank = int((values > LEAST_EIGENVALUE * max(values[-1], np.finfo(float).tiny)).sum())
    loudest = slice(len(values) - min(most, rank), None)
    values, vectors = values[loudest][::-1], vectors[:, loudest][:, ::-1]
    projected: np.ndarray = vectors * np.sqrt(n_samples * values) if wide else centred @ vectors
    return projected


def n_removed(n_samples: int, fraction: float) -> int:
    """How many of a class of so many samples go: 1.5 times the bound of the poison."""
    return int(REMOVED * fraction * n_samples)
