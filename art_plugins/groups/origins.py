"""Is a group of one origin: near copies of a few things, such as the frames of one film or the clips of one recording?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from sklearn.neighbors import NearestNeighbors

MOST_MEMBERS = 500  # of a group, that are compared: the median over so many is certain enough
N_DRAWS = 5  # of as many samples from the rest of the class
NEAR_COPIES = float(np.sqrt(0.5))  # half as far as others, by squared distance


class Features(Protocol):
    """Gives features by their rows, (m,) to (m, d), as an array (n, d) does."""

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray: ...


def nearest_fellow_ratio(
    views: Mapping[str, Features], rows: np.ndarray, inside: np.ndarray, random_state: int = 0
) -> float:
    """
    How far the members of a group lie from their nearest fellow, over the same for samples that are drawn from the rest of
    their class.

    A trigger is put on samples that have nothing else in common, so that they are as far from one another as any. Near
    copies are found together because they are near copies. In each view the median over the members is taken, and the
    median over the views is given, because a trigger brings its carriers together in some of them.

    When this breaks: a poison of near copies of one sample is taken for a sub-population, and only looked at.

    :param views: Name -> features of all samples, (n, d); only those of samples that are compared are asked for.
    :param rows: Rows of the class, (m,).
    :param inside: Who of them is of the group, (m,), bool.
    :param random_state: Random seed of the samples that are compared.
    :return: About 1 for any samples of the class; 1 where there are too few to compare.
    """
    random = np.random.default_rng(random_state)
    members, rest = rows[inside], rows[~inside]
    size = min(len(members), len(rest), MOST_MEMBERS)
    if size < 4 or not views:
        return 1.0
    group = random.permutation(members)[:size]
    draws = [random.permutation(rest)[:size] for _ in range(N_DRAWS)]
    ratios = []
    for view in views.values():
        others = float(np.median([_nearest(view[draw]) for draw in draws]))
        ratios.append(_nearest(view[group]) / others if others > 0 else 1.0)
    return float(np.median(ratios))


def _nearest(x: np.ndarray) -> float:
    """Median distance of samples, (m, d), from their nearest neighbour among them."""
    distances, _ = NearestNeighbors(n_neighbors=2).fit(x).kneighbors(x)
    return float(np.median(distances[:, 1]))
