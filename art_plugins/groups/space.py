"""The views of a data set, together and each by itself, and how the samples of every class scatter in them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from art_plugins.groups.candidates import Candidate, alike, candidate_groups, content_cut
from art_plugins.groups.cuts import LEAST_MEMBERS
from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.moments import winsorised

MOST_CANDIDATES = 16  # of a class, those that lie farthest apart first: each costs some rounds of self-training


class Scatters:
    """
    Sums of squares and products of the features of every class in one view, its outermost 2 % drawn in, (d, d): about the
    class's own median, and about that of all samples.

    :param x: Features, (n, d).
    :param members: Rows of each class.

    :ivar centres: Median of each class, (d,); of a class without samples that of all.
    """

    def __init__(self, x: np.ndarray, members: list[np.ndarray]) -> None:
        centre, self.sizes = np.median(x, axis=0), [len(rows) for rows in members]
        self.within, self.about_all, self.centres = [], [], []
        for rows in members:
            own = np.median(x[rows], axis=0) if len(rows) else centre
            self.centres.append(own)
            centred = winsorised(x[rows] - own).astype(np.float64) if len(rows) else np.zeros((0, x.shape[1]))
            moved = centred + (own - centre)
            self.within.append(centred.T @ centred)
            self.about_all.append(moved.T @ moved)
        self._total_within, self._total_about_all = np.sum(self.within, axis=0), np.sum(self.about_all, axis=0)

    def covariance_elsewhere(self, label: int) -> np.ndarray:
        """Covariance within all classes but one, (d, d)."""
        n_others = sum(self.sizes) - self.sizes[label]
        covariance: np.ndarray = (self._total_within - self.within[label]) / max(1, n_others)
        return covariance

    def scatter_elsewhere(self, label: int) -> np.ndarray:
        """Scatter of all classes but one about the centre of all samples, (d, d)."""
        scatter: np.ndarray = self._total_about_all - self.about_all[label]
        return scatter


class Space:
    """
    The views of a data set.

    :param views: Name -> features, (n, d), float32, each of unit variance within the classes.
    :param labels: Class of each sample, (n,), 0 to K - 1.
    :param nb_classes: Number of classes, K.

    :ivar x: All views side by side, (n, D).
    :ivar members: Rows of each class.
    """

    def __init__(self, views: Mapping[str, np.ndarray], labels: np.ndarray, nb_classes: int) -> None:
        self.views, self.members = dict(views), indices_by_class(labels, nb_classes)
        self.x = np.concatenate(list(self.views.values()), axis=1)
        self.scatters = Scatters(self.x, self.members)
        self._by_view = {name: Scatters(view, self.members) for name, view in self.views.items()}

    def candidates(self, label: int) -> list[Candidate]:
        """Give the cuts of a class in all views that differ from one another, those that lie farthest apart first."""
        rows = self.members[label]
        found = [
            one
            for name, view in self.views.items()
            for one in candidate_groups(view[rows], self._by_view[name].covariance_elsewhere(label))
        ]
        distinct: list[Candidate] = []
        for one in sorted(found, key=lambda candidate: -candidate.separation):
            if len(distinct) < MOST_CANDIDATES and not any(alike(one.members, other.members) for other in distinct):
                distinct.append(one)
        return distinct

    def cut_by_content(self, label: int) -> np.ndarray | None:
        """Cut a class by what its samples look like, see :func:`~art_plugins.groups.candidates.content_cut`; all views."""
        centres = self.scatters.centres
        others = [
            centres[other] for other, rows in enumerate(self.members) if other != label and len(rows) >= LEAST_MEMBERS
        ]
        return content_cut(self.x[self.members[label]], centres[label], others, self.scatters.covariance_elsewhere(label))
