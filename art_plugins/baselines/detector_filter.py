"""A detector of triggers as a filter of training sets: it learns from trusted samples and judges the training samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from art_plugins.baselines.detectors.cognitive_distillation import CognitiveDistillation
from art_plugins.baselines.detectors.ibd_psc import IBDPSC
from art_plugins.baselines.detectors.scale_up import ScaleUp
from art_plugins.baselines.trusted_filter import TrustedFilter
from art_plugins.defences.threshold_detector import ThresholdDetector
from art_plugins.parameters import check_choice, check_count, check_settings_dict

DETECTORS: dict[str, type[ThresholdDetector]] = {
    "cognitive_distillation": CognitiveDistillation,
    "ibd_psc": IBDPSC,
    "scale_up": ScaleUp,
}


class DetectorFilter(TrustedFilter):
    """
    Removes the training samples that a detector of triggers catches. Their authors use these detectors in this way too. The
    labels of the training samples are not looked at.

    When this breaks: where the detector breaks; and the model has learned the training samples, so that they may look
    otherwise than the trusted ones, by which the threshold is set.

    There are eight parameters: three are ART's, two are the trusted samples.

    :param x_val: Trusted samples, (m, ...).
    :param y_val: Labels of these samples.
    :param detector: ``"ibd_psc"``, ``"cognitive_distillation"`` or ``"scale_up"``.
    :param detector_params: Parameters of the detector by name, as its class documents them; ``None``: its defaults.
    :param batch_size: Number of samples in one pass.

    :ivar outlier_scores_: Scores of the detector, (n,); higher is more suspicious.
    :ivar detector_: The detector.
    """

    defence_params = ["detector", "detector_params", "batch_size"]

    def __init__(
        self,
        classifier: Any,
        x_train: np.ndarray,
        y_train: np.ndarray,
        x_val: np.ndarray | None = None,
        y_val: Any | None = None,
        *,
        detector: str = "ibd_psc",
        detector_params: dict[str, Any] | None = None,
        batch_size: int = 128,
    ) -> None:
        super().__init__(classifier, x_train, y_train, x_val, y_val)
        self.detector, self.detector_params, self.batch_size = detector, detector_params, batch_size
        self.set_params(**self.tunables())

    def _check(self, values: dict[str, Any]) -> None:
        check_choice("detector", values["detector"], DETECTORS)
        check_count("batch_size", values["batch_size"])
        kind = DETECTORS[values["detector"]]
        check_settings_dict("detector_params", values["detector_params"], kind.defence_params)
        kind(None, **(values["detector_params"] or {}))  # refuses wrong values, by name

    def _detect(self, labels: np.ndarray, nb_classes: int) -> dict[str, Any]:
        self.detector_ = DETECTORS[self.detector](self.classifier, **(self.detector_params or {}))
        assert self.x_val is not None
        self.detector_.fit(self.x_val, self.trusted_labels(nb_classes), self.batch_size)
        report, is_trigger = self.detector_.detect(self.x_train, self.batch_size)
        self.outlier_scores_ = report["outlier_scores"]
        self.is_clean_ = 1 - is_trigger.astype(int)
        return {
            "detector": self.detector,
            "threshold": self.detector_.threshold_,
            "n_removed": self._removed(labels, nb_classes),
        }
