"""
A class against all the others: in which directions does it vary more than they do, and does it fall in two there?

What makes the samples of every class differ (loudness, noise, speaker, stroke width) is shared by all classes; a trigger
lives in one class only. A deviation from Mehlman et al. 2023, who whiten each class by itself and so give all its
directions equal variance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from art_plugins.statistics.gaussian import oas_covariance
from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.latents.two_means import TwoMeans, averaged_trials, repeated_two_means
from art_plugins.statistics.moments import winsorised

SPLIT_DIMS = 2  # directions on which the split is found: a trigger takes one, and a second where its effect is not linear
VOTING_DIMS = (3, 5, 8, 12, 18, 27)
PRIOR_SAMPLES = 10  # for each direction, that the other classes' covariance counts as in a component's
MAX_STEPS = 50


class ContrastedClass(NamedTuple):
    """
    A class of m samples in d directions, the most unusual first: ``projections`` (m, d), from the median, in standard
    deviations of the other classes; ``variance_ratios`` (d,): variance of the class over theirs.
    """

    projections: np.ndarray
    variance_ratios: np.ndarray

    def score(self) -> float:
        """
        Logarithm of the largest variance ratio over what chance gives (the edge of the Marchenko-Pastur law,
        (1 + sqrt(d / m))^2 for m samples that are like the others); in nats, higher is more suspicious.
        """
        n_samples, n_dims = self.projections.shape
        largest = float(self.variance_ratios[0])
        return float(np.log(largest) - 2 * np.log(1 + np.sqrt(n_dims / n_samples))) if largest > 0 else float("nan")


def contrast_classes(latents: np.ndarray, labels: np.ndarray, nb_classes: int) -> list[ContrastedClass | None]:
    """
    Whiten each class by the covariance within the other classes, pooled and shrunk (OAS), and turn it to its own axes.

    :param latents: Shape (n, D).
    :param labels: Class of each sample, shape (n,), 0 to K - 1.
    :return: One entry a class; ``None`` for a class without samples, or when the others do not vary.
    """
    members = indices_by_class(labels, nb_classes)
    centred, drawn_in = np.zeros(latents.shape), np.zeros(latents.shape)
    for indices in members:
        if len(indices):
            centred[indices] = latents[indices] - np.median(latents[indices], axis=0)
            drawn_in[indices] = winsorised(centred[indices])
            drawn_in[indices] -= drawn_in[indices].mean(axis=0)
    contrasted: list[ContrastedClass | None] = []
    for label, indices in enumerate(members):
        others = drawn_in[labels != label]
        if not len(indices) or not others.any():
            contrasted.append(None)
            continue
        variances, axes = np.linalg.eigh(oas_covariance(others))
        whitening = axes / np.sqrt(np.maximum(variances, 1e-12 * variances[-1]))
        own = drawn_in[indices] @ whitening
        ratios, directions = np.linalg.eigh(own.T @ own / len(indices))
        projections = centred[indices] @ whitening @ directions[:, ::-1]
        contrasted.append(ContrastedClass(projections, ratios[::-1].clip(min=0)))
    return contrasted


def split_by_mixture(projections: np.ndarray, n_dims: int, nb_trials: int, n_init: int, random_state: int = 0) -> TwoMeans:
    """
    Mixtures of two Gaussians on 2, 3, 5, 8, ... up to ``n_dims`` leading directions, which vote.

    Unlike 2-means a mixture does not cut half-way: poison and clean samples differ in number and in spread. Each starts
    from the mixture on two directions, and that from 2-means; how many directions carry the trigger is not known, so
    none of them decides alone.

    :param projections: From :func:`contrast_classes`, shape (m, d), m >= 2.
    :return: A trial for every start and number of directions, aligned; those that start alike are computed once.
    """
    start = repeated_two_means(projections[:, :SPLIT_DIMS], nb_trials, n_init, random_state=random_state)
    firsts, first_of = _each_once(start.trial_labels, lambda labels: _mixture_labels(projections[:, :SPLIT_DIMS], labels))
    dims = [dims for dims in VOTING_DIMS if dims <= n_dims]
    voters, voter_of = _each_once(
        firsts[first_of],
        lambda first: np.stack([first, *(_mixture_labels(projections[:, :n], first) for n in dims)]),
    )
    votes = np.concatenate(voters[voter_of])
    return averaged_trials(votes, np.repeat(start.inertia, 1 + len(dims)))


def _each_once(splits: np.ndarray, compute: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What ``compute`` makes of every distinct split, and which of those is each split's; a mirrored split is the same."""
    mirrored = np.where(splits[:, :1] == 1, 1 - splits, splits)
    distinct, which = np.unique(mirrored, axis=0, return_inverse=True)
    return np.stack([compute(split) for split in distinct]), which.reshape(-1)


def _mixture_labels(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """
    Expectation maximisation from a split; the more likely component of every sample, or the split if a component dies.

    The covariance of a component is drawn to that of the other classes, here the identity, which counts as
    ``PRIOR_SAMPLES`` samples for each direction: Sigma = (n S + 10 d I) / (n + 10 d).
    """
    n_samples, n_dims = x.shape
    weight = PRIOR_SAMPLES * n_dims
    shares = np.stack([labels == 0, labels == 1], axis=1).astype(np.float64)
    for _ in range(MAX_STEPS):
        sizes = shares.sum(axis=0)
        if sizes.min() < 2:
            return labels
        log_densities = np.empty((n_samples, 2))
        for side in (0, 1):
            delta = x - shares[:, side] @ x / sizes[side]
            covariance = (delta.T @ (shares[:, side, None] * delta) + weight * np.eye(n_dims)) / (sizes[side] + weight)
            factor = np.linalg.cholesky(covariance)
            whitened = delta @ np.linalg.inv(factor).T
            squared = np.einsum("ij,ij->i", whitened, whitened)
            log_densities[:, side] = np.log(sizes[side]) - 0.5 * squared - np.log(np.diag(factor)).sum()
        second = expit(log_densities[:, 1] - log_densities[:, 0])
        settled = np.abs(second - shares[:, 1]).max() < 1e-3
        shares = np.stack([1 - second, second], axis=1)
        if settled:
            break
    found = (shares[:, 1] > 0.5).astype(np.int8)
    return found if np.bincount(found, minlength=2).min() >= 2 else labels
