"""
Measures detectors of triggers at test time on one attacked model: trigger inversion, every form of the detector,
baselines.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from art_plugins.attacks.success import ratio
from art_plugins.baselines.patching import neural_cleanse_patching
from art_plugins.defences.in_flight import InFlightDetector
from art_plugins.evaluation.detectors import Backdoor, detectors_of
from art_plugins.evaluation.held_out import HeldOut
from art_plugins.evaluation.in_flight_rates import detection_figures, source_accuracy
from art_plugins.features.activations import hidden_layers, logits_and_hidden
from art_plugins.reports.record_files import IN_FLIGHT
from art_plugins.statistics.outliers import combined_index
from art_plugins.statistics.thresholds import best_tpr_near_fpr
from art_plugins.triggers.found import Inversion
from art_plugins.triggers.inversion import invert_triggers
from art_plugins.triggers.trigger import Trigger, apply_trigger

# Density family, number of hidden layers, power of the features, margin, removal of the pattern. The paper's form is
# first, the default form is last.
FORMS: tuple[tuple[str, int, float, float, bool], ...] = (
    ("mixture", 1, 1.0, 0.0, False),
    ("oas", 1, 1.0, 0.0, False),
    ("tied", 1, 1.0, 0.0, False),
    ("regularised", 1, 1.0, 0.0, False),
    ("mixture", 2, 0.5, 0.0, False),
    ("oas", 2, 0.5, 0.0, False),
    ("tied", 2, 0.5, 0.0, False),
    ("regularised", 2, 1.0, 0.0, False),
    ("regularised", 2, 0.5, 0.0, False),
    ("regularised", 2, 0.5, 0.5, False),
    ("regularised", 2, 0.5, 0.5, True),
)
LEARNING_RATES = (10.0, 1.0, 0.1, 0.01, 0.001, 0.0001)
MOST_TRIGGERED = 1_000  # triggered images that the baselines judge; STRIP runs the model 100 times on each
BASELINE_FPR = 0.05  # false-positive rate at which the paper compares the baselines


def evaluate_in_flight(
    classifier: Any,
    split: HeldOut,
    target: int,
    *,
    with_baselines: bool = True,
    nb_steps: int = 400,
    precision: str = "32-true",
    random_state: int = 0,
    verbose: bool = True,
) -> dict[str, Any]:
    """
    Invert the triggers, then judge clean and triggered test images with every detector for the trigger that was found.

    Where the inversion finds no backdoor, or another target class, ``right_target`` is false. The detectors are measured
    all the same, on the best pattern that the inversion has for the true target.

    :param classifier: The attacked model, an ART ``PyTorchClassifier``.
    :param target: Target class of the attack.
    :param with_baselines: Measure Neural Cleanse, B3D and STRIP as well.
    :param nb_steps: Most steps of the trigger inversion; see :func:`~art_plugins.triggers.inversion.invert_triggers`.
    :param precision: Number format of the trigger inversion.
    :param random_state: Random seed of the trigger inversion and of the detectors.
    :return: JSON-safe. ``inversion``; ``detectors``: a row for each form; ``wrong_target``: a detector for another class;
        ``baselines``; ``patching``.
    """
    start = time.perf_counter()
    options: dict[str, Any] = {"nb_steps": nb_steps, "precision": precision}
    options |= {"random_state": random_state, "verbose": verbose}
    found = invert_triggers(classifier, split.x_defence, split.y_defence, **options)
    seconds = time.perf_counter() - start
    trigger = best_trigger(found, target)
    record: dict[str, Any] = {"inversion": inversion_row(found, target, seconds)}
    x_stampable = split.x_clean[np.isin(split.y_clean, np.unique(split.y_source))]
    record["inversion"]["estimated_attack_success"] = float(
        (classifier.predict(trigger(x_stampable)).argmax(axis=1) == target).mean()
    )
    record["detectors"] = _form_rows(classifier, split, trigger, target, random_state)
    record["wrong_target"] = _wrong_target_figures(classifier, split, found, (target + 1) % len(found.anomaly_index))
    if with_baselines:
        record["baselines"] = _baseline_rows(classifier, split, trigger, target, random_state)
        record["patching"] = _patching_rows(classifier, split, trigger, target, random_state)
    return record


def best_trigger(found: Inversion, target: int) -> Trigger:
    """
    The trigger that was found, if it leads to ``target``; otherwise the pattern towards ``target`` with the highest
    anomaly index.
    """
    if found.target_class == target and found.trigger is not None:
        return found.trigger
    best = max(found.inverted, key=lambda one: float(np.nan_to_num(one.anomaly_index[target], nan=-np.inf)))
    return best.trigger(target)


def inversion_row(found: Inversion, target: int | None, seconds: float) -> dict[str, Any]:
    """
    What a trigger inversion found, JSON-safe.

    :param target: True target class; ``None``: there is no single one.
    :param seconds: How long the inversion took.
    """
    return {
        "target_class": found.target_class,
        "right_target": found.target_class == target,
        "source_class": found.source_class,
        "source_index": [_number(value) for value in combined_index([one.anomaly_index for one in found.by_source])]
        if found.by_source
        else None,
        "kind": found.kind,
        "anomaly_index": [_number(value) for value in found.anomaly_index],
        "expected_distances": [_number(value) for value in found.expected_distances],
        "kinds": [
            {
                "kind": one.kind,
                "norms": [_number(value) for value in one.norms],
                "success_rates": [_number(value) for value in one.success_rates],
                "anomaly_index": [_number(value) for value in one.anomaly_index],
                "not_converged": [int(label) for label in np.flatnonzero(one.broke_off | one.unfinished)],
                "stands_for": one.stands_for.tolist() or None,
            }
            for one in found.inverted
        ],
        "seconds": seconds,
    }


def _form_rows(
    classifier: Any,
    split: HeldOut,
    trigger: Trigger,
    target: int,
    random_state: int,
) -> list[dict[str, Any]]:
    """Measure every form of the detector, on features that are computed once."""
    layers = hidden_layers(classifier, split.x_defence, max(n_layers for _, n_layers, *_ in FORMS))
    is_source = split.y_defence != target
    defence = split.x_defence.copy()
    defence[is_source] = apply_trigger(trigger, split.x_defence[is_source])
    by_layer = [
        [logits_and_hidden(classifier, x, [layer]) for layer in layers] for x in (defence, split.x_clean, split.x_triggered)
    ]
    rows = []
    for family, n_layers, power, margin, removal in FORMS:
        options: dict[str, Any] = {"n_layers": n_layers, "margin": margin, "removal": removal, "random_state": random_state}
        detector = InFlightDetector(classifier, trigger, target, density={"family": family, "power": power}, **options)
        fitted, clean, triggered = (
            (parts[0][0], np.concatenate([hidden for _, hidden in parts[-n_layers:]], axis=1)) for parts in by_layer
        )
        detector.fit_features(fitted[1], split.y_defence)
        on_clean, clean_caught = detector.detect_features(*clean)
        on_triggered, triggered_caught = detector.detect_features(*triggered, split.x_triggered)
        figures = detection_figures(
            (on_clean["predicted_class"], clean_caught),
            (on_triggered["predicted_class"], triggered_caught),
            split.y_clean,
            target,
        )
        sources = source_accuracy(on_triggered["source_class"], split.y_source, on_triggered["predicted_class"], target)
        rows.append({"form": [family, n_layers, power, margin, removal], **figures, **sources})
    return rows


def _wrong_target_figures(classifier: Any, split: HeldOut, found: Inversion, wrong: int) -> dict[str, Any]:
    """Measure a detector that was made for the class ``wrong``, while the backdoor leads to another class."""
    detector = InFlightDetector(classifier, best_trigger(found, wrong), wrong)
    detector.fit(split.x_defence, split.y_defence)
    _, triggered_caught = detector.detect(split.x_triggered)
    on_clean, clean_caught = detector.detect(split.x_clean)
    judged = on_clean["predicted_class"] == wrong
    return {
        "assumed_class": wrong,
        "tpr_of_all": float(triggered_caught.mean()),
        "fpr_of_all": ratio(int(clean_caught[judged].sum()), int(judged.sum())),
    }


def _baseline_rows(
    classifier: Any, split: HeldOut, trigger: Trigger, target: int, random_state: int
) -> list[dict[str, Any]]:
    """
    Measure each baseline with two thresholds: one swept on the test images, as in the paper, and one set on the defender's
    images.
    """
    backdoor = Backdoor(trigger, target)
    detectors = {one.title: one.make(classifier, random_state, backdoor) for one in detectors_of(IN_FLIGHT)}
    x_clean = split.x_clean[split.y_clean == target]
    x_clean = x_clean[classifier.predict(x_clean).argmax(axis=1) == target]
    some = np.random.default_rng(random_state).permutation(len(split.x_triggered))[:MOST_TRIGGERED]
    x_triggered = split.x_triggered[some]
    x_triggered = x_triggered[classifier.predict(x_triggered).argmax(axis=1) == target]
    rows = []
    for title, detector in detectors.items():
        detector.set_params(fpr=BASELINE_FPR)
        detector.fit(split.x_defence, split.y_defence)
        clean_scores = detector.outlier_scores(x_clean)
        triggered_scores = detector.outlier_scores(x_triggered)
        _, tpr, fpr = best_tpr_near_fpr(clean_scores, triggered_scores, BASELINE_FPR)
        rows.append(
            {
                "title": title,
                "swept_tpr": float(tpr),
                "swept_fpr": float(fpr),
                "tpr": float((triggered_scores > detector.threshold_).mean()),
                "fpr": float((clean_scores > detector.threshold_).mean()),
            }
        )
    return rows


def _patching_rows(
    classifier: Any, split: HeldOut, trigger: Trigger, target: int, random_state: int
) -> list[dict[str, Any]]:
    """Measure Neural Cleanse's patching on the defender's images, with several learning rates (Table 3)."""
    rows = []
    predicted = classifier.predict(split.x_triggered).argmax(axis=1)
    for rate in LEARNING_RATES:
        patched = neural_cleanse_patching(
            classifier, trigger, split.x_defence, split.y_defence, rate, random_state=random_state
        )
        answers = patched.predict(split.x_triggered).argmax(axis=1)
        accuracy = float((patched.predict(split.x_clean).argmax(axis=1) == split.y_clean).mean())
        rows.append(
            {
                "learning_rate": rate,
                "clean_accuracy": accuracy,
                **source_accuracy(answers, split.y_source, predicted, target),
            }
        )
    return rows


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
