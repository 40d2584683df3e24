"""Refool (Liu et al. 2020): reflections of images of the set itself."""

from __future__ import annotations

import numpy as np

from art_plugins.attacks.zoo.attack import DirtyLabel
from art_plugins.parameters import check_count, check_flag, plain
from art_plugins.triggers.reflections import reflections


class Refool(DirtyLabel):
    """
    Adds reflections of a few images of the set, none of them of the target class, to the poisoned images (Liu et al. 2020).
    The authors reflect photographs of another data set, and choose those that work best.

    :param weight: Brightness of the reflections, above 0 and at most 1.
    :param n_reflections: Number of images that are reflected.
    :param kind: As in :func:`~art_plugins.triggers.reflections.reflected`.
    :param relabel: Poison other classes and give them the target's label; ``False``: poison the target class and keep its
        labels, as the authors do.
    :raises InvalidInputError: For a value out of range.
    """

    def __init__(self, weight: float = 0.5, n_reflections: int = 1, kind: str = "ghost", relabel: bool = False) -> None:
        super().__init__(None)
        check_count("n_reflections", plain(n_reflections))
        check_flag("relabel", relabel)
        self.weight, self.n_reflections, self.kind, self.relabel = weight, n_reflections, kind, relabel

    def prepare(self, x: np.ndarray, labels: np.ndarray, target: int, random_state: int) -> None:
        others = np.flatnonzero(labels != target)
        check_count("n_reflections", plain(self.n_reflections), 1, len(others))
        chosen = np.random.default_rng([random_state, 1]).choice(others, size=self.n_reflections, replace=False)
        self.trigger = reflections(x[chosen], self.weight, self.kind, random_state)

    def eligible(self, labels: np.ndarray, target: int) -> np.ndarray:
        rows: np.ndarray = (labels != target) == self.relabel
        return rows
