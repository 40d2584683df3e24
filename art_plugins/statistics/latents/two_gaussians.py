"""Expectation maximisation of two Gaussians from a first split, for the splits by windows and by whole samples."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

PRIOR_SAMPLES = 10.0  # for each direction, that the covariance within the other classes counts as in a component's


def two_gaussians(
    x: np.ndarray, first: np.ndarray, within: np.ndarray, weights: tuple[float, float], max_steps: int
) -> np.ndarray:
    """
    Divide samples into two Gaussian components, whose covariances are drawn to one that is known from many samples.

    A component of n samples with scatter n S has the covariance Sigma = (n S + w W) / (n + w), where W is ``within`` and w
    the component's weight: as many samples as W counts as.

    When this breaks: there is one component only (the result may then be half of the samples) or more than two. The first
    split is returned if fewer than two samples are left in a component.

    :param x: Shape (m, d).
    :param first: The split to start from: members of the second component, shape (m,), bool.
    :param within: W, shape (d, d), positive definite.
    :param weights: w of the first and of the second component, in samples.
    :param max_steps: Steps after which the split is taken as it is, also if it still moves.
    :return: Members of the second component, shape (m,), bool.
    """
    second = first.astype(np.float64)
    room = (np.empty(x.shape), np.empty(x.shape))  # taken once, since new memory for every step is slow
    for _ in range(max_steps):
        shares = (1 - second, second)
        if min(share.sum() for share in shares) < 2:
            return first
        densities = [_log_density(x, share, within, weight, *room) for share, weight in zip(shares, weights, strict=True)]
        new = expit(densities[1] - densities[0])
        settled = np.abs(new - second).max() < 1e-3
        second = new
        if settled:
            break
    found: np.ndarray = second > 0.5
    return found if 2 <= found.sum() <= len(found) - 2 else first


def _log_density(
    x: np.ndarray, share: np.ndarray, within: np.ndarray, weight: float, deviations: np.ndarray, scaled: np.ndarray
) -> np.ndarray:
    """
    Logarithm of a component's size times its density at every sample, up to a constant that both components share.

    :param deviations: Room of the shape of ``x`` that is written to, as ``scaled`` is.
    """
    size = share.sum()
    np.subtract(x, share @ x / size, out=deviations)
    scatter = deviations.T @ np.multiply(share[:, None], deviations, out=scaled)
    factor = np.linalg.cholesky((scatter + weight * within) / (size + weight))
    whitened = np.matmul(deviations, np.linalg.inv(factor).T, out=scaled)
    squared = np.einsum("ij,ij->i", whitened, whitened)
    log_density: np.ndarray = np.log(size) - 0.5 * squared - np.log(np.diag(factor)).sum()
    return log_density
