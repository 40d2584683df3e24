"""Base of the filters of training sets that need trusted samples beside the suspect ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from art_plugins.defences.contract import PoisonFilter
from art_plugins.errors import InvalidInputError
from art_plugins.features.input_checks import check_trusted
from art_plugins.statistics.labels import class_labels


class TrustedFilter(PoisonFilter):
    """
    Base of filters with trusted samples. A subclass implements ``_detect`` and may call :meth:`trusted_labels`.

    :param x_val: Trusted samples, (m, ...), of the shape and unit of ``x_train``.
    :param y_val: Labels of these samples, (m,), (m, 1) or one-hot; a filter that does not look at them also takes ``None``.
    """

    needs_network = True
    needs_labels = True  # whether the labels of the trusted samples are looked at

    def __init__(
        self, classifier: Any, x_train: np.ndarray, y_train: np.ndarray, x_val: np.ndarray | None, y_val: Any | None
    ) -> None:
        super().__init__(classifier, x_train, y_train)
        self.x_val, self.y_val = x_val, y_val

    def trusted_labels(self, nb_classes: int) -> np.ndarray:
        """Index labels of the trusted samples, (m,)."""
        assert self.x_val is not None
        return class_labels(self.y_val, len(self.x_val), nb_classes)[0]

    def _check_data(self) -> None:
        super()._check_data()
        if self.x_val is None or (self.needs_labels and self.y_val is None):
            what = "x_val and y_val" if self.needs_labels else "x_val"
            raise InvalidInputError(
                f"{type(self).__name__} needs trusted samples; give {what}, such as 20 test samples of each class."
            )
        check_trusted(self.x_val, self.x_train)
        if self.y_val is not None:
            class_labels(self.y_val, len(self.x_val), self.labels()[1])
