"""SPECTRE's scores of one class (Hayase et al. 2021): robust whitening, then quantum entropy scores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from art_plugins.statistics.robust_covariance import inverse_root, robust_moments

REMOVED = 1.5  # number of removed samples, in expected numbers of poisoned samples, as in Tran et al. 2018
N_CHOICES = 10  # how many numbers of dimensions are tried
LEAST_EIGENVALUE = 1e-10  # share of the largest eigenvalue below which a direction counts as constant
SAMPLES_PER_DIM = 4  # smallest number of samples for each dimension, so that the samples determine a covariance


class SpectreScores(NamedTuple):
    """
    ``scores`` (n,): outlier scores, higher is more suspicious; ``n_dims``: the number k of dimensions that was chosen;
    ``strength``: mean quantum entropy score after the class was whitened by the samples that the filter keeps. The largest
    strength decides k and the target class.
    """

    scores: np.ndarray
    n_dims: int
    strength: float


def quantum_entropy_scores(whitened: np.ndarray, alpha: float = 4.0) -> np.ndarray:
    """
    Give ``y' Q y / tr(Q)`` with ``Q = exp(alpha (S - I) / (|S| - 1))``, where S holds the second moments of the samples y
    (Hayase et al. 2021, section 3.3).

    With alpha 0 this is the squared length divided by d. With a large alpha it is the squared projection on the direction
    of largest variance. In between, all directions count whose variance is larger than that of clean samples. Q is the
    identity in one dimension, or if no direction has a variance above 1.

    :param whitened: Samples whitened by a covariance of clean samples, shape (n, d).
    :param alpha: Weight of the directions of large variance, at least 0.
    :return: Scores, shape (n,), at least 0; higher is more suspicious.
    """
    values, vectors = np.linalg.eigh(whitened.T @ whitened / len(whitened))
    excess = values[-1] - 1
    # The weights are scaled so that they cannot overflow; the division by their sum removes the scale.
    weights = np.exp(alpha * (values - values[-1]) / excess) if excess > 0 and len(values) > 1 else np.ones(len(values))
    scores: np.ndarray = (whitened @ vectors) ** 2 @ (weights / weights.sum())
    return scores


def spectre_scores(features: np.ndarray, fraction: float, alpha: float = 4.0, max_dims: int = 100) -> SpectreScores:
    """
    Score the samples of one class by Algorithms 1 and 2 of Hayase et al. 2021.

    The samples are projected on the top k principal directions, whitened by a robust estimate of the clean mean and
    covariance, and scored. The k with the largest :attr:`SpectreScores.strength` is taken.

    Deviates from the authors' code: the robust mean is subtracted too, as in the paper, and k is at most a quarter of the
    number of samples.

    When this breaks: more poison than ``fraction``; clean classes that consist of several clusters.

    :param features: Features of one class, (n, d), n >= 4.
    :param fraction: Upper bound of the poisoned share of the class, above 0 and below 0.5.
    :param alpha: See :func:`quantum_entropy_scores`.
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
    Project the centred samples on their principal directions, in the order of decreasing variance.

    The smaller of the two product matrices, d x d or n x n, is decomposed; their eigenvalues above 0 are the same. With
    d = 16,384 features the covariance would take 2 GB, and its eigenvectors minutes. The signs are arbitrary.

    :param features: Shape (n, d).
    :param most: Largest number of directions.
    :return: Shape (n, k), k at most ``most``; constant directions are left out, so k is 0 if all samples are equal.
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
    """Give the number of samples to remove from a class: 1.5 times the largest number of poisoned samples."""
    return int(REMOVED * fraction * n_samples)
