"""Bounds for every filter: a filter that knows the poison, and a filter that removes samples at random."""

from __future__ import annotations

from typing import Any

import numpy as np

from art_plugins.defences.contract import PoisonFilter
from art_plugins.errors import InvalidInputError
from art_plugins.parameters import MOST, check_count, shown


class PerfectFilter(PoisonFilter):
    """
    Upper bound: removes exactly the poison.

    :param is_poison: Ground truth: whether each sample is poisoned, (n,), bool.
    """

    def __init__(self, classifier: Any, x_train: np.ndarray, y_train: np.ndarray, is_poison: np.ndarray) -> None:
        super().__init__(classifier, x_train, y_train)
        truth = np.asarray(is_poison)
        if truth.ndim != 1 or not np.isin(truth, (0, 1)).all():
            raise InvalidInputError(f"is_poison must be of shape (n,), bool; received {shown(is_poison)}.")
        self.is_poison = truth.astype(bool)

    def _check_data(self) -> None:
        super()._check_data()
        if self.is_poison.shape != (len(self.x_train),):
            raise InvalidInputError(
                f"is_poison must have a value for each of the {len(self.x_train)} samples; received shape "
                f"{self.is_poison.shape}."
            )

    def _detect(self, labels: np.ndarray, nb_classes: int) -> dict[str, Any]:
        self.is_clean_ = 1 - self.is_poison.astype(int)
        return {"n_removed": int(self.is_poison.sum())}


class RandomFilter(PoisonFilter):
    """
    Lower bound: removes samples at random.

    :param n_removed: Number of samples to remove, 0 to n.
    :param random_state: Random seed of the choice.
    """

    def __init__(
        self, classifier: Any, x_train: np.ndarray, y_train: np.ndarray, n_removed: int = 0, random_state: int = 0
    ) -> None:
        super().__init__(classifier, x_train, y_train)
        check_count("n_removed", n_removed, 0)  # the data are checked later
        check_count("random_state", random_state, 0)
        self.n_removed, self.random_state = n_removed, random_state
        self.defence_params = ["n_removed", "random_state"]

    def _check(self, values: dict[str, Any]) -> None:
        check_count("random_state", values["random_state"], 0)
        is_array = isinstance(self.x_train, np.ndarray) and self.x_train.ndim > 0
        check_count("n_removed", values["n_removed"], 0, len(self.x_train) if is_array else MOST)

    def _detect(self, labels: np.ndarray, nb_classes: int) -> dict[str, Any]:
        chosen = np.random.default_rng(self.random_state).choice(len(labels), size=self.n_removed, replace=False)
        self.is_clean_ = np.ones(len(labels), dtype=int)
        self.is_clean_[chosen] = 0
        return {"n_removed": self.n_removed}
