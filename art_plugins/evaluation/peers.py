"""Detectors of other authors, measured on the same models and the same test images as the layer-wise rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from art_plugins.attacks.success import ratio
from art_plugins.evaluation.detectors import detectors_of
from art_plugins.evaluation.held_out import HeldOut
from art_plugins.evaluation.metrics import Cost, measured
from art_plugins.reports.record_files import LAYERWISE

PEER_FPR = 0.02  # target false-positive rate, the higher of those that the layer-wise rules are shown at


@dataclass
class DetectorScores:
    """
    Scores of a detector on clean and on triggered images.

    ``clean`` (n,) and ``triggered`` (m,): the scores. ``as_target`` (m,), bool: which triggered images the model sends to
    the target. ``triggered_report``: what ``detect`` reported of the triggered images. ``cost``: of judging all images.
    """

    clean: np.ndarray
    triggered: np.ndarray
    as_target: np.ndarray
    triggered_report: dict[str, Any]
    cost: Cost

    def figures(self, threshold: float) -> dict[str, Any]:
        """
        Rates at a threshold, the AUROC over the triggered images that are sent to the target, and the time for one image.
        """
        positive = self.triggered[self.as_target]
        truth = np.r_[np.zeros(len(self.clean)), np.ones(len(positive))]
        auroc = float(roc_auc_score(truth, np.r_[self.clean, positive])) if len(positive) else None
        milliseconds = 1e3 * self.cost.seconds / (len(self.clean) + len(self.triggered))
        figures = rates(self.clean, self.triggered, self.as_target, threshold)
        return {"auroc": auroc, "milliseconds_per_image": milliseconds, **figures}


def judge(detector: Any, x_clean: np.ndarray, x_triggered: np.ndarray, target: int) -> DetectorScores:
    """Judge clean and triggered images with a fitted detector."""
    with measured() as cost:
        clean, _ = detector.detect(x_clean)
        triggered, _ = detector.detect(x_triggered)
    as_target = triggered["predicted_class"] == target
    return DetectorScores(clean["outlier_scores"], triggered["outlier_scores"], as_target, triggered, cost)


def rates(clean: np.ndarray, triggered: np.ndarray, as_target: np.ndarray, threshold: float) -> dict[str, Any]:
    """
    Rates of a detector at a threshold.

    :param clean: Scores of clean images, (n,), whatever class they are sent to.
    :param triggered: Scores of triggered images, (m,).
    :param as_target: Which triggered images the model sends to the target, (m,), bool.
    :return: ``tpr``: over the triggered images sent to the target; ``tpr_of_all``: over all triggered images, where one
        that is not sent to the target counts as missed; ``fpr``: over all clean images. And the three denominators.
    """
    caught = int((triggered[as_target] > threshold).sum())
    return {
        "tpr": ratio(caught, int(as_target.sum())),
        "tpr_of_all": ratio(caught, len(triggered)),
        "fpr": float((clean > threshold).mean()),
        "n_triggered_as_target": int(as_target.sum()),
        "n_triggered": len(triggered),
        "n_clean": len(clean),
    }


def peer_rows(classifier: Any, split: HeldOut, target: int, random_state: int = 0) -> list[dict[str, Any]]:
    """
    Measure each detector of other authors whose packages are installed.

    All detectors learn from the same trusted images, and set their thresholds on them.

    :return: A row for each detector, with the measures of the rows of the layer-wise rules.
    """
    rows = []
    for peer in detectors_of(LAYERWISE):
        detector = peer.make(classifier, random_state, None)
        with measured() as cost:
            detector.fit(split.x_defence, split.y_defence, fpr=PEER_FPR)
        random = np.random.default_rng(random_state)
        x_clean, x_triggered = (_some(x, peer.most, random) for x in (split.x_clean, split.x_triggered))
        found = judge(detector, x_clean, x_triggered, target)
        row = {"title": f"{peer.title}, target FPR {PEER_FPR:g}", "fit_seconds": cost.seconds}
        row |= found.figures(detector.threshold_)
        rows.append({**row, "peak_memory_mb": max(cost.peak_memory_mb, found.cost.peak_memory_mb)})
    return rows


def _some(x: np.ndarray, most: int | None, random: np.random.Generator) -> np.ndarray:
    """Draw at most so many rows."""
    return x if most is None or len(x) <= most else x[np.sort(random.choice(len(x), most, replace=False))]
