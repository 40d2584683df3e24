"""Poisoners for Armory: a dirty-label attack from several source classes, and the attacks that poison a whole set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from armory.scenarios.poison import DatasetPoisoner

from art_plugins.attacks.zoo.attack import Attack
from art_plugins.errors import InvalidInputError


class ManySourcesPoisoner(DatasetPoisoner):  # type: ignore[misc]  # Armory has no type hints for mypy
    """
    Armory's ``DatasetPoisoner`` for a list of source classes: ``int(fraction * n)`` samples of each of them are drawn,
    without replacement, from NumPy's global generator, which the scenario seeds.

    :param attack: ART's ``PoisoningAttackBackdoor``.
    :param source_classes: At least one; for a single one the draw is Armory's own.
    :param target_class: None of them.
    :raises InvalidInputError: For no sources, a repeated one, or a target that is one of them.
    """

    def __init__(self, attack: Any, source_classes: Sequence[int], target_class: int, fraction: float = 1.0) -> None:
        if not source_classes or len(set(source_classes)) < len(source_classes) or target_class in source_classes:
            raise InvalidInputError(
                f"source_class must name classes other than target_class {target_class}, each once; received "
                f"{list(source_classes)}."
            )
        super().__init__(attack, list(source_classes), target_class, fraction)

    def get_poison_index(self, y: np.ndarray, fraction: float | None = None) -> np.ndarray:
        """Rows to poison, in increasing order. Unlike Armory's it is silent about a class that a batch does not hold."""
        share = self.fraction if fraction is None else self._check_fraction(fraction)
        members = [np.flatnonzero(y == label) for label in self.source_class]
        chosen = [np.random.choice(rows, size=int(share * len(rows)), replace=False) for rows in members if len(rows)]  # noqa: NPY002
        return np.sort(np.concatenate([np.array([], dtype=np.int64), *chosen]))


class ZooPoisoner(DatasetPoisoner):  # type: ignore[misc]  # Armory has no type hints for mypy
    """
    Armory's ``DatasetPoisoner`` for an attack of ``art_plugins.attacks.zoo``, which poisons the training set as a whole.

    :param attack: The attack.
    :param source_classes: Classes that the trigger is put on at test time; those that the attack works on.
    :param target_class: None of them.
    :param fraction: Share of the whole training set that is poisoned, as these attacks are published; not of a class.
    :param random_state: Seed of what the attack draws and trains.
    :raises InvalidInputError: If the attack works on other source classes, here or when the training set is poisoned.
    """

    def __init__(
        self, attack: Attack, source_classes: Sequence[int], target_class: int, fraction: float, random_state: int
    ) -> None:
        if target_class in source_classes or (attack.source is not None and list(source_classes) != [attack.source]):
            works_on = "every class but the target" if attack.source is None else f"class {attack.source} alone"
            raise InvalidInputError(f"The attack works on {works_on}; source_class is {list(source_classes)}.")
        super().__init__(attack, list(source_classes), target_class, fraction)
        self.random_state = random_state

    def poison_dataset(
        self, x: np.ndarray, y: np.ndarray, return_index: bool = False, fraction: float | None = None
    ) -> tuple[np.ndarray, ...]:
        """
        :param fraction: ``None``: poison a training set, as the attack does. 1: stamp every sample of the source classes,
            as at test time. Armory asks for nothing else.
        :return: The samples, the labels and, if asked for, the rows that are poison.
        """
        if fraction is not None:
            rows = np.flatnonzero(np.isin(y, self.source_class))
            x, y = x.copy(), np.array(y, dtype=int)
            if len(rows):
                x[rows], y[rows] = self.attack.stamp(x[rows]), self.target_class
            return (x, y, rows) if return_index else (x, y)
        left_out = sorted(set(np.unique(y).tolist()) - {self.target_class, *self.source_class})
        if self.attack.source is None and left_out:
            raise InvalidInputError(
                f"The attack poisons every class but the target {self.target_class}, and source_class leaves out "
                f"{left_out}, so that the test would not show what it does; name all of them."
            )
        done = self.attack.poison(
            np.ascontiguousarray(x), np.asarray(y), self.fraction, self.target_class, self.random_state
        )
        found = done.x, done.y, np.flatnonzero(done.is_poison)
        return found if return_index else found[:2]
