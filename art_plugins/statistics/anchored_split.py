"""A crowd in a class, and the rest of it: two Gaussians, one of which is known from the other classes."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import expit

MAX_STEPS = 20
PRIOR_SAMPLES = 10.0  # for each direction, that the covariance within classes counts as in the crowd's


def split_from_seed(own: np.ndarray, within: np.ndarray, n_within: int, seed: np.ndarray) -> np.ndarray:
    """
    Grow a crowd's first members to all of it: expectation maximisation of two Gaussians, whose shares are soft.

    Around its own mean, the class's rest varies as samples vary within the other classes, which is known from many
    samples; so the crowd is told from the rest in many directions although it is small. The covariance of the crowd is
    drawn to the same, which counts as ten samples for each direction: Sigma = (n S + 10 d W) / (n + 10 d). A small crowd is
    thereby told from the rest by its place: a closer fit to its first members leaves the fainter ones out.

    When this breaks: the crowd is none (it may then grow to half of the class), or is not the only one; the rest of the
    class is far from a Gaussian. The seed is returned where fewer than two samples are left on a side.

    :param own: The class's samples, shape (m, d).
    :param within: Covariance within the other classes, shape (d, d), positive definite.
    :param n_within: How many samples that is known from.
    :param seed: First members of the crowd, shape (m,), bool.
    :return: Shape (m,), bool.
    """
    n_dims = own.shape[1]
    crowd = seed.astype(np.float64)
    for _ in range(MAX_STEPS):
        n_crowd, n_rest = crowd.sum(), (1 - crowd).sum()
        if min(n_crowd, n_rest) < 2:
            return seed
        log_odds = np.log(n_crowd) - np.log(n_rest)
        for sign, share, weight in ((1, crowd, PRIOR_SAMPLES * n_dims), (-1, 1 - crowd, float(n_within))):
            deviations = own - share @ own / share.sum()
            scatter = deviations.T @ (share[:, None] * deviations)
            factor = np.linalg.cholesky((scatter + weight * within) / (share.sum() + weight))
            squared = (solve_triangular(factor, deviations.T, lower=True) ** 2).sum(axis=0)
            log_odds = log_odds - sign * (0.5 * squared + np.log(np.diag(factor)).sum())
        new = expit(log_odds)
        settled = np.abs(new - crowd).max() < 1e-3
        crowd = new
        if settled:
            break
    found: np.ndarray = crowd > 0.5
    return found if 2 <= found.sum() <= len(found) - 2 else seed
