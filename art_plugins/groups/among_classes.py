"""Whether a group's score is one that a class without poison has, told by the scores of the groups of all classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from art_plugins.groups.find import Group
from art_plugins.statistics.outlying import LEAST, outlying_scores


class AmongClasses:
    """
    The highest scores of the classes.

    :param groups: Groups of the data set.
    :param scores: A score of each group in each of its classes, in their order; NaN: not judged there.
    :param nb_classes: Number of classes, K.
    """

    def __init__(self, groups: Sequence[Group], scores: Sequence[Sequence[float]], nb_classes: int) -> None:
        self._highest = np.full(nb_classes, np.nan)
        for group, own in zip(groups, scores, strict=True):
            for label, score in zip(group.classes, own, strict=True):
                self._highest[label] = np.fmax(self._highest[label], score)

    @property
    def are_judged(self) -> bool:
        """Whether there are classes enough to compare."""
        return int((~np.isnan(self._highest)).sum()) >= LEAST

    def p_value(self, group: Group, scores: Sequence[float]) -> float:
        """
        Give the probability that any of the classes has a group of such a score, if none is poisoned
        (:func:`~art_plugins.statistics.outlying.outlying_scores` over the highest scores of the classes); of a group of
        several classes the largest one; 1 where it cannot be judged.

        :param group: A group.
        :param scores: The score of the group in each of its classes.
        """
        if not self.are_judged or np.isnan(scores).any():
            return 1.0
        p = 0.0
        for label, score in zip(group.classes, scores, strict=True):
            highest = np.array(self._highest)
            highest[label] = score
            p = max(p, float(outlying_scores(highest, 0.5).p_values[label]))
        return p
