"""Latents and labels in; class scores, verdicts and suspects out (after Mehlman et al. 2023, sections 3.1 and 3.2)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from art_plugins.at_once import at_once
from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.latents.class_verdicts import judge_scores
from art_plugins.statistics.latents.scoring_settings import ScoringSettings
from art_plugins.statistics.latents.scorings import ALL_EQUAL, NotJudged, make_scoring
from art_plugins.statistics.outlying import LEAST

ROUNDING = 1e-6  # of the largest value: some units in the last place of single precision
HETEROGENEOUS_FROM = 0.35  # share of the smaller cluster from which it is hard to say which of the two is the poison


class LatentClasses(NamedTuple):
    """
    Results for K classes and n samples.

    ``class_scores`` (K,) are in nats; NaN: the class has no score. ``class_index`` (K,) is the one-sided MAD index; NaN:
    the class is not judged. ``class_p_values`` (K,) is the smallest false-alarm rate at which a class is called poisoned
    (:func:`~art_plugins.statistics.outlying.outlying_scores`). It is NaN for classes that are not judged, and for the
    paper's scores, whose distribution is not known. ``class_rule`` is the rule that was used. Classes with a score above
    ``score_limit`` are called poisoned; it is NaN for ``"argmax"``. ``poisoned_classes`` are the classes called poisoned.
    ``soft_labels`` (n,) is the share of the trials that put the sample into the smaller cluster of its class. ``suspects``
    (n,) are samples for which this share is above one half, whatever the verdict on their class. ``not_judged`` maps
    classes to the reason, in order. ``nb_dims`` is the number of components that describe a class.
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
    settings: ScoringSettings | None = None,
    random_state: int = 0,
    only: Collection[int] | None = None,
) -> LatentClasses:
    """
    Score every class and split it into two groups.

    ``scoring="contrastive"`` compares each class with all other classes, so it needs at least two. This deviates from the
    paper. With windows of time, the score of a class is its excess of samples that lie close together in one window where
    the other classes have no samples (:func:`~.crowds.find_crowds`). These samples are one of the two groups. They are the
    suspects even if they are the larger group. The latent of a whole sample cannot show such a crowd, because it also holds
    the content of the sample. Without windows, as for images, the score is therefore the logarithm of the class's largest
    variance ratio (:meth:`~.contrast.ContrastedClass.score`), and a mixture of two Gaussians on the class's most unusual
    directions splits the class.

    ``scoring="paper"`` looks at each class alone. 2-means splits it on the leading components, Fisher's discriminant
    refines the split on all ``nb_dims`` components, and Eq. 1 describes the two groups there. Scores can be compared only
    if they have the same number of dimensions, so all classes use the same number: at most one component for every 12
    samples of the median class size. 2-means uses at most one for every 28, but at least two. With 672 or more samples in a
    class, both numbers are 24, as in the paper.

    A class is not judged if it has fewer than 8 samples (``"paper"``: or fewer than twice the number of components), or if
    all are equal. Its score is NaN, without suspects. If both groups have one size, the one without the first sample is
    suspect.

    If fewer than four classes have a score, only the rule ``"argmax"`` judges them, because two or three scores cannot show
    that one stands out. The scores and the suspects are still given, so that a person can look at them.

    :param latents: Shape (n, D).
    :param labels: Class of each sample, shape (n,), 0 to K - 1.
    :param nb_classes: Number of classes, K.
    :param windows: For ``"contrastive"``: descriptions of parts of the samples, each of shape (n, D').
    :param settings: How the classes are scored, split and judged; ``None``: the defaults.
    :param random_state: Seed of the clustering.
    :param only: Classes that are judged; ``None``: all.
    """
    settings, members = settings or ScoringSettings(), indices_by_class(labels, nb_classes)
    scoring = make_scoring(latents, labels, nb_classes, windows, settings, random_state)
    nothing_varies = all(_are_equal(view) for view in (latents, *windows))
    scores, soft_labels = np.full(nb_classes, np.nan), np.zeros(len(labels))
    not_judged: dict[int, str] = {}
    for label, indices in enumerate(members):
        try:
            _check_class(len(indices), scoring.least, only is None or label in only, nothing_varies)
            scores[label] = scoring.score(label)
        except NotJudged as error:
            not_judged[label] = str(error)
    has_score = ~np.isnan(scores)
    scored = list(map(int, np.flatnonzero(has_score)))
    for label, shares in zip(scored, at_once(map(scoring.splitting, scored)), strict=True):
        soft_labels[members[label]] = shares
    verdicts = judge_scores(scores, settings.scoring, settings.class_rule, settings.false_alarm_rate, settings.threshold)
    not_judged = dict(sorted({**not_judged, **_too_few(has_score, verdicts.class_index)}.items()))
    return LatentClasses(scores, *verdicts, soft_labels, soft_labels > 0.5, not_judged, scoring.nb_dims)


def _too_few(has_score: np.ndarray, class_index: np.ndarray) -> dict[int, str]:
    """The classes with a score that are not judged, and why."""
    reason = f"{has_score.sum()} classes with a score, {LEAST} are needed to say that one stands out"
    return dict.fromkeys(map(int, np.flatnonzero(has_score & np.isnan(class_index))), reason)


def _check_class(n_samples: int, least: int, is_asked_for: bool, nothing_varies: bool) -> None:
    if not is_asked_for:
        raise NotJudged("not asked for")
    if n_samples < least:
        raise NotJudged(f"{n_samples} samples, {least} are needed")
    if nothing_varies:
        raise NotJudged(ALL_EQUAL)


def _are_equal(x: np.ndarray) -> bool:
    """Whether all rows are equal but for rounding: one sample in batches of two sizes has not quite the same latents."""
    return bool((np.ptp(x, axis=0) <= ROUNDING * np.abs(x).max()).all())
