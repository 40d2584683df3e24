"""Centre and spread of values, also where some of them do not belong."""

from __future__ import annotations

import numpy as np

from art_plugins.statistics.outliers import MAD_TO_SIGMA

WINSORISED = 0.02  # share of a class, the farthest out, that is drawn in before variances are taken: lone oddities


def centre_and_spread(values: np.ndarray, robust: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """
    Mean and standard deviation along the first axis; or median and 1.4826 times the median absolute deviation, which a
    minority of foreign values cannot move far.

    :param values: Shape (n, ...), n >= 1.
    :return: Both of shape (...).
    """
    if not robust:
        return values.mean(axis=0), values.std(axis=0)
    centre = np.median(values, axis=0)
    return centre, MAD_TO_SIGMA * np.median(np.abs(values - centre), axis=0)


def winsorised(x: np.ndarray) -> np.ndarray:
    """The samples farthest from the centre, one in fifty and at least one, drawn in to the distance of the next."""
    distances = np.linalg.norm(x, axis=1)
    n_outer = max(1, int(WINSORISED * len(x)))
    radius = np.sort(distances)[-n_outer - 1] if len(x) > n_outer else 0.0
    factors = np.divide(radius, distances, out=np.ones(len(x)), where=distances > radius)
    drawn_in: np.ndarray = x * factors[:, None]
    return drawn_in


def class_moments(values: np.ndarray, labels: np.ndarray, nb_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """
    Mean and standard deviation of each class's values; those of all where a class has fewer than two, or no spread. Where
    all are equal, the deviation is 1.

    :param values: Shape (n,), n >= 1.
    :param labels: Shape (n,).
    :return: Both of shape (K,).
    """
    means, deviations = np.full(nb_classes, values.mean()), np.full(nb_classes, values.std() or 1.0)
    for label in np.unique(labels):
        own = values[labels == label]
        if len(own) > 1:
            means[label], deviations[label] = own.mean(), own.std() or deviations[label]
    return means, deviations
