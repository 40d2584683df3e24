"""Repeated 2-means: every restart of every trial at once, refined, aligned and averaged (Mehlman et al. 2023, 3.2)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.statistics.gaussian import fit_gaussian_pair

WARM_UP_STEPS = 3  # Lloyd steps after which the worse half of a trial's starts is given up ...
FINALISTS = 8  # ... until this many are left
MAX_ELEMENTS = 8_000_000  # of one assignment matrix (samples x restarts); beyond it the trials are run one by one
MOST_FOR_STARTS = 20_000  # samples on which the starts compete; the standard error of a centre is below a hundredth there


class TwoMeans(NamedTuple):
    """
    ``trial_labels`` (trials, n): 0 or 1, each trial aligned to the first; ``soft_labels`` (n,): their mean;
    ``labels`` (n,): rounded at .5 (a tie is 0); ``inertia`` (trials,): sum of squared distances to the centres.
    """

    trial_labels: np.ndarray
    soft_labels: np.ndarray
    labels: np.ndarray
    inertia: np.ndarray


def repeated_two_means(
    x: np.ndarray, nb_trials: int = 10, n_init: int = 100, max_iter: int = 300, random_state: int = 0
) -> TwoMeans:
    """
    ``nb_trials`` independent 2-means clusterings, each the best of ``n_init`` k-means++ starts.

    A point's side is the sign of one projection, so a Lloyd step of all restarts is two matrix products. Starts are
    pruned by successive halving (Jamieson and Talwalkar 2016): most are far behind after a few steps.

    :param x: Samples, shape (n, d), n >= 2.
    :raises InvalidInputError: For fewer than two samples, trials or starts below 1.
    """
    if len(x) < 2 or nb_trials < 1 or n_init < 1:
        raise InvalidInputError(
            f"2-means needs at least 2 samples, 1 trial and 1 start; received {len(x)}, {nb_trials} and {n_init}."
        )
    random = np.random.default_rng(random_state)
    x = np.asarray(x, dtype=np.float64)
    x = x - x.mean(axis=0)
    at_once = nb_trials if len(x) * nb_trials * n_init <= MAX_ELEMENTS else 1
    labels, inertia = [], []
    some = x if len(x) <= MOST_FOR_STARTS else x[random.choice(len(x), MOST_FOR_STARTS, replace=False)]
    some = some - some.mean(axis=0) if len(some) < len(x) else x
    for _ in range(0, nb_trials, at_once):
        centres, kept = _starts(some, at_once * n_init, random), n_init
        while kept > FINALISTS:
            _, costs, centres = _lloyd(some, centres, WARM_UP_STEPS)
            order = costs.reshape(at_once, kept).argsort(axis=1) + kept * np.arange(at_once)[:, None]
            kept = max(kept // 2, FINALISTS)
            centres = centres[:, order[:, :kept].reshape(-1)]
        sides, costs, _ = _lloyd(x, centres, max_iter)
        costs = costs.reshape(at_once, kept)
        best = costs.argmin(axis=1)
        labels.append(sides.reshape(len(x), at_once, kept)[:, np.arange(at_once), best].T)
        inertia.append(costs[np.arange(at_once), best])
    return averaged_trials(np.concatenate(labels).astype(np.int8), np.concatenate(inertia))


def refine_trials(x: np.ndarray, halves: TwoMeans, max_iter: int = 10) -> TwoMeans:
    """
    Refine each trial's split by Fisher's linear discriminant between its halves, until it stays.

    2-means cuts half-way between the centres, as if both clusters were equally large and wide; the discriminant weighs
    directions by the variance within the clusters and moves the cut towards the smaller one. A deviation from the paper
    (its clustering is plain 2-means).

    :param x: Samples, shape (n, d); may have more components than the split was found on.
    :param halves: From :func:`repeated_two_means`; ``inertia`` is kept as it was.
    """
    splits, which = np.unique(halves.trial_labels, axis=0, return_inverse=True)
    refined = np.stack([_refine(x, split, max_iter) for split in splits])
    return averaged_trials(refined[which.reshape(-1)], halves.inertia)


def align_to_first(trial_labels: np.ndarray) -> np.ndarray:
    """
    Flip each trial's binary labels where that puts more samples into the first trial's clusters.

    :param trial_labels: 0 or 1, shape (trials, n).
    """
    agreement = (trial_labels == trial_labels[0]).mean(axis=1)
    return np.where((agreement < 0.5)[:, None], 1 - trial_labels, trial_labels)


def averaged_trials(trial_labels: np.ndarray, inertia: np.ndarray) -> TwoMeans:
    """Trials (trials, n) aligned to the first, and their mean (Mehlman et al. 2023, 3.2)."""
    trials = align_to_first(trial_labels)
    soft = trials.mean(axis=0)
    return TwoMeans(trials, soft, (soft > 0.5).astype(np.int8), inertia)


def _refine(x: np.ndarray, labels: np.ndarray, max_iter: int) -> np.ndarray:
    """Discriminant with pooled covariance and the clusters' shares as priors; stops before a cluster has fewer than two."""
    for _ in range(max_iter):
        sizes = np.bincount(labels, minlength=2)
        if sizes.min() < 2:
            break
        first, second = fit_gaussian_pair(x[labels == 0], x[labels == 1], "within")
        pooled = (sizes[0] * first.covariance + sizes[1] * second.covariance) / len(x)
        direction = np.linalg.solve(pooled, second.mean - first.mean)
        cut = direction @ (first.mean + second.mean) / 2 - np.log(sizes[1] / sizes[0])
        new = (x @ direction > cut).astype(np.int8)
        if (new == labels).all() or np.bincount(new, minlength=2).min() < 2:
            break
        labels = new
    return labels


