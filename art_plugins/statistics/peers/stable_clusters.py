"""The first cut of a density hierarchy at which its main cluster is stable; the hierarchy is that of HDBSCAN."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.cluster import HDBSCAN


class Life(NamedTuple):
    """
    One cluster of a density hierarchy, and the distances between which it exists.

    :param birth: Distance at which the cluster above it splits, so that it begins.
    :param end: Distance at which it splits itself; for a cluster that never splits, at which it loses its first points.
    """

    birth: float
    end: float

    @property
    def stability(self) -> float:
        """Difference of the densities (1 / distance) at the end and at the birth; infinite if the end is at distance 0."""
        densities = [np.inf if distance == 0 else 1 / distance for distance in (self.birth, self.end)]
        return float(densities[1] - densities[0]) if np.isfinite(densities[0]) else 0.0


class Partition(NamedTuple):
    """
    The clusters at one cut of a density hierarchy.

    :param labels: Number of the cluster of every point, (n,), int; -1 for a point in none.
    :param stability: Stability of the main cluster, see :class:`Life`.
    """

    labels: np.ndarray
    stability: float


def main_branch(merges: Any, least_size: int) -> list[Life]:
    """
    Follow the larger cluster at every split of a single-linkage tree, from the whole set down.

    A node of the tree splits if both of its parts have ``least_size`` points; else it loses the points of the smaller part.

    :param merges: Merges in ascending order of distance, a sequence of (left node, right node, distance, size): of the
        points 0 to n - 1 and the earlier merges n, n + 1, ...
    :param least_size: Smallest number of points in a cluster, at least 2.
    :return: The clusters on the way, without the whole set; empty if the whole set never splits.
    """
    n_points = len(merges) + 1
    found: list[Life] = []
    node, birth, first_loss = 2 * n_points - 2, None, None
    while node >= n_points:
        left, right, distance, _ = merges[node - n_points]
        sizes = [1 if part < n_points else int(merges[part - n_points][3]) for part in (left, right)]
        node = int(left if sizes[0] >= sizes[1] else right)
        if min(sizes) >= least_size:
            if birth is not None:
                found.append(Life(birth, float(distance)))
            birth, first_loss = float(distance), None
        elif first_loss is None:
            first_loss = float(distance)
        if max(sizes) < least_size:
            break
    if birth is not None and first_loss is not None:
        found.append(Life(birth, first_loss))
    return found


def stable_partition(points: np.ndarray, least_size: int, least_stability: float, depth: int) -> Partition | None:
    """
    Cut the density hierarchy of the points where its main cluster is stable for the first time.

    The hierarchy is HDBSCAN's (Campello et al. 2013): single linkage over mutual reachability distances, the largest of the
    distance of two points and of the distances to their ``least_size``-th neighbours, where a point is its own first. From
    the whole set down, the first of ``depth`` clusters of :func:`main_branch` whose stability is above ``least_stability``
    is taken; the cut lies at the last distance at which it is whole.

    :param points: Shape (n, d).
    :param least_size: Smallest number of points in a cluster, at least 2.
    :param least_stability: Difference of densities, in 1 / distance.
    :param depth: Number of splits that are looked at, at least 1.
    :return: The partition, or ``None`` if no cluster looked at is stable, or if there are fewer than 2 ``least_size``
        points, which cannot be two clusters.
    """
    if len(points) < 2 * least_size:
        return None
    hierarchy = HDBSCAN(min_cluster_size=least_size, copy=True).fit(points)
    # scikit-learn has no public name for the tree; its own dbscan_clustering reads this one.
    for life in main_branch(hierarchy._single_linkage_tree_, least_size)[:depth]:
        if life.stability > least_stability:
            cut = np.nextafter(life.end, np.inf)
            labels = np.asarray(hierarchy.dbscan_clustering(cut, min_cluster_size=least_size), dtype=int)
            return Partition(labels, life.stability)
    return None


def outside_largest(labels: np.ndarray) -> np.ndarray:
    """
    Mark the points of every cluster but the largest.

    :param labels: Shape (n,), int; -1 for points in no cluster, which are not marked.
    :return: Shape (n,), bool. All ``False`` if there is at most one cluster.
    """
    numbers, sizes = np.unique(labels[labels >= 0], return_counts=True)
    if len(numbers) == 0:
        return np.zeros(len(labels), dtype=bool)
    marked: np.ndarray = (labels >= 0) & (labels != numbers[np.argmax(sizes)])
    return marked
