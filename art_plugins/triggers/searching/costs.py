"""The cost of a pattern's size in the loss of its search (Wang et al. 2019)."""

from __future__ import annotations

import numpy as np

PATIENCE = 2  # windows of success (or of failure) in a row before the cost rises (or falls)
COST_UP, COST_DOWN = 2.0, 2.0**1.5  # factors by which the cost rises and falls (Wang et al. 2019)


class CostSchedule:
    """
    The cost of the pattern's size in the loss of each search. It rises while the pattern succeeds and falls while it fails
    (Wang et al. 2019).
    """

    def __init__(self, nb_classes: int, first_cost: float) -> None:
        self.costs = np.zeros(nb_classes)
        self._first_cost = first_cost
        self._streak = np.zeros(nb_classes, dtype=int)  # windows of success in a row, negative: of failure
        self._has_risen, self._has_fallen = np.zeros(nb_classes, dtype=bool), np.zeros(nb_classes, dtype=bool)

    def update(self, succeeded: np.ndarray, active: np.ndarray) -> None:
        """Record whether each search succeeded in the last window; both arguments are (K,), bool."""
        self._streak = np.where(succeeded, self._streak.clip(min=0) + 1, self._streak.clip(max=0) - 1)
        rise, fall = active & (self._streak >= PATIENCE), active & (self._streak <= -PATIENCE)
        starts = rise & (self.costs == 0)
        self.costs = np.where(rise, self.costs * COST_UP, np.where(fall, self.costs / COST_DOWN, self.costs))
        self.costs[starts] = self._first_cost
        self._has_risen |= rise & ~starts
        self._has_fallen |= fall & (self.costs > 0)
        self._streak[rise | fall] = 0

    @property
    def has_turned(self) -> np.ndarray:
        """Whether the cost of each search has moved both up and down, (K,), bool; the best cost then lies in between."""
        return self._has_risen & self._has_fallen
