"""SCALE-UP (Guo et al. 2023): a trigger still works on an image that is made so bright that its content is lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from art_plugins.defences.detector_classifier import ForDetectorClassifier
from art_plugins.defences.threshold_detector import ThresholdDetector
from art_plugins.errors import InvalidInputError
from art_plugins.parameters import check_choice
from art_plugins.statistics.moments import class_moments

HIGHEST = float(np.finfo(np.float32).max)  # largest scale in single precision
VARIANTS = ("data-free", "data-limited")


class ScaleUp(ForDetectorClassifier, ThresholdDetector):
    """
    SCALE-UP: the score is the scaled prediction consistency (SPC), the share of brighter copies ``clip(n * image)`` for
    which the model predicts the same class as for the image itself.

    | Paper: J. Guo et al., SCALE-UP: an efficient black-box input-level backdoor detection via analyzing scaled prediction
      consistency, ICLR 2023; Eq. 2, and Eqs. 3 and 4 for ``"data-limited"``.

    ``"data-limited"`` standardises the score by the clean images of the predicted class: ``(SPC - mu) / sigma``. A class
    with fewer than two clean images takes mean and deviation from all clean images. A class whose clean images have equal
    scores takes the deviation from all of them.

    Deviates: the threshold is set on clean images by their false-positive rate, as for the other detectors here. The paper
    leaves it to the user. Only the score of ``"data-free"`` needs no data; give ``threshold=0.5`` too for a detector
    without data.

    When this breaks: images that do not change when they are made brighter (white digits on black), because clean ones also
    have the score 1; triggers that brightening destroys (faint ones over the whole image). Five scales give only six values
    of the score, so few false-positive rates can be reached.

    :param variant: ``"data-free"`` or ``"data-limited"``.
    :param scales: Factors n by which images are made brighter, different whole numbers from 2.

    Scores are 0 to 1, or in standard deviations for ``"data-limited"``. The other parameters are those of
    :class:`ThresholdDetector`. The classifier needs ``clip_values``.
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
        """Give the consistencies of Eq. 2, (n,), and the predicted classes, (n,)."""
        predicted = self._predicted(x, batch_size)
        low, high = self.classifier.clip_values
        agreed = np.zeros(len(x))
        for start in range(0, len(x), batch_size):  # in batches, so that no second copy of x is in memory
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
