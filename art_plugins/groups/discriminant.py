"""A linear discriminant that learns again from the group that it finds. Each sample is judged by what never saw it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from art_plugins.groups.cuts import LEAST_MEMBERS, NORMAL, bayes_cut
from art_plugins.statistics.moments import quick_median

N_FOLDS = 4
MOST_ROUNDS = 12
SETTLED = 0.001  # share of the samples that may still change sides
RIDGE = 0.01  # of the mean variance, that is added to every direction's


class Settled(NamedTuple):
    """
    A group of a class at which self-training came to rest.

    ``members``: (m,), bool. ``places``: (m,), how far each sample is on the way from the median of the rest (0) to the
    median of the group (1), by a discriminant that was learned without it.
    """

    members: np.ndarray
    places: np.ndarray


class SelfTrainedDiscriminant:
    """
    Fisher's discriminant for one group after the other, with self-training (H. J. Scudder, Probability of error of some
    adaptive pattern-recognition machines, IEEE Transactions on Information Theory, 1965) and cross-fitting.

    Fisher's direction is the same by the scatter of all samples as by that within group and rest, but for its length. The
    former does not depend on the group. So one factorisation for each fold serves every group.

    The scatter of a class is completed by that of all other classes. What makes the samples of every class differ is then
    no good direction, also where the class has fewer samples than the features have dimensions.

    :param x: Features, (m, d).
    :param elsewhere: Sum of the squares and products of other samples' features about their centres, (d, d); ``None``:
        there are no others.
    :param random_state: Random seed of the folds.
    """

    def __init__(self, x: np.ndarray, elsewhere: np.ndarray | None = None, random_state: int = 0) -> None:
        self.x = (x - x.mean(axis=0)).astype(np.float32)
        self.folds = np.random.default_rng(random_state).permutation(len(x)) % N_FOLDS
        self._n_in_fold = np.bincount(self.folds, minlength=N_FOLDS)
        self._by_folds, self._starts = np.argsort(self.folds, kind="stable"), np.append(0, np.cumsum(self._n_in_fold))
        parts = [self.x[self.folds == fold].astype(np.float64) for fold in range(N_FOLDS)]
        self._sums = np.array([part.sum(axis=0) for part in parts])  # (4, d)
        products = [part.T @ part for part in parts]
        everything = np.sum(products, axis=0) + (0 if elsewhere is None else elsewhere)
        self._factor, self._factors = _factor(everything), []
        for part, product, total in zip(parts, products, self._sums, strict=True):  # the samples left sum up to -total
            self._factors.append(_factor(everything - product - np.outer(total, total) / max(len(x) - len(part), 1)))

    def direction(self, group: np.ndarray) -> np.ndarray:
        """
        Give the direction that tells a group from the rest, learned from all samples.

        :param group: Who is of the group, (m,), bool; at least one sample is, and one is not.
        :return: (d,), float64; the group lies on its positive side.
        """
        means = [self.x[part].mean(axis=0, dtype=np.float64) for part in (group, ~group)]
        w: np.ndarray = cho_solve(self._factor, means[0] - means[1])
        return w

    def places(self, group: np.ndarray) -> np.ndarray | None:
        """
        Judge each sample by the discriminant of the other folds.

        :return: How far the samples are on the way from the rest to the group, (m,); ``None`` if in some fold the group or
            the rest is too small, or the discriminant does not tell one from the other.
        """
        n_inside, sums = self._by_fold(group)
        n_group, n_rest = n_inside.sum() - n_inside, (self._n_in_fold - n_inside).sum() - (self._n_in_fold - n_inside)
        if min(n_group.min(), n_rest.min()) < LEAST_MEMBERS / 2:
            return None
        of_group = (sums.sum(axis=0) - sums) / n_group[:, None]
        rest = self._sums - sums
        differences = of_group - (rest.sum(axis=0) - rest) / n_rest[:, None]
        directions = [cho_solve(factor, one) for factor, one in zip(self._factors, differences, strict=True)]
        projected = self.x @ np.stack(directions, axis=1).astype(np.float32)
        inside = group[self._by_folds]  # one fold after the other, so that all others are two slices
        rows = [self._by_folds[inside], self._by_folds[~inside]]
        starts = [np.append(0, np.cumsum(n)) for n in (n_inside, self._n_in_fold - n_inside)]
        found = np.empty(len(group))
        for fold, values in enumerate(projected.T):
            upper, lower = (
                quick_median(values[np.concatenate([side[: at[fold]], side[at[fold + 1] :]])])
                for side, at in zip(rows, starts, strict=True)
            )
            if not upper > lower:
                return None
            judged = self._by_folds[self._starts[fold] : self._starts[fold + 1]]
            found[judged] = (values[judged] - lower) / (upper - lower)
        return found

    def _by_fold(self, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many of a group each fold has, (4,), and the sum of their features, (4, d); by way of the smaller side."""
        few = group if 2 * group.sum() <= len(group) else ~group
        in_fold, x = self.folds[few], self.x[few]
        counts = np.bincount(in_fold, minlength=N_FOLDS)
        sums = (np.eye(N_FOLDS, dtype=np.float32)[in_fold].T @ x).astype(np.float64)
        return (counts, sums) if few is group else (self._n_in_fold - counts, self._sums - sums)

    def settle(
        self, group: np.ndarray, dof: float = NORMAL, is_hopeless: Callable[[np.ndarray], bool] | None = None
    ) -> Settled | None:
        """
        Learn, judge and learn again, until the group hardly changes.

        :param group: Where to begin, (m,), bool.
        :param dof: Degrees of freedom of :func:`~art_plugins.groups.cuts.bayes_cut`, which divides the group from the rest
            in each round.
        :param is_hopeless: Whether a group, (m,), bool, is none that the caller wants, whatever comes of it; ``None``: any
            group is wanted.
        :return: The group; ``None`` if one side becomes smaller than 8 samples, or the group hopeless. A group that has not
            settled after 12 rounds is given as it is.
        """
        places = self.places(group)
        for _ in range(MOST_ROUNDS):
            if places is None:
                return None
            found = places > bayes_cut(places, group, dof)
            if min(found.sum(), (~found).sum()) < LEAST_MEMBERS or (is_hopeless is not None and is_hopeless(found)):
                return None
            changed, group = float((found != group).mean()), found
            places = self.places(group) if changed > 0 else places
            if changed <= SETTLED:
                break
        return None if places is None else Settled(group, places)


def _factor(scatter: np.ndarray) -> tuple[np.ndarray, bool]:
    ridge = RIDGE * np.trace(scatter) / len(scatter)
    factor: tuple[np.ndarray, bool] = cho_factor(scatter + np.eye(len(scatter)) * max(ridge, 1e-12), lower=True)
    return factor
