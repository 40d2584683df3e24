"""Latents and labels in; class scores, verdicts and suspects out (after Mehlman et al. 2023, sections 3.1 and 3.2)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.statistics.contrast import SPLIT_DIMS, contrast_classes, split_by_mixture
from art_plugins.statistics.gaussian import SHRINKAGES
from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.outliers import mad_index
from art_plugins.statistics.poison_likelihood import mean_poison_likelihood
from art_plugins.statistics.reduction import WHITENINGS, reduce_latents
from art_plugins.statistics.two_means import refine_trials, repeated_two_means

SCORINGS = ("contrastive", "paper")
CLASS_RULES = ("mad", "argmax")
MIN_CLASS_SIZE = 8
ALL_EQUAL = "all latents are equal"
# A whitened direction without structure looks bimodal by chance when there are few samples for each dimension. Measured on
# Speech Commands (370 clips a class) and digits (135 images): 2-means finds the poison at 28 samples for each component and
# is led astray at 15; Gaussians and discriminants, which start from its split, bear 12.
SAMPLES_PER_CLUSTERED_DIM = 28
SAMPLES_PER_DIM = 12
# Lower bound of the standard deviation of the contrastive scores of clean classes, in nats: half of a few scores can lie
# close together by chance (measured on Speech Commands: .1 to .2).
LEAST_SIGMA = 0.25
HETEROGENEOUS_FROM = 0.35  # share of the smaller cluster from which it is hard to say which of the two is the poison


class LatentClasses(NamedTuple):
    """
    For K classes and n samples:
    ``class_scores`` (K,): in nats, NaN where a class was not judged; ``class_index`` (K,): its one-sided MAD index;
    ``poisoned_classes``: verdicts; ``soft_labels`` (n,): share of the trials that put the sample into its class's
    smaller cluster; ``suspects`` (n,): that share is above one half, whatever the class's verdict; ``not_judged``: class
    -> why; ``nb_dims``: components that describe a class.
    """

    class_scores: np.ndarray
    class_index: np.ndarray
    poisoned_classes: list[int]
    soft_labels: np.ndarray
    suspects: np.ndarray
    not_judged: dict[int, str]
    nb_dims: int


def cluster_latent_classes(
    latents: np.ndarray,
    labels: np.ndarray,
    nb_classes: int,
    *,
    scoring: str = "contrastive",
    nb_dims: int = 24,
    whiten: str = "after_pca",
    shrinkage: str = "within",
    nb_trials: int = 10,
    n_init: int = 100,
    refine: bool = True,
    class_rule: str = "mad",
    threshold: float = 3.5,
    random_state: int = 0,
) -> LatentClasses:
    """
    Score every class and split it in two.

    ``scoring="contrastive"`` compares each class with all the others: its score is the logarithm of its largest variance
    ratio (:meth:`~art_plugins.statistics.contrast.ContrastedClass.score`), and a mixture of two Gaussians on its most
    unusual directions splits it. This deviates from the paper, and needs another class to compare with.

    ``scoring="paper"`` looks at each class by itself: 2-means finds a first split on the leading components, Fisher's
    discriminant refines it on all ``nb_dims``, and Eq. 1 describes the halves there. Its scores are comparable only in
    equally many dimensions, so all classes use the same: at most one component for every 12 samples of the median class
    size, and 2-means at most one for every 28 (but two). With 672 and more samples a class, both are the paper's 24.

    A class of fewer than 8 samples (``"paper"``: or fewer than twice as many as components), or one whose samples are all
    equal, is not judged: its score is NaN and nothing in it is a suspect. Clusters of equal size: the suspects are the one
    without the class's first sample.

    :param latents: Shape (n, D).
    :param labels: Class of each sample, shape (n,), 0 to K - 1.
    :param nb_dims: Most directions that describe a class.
    :param whiten: For ``"paper"``; so are ``shrinkage`` and ``refine`` (``False``: the paper's plain 2-means).
    :param class_rule: ``"mad"``: (score - median) / (1.4826 MAD) > ``threshold``; ``"argmax"``: the class of highest score.
    :raises InvalidInputError: For an argument out of range.
    """
    check_scoring(scoring, nb_dims, whiten, shrinkage, nb_trials, n_init, refine, class_rule, threshold)
    members = indices_by_class(labels, nb_classes)
    sizes = np.array([len(indices) for indices in members])
    typical = np.median(sizes[sizes > 0])
    nb_dims = int(max(1, min(nb_dims, latents.shape[1], typical // SAMPLES_PER_DIM)))
    nb_clustered = int(min(nb_dims, max(2, typical // SAMPLES_PER_CLUSTERED_DIM)))
    least = max(MIN_CLASS_SIZE, 2 * nb_dims) if scoring == "paper" else MIN_CLASS_SIZE
    contrasted = contrast_classes(latents, labels, nb_classes) if scoring == "contrastive" else []

    scores = np.full(nb_classes, np.nan)
    soft_labels = np.zeros(len(labels))
    not_judged: dict[int, str] = {}
    for label, indices in enumerate(members):
        if len(indices) < least:
            not_judged[label] = f"{len(indices)} samples, {least} are needed"
            continue
        if scoring == "contrastive":
            contrast = contrasted[label]
            if contrast is None or not contrast.projections.any():
                not_judged[label] = "all latents of the other classes are equal" if contrast is None else ALL_EQUAL
                continue
            n_dims = min(nb_dims, max(SPLIT_DIMS, len(indices) // SAMPLES_PER_CLUSTERED_DIM))
            halves = split_by_mixture(contrast.projections, n_dims, nb_trials, n_init, random_state)
            scores[label] = contrast.score()
        else:
            reduced = reduce_latents(latents[indices], nb_dims, whiten)
            if not reduced.any():
                not_judged[label] = ALL_EQUAL
                continue
            # The components are in order of variance, so the leading ones are what a smaller nb_dims would have given.
            halves = repeated_two_means(reduced[:, :nb_clustered], nb_trials, n_init, random_state=random_state)
            if refine:
                halves = refine_trials(reduced, halves)
            scores[label] = mean_poison_likelihood(reduced, halves.trial_labels, shrinkage)
            if np.isnan(scores[label]):
                not_judged[label] = "a cluster has fewer than 2 samples"
                continue
        soft_labels[indices] = _towards_smaller(halves.soft_labels, halves.labels)
    index = mad_index(scores, LEAST_SIGMA if scoring == "contrastive" else 0.0)
    return LatentClasses(
        scores,
        index,
        _verdicts(scores, index, class_rule, threshold),
        soft_labels,
        soft_labels > 0.5,
        not_judged,
        nb_dims,
    )


def check_scoring(
    scoring: str,
    nb_dims: int,
    whiten: str,
    shrinkage: str,
    nb_trials: int,
    n_init: int,
    refine: bool,
    class_rule: str,
    threshold: float,
) -> None:
    """
    :raises InvalidInputError: For an argument of :func:`cluster_latent_classes` out of range.
    """
    for name, number in (("nb_dims", nb_dims), ("nb_trials", nb_trials), ("n_init", n_init)):
        if not isinstance(number, (int, np.integer)) or number < 1:
            raise InvalidInputError(f"{name} must be a whole number of at least 1; received {number!r}.")
    if not isinstance(refine, (bool, np.bool_)):
        raise InvalidInputError(f"refine must be True or False; received {refine!r}.")
    for name, choice, accepted in (
        ("scoring", scoring, SCORINGS),
        ("whiten", whiten, WHITENINGS),
        ("shrinkage", shrinkage, SHRINKAGES),
        ("class_rule", class_rule, CLASS_RULES),
    ):
        if choice not in accepted:
            raise InvalidInputError(f"{name} must be one of {accepted}; received {choice!r}.")
    if not isinstance(threshold, (int, float, np.number)) or not 0 < threshold < np.inf:
        raise InvalidInputError(f"threshold must be a finite number greater than 0; received {threshold!r}.")


def _towards_smaller(soft_labels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    ones = int(labels.sum())
    zeros = len(labels) - ones
    one_is_smaller = ones < zeros or (ones == zeros and labels[0] == 0)
    return soft_labels if one_is_smaller else 1 - soft_labels


def _verdicts(scores: np.ndarray, index: np.ndarray, class_rule: str, threshold: float) -> list[int]:
    if class_rule == "argmax":
        return [] if np.isnan(scores).all() else [int(np.nanargmax(scores))]
    return [int(label) for label in np.flatnonzero(np.nan_to_num(index, nan=0.0) > threshold)]
