"""Which class a sample probably shows, if it is not of the class that it is judged as: what the early layers see."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

SHARPEST = 1e3  # a difference of a tenth of a squared deviation then decides beyond any doubt
UNKNOWN = -1


class LikelyClass(NamedTuple):
    """
    The probability of each class, by how near a sample is to it at the early layers.

    A trigger changes what the late layers see. At the early ones, a triggered sample is still like the class that it was
    taken from. The probability of class c is proportional to ``exp(-sharpness * distance_c)``, where the distance is the
    mean of the squared Mahalanobis distances at the early layers, as in Gaussians. What the trigger adds to the features,
    where it is at right angles to the differences of the classes, is added to all of the squared distances, so that it
    changes nothing. Only the sharpness is learned, which is the inverse of the temperature of Guo et al. (On calibration of
    modern neural networks, 2017).

    When this breaks: a trigger that changes the early layers too, such as a warp, which makes the answer wrong more often
    than its probability says.

    :ivar sharpness: At least 0; at 0 all classes have equal probabilities.
    """

    sharpness: float

    def of(self, distances: np.ndarray, left_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Give the likeliest class of each sample besides one, and its probability.

        :param distances: To all classes, (n, K); infinite for a class that is not known.
        :param left_out: The class that each sample is not of, (n,).
        :return: The classes, (n,), int, -1 if no other class is known; and the probabilities, (n,), 0 to 1.
        """
        others = np.array(distances, dtype=np.float64)
        others[np.arange(len(others)), left_out] = np.inf
        known = np.isfinite(others).any(axis=1)
        others[~known] = 0
        logs = log_softmax(-self.sharpness * others, axis=1)
        return np.where(known, others.argmin(axis=1), UNKNOWN), np.where(known, np.exp(logs.max(axis=1)), 0.0)


def fit_likely_class(distances: np.ndarray, labels: np.ndarray) -> LikelyClass:
    """
    Learn the sharpness that makes the classes of benign samples most likely. The logarithm of the likelihood is concave.

    :param distances: Distances of benign samples, by Gaussians that were fitted without them, (n, K); infinite for unknown
        classes.
    :param labels: Class of each sample, (n,); samples of an unknown class do not count.
    """
    own = distances[np.arange(len(labels)), labels]
    used, own = distances[np.isfinite(own)], own[np.isfinite(own)]
    if not len(used):
        return LikelyClass(0.0)
    differences = own[:, None] - used  # above 0 where another class is nearer

    def loss(sharpness: float) -> float:
        return float(logsumexp(sharpness * differences, axis=1).mean())

    found = minimize_scalar(loss, bounds=(0.0, SHARPEST), method="bounded")
    return LikelyClass(float(found.x))
