"""A dirty-label attack from several source classes towards one target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from armory.scenarios.poison import DatasetPoisoner

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
