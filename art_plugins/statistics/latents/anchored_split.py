"""Split of a class into a crowd of similar samples and the rest, by two Gaussians."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import expit

MAX_STEPS = 20
PRIOR_SAMPLES = 10.0  # samples for each direction that the within-class covariance counts as in the crowd's covariance


def split_from_seed(own: np.ndarray, within: np.ndarray, n_within: int, seed: np.ndarray) -> np.ndarray:
    """
    Find all members of a crowd from its first members, by expectation maximisation of two Gaussians.

    The rest of the class is assumed to vary around its mean as samples vary within the other classes. That covariance W is
    known from many samples, so a small crowd can be separated from the rest in many directions. The covariance of the crowd
    is shrunk towards W, which counts as ten samples for each direction: Sigma = (n S + 10 d W) / (n + 10 d). A small crowd
    is therefore recognised by its mean. A closer fit to its first members would miss the weaker ones.

    When this breaks: there is no crowd (the result may then be half of the class) or more than one; the rest of the class
    is far from Gaussian. The seed is returned if fewer than two samples are left on one side.

    :param own: The class's samples, shape (m, d).
    :param within: Covariance within the other classes, shape (d, d), positive definite.
    :param n_within: Number of samples from which ``within`` was estimated.
    :param seed: First members of the crowd, shape (m,), bool.
    :return: Members of the crowd, shape (m,), bool.
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
