"""
A class against all the others, in several views of its samples: in which does it hold a crowd, and who is in it?

A view is one description of all samples, such as a latent of the whole clip or of a tenth of a second. What makes the
samples of every class differ (loudness, noise, speaker, stroke width) is shared by all classes; a trigger lives in one
class only, and mostly in a few views.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from art_plugins.statistics.latents.crowding import class_crowding, whiten_within
from art_plugins.statistics.latents.two_gaussians import PRIOR_SAMPLES, two_gaussians
from art_plugins.statistics.latents.two_means import TwoMeans, averaged_trials

MAX_GROWING_STEPS = 20  # a crowd that still grows after them loses itself in the rest
CHANCE_VIEWS = 3  # views in which classes are drawn at random, to see what size alone does
MAX_VIEWS = 4  # that describe a crowd: those with most of it
SHARES = (0.4, 0.5, 0.6)  # of the class's score, from which a sample is among the first members of the crowd
LEAST_SHARE = 0.5  # of the class's score, from which a view describes the crowd


class Crowds(NamedTuple):
    """
    ``class_scores`` (K,): nats, higher is more suspicious, NaN: not judged; ``view_scores`` (K, V): of each view, their
    largest is the class's; ``crowding`` (V, n): of every sample, less the same; ``views``: V whitened
    views (n, d); ``medians``: their class medians (K, d); ``over_chance`` (V, K): excess over what chance gives; ``chance``
    (K,): that; ``turned`` (V, K): whether the crowd is the larger of two groups (:func:`class_crowding`).
    """

    class_scores: np.ndarray
    view_scores: np.ndarray
    crowding: np.ndarray
    views: list[np.ndarray]
    medians: list[np.ndarray]
    over_chance: np.ndarray
    chance: np.ndarray
    turned: np.ndarray

    def is_majority(self, label: int) -> bool:
        """Whether the crowd of a class is the larger of two groups, in the view that shows it most."""
        return bool(self.turned[self.view_scores[label].argmax(), label])

    def of_views(self, chosen: Sequence[int]) -> Crowds:
        """What would have been found in some of the views only."""
        view_scores = self.view_scores[:, chosen]
        return Crowds(
            view_scores.max(axis=1),
            view_scores,
            self.crowding[chosen],
            [self.views[view] for view in chosen],
            [self.medians[view] for view in chosen],
            self.over_chance[chosen],
            self.chance,
            self.turned[chosen],
        )


def find_crowds(
    views: Sequence[np.ndarray],
    labels: np.ndarray,
    nb_classes: int,
    nb_dims: int = 24,
    random_state: int = 0,
    known: Crowds | None = None,
    changed: Collection[int] = (),
) -> Crowds:
    """
    Score every class by the crowd in it.

    From a class's excess of crowding (:func:`class_crowding`) is taken what classes of
    its size show when they are drawn at random (the largest of many is larger), and what the typical class shows in that
    view; its score is the largest excess over the views.

    When this breaks: see :func:`class_crowding`; a trigger whose place differs from sample to sample is spread over all
    views, and may be in none.

    :param views: Each of shape (n, D), rows in the order of ``labels``.
    :param labels: Class of each sample, shape (n,), 0 to K - 1.
    :param nb_dims: Most directions of a view.
    :param known: What was found in data that differ in some classes only: those are judged, and of the others, and of
        chance, it is taken over. A shortcut for series of like data sets.
    :param changed: The classes that differ.
    """
    random = np.random.default_rng(random_state)
    whitened, medians, crowding, excess, turned = [], [], [], [], []
    for view in views:
        x, centres = whiten_within(view, labels, nb_classes, nb_dims)
        found = class_crowding(x, centres, labels, nb_classes, random, changed if known else None)
        whitened.append(x)
        medians.append(centres)
        crowding.append(found.crowding)
        excess.append(found.excess)
        turned.append(found.turned)
    chance = known.chance if known else chance_excess(views, labels, nb_classes, nb_dims, random)
    over_chance = np.array(excess) - chance
    if known:
        over_chance = np.where(np.isin(np.arange(nb_classes), list(changed)), over_chance, known.over_chance)
    judged = ~np.isnan(over_chance[0])
    typical = np.median(over_chance[:, judged], axis=1).clip(min=0) if judged.any() else np.zeros(len(views))
    view_scores = (over_chance - typical[:, None]).T
    over_typical = np.array(crowding) - np.nan_to_num(chance)[labels] - typical[:, None]
    turns = np.array(turned)
    return Crowds(view_scores.max(axis=1), view_scores, over_typical, whitened, medians, over_chance, chance, turns)


def chance_excess(
    views: Sequence[np.ndarray], labels: np.ndarray, nb_classes: int, nb_dims: int, random: np.random.Generator
) -> np.ndarray:
    """Mean excess of classes of the same sizes whose samples are drawn from all, over a few views; shape (K,)."""
    chosen = np.unique(np.linspace(0, len(views) - 1, CHANCE_VIEWS).round().astype(int))
    drawn = []
    for index in chosen:
        pretended = random.permutation(labels)
        whitened = whiten_within(views[index], pretended, nb_classes, nb_dims)
        drawn.append(class_crowding(*whitened, pretended, nb_classes, random).excess)
    mean: np.ndarray = np.mean(drawn, axis=0)
    return mean


def split_crowd(crowds: Crowds, labels: np.ndarray, label: int, nb_trials: int = 10) -> TwoMeans:
    """
    The crowd of a class (1) and the rest of it (0), from the views in which it is crowded most.

    Each of those views names first members of the crowd, by three limits, and they grow to all of it in all those views
    together (:func:`two_gaussians`); the trials are aligned and averaged. A class whose score is not above 0 has no crowd.

    The rest of the class is assumed to vary around its mean as samples vary within the other classes. That covariance
    counts as all of their samples, so a small crowd can be separated from the rest in many directions. In the crowd it
    counts as ten samples for each direction. A small crowd is therefore recognised by its mean. A closer fit to its first
    members would miss the weaker ones.

    :param labels: Class of each sample, shape (n,).
    :param label: The class, one that was judged.
    :param nb_trials: Most sets of first members: three in each of those views.
    :return: In the order of the class's samples; ``inertia`` is the negative score of the view.
    """
    own = np.flatnonzero(labels == label)
    scores = crowds.view_scores[label]
    best = scores.max()
    if best <= 0:
        return averaged_trials(np.zeros((1, len(own)), dtype=np.int8), np.zeros(1))
    chosen = [int(view) for view in np.argsort(-scores, kind="stable")[:MAX_VIEWS] if scores[view] >= LEAST_SHARE * best]
    features = np.concatenate([crowds.views[view] for view in chosen], axis=1).astype(np.float64)
    moved = features - np.concatenate([crowds.medians[view] for view in chosen], axis=1)[labels]
    others = moved[labels != label]
    within = others.T @ others / len(others)
    within += (1e-6 * np.trace(within) / len(within) + 1e-12) * np.eye(len(within))
    starts = [(view, share) for view in chosen for share in SHARES][:nb_trials]
    seeds = [crowds.crowding[view][own] > share * best for view, share in starts]
    weights = (float(len(others)), PRIOR_SAMPLES * features.shape[1])
    trials = [two_gaussians(features[own], seed, within, weights, MAX_GROWING_STEPS) for seed in seeds]
    return averaged_trials(np.array(trials).astype(np.int8), np.array([-scores[view] for view, _ in starts]))
