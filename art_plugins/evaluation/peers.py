"""Detectors and filters of other authors, measured on the same models and splits as the layer-wise rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score

from art_plugins.attacks.success import ratio
from art_plugins.baselines.beatrix import Beatrix
from art_plugins.baselines.patterns import STRIP
from art_plugins.baselines.pyod_filter import PyODFilter, pyod_is_installed
from art_plugins.baselines.scale_up import ScaleUp
from art_plugins.baselines.spectre import SPECTRE
from art_plugins.baselines.ted import TED
from art_plugins.defences.contract import PoisonFilter
from art_plugins.evaluation.filters import PYOD_TITLES
from art_plugins.evaluation.held_out import HeldOut
from art_plugins.evaluation.metrics import Cost, measured

PEER_FPR = 0.02  # target false-positive rate, the higher of those that the layer-wise rules are shown at


class Peer(NamedTuple):
    """
    A detector at test time. ``make(classifier, random_state)``; ``most``: of clean and of triggered images so many are
    judged, drawn at random, since it runs the model many times on each; ``None``: all.
    """

    title: str
    make: Callable[[Any, int], Any]
    most: int | None = None
    needs_pyod: bool = False


PEERS = (
    Peer("STRIP", lambda classifier, seed: STRIP(classifier, random_state=seed), most=200),
    Peer("SCALE-UP, data-free", lambda classifier, seed: ScaleUp(classifier, "data-free"), most=1000),
    Peer("SCALE-UP, data-limited", lambda classifier, seed: ScaleUp(classifier, "data-limited"), most=1000),
    Peer("Beatrix", lambda classifier, seed: Beatrix(classifier, random_state=seed)),
    Peer("TED", lambda classifier, seed: TED(classifier), needs_pyod=True),
)


@dataclass
class Judged:
    """
    What a detector said. ``clean``, ``triggered``: scores, (n,) and (m,); ``as_target`` (m,), bool: which triggered images
    the model sends to the target; ``triggered_report``: of ``detect``; ``cost``: of judging them all.
    """

    clean: np.ndarray
    triggered: np.ndarray
    as_target: np.ndarray
    triggered_report: dict[str, Any]
    cost: Cost

    def figures(self, threshold: float) -> dict[str, Any]:
        """Rates at a threshold, AUROC over the triggered images that are sent to the target, and time."""
        positive = self.triggered[self.as_target]
        truth = np.r_[np.zeros(len(self.clean)), np.ones(len(positive))]
        auroc = float(roc_auc_score(truth, np.r_[self.clean, positive])) if len(positive) else None
        milliseconds = 1e3 * self.cost.seconds / (len(self.clean) + len(self.triggered))
        figures = rates(self.clean, self.triggered, self.as_target, threshold)
        return {"auroc": auroc, "milliseconds_per_image": milliseconds, **figures}


def judge(detector: Any, x_clean: np.ndarray, x_triggered: np.ndarray, target: int) -> Judged:
    """Scores of clean and of triggered images by a fitted detector."""
    with measured() as cost:
        clean, _ = detector.detect(x_clean)
        triggered, _ = detector.detect(x_triggered)
    as_target = triggered["predicted_class"] == target
    return Judged(clean["outlier_scores"], triggered["outlier_scores"], as_target, triggered, cost)


def rates(clean: np.ndarray, triggered: np.ndarray, as_target: np.ndarray, threshold: float) -> dict[str, Any]:
    """
    :param clean: Scores of clean images, (n,), whatever class they are sent to.
    :param triggered: Scores of triggered images, (m,).
    :param as_target: Which of those the model sends to the target, (m,), bool.
    :return: ``tpr``: over those, ``tpr_of_all``: over all triggered images (one that is not sent to the target counts as
        missed), ``fpr``: over all clean images; and the three denominators.
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
    A row for each detector whose packages are installed, as those of the layer-wise rules. All learn from the same trusted
    images, and set their threshold on them.
    """
    rows = []
    for peer in PEERS:
        if peer.needs_pyod and not pyod_is_installed():
            continue
        detector = peer.make(classifier, random_state)
        with measured() as cost:
            detector.fit(split.x_defence, split.y_defence, fpr=PEER_FPR)
        random = np.random.default_rng(random_state)
        x_clean, x_triggered = (_some(x, peer.most, random) for x in (split.x_clean, split.x_triggered))
        found = judge(detector, x_clean, x_triggered, target)
        row = {"title": f"{peer.title}, target FPR {PEER_FPR:g}", "fit_seconds": cost.seconds}
        row |= found.figures(detector.threshold_)
        rows.append({**row, "peak_memory_mb": max(cost.peak_memory_mb, found.cost.peak_memory_mb)})
    return rows


def peer_filters(classifier: Any, x: np.ndarray, y: np.ndarray, random_state: int = 0) -> list[tuple[str, PoisonFilter]]:
    """Titles and filters of training sets, of those whose packages are installed."""
    filters: list[tuple[str, PoisonFilter]] = [("SPECTRE (penultimate)", SPECTRE(classifier, x, y))]
    if pyod_is_installed():
        for detector, title in PYOD_TITLES.items():
            made = PyODFilter(classifier, x, y, detector, random_state=random_state)
            filters.append((f"{title} (penultimate)", made))
    return filters


def _some(x: np.ndarray, most: int | None, random: np.random.Generator) -> np.ndarray:
    """At most so many rows."""
    return x if most is None or len(x) <= most else x[np.sort(random.choice(len(x), most, replace=False))]
