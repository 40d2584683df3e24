"""
Measures layer-wise feature analysis on one attacked model: as a detector and as a filter, beside other authors' methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from art_plugins.attacks.poisoning import PoisonedData
from art_plugins.defences.contract import PoisonFilter
from art_plugins.defences.layerwise import LayerwiseFeatureDefence
from art_plugins.defences.layerwise_detector import LayerwiseFeatureDetector
from art_plugins.evaluation.detectors import LAYERWISE_DETECTORS, MAHALANOBIS, PAPER, RuleSetting
from art_plugins.evaluation.filters import LAYERWISE_FILTERS, usable_filters
from art_plugins.evaluation.held_out import HeldOut
from art_plugins.evaluation.metrics import filter_metrics, measured
from art_plugins.evaluation.peers import DetectorScores, judge, peer_rows, rates

TAUS = tuple(float(tau) for tau in np.arange(0.5, 4.01, 0.25))  # of Fig. 5


def evaluate_detectors(
    classifier: Any, split: HeldOut, target: int, random_state: int = 0, with_peers: bool | Sequence[str] = False
) -> dict[str, Any]:
    """
    Measure both rules on test images that the detector has not seen.

    :param split: ``x_defence`` is the trusted validation set. All other clean images and all triggered images are judged.
    :param target: Target class of the attack.
    :param random_state: Random seed of the detectors.
    :param with_peers: Measure detectors of other authors as well: all of them, or those with these titles.
    :return: JSON-safe. ``layers``: their names. ``detectors``: a row for each of ``LAYERWISE_DETECTORS``, then one for
        each peer. ``curves``: TPR and FPR by tau for both rules. ``profiles``: what Preetha et al. plot.
    """
    rows, curves, profiles = [], {}, {}
    for mode in (PAPER, MAHALANOBIS):
        detector = LayerwiseFeatureDetector(classifier, mode=mode, random_state=random_state)
        with measured() as cost:
            detector.fit(split.x_defence, split.y_defence)
        found = judge(detector, split.x_clean, split.x_triggered, target)
        for setting in LAYERWISE_DETECTORS:
            if setting.parameters["mode"] == mode:
                detector.set_threshold(**_terms(setting))
                figures = found.figures(detector.threshold_)
                rows.append({"title": setting.title, "fit_seconds": cost.seconds, **figures})
                rows[-1]["peak_memory_mb"] = max(cost.peak_memory_mb, found.cost.peak_memory_mb)
        curves[mode] = [{"tau": tau, **_curve_point(detector, found, tau)} for tau in TAUS]
        if mode == PAPER:
            profiles = {
                "benign": _nested(detector.layer_profiles_),
                "layer_of_interest": [int(layer) for layer in detector.layer_of_interest_],
                "poisoned": _mean_by_layer(found.triggered_report["layer_similarities"][found.as_target]),
            }
    if with_peers:
        only = None if isinstance(with_peers, bool) else with_peers
        rows += peer_rows(classifier, split, target, random_state, only=only)
    return {"layers": list(detector.layers_), "detectors": rows, "curves": curves, "profiles": profiles}


def evaluate_filters(
    classifier: Any,
    attack: PoisonedData,
    x_trusted: np.ndarray,
    y_trusted: np.ndarray,
    random_state: int = 0,
    with_peers: bool = False,
) -> list[dict[str, Any]]:
    """
    Filter the poisoned training set with both rules, with and without trusted samples, and with ART's filters.

    :param x_trusted: Trusted samples, (m, ...).
    :param y_trusted: Labels of these samples, (m,).
    :param random_state: Random seed of the filters.
    :param with_peers: Measure filters of other authors as well.
    :return: A row for each filter.
    """
    x, y = attack.x_train, attack.y_train
    filters: list[tuple[str, PoisonFilter]] = []
    for setting in LAYERWISE_FILTERS:
        options = {**setting.parameters, "random_state": random_state}
        trusted = LayerwiseFeatureDefence(classifier, x, y, x_val=x_trusted, y_val=y_trusted, **options)
        filters.append((f"{setting.title}, {len(x_trusted)} trusted", trusted))
        filters.append((f"{setting.title}, none trusted", LayerwiseFeatureDefence(classifier, x, y, **options)))
    for other in usable_filters(classifier, "art", *(["peer"] if with_peers else [])):
        trusted_too = {"x_val": x_trusted, "y_val": y_trusted} if other.takes_trusted else {}
        filters.append((other.title, other.make(classifier, x, y, random_state, **trusted_too)))
    rows = []
    for title, one in filters:
        with measured() as cost:
            _, is_clean = one.detect_poison()
        scores = getattr(one, "outlier_scores_", None)
        figures = filter_metrics(np.array(is_clean), attack.is_poison, y == attack.target, scores)
        rows.append({"title": title, **figures, "seconds": cost.seconds, "peak_memory_mb": cost.peak_memory_mb})
    return rows


def _curve_point(detector: LayerwiseFeatureDetector, found: DetectorScores, tau: float) -> dict[str, Any]:
    detector.set_threshold(tau=tau)
    figures = rates(found.clean, found.triggered, found.as_target, detector.threshold_)
    return {"tpr": figures["tpr"], "fpr": figures["fpr"]}


def _terms(setting: RuleSetting) -> dict[str, Any]:
    return {name: value for name, value in setting.parameters.items() if name in ("tau", "fpr")}


def _nested(values: np.ndarray) -> list[list[float | None]]:
    return [[float(value) if np.isfinite(value) else None for value in row] for row in values]


def _mean_by_layer(values: np.ndarray) -> Sequence[float]:
    means: list[float] = values.mean(axis=0).tolist()
    return means
