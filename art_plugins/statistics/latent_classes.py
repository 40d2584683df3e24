"""Latents and labels in; class scores, verdicts and suspects out (after Mehlman et al. 2023, sections 3.1 and 3.2)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.parameters import check_choice, check_count, check_flag, check_number, plain
from art_plugins.statistics.contrast import SPLIT_DIMS, ContrastedClass, contrast_classes, split_by_mixture
from art_plugins.statistics.crowds import find_crowds, split_crowd
from art_plugins.statistics.gaussian import SHRINKAGES
from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.outliers import mad_index
from art_plugins.statistics.outlying import LEAST, outlying_scores
from art_plugins.statistics.poison_likelihood import mean_poison_likelihood
from art_plugins.statistics.reduction import WHITENINGS, reduce_latents
from art_plugins.statistics.two_means import TwoMeans, refine_trials, repeated_two_means

SCORINGS = ("contrastive", "paper")
CLASS_RULES = ("auto", "false_alarms", "mad", "argmax")
MIN_CLASS_SIZE = 8
ALL_EQUAL = "all latents are equal"
ROUNDING = 1e-6  # of the largest value: some units in the last place of single precision
# A whitened direction without structure looks bimodal by chance when there are few samples for each dimension. Measured on
# Speech Commands (370 clips a class) and digits (135 images): 2-means finds the poison at 28 samples for each component and
# is led astray at 15; Gaussians and discriminants, which start from its split, bear 12.
SAMPLES_PER_CLUSTERED_DIM = 28
SAMPLES_PER_DIM = 12
# Lower bound of the standard deviation of the contrastive scores of clean classes, in nats: half of a few scores can lie
# close together by chance (measured on Speech Commands: .1 to .2).
LEAST_SIGMA = 0.25
FALSE_ALARM_RATE = 0.05
THRESHOLD = 3.5
HETEROGENEOUS_FROM = 0.35  # share of the smaller cluster from which it is hard to say which of the two is the poison


class LatentClasses(NamedTuple):
    """
    For K classes and n samples:
    ``class_scores`` (K,): in nats, NaN where a class has none; ``class_index`` (K,): its one-sided MAD index, NaN where it
    was not judged; ``class_p_values`` (K,): the false-alarm rate at which it would just be called
    (:func:`~art_plugins.statistics.outlying.outlying_scores`), NaN where it was not judged and for the paper's scores,
    which follow no such law;
    ``class_rule``: the one that was used; ``score_limit``: the score above which a class is called, NaN for ``"argmax"``;
    ``poisoned_classes``: verdicts;
    ``soft_labels`` (n,): share of the trials that put the sample into its class's smaller cluster; ``suspects`` (n,): that
    share is above one half, whatever the class's verdict; ``not_judged``: class -> why, in order; ``nb_dims``: components
    that describe a class.
    """

    class_scores: np.ndarray
    class_index: np.ndarray
    class_p_values: np.ndarray
    class_rule: str
    score_limit: float
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
    windows: Sequence[np.ndarray] = (),
    scoring: str = "contrastive",
    nb_dims: int = 24,
    whiten: str = "after_pca",
    shrinkage: str = "within",
    nb_trials: int = 10,
    n_init: int = 100,
    refine: bool = True,
    class_rule: str = "auto",
    false_alarm_rate: float = FALSE_ALARM_RATE,
    threshold: float = THRESHOLD,
    random_state: int = 0,
    only: Collection[int] | None = None,
) -> LatentClasses:
    """
    Score every class and split it in two.

    ``scoring="contrastive"`` compares each class with all the others; it deviates from the paper, and needs another class.
    Where there are windows of time, a class's score is its excess of samples that crowd together in one of them where the
    others have nobody (:func:`~art_plugins.statistics.crowds.find_crowds`), and that crowd is one half. A crowd that is
    the larger of two groups is suspected as it is. A single latent
    of the whole sample shows no crowds, since it holds the sample's content as well: without windows, as for images, the
    score is the logarithm of the class's largest variance ratio
    (:meth:`~art_plugins.statistics.contrast.ContrastedClass.score`), and a mixture of two Gaussians on its most unusual
    directions splits it.

    ``scoring="paper"`` looks at each class by itself: 2-means finds a first split on the leading components, Fisher's
    discriminant refines it on all ``nb_dims``, and Eq. 1 describes the halves there. Its scores are comparable only in
    equally many dimensions, so all classes use the same: at most one component for every 12 samples of the median class
    size, and 2-means at most one for every 28 (but two). With 672 and more samples a class, both are the paper's 24.

    A class of fewer than 8 samples (``"paper"``: or fewer than twice as many as components), or one whose samples are all
    equal, is not judged: its score is NaN and nothing in it is a suspect. Clusters of equal size: the suspects are the one
    without the class's first sample.

    Where fewer than four classes have a score, no rule but ``"argmax"`` judges any: of two or three scores nobody can say
    that one stands out. The scores and the suspects are there all the same, for a person to look at.

    :param latents: Shape (n, D).
    :param labels: Class of each sample, shape (n,), 0 to K - 1.
    :param windows: For ``"contrastive"``: views of parts of the samples, each of shape (n, D').
    :param nb_dims: Most directions that describe a class, in a view.
    :param whiten: For ``"paper"``; so are ``shrinkage`` and ``refine`` (``False``: the paper's plain 2-means).
    :param class_rule: ``"false_alarms"``: p-value below ``false_alarm_rate``; ``"mad"``: (score - median) / (1.4826 MAD) >
        ``threshold``; ``"argmax"``: the class of highest score; ``"auto"``: the first for ``"contrastive"``, the second
        for ``"paper"``.
    :param only: Classes to judge; ``None``: all.
    :raises InvalidInputError: For an argument out of range.
    """
    check_scoring(scoring, nb_dims, whiten, shrinkage, nb_trials, n_init, refine, class_rule, false_alarm_rate, threshold)
    members = indices_by_class(labels, nb_classes)
    sizes = np.array([len(indices) for indices in members])
    typical = np.median(sizes[sizes > 0])
    if not windows or scoring == "paper":
        nb_dims = int(max(1, min(nb_dims, latents.shape[1], typical // SAMPLES_PER_DIM)))
    nb_clustered = int(min(nb_dims, max(2, typical // SAMPLES_PER_CLUSTERED_DIM)))
    least = max(MIN_CLASS_SIZE, 2 * nb_dims) if scoring == "paper" else MIN_CLASS_SIZE
    crowds = find_crowds(windows, labels, nb_classes, nb_dims, random_state) if windows and scoring != "paper" else None
    nothing_varies = all(_are_equal(view) for view in (latents, *windows))
    contrasts = cache(lambda: contrast_classes(latents, labels, nb_classes))

    scores = np.full(nb_classes, np.nan)
    soft_labels = np.zeros(len(labels))
    not_judged: dict[int, str] = {}
    for label, indices in enumerate(members):
        if only is not None and label not in only:
            not_judged[label] = "not asked for"
            continue
        if len(indices) < least:
            not_judged[label] = f"{len(indices)} samples, {least} are needed"
            continue
        if nothing_varies:
            not_judged[label] = ALL_EQUAL
            continue
        if crowds is not None:
            if np.isnan(crowds.class_scores[label]):
                not_judged[label] = "there is no other class to compare with"
                continue
            scores[label] = crowds.class_scores[label]
            halves = split_crowd(crowds, labels, label, nb_trials)
        elif scoring == "contrastive":
            contrast = contrasts()[label]
            if contrast is None or not contrast.projections.any():
                not_judged[label] = "all latents of the other classes are equal" if contrast is None else ALL_EQUAL
                continue
            halves = split_contrasted(contrast, nb_dims, nb_trials, n_init, random_state)
            scores[label] = contrast.score()
            if np.isnan(scores[label]):
                not_judged[label] = "its latents do not vary beside those of the other classes"
                continue
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
        is_majority = crowds is not None and crowds.is_majority(label)
        soft_labels[indices] = halves.soft_labels if is_majority else _towards_smaller(halves.soft_labels, halves.labels)
    verdicts = judge_scores(scores, scoring, class_rule, false_alarm_rate, threshold)
    has_score = ~np.isnan(scores)
    for unjudged in np.flatnonzero(has_score & np.isnan(verdicts.class_index)):
        not_judged[int(unjudged)] = f"{has_score.sum()} classes with a score, {LEAST} are needed to say that one stands out"
    return LatentClasses(
        scores,
        *verdicts,
        soft_labels,
        soft_labels > 0.5,
        dict(sorted(not_judged.items())),
        nb_dims,
    )


class Verdicts(NamedTuple):
    """As in :class:`LatentClasses`."""

    class_index: np.ndarray
    class_p_values: np.ndarray
    class_rule: str
    score_limit: float
    poisoned_classes: list[int]


def judge_scores(
    scores: np.ndarray,
    scoring: str = "contrastive",
    class_rule: str = "auto",
    false_alarm_rate: float = FALSE_ALARM_RATE,
    threshold: float = THRESHOLD,
) -> Verdicts:
    """
    Which classes stand out; the decision of :func:`cluster_latent_classes`, and its parameters.

    :param scores: Of the classes, (K,); NaN: not judged.
    """
    if class_rule != "argmax" and (~np.isnan(scores)).sum() < LEAST:
        scores = np.full(len(scores), np.nan)
    index = mad_index(scores, LEAST_SIGMA if scoring == "contrastive" else 0.0)
    if class_rule == "auto":
        class_rule = "mad" if scoring == "paper" else "false_alarms"
    outlying = outlying_scores(scores, false_alarm_rate)
    limit = {"false_alarms": outlying.limit, "mad": _score_at(index, scores, threshold)}.get(class_rule, float("nan"))
    p_values = outlying.p_values if scoring == "contrastive" else np.full(len(scores), np.nan)
    return Verdicts(index, p_values, class_rule, limit, _called(scores, index, outlying.called, class_rule, threshold))


def split_contrasted(
    contrast: ContrastedClass, nb_dims: int = 24, nb_trials: int = 10, n_init: int = 100, random_state: int = 0
) -> TwoMeans:
    """The halves of one class where there are no windows; the split of :func:`cluster_latent_classes`."""
    n_dims = min(nb_dims, max(SPLIT_DIMS, len(contrast.projections) // SAMPLES_PER_CLUSTERED_DIM))
    return split_by_mixture(contrast.projections, n_dims, nb_trials, n_init, random_state)


def check_scoring(
    scoring: str,
    nb_dims: int,
    whiten: str,
    shrinkage: str,
    nb_trials: int,
    n_init: int,
    refine: bool,
    class_rule: str,
    false_alarm_rate: float,
    threshold: float,
) -> None:
    """
    :raises InvalidInputError: For an argument of :func:`cluster_latent_classes` out of range.
    """
    for name, number in (("nb_dims", nb_dims), ("nb_trials", nb_trials), ("n_init", n_init)):
        check_count(name, plain(number))
    check_flag("refine", plain(refine))
    for name, choice, accepted in (
        ("scoring", scoring, SCORINGS),
        ("whiten", whiten, WHITENINGS),
        ("shrinkage", shrinkage, SHRINKAGES),
        ("class_rule", class_rule, CLASS_RULES),
    ):
        check_choice(name, choice, accepted)
    rate, limit = plain(false_alarm_rate), plain(threshold)
    check_number("false_alarm_rate", rate, "a chance", above=0, below=1)
    if scoring == "paper" and class_rule == "false_alarms":
        raise InvalidInputError('The paper\'s scores follow no known law; class_rule must be "auto", "mad" or "argmax".')
    check_number("threshold", limit, above=0)


def _are_equal(x: np.ndarray) -> bool:
    """Whether all rows are equal but for rounding: one sample in batches of two sizes has not quite the same latents."""
    return bool((np.ptp(x, axis=0) <= ROUNDING * np.abs(x).max()).all())


def _towards_smaller(soft_labels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    ones = int(labels.sum())
    zeros = len(labels) - ones
    one_is_smaller = ones < zeros or (ones == zeros and labels[0] == 0)
    return soft_labels if one_is_smaller else 1 - soft_labels


def _called(scores: np.ndarray, index: np.ndarray, outlying: np.ndarray, class_rule: str, threshold: float) -> list[int]:
    if class_rule == "argmax":
        return [] if np.isnan(scores).all() else [int(np.nanargmax(scores))]
    called = outlying if class_rule == "false_alarms" else np.nan_to_num(index, nan=0.0) > threshold
    return [int(label) for label in np.flatnonzero(called)]


def _score_at(index: np.ndarray, scores: np.ndarray, threshold: float) -> float:
    """The score whose MAD index is the threshold: the two are linear in each other; NaN where all scores are equal."""
    judged = ~np.isnan(scores)
    if not judged.any() or np.ptp(index[judged]) == 0:
        return float("nan")
    sigma = np.ptp(scores[judged]) / np.ptp(index[judged])
    return float(np.median(scores[judged]) + sigma * threshold)
