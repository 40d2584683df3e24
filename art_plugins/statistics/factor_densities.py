"""Gaussians of several classes in factor form, evaluated at new samples; factor_gaussians.py fits them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from art_plugins.file_rules import TINY, ArrayRule
from art_plugins.statistics.standardise import Standardisation, standardise

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
