"""SCALE-UP (Guo et al. 2023): a trigger still works when the image is made so bright that what it shows is gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from art_plugins.defences.detector_classifier import ForDetectorClassifier
from art_plugins.defences.threshold_detector import ThresholdDetector
from art_plugins.errors import InvalidInputError
from art_plugins.parameters import check_choice
from art_plugins.statistics.moments import class_moments

HIGHEST = float(np.finfo(np.float32).max)  # a scale of single precision
VARIANTS = ("data-free", "data-limited")


class ScaleUp(ForDetectorClassifier, ThresholdDetector):
    """
    Scaled prediction consistency: the share of brighter copies ``clip(n * image)`` that the model sends where it sends the
    image itself.

    | Paper: J. Guo et al., SCALE-UP: an efficient black-box input-level backdoor detection via analyzing scaled prediction
      consistency, ICLR 2023; Eq. 2, and Eqs. 3 and 4 for ``"data-limited"``.

    ``"data-limited"`` takes the score in deviations from the mean of clean images of the class that the model sends the
    image to: ``(SPC - mu) / sigma``. A class with fewer than two clean images, or whose clean images all score alike, takes
    mean or deviation from all of them.

    Deviates: the threshold is set on clean images by their false-positive rate, as for the other detectors here; the paper
    leaves it to the user. Data-free stays the score, not the threshold; give ``threshold=0.5`` for a detector without data.

    When this breaks: images that stay what they are when made brighter (white digits on black), so that clean ones score
    1 as well; triggers that brightening destroys (faint ones over the whole image). Five scales give six values of the
    score, so that few false-positive rates can be set.

    :param variant: ``"data-free"`` or ``"data-limited"``.
    :param scales: Whole numbers from 2, each once.

    Scores are 0 to 1, or deviations. The other parameters are those of :class:`ThresholdDetector`. The classifier needs
    ``clip_values``.
    """

    defence_params = [*ThresholdDetector.defence_params, "variant", "scales"]

    def __init__(
        self,
        classifier: Any,
        variant: str = "data-limited",
        target_class: int | None = None,
        *,
        scales: Sequence[int] = (3, 5, 7, 9, 11),
        threshold: float | None = None,
        fpr: float = 0.05,
    ) -> None:
        super().__init__(classifier, target_class, threshold, fpr)
        self.variant, self.scales = variant, scales
        self.set_params(**self.tunables())

    def _learn(self, x: np.ndarray, labels: np.ndarray, batch_size: int) -> None:
        self._fitted_scales, self._moments = list(self.scales), None
        if self.variant == "data-limited":
            consistencies, _ = self._consistencies(x, batch_size)
            self._moments = class_moments(consistencies, labels, int(self.classifier.nb_classes))

    def _scores(self, x: np.ndarray, batch_size: int) -> np.ndarray:
        consistencies, predicted = self._consistencies(x, batch_size)
        if self._moments is None:
            return consistencies
        means, deviations = self._moments
        return np.asarray((consistencies - means[predicted]) / deviations[predicted])

    def _consistencies(self, x: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
        """Eq. 2, (n,), and the model's classes, (n,)."""
        predicted = self._predicted(x, batch_size)
        low, high = self.classifier.clip_values
        agreed = np.zeros(len(x))
        for start in range(0, len(x), batch_size):  # a batch at a time, so that no second copy of x is held
            rows = slice(start, start + batch_size)
            for scale in self._fitted_scales:
                brighter = np.clip(x[rows].astype(np.float32) * np.float32(scale), low, high)
                agreed[rows] += self._predicted(brighter, batch_size) == predicted[rows]
        return agreed / len(self._fitted_scales), predicted

    def _check_images(self, x: np.ndarray) -> None:
        super()._check_images(x)
        if self.classifier.clip_values is None:
            raise InvalidInputError(
                "SCALE-UP makes images brighter up to the highest value, and the classifier has none: make it with "
                "clip_values, such as (0, 1)."
            )

    def _check(self, values: dict[str, Any]) -> None:
        super()._check(values)
        check_choice("variant", values["variant"], VARIANTS)
        scales = values["scales"]
        whole = isinstance(scales, (list, tuple)) and all(type(scale) is int and 2 <= scale < HIGHEST for scale in scales)
        if not whole or not len(set(scales)) == len(scales) > 0:
            raise InvalidInputError(f"scales must be a list of different whole numbers from 2; received {scales!r}.")
