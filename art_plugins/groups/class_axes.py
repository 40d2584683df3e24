"""What the classes of a data set differ in: the axes of Fisher's linear discriminant analysis, one class left out."""

from __future__ import annotations

import numpy as np

from art_plugins.groups.cuts import LEAST_MEMBERS
from art_plugins.groups.space import Scatters
from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.moments import winsorised

SOFTENING = 0.01  # of the largest variance, that is added before a direction is brought to unit variance
MOST_AXES = 0.5  # of all directions, that may be what classes differ in; with the rest they are compared
TINY = 1e-300


class ClassAxes:
    """
    What some classes differ in: directions of unit variance within them, of which the first are those of Fisher's linear
    discriminant analysis.

    :param covariance: Covariance within these classes, (d, d).
    :param centres: Means of these classes, (K, d), at least two.

    :ivar directions: All directions, (d, d).
    :ivar weights: How far the classes lie apart in the directions that are what they differ in, (q,), squared.
    :ivar along: These directions, (d, q).
    :ivar centres: Centres of the classes along them, (K, q).
    """

    def __init__(self, covariance: np.ndarray, centres: np.ndarray) -> None:
        variances, axes = np.linalg.eigh(covariance)
        whitening = axes / np.sqrt(np.maximum(variances, 0) + max(SOFTENING * variances[-1], TINY))
        _, apart, turned = np.linalg.svd((centres - centres.mean(axis=0)) @ whitening, full_matrices=True)
        n_apart = max(1, min(len(centres) - 1, int(MOST_AXES * len(covariance))))
        self.directions, self.weights = whitening @ turned.T, apart[:n_apart] ** 2
        self.along = self.directions[:, :n_apart]
        self.centres = centres @ self.along


class AxesOfOthers:
    """
    For every class, the axes of all other classes.

    :param x: Features of all samples, (n, d), finite.
    :param labels: Class of each sample, (n,).
    :param nb_classes: Number of classes, K.

    :ivar x: The features, (n, d), as they were given.
    :ivar nb_classes: Number of the classes with 8 samples or more, which alone are looked at.
    """

    def __init__(self, x: np.ndarray, labels: np.ndarray, nb_classes: int) -> None:
        self.x = x
        members = indices_by_class(labels, nb_classes)
        self._scatters = Scatters(x, members)
        counted = [label for label, rows in enumerate(members) if len(rows) >= LEAST_MEMBERS]
        self._centres = {label: centre_of(x[members[label]].astype(np.float64)) for label in counted}
        self.nb_classes = len(counted)
        self._axes: dict[int, ClassAxes] = {}

    def beside(self, label: int) -> ClassAxes | None:
        """Give the axes of all classes but one; ``None`` where fewer than two others have samples enough."""
        others = [centre for other, centre in self._centres.items() if other != label]
        if len(others) < 2 or self.x.shape[1] < 2:
            return None
        if label not in self._axes:
            self._axes[label] = ClassAxes(self._scatters.covariance_elsewhere(label), np.stack(others))
        return self._axes[label]


def drawn_in(x: np.ndarray) -> np.ndarray:
    """Move the farthest 2 % of some samples, (m, d), towards their median, so that no sample alone decides."""
    middle = np.median(x, axis=0)
    found: np.ndarray = middle + winsorised(x - middle)
    return found


def centre_of(x: np.ndarray) -> np.ndarray:
    """Give the mean of some samples, (m, d), the farthest of them drawn in, (d,)."""
    found: np.ndarray = drawn_in(x).mean(axis=0)
    return found
