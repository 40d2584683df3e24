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

from art_plugins.statistics.gaussian import oas_shrunk
from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.latents.two_gaussians import PRIOR_SAMPLES, two_gaussians
from art_plugins.statistics.latents.two_means import TwoMeans, averaged_trials, repeated_two_means
from art_plugins.statistics.moments import winsorised

SPLIT_DIMS = 2  # directions on which the split is found: a trigger takes one, and a second where its effect is not linear
MAX_STEPS = 50  # 2-means cuts half-way, so the way to two Gaussians of other sizes is long
VOTING_DIMS = (3, 5, 8, 12, 18, 27)


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
    scatters = np.zeros((nb_classes, latents.shape[1], latents.shape[1]))
    for label, indices in enumerate(members):
        if len(indices):
            drawn_in = _drawn_in(_centred(latents[indices]))
            scatters[label] = drawn_in.T @ drawn_in
    contrasted: list[ContrastedClass | None] = []
    for label, indices in enumerate(members):
        n_others = len(labels) - len(indices)
        of_others = np.delete(scatters, label, axis=0).sum(axis=0)
        if not len(indices) or not of_others.any():
            contrasted.append(None)
            continue
        variances, axes = np.linalg.eigh(oas_shrunk(of_others / n_others, n_others))
        whitening = axes / np.sqrt(np.maximum(variances, 1e-12 * variances[-1]))
        ratios, directions = np.linalg.eigh(whitening.T @ scatters[label] @ whitening / len(indices))
        projections = _centred(latents[indices]) @ whitening @ directions[:, ::-1]
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
    """The more likely of two Gaussians for each sample. The other classes, whitened, have the identity as covariance."""
    n_dims = x.shape[1]
    weight = PRIOR_SAMPLES * n_dims
    return two_gaussians(x, labels == 1, np.eye(n_dims), (weight, weight), MAX_STEPS).astype(np.int8)


def _centred(latents: np.ndarray) -> np.ndarray:
    """The latents of a class minus their median, in double precision."""
    centred: np.ndarray = latents - np.median(latents, axis=0).astype(np.float64)
    return centred


def _drawn_in(centred: np.ndarray) -> np.ndarray:
    """Its outermost samples moved inwards, and all minus their mean."""
    moved = winsorised(centred)
    moved -= moved.mean(axis=0)
    return moved
