"""Do suspects have something in common that sets them apart from the rest of their class, and which samples share it?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from art_plugins.statistics.gaussian import oas_covariance
from art_plugins.statistics.moments import centre_and_spread

LEAST_SUSPECTS = 20
LEAST_SEPARATION = 3.0  # of the group from the rest, in the sum of both deviations
MOST_ROUNDS = 30
N_FOLDS = 5  # parts that the samples are cut into, each judged by the others
SETTLED = 0.004  # of the group, that may still change
SUSPECTED = 1 / 3  # of the group, at least, were suspects at the start


def group_of_suspects(views: Sequence[np.ndarray], suspects: np.ndarray, random_state: int = 0) -> np.ndarray | None:
    """
    The group within a class that its suspects make up, by self-training of a linear discriminant (H. J. Scudder,
    Probability of error of some adaptive pattern-recognition machines, IEEE Transactions on Information Theory, 1965).

    What an outlier score catches of a poison has the trigger in common; what it catches of clean samples has nothing. So a
    discriminant learns to tell the suspects from the rest, and each sample is judged by what was learned without it. Who
    lies among the suspects joins them, who lies among the rest leaves, and the discriminant learns again. Poison settles
    within a few rounds and lies far from the rest. A mere tail of the class draws in ever more of it, or falls apart.

    Every view is reduced by a discriminant of its own, and another one weighs these.

    When this breaks: a sub-population of a clean class that many of its suspects happen to be of looks like poison.

    :param views: Features of the samples of one class, each (n, D).
    :param suspects: (n,), bool.
    :param random_state: Seed of the folds.
    :return: (n,), bool; ``None`` if the suspects are fewer than 20, or no group: if it does not settle within 30 rounds
        at 3 deviations or more from the rest, or fewer than a third of it were suspects.
    """
    if suspects.sum() < LEAST_SUSPECTS or (~suspects).sum() < LEAST_SUSPECTS:
        return None
    folds = random_parts(len(suspects), N_FOLDS, random_state)
    discriminants = [_Discriminant(view) for view in views]
    before, group = suspects, suspects
    for _ in range(MOST_ROUNDS):
        by_view = np.stack([one.project(group, folds) for one in discriminants], axis=1)
        found, separation = _members(_Discriminant(by_view).project(group, folds), group)
        n_changed = min((found != group).sum(), (found != before).sum())  # two groups may take turns
        before, group = group, found
        n_members = int(group.sum())
        few = min(n_members, len(group) - n_members) < LEAST_SUSPECTS
        if few or (group & suspects).sum() < SUSPECTED * n_members:
            return None
        if n_changed <= SETTLED * n_members and separation >= LEAST_SEPARATION:
            return group
    return None


def random_parts(n_samples: int, n_parts: int, random_state: int) -> list[np.ndarray]:
    """The indices 0 to n - 1 in parts of equal size, drawn by chance; each part in order."""
    shuffled = np.random.default_rng(random_state).permutation(n_samples)
    return [np.sort(part) for part in np.array_split(shuffled, n_parts)]


class _Discriminant:
    """
    Fisher's, with a shrunk covariance, for one group after the other.

    The direction is the same by the covariance of all samples as by that within the two groups, and the former does not
    depend on the group: it is taken once. Who is of the group is learned without the samples that are judged.
    """

    def __init__(self, features: np.ndarray) -> None:
        deviation = features.std(axis=0, dtype=np.float64)
        used = deviation > 1e-6 * deviation.max(initial=0)
        used |= ~used.any()  # a constant view gives zeros
        scale = np.where(deviation > 0, deviation, 1.0)
        self.z = ((features[:, used] - features[:, used].mean(axis=0)) / scale[used]).astype(np.float32)
        covariance = oas_covariance(self.z).astype(np.float64)
        covariance.flat[:: len(covariance) + 1] += 1e-6
        self.factor = cho_factor(covariance, lower=True)

    def project(self, group: np.ndarray, folds: list[np.ndarray]) -> np.ndarray:
        """How far samples lie from the rest in the direction of the group, (n,); its unit depends on the group."""
        inside = np.stack([self.z[rows].T @ group[rows] for rows in folds])
        total = np.stack([self.z[rows].sum(axis=0) for rows in folds])
        n_inside = np.array([group[rows].sum() for rows in folds])
        n_total = np.array([len(rows) for rows in folds])
        found = np.empty(len(group))
        for index, rows in enumerate(folds):
            others = np.arange(len(folds)) != index
            n_group, n_rest = n_inside[others].sum(), (n_total - n_inside)[others].sum()
            centre = (total - inside)[others].sum(axis=0) / n_rest
            difference = inside[others].sum(axis=0) / n_group - centre
            found[rows] = (self.z[rows] - centre) @ cho_solve(self.factor, difference)
        return found


def _members(projected: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, float]:
    """
    Samples that more likely belong to the group, (n,), bool, and how far it lies from the rest, in the sum of deviations.

    Two normals with the shares of group and rest as priors. The group's is of the median and the median deviation: the
    clean samples among the suspects would widen it, and then it would draw in more of them.
    """
    centre, deviation = centre_and_spread(projected[group], robust=True)
    rest = np.median(projected[~group])
    spread, rest_spread = max(float(deviation), 1e-9), max(float(projected[~group].std()), 1e-9)
    share = group.mean()
    of_group = np.log(share / spread) - ((projected - centre) / spread) ** 2 / 2
    of_rest = np.log((1 - share) / rest_spread) - ((projected - rest) / rest_spread) ** 2 / 2
    found = (projected > rest) & ((of_group > of_rest) | (projected > centre))
    return found, float((centre - rest) / (spread + rest_spread))