def _starts(x: np.ndarray, n_starts: int, random: np.random.Generator) -> np.ndarray:
    """k-means++ (Arthur and Vassilvitskii 2007), (2, starts, d): the second in proportion to its squared distance."""
    first = x[random.integers(len(x), size=n_starts)]
    squared = ((x**2).sum(axis=1)[:, None] - 2 * x @ first.T + (first**2).sum(axis=1)).clip(min=0)
    cumulative = squared.cumsum(axis=0)
    drawn = random.random(n_starts) * cumulative[-1]
    second = x[(cumulative <= drawn).sum(axis=0).clip(max=len(x) - 1)]
    return np.stack([first, second])


def _lloyd(x: np.ndarray, starts: np.ndarray, max_iter: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Labels (n, restarts), True for the second centre; inertia (restarts,); centres (2, restarts, d).

    ``x`` is centred: its sum is 0.
    """
    centre_a, centre_b = (np.array(centre) for centre in starts)
    total_squares = float((x**2).sum())
    sides = np.zeros((len(x), len(centre_a)), dtype=bool)
    cost = np.full(len(centre_a), total_squares)
    active = np.arange(len(centre_a))
    for _ in range(max_iter):
        a, b = centre_a[active], centre_b[active]
        new = x @ (b - a).T > 0.5 * ((b**2).sum(axis=1) - (a**2).sum(axis=1))
        changed = (new != sides[:, active]).any(axis=0)
        sides[:, active] = new
        n_b = new.sum(axis=0)
        n_a = len(x) - n_b
        filled = (n_a > 0) & (n_b > 0)  # an empty side can only be when all points of a start coincide
        sum_b = new.T.astype(np.float64) @ x
        a = np.where(filled[:, None], -sum_b / n_a.clip(min=1)[:, None], a)
        b = np.where(filled[:, None], sum_b / n_b.clip(min=1)[:, None], b)
        centre_a[active], centre_b[active] = a, b
        explained = n_a * (a**2).sum(axis=1) + n_b * (b**2).sum(axis=1)
        cost[active] = np.where(filled, total_squares - explained, total_squares)
        active = active[changed & filled]
        if not len(active):
            break
    return sides, cost, np.stack([centre_a, centre_b])
