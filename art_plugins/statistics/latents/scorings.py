"""
Three ways to score a class and to split it in two: by crowds in windows of time, by whole samples, and as the paper does.

Each is an object with one interface, :class:`Scoring`; :func:`make_scoring` chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Protocol

import numpy as np

from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.latents.contrast import SPLIT_DIMS, ContrastedClass, contrast_classes, split_by_mixture
from art_plugins.statistics.latents.crowds import find_crowds, split_crowd
from art_plugins.statistics.latents.poison_likelihood import mean_poison_likelihood
from art_plugins.statistics.latents.reduction import reduce_latents
from art_plugins.statistics.latents.scoring_settings import ScoringSettings
from art_plugins.statistics.latents.two_means import TwoMeans, refine_trials, repeated_two_means

MIN_CLASS_SIZE = 8
ALL_EQUAL = "all latents are equal"
# A whitened direction without structure looks bimodal by chance when there are few samples for each dimension. Measured on
# Speech Commands (370 clips a class) and digits (135 images): 2-means finds the poison at 28 samples for each component and
# is led astray at 15; Gaussians and discriminants, which start from its split, bear 12.
SAMPLES_PER_CLUSTERED_DIM = 28
SAMPLES_PER_DIM = 12


class NotJudged(Exception):
    """A class has no score; the message says why."""


class Scoring(Protocol):
    """
    What every scoring offers.

    ``nb_dims``: number of directions that describe a class; ``least``: number of samples that a class must have.
    """

    nb_dims: int
    least: int

    def score(self, label: int) -> float:
        """
        The score of a class in nats; a higher score is more suspicious.

        :raises NotJudged: If the class has none.
        """

    def splitting(self, label: int) -> Callable[[], np.ndarray]:
        """
        A call that gives the share of the trials that suspect each sample of a class that has a score, shape (m,).

        It holds what it needs, so that another process can make it.
        """


class WindowScoring:
    """The score of a class is the crowd that it holds in a window of time, and the split is that crowd and the rest."""

    least = MIN_CLASS_SIZE

    def __init__(
        self,
        windows: Sequence[np.ndarray],
        labels: np.ndarray,
        nb_classes: int,
        settings: ScoringSettings,
        random_state: int,
    ) -> None:
        self.nb_dims = settings.nb_dims
        self._labels, self._nb_trials = labels, settings.nb_trials
        self._crowds = find_crowds(windows, labels, nb_classes, settings.nb_dims, random_state)

    def score(self, label: int) -> float:
        score = float(self._crowds.class_scores[label])
        if np.isnan(score):
            raise NotJudged("there is no other class to compare with")
        return score

    def splitting(self, label: int) -> Callable[[], np.ndarray]:
        call = partial(split_crowd, self._crowds, self._labels, label, self._nb_trials)
        return partial(_shares, call, not self._crowds.is_majority(label))


class SampleScoring:
    """The score of a class is its largest variance ratio against the others; a mixture of two Gaussians splits it."""

    least = MIN_CLASS_SIZE

    def __init__(
        self, latents: np.ndarray, labels: np.ndarray, nb_classes: int, settings: ScoringSettings, random_state: int
    ) -> None:
        self.nb_dims = _dims_for(latents, labels, settings.nb_dims)
        self._settings, self._random_state = settings, random_state
        self._contrasts = cache(lambda: contrast_classes(latents, labels, nb_classes))

    def score(self, label: int) -> float:
        contrast = self._contrasts()[label]
        if contrast is None:
            raise NotJudged("all latents of the other classes are equal")
        if not contrast.projections.any():
            raise NotJudged(ALL_EQUAL)
        score = contrast.score()
        if np.isnan(score):
            raise NotJudged("its latents do not vary beside those of the other classes")
        return score

    def splitting(self, label: int) -> Callable[[], np.ndarray]:
        contrast, settings = self._contrasts()[label], self._settings
        assert contrast is not None  # a class without one has no score
        return partial(
            _shares,
            partial(split_contrasted, contrast, self.nb_dims, settings.nb_trials, settings.n_init, self._random_state),
        )


class PaperScoring:
    """The score of a class is the poison likelihood of its own two clusters (Eq. 1), found by 2-means and refined."""

    def __init__(
        self, latents: np.ndarray, labels: np.ndarray, nb_classes: int, settings: ScoringSettings, random_state: int
    ) -> None:
        self.nb_dims = _dims_for(latents, labels, settings.nb_dims)
        self.least = max(MIN_CLASS_SIZE, 2 * self.nb_dims)
        self._nb_clustered = int(min(self.nb_dims, max(2, _typical_size(labels) // SAMPLES_PER_CLUSTERED_DIM)))
        self._latents, self._members = latents, indices_by_class(labels, nb_classes)
        self._settings, self._random_state = settings, random_state
        self._halves: dict[int, TwoMeans] = {}

    def score(self, label: int) -> float:
        settings = self._settings
        reduced = reduce_latents(self._latents[self._members[label]], self.nb_dims, settings.whiten)
        if not reduced.any():
            raise NotJudged(ALL_EQUAL)
        # The components are in order of variance, so the leading ones are what a smaller nb_dims would have given.
        leading = reduced[:, : self._nb_clustered]
        halves = repeated_two_means(leading, settings.nb_trials, settings.n_init, random_state=self._random_state)
        if settings.refine:
            halves = refine_trials(reduced, halves)
        self._halves[label] = halves
        score = mean_poison_likelihood(reduced, halves.trial_labels, settings.shrinkage)
        if np.isnan(score):
            raise NotJudged("a cluster has fewer than 2 samples")
        return score

    def splitting(self, label: int) -> Callable[[], np.ndarray]:
        if label not in self._halves:
            self.score(label)
        return partial(_towards_smaller, self._halves[label].soft_labels, self._halves[label].labels)


def make_scoring(
    latents: np.ndarray,
    labels: np.ndarray,
    nb_classes: int,
    windows: Sequence[np.ndarray],
    settings: ScoringSettings,
    random_state: int,
) -> Scoring:
    """The scoring that the settings ask for; ``"contrastive"`` looks at the windows where there are any."""
    if settings.scoring == "paper":
        return PaperScoring(latents, labels, nb_classes, settings, random_state)
    if windows:
        return WindowScoring(windows, labels, nb_classes, settings, random_state)
    return SampleScoring(latents, labels, nb_classes, settings, random_state)


def split_contrasted(
    contrast: ContrastedClass, nb_dims: int = 24, nb_trials: int = 10, n_init: int = 100, random_state: int = 0
) -> TwoMeans:
    """The halves of one class where there are no windows; mixtures on its most unusual directions."""
    n_dims = min(nb_dims, max(SPLIT_DIMS, len(contrast.projections) // SAMPLES_PER_CLUSTERED_DIM))
    return split_by_mixture(contrast.projections, n_dims, nb_trials, n_init, random_state)


def _typical_size(labels: np.ndarray) -> float:
    """Median size of the classes that have samples."""
    sizes = np.bincount(labels)
    return float(np.median(sizes[sizes > 0]))


def _dims_for(latents: np.ndarray, labels: np.ndarray, nb_dims: int) -> int:
    return int(max(1, min(nb_dims, latents.shape[1], _typical_size(labels) // SAMPLES_PER_DIM)))


def _shares(split: Callable[[], TwoMeans], towards_smaller: bool = True) -> np.ndarray:
    halves = split()
    return _towards_smaller(halves.soft_labels, halves.labels) if towards_smaller else halves.soft_labels


def _towards_smaller(soft_labels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    ones = int(labels.sum())
    zeros = len(labels) - ones
    one_is_smaller = ones < zeros or (ones == zeros and labels[0] == 0)
    return soft_labels if one_is_smaller else 1 - soft_labels
