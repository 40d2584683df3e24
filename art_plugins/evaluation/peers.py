"""Detectors of other authors, measured on the same models and the same test images as the layer-wise rules."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

from art_plugins.attacks.success import ratio
from art_plugins.evaluation.detectors import Backdoor, detectors_of
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
        Rates at a threshold, the AUROC and the equal error rate over the triggered images that are sent to the target,
        and the time for one image.
        """
        positive = self.triggered[self.as_target]
        truth = np.r_[np.zeros(len(self.clean)), np.ones(len(positive))]
        scores = _ranked(np.r_[self.clean, positive])
        auroc = float(roc_auc_score(truth, scores)) if len(positive) else None
        eer = equal_error_rate(truth, scores) if len(positive) else None
        milliseconds = 1e3 * self.cost.seconds / (len(self.clean) + len(self.triggered))
        figures = rates(self.clean, self.triggered, self.as_target, threshold)
        return {"auroc": auroc, "eer": eer, "milliseconds_per_image": milliseconds, **figures}


def _ranked(scores: np.ndarray) -> np.ndarray:
    """The scores with infinity, for what is not finite, as a number above all others."""
    return np.asarray(np.nan_to_num(scores, posinf=float(np.finfo(np.float64).max)))


def equal_error_rate(truth: np.ndarray, scores: np.ndarray) -> float:
    """
    Give the rate at the threshold at which as many clean samples are caught as triggered ones are missed.

    Between two thresholds, the mean of both rates is given where they are closest.

    :param truth: 1 for triggered, 0 for clean, (n,), both present.
    :param scores: Shape (n,), finite; higher is more suspicious.
    """
    false_alarms, caught, _ = roc_curve(truth, scores)
    nearest = int(np.argmin(np.abs(false_alarms - (1 - caught))))
    return float((false_alarms[nearest] + 1 - caught[nearest]) / 2)


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


def peer_rows(
    classifier: Any,
    split: HeldOut,
    target: int,
    random_state: int = 0,
    evaluation: str = LAYERWISE,
    backdoor: Backdoor | None = None,
    only: Collection[str] | None = None,
) -> list[dict[str, Any]]:
    """
    Measure each detector of other authors whose packages are installed.

    All detectors learn from the same trusted images, and set their thresholds on them. They judge images of all classes.

    :param evaluation: Kind of the record; see :func:`~art_plugins.evaluation.detectors.detectors_of`.
    :param backdoor: What is known of the backdoor, for the detectors that need it; ``None``: nothing.
    :param only: Titles of the detectors that are measured; ``None``: all.
    :return: A row for each detector, with the measures of the rows of the layer-wise rules.
    """
    rows = []
    for peer in detectors_of(evaluation, classifier):
        if (peer.needs_backdoor and backdoor is None) or (only is not None and peer.title not in only):
            continue
        detector = peer.make(classifier, random_state, backdoor if peer.needs_backdoor else None)
        detector.target_class = None
        random = np.random.default_rng(random_state)
        x_clean, x_triggered = (_some(x, peer.most, random) for x in (split.x_clean, split.x_triggered))
        some = split._replace(x_clean=x_clean, x_triggered=x_triggered)
        rows.append(detector_row(f"{peer.title}, target FPR {PEER_FPR:g}", detector, some, target))
    return rows


def detector_row(title: str, detector: Any, split: HeldOut, target: int) -> dict[str, Any]:
    """
    Fit a detector on the defender's images, and measure it on the others.

    :param detector: Not yet fitted; its ``fit`` takes ``fpr``.
    :param split: ``x_clean`` and ``x_triggered`` are judged.
    :param target: Target class of the attack.
    :return: ``title``, ``fit_seconds``, ``peak_memory_mb``, and what :meth:`DetectorScores.figures` gives.
    """
    with measured() as cost:
        detector.fit(split.x_defence, split.y_defence, fpr=PEER_FPR)
    found = judge(detector, split.x_clean, split.x_triggered, target)
    row = {"title": title, "fit_seconds": cost.seconds, **found.figures(detector.threshold_)}
    return {**row, "peak_memory_mb": max(cost.peak_memory_mb, found.cost.peak_memory_mb)}


def _some(x: np.ndarray, most: int | None, random: np.random.Generator) -> np.ndarray:
    """Draw at most so many rows."""
    return x if most is None or len(x) <= most else x[np.sort(random.choice(len(x), most, replace=False))]
