"""What to do about a caught image: act on the class that it comes from, or abstain."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np

ABSTAIN = -1


class Corrections(abc.ABC):
    """Labels that are corrected by the verdicts of a detector."""

    @abc.abstractmethod
    def detect(self, x: np.ndarray, batch_size: int = 128, **kwargs: Any) -> tuple[dict[str, Any], np.ndarray]:
        """A report with ``predicted_class`` and ``source_class``, (n,), and ``is_trigger``, (n,), bool."""

    def detect_one(self, image: np.ndarray) -> tuple[int, bool, int]:
        """
        Judge one image of a stream.

        :param image: Its shape is that of one row of ``x``.
        :return: The model's class, whether the image is caught, and the class to act on, which is the inferred source of a
            caught image.
        """
        report, is_trigger = self.detect(image[None])
        predicted, caught = int(report["predicted_class"][0]), bool(is_trigger[0])
        return predicted, caught, int(report["source_class"][0]) if caught else predicted

    def predict_with_correction(self, x: np.ndarray, batch_size: int = 128, abstain: bool = False) -> np.ndarray:
        """
        The model's label; for a caught image the inferred source class, or -1 if it has none.

        :param abstain: Give -1 for every caught image.
        :return: (n,), int.
        """
        report, is_trigger = self.detect(x, batch_size)
        corrected = np.full(len(is_trigger), ABSTAIN) if abstain else report["source_class"]
        labels: np.ndarray = np.where(is_trigger, corrected, report["predicted_class"])
        return labels
