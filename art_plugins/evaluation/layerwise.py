"""Layer-wise feature analysis on one attacked model: both rules at test time and as filters, beside ART's filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score

from art_plugins.defences.baselines import ActivationClustering, SpectralSignatures
from art_plugins.defences.contract import PoisonFilter
from art_plugins.defences.layerwise import LayerwiseFeatureDefence, LayerwiseFeatureDetector
from art_plugins.evaluation.in_flight import TestSplit
from art_plugins.evaluation.metrics import filter_metrics, measured, ratio
from art_plugins.evaluation.poisoning import PoisonedData

TAUS = tuple(float(tau) for tau in np.arange(0.5, 4.01, 0.25))  # of Fig. 5
FPRS = (0.01, 0.02)  # the default rule's target false-positive rates in the table


class Setting(NamedTuple):
    """A row of the tables: ``title``, and keyword arguments of the defence."""

    title: str
    parameters: dict[str, Any]


DEFAULT = "mahalanobis"
DETECTORS = (
    Setting("paper, tau 2", {"mode": "paper", "tau": 2.0}),
    Setting("paper, tau 2.5", {"mode": "paper", "tau": 2.5}),
    *(Setting(f"default, target FPR {fpr:g}", {"mode": DEFAULT, "fpr": fpr}) for fpr in FPRS),
)
FILTERS = (
    Setting("paper, tau 2.5", {"mode": "paper", "tau": 2.5}),
    Setting("default, target FPR 0.01", {"mode": DEFAULT, "fpr": 0.01}),
)


def evaluate_detectors(classifier: Any, split: TestSplit, target: int, random_state: int = 0) -> dict[str, Any]:
    """
    Both rules on test images of which the detector knows nothing.

    :param split: ``x_defence`` is the trusted validation set; of the rest all clean and all triggered images are judged.
    :return: JSON-safe: ``layers``; ``detectors``: a row for each of ``DETECTORS``; ``curves``: TPR and FPR by tau for both
        rules; ``profiles``: what Preetha et al. plot.
    """
    rows, curves, profiles = [], {}, {}
    for mode in ("paper", DEFAULT):
        detector = LayerwiseFeatureDetector(classifier, mode=mode, random_state=random_state)
        with measured() as cost:
            detector.fit(split.x_defence, split.y_defence)
        clean, _ = detector.detect(split.x_clean)
        triggered, _ = detector.detect(split.x_triggered)
        as_target = triggered["predicted_class"] == target
        scores = clean["outlier_scores"], triggered["outlier_scores"]
        auroc = float(
            roc_auc_score(np.r_[np.zeros(len(scores[0])), np.ones(as_target.sum())], np.r_[scores[0], scores[1][as_target]])
        )
        for setting in DETECTORS:
            if setting.parameters["mode"] == mode:
                detector.set_threshold(**_terms(setting))
                figures = rates(scores[0], scores[1], as_target, detector.threshold_)
                rows.append({"title": setting.title, "auroc": auroc, "fit_seconds": cost.seconds, **figures})
        curves[mode] = [{"tau": tau, **_curve_point(detector, scores, as_target, tau)} for tau in TAUS]
        if mode == "paper":
            profiles = {
                "benign": _nested(detector.layer_profiles_),
                "layer_of_interest": [int(layer) for layer in detector.layer_of_interest_],
                "poisoned": _mean_by_layer(triggered["layer_similarities"][as_target]),
            }
    return {"layers": list(detector.layers_), "detectors": rows, "curves": curves, "profiles": profiles}


def evaluate_filters(
    classifier: Any, attack: PoisonedData, x_trusted: np.ndarray, y_trusted: np.ndarray, random_state: int = 0
) -> list[dict[str, Any]]:
    """Both rules, with and without trusted data, and ART's filters, on the poisoned training set; a row each."""
    x, y = attack.x_train, attack.y_train
    filters: list[tuple[str, PoisonFilter]] = []
    for setting in FILTERS:
        options = {**setting.parameters, "random_state": random_state}
        trusted = LayerwiseFeatureDefence(classifier, x, y, x_val=x_trusted, y_val=y_trusted, **options)
        filters.append((f"{setting.title}, {len(x_trusted)} trusted", trusted))
        filters.append((f"{setting.title}, none trusted", LayerwiseFeatureDefence(classifier, x, y, **options)))
    for kind, title in ((ActivationClustering, "Activation clustering"), (SpectralSignatures, "Spectral signatures")):
        for features in ("logits", "penultimate"):
            made = kind(classifier, x, y, features=features, random_state=random_state)
            filters.append((f"{title} ({features})", made))
    rows = []
    for title, one in filters:
        with measured() as cost:
            _, is_clean = one.detect_poison()
        scores = getattr(one, "outlier_scores_", None)
        figures = filter_metrics(np.array(is_clean), attack.is_poison, y == attack.target, scores)
        rows.append({"title": title, **figures, "seconds": cost.seconds, "peak_memory_mb": cost.peak_memory_mb})
    return rows


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


def _curve_point(
    detector: LayerwiseFeatureDetector, scores: tuple[np.ndarray, np.ndarray], as_target: np.ndarray, tau: float
) -> dict[str, Any]:
    detector.set_threshold(tau=tau)
    figures = rates(*scores, as_target, detector.threshold_)
    return {"tpr": figures["tpr"], "fpr": figures["fpr"]}


def _terms(setting: Setting) -> dict[str, Any]:
    return {name: value for name, value in setting.parameters.items() if name in ("tau", "quantile", "fpr")}


def _nested(values: np.ndarray) -> list[list[float | None]]:
    return [[float(value) if np.isfinite(value) else None for value in row] for row in values]


def _mean_by_layer(values: np.ndarray) -> Sequence[float]:
    means: list[float] = values.mean(axis=0).tolist()
    return means
