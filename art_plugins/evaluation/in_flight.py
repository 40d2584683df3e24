"""Detectors of triggers at test time on one attacked model: inversion, every density family, and the baselines."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from art_plugins.attacks.success import ratio
from art_plugins.baselines.patching import neural_cleanse_patching
from art_plugins.baselines.patterns import B3D, STRIP, NeuralCleanseFilter
from art_plugins.defences.in_flight import InFlightDetector
from art_plugins.evaluation.held_out import HeldOut
from art_plugins.features.activations import hidden_layers, logits_and_hidden
from art_plugins.statistics.outliers import combined_index
from art_plugins.statistics.thresholds import best_tpr_near_fpr
from art_plugins.triggers.found import Inversion
from art_plugins.triggers.inversion import invert_triggers
from art_plugins.triggers.trigger import Trigger, stamped

# Family, hidden layers, power of the features, margin, removal of the pattern; the paper's form first, the default last.
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
BASELINE_FPR = 0.05  # at which the paper reads off the baselines


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
    Invert the triggers, then judge clean and triggered test images with every detector on the pattern that was found.

    Where the inversion finds no backdoor, or another class, the detectors are measured on its best pattern for the true
    target all the same, and ``right_target`` is false.

    :param classifier: The attacked model, an ART ``PyTorchClassifier``.
    :param nb_steps: Of the inversion; see :func:`~art_plugins.triggers.inversion.invert_triggers`.
    :param precision: Of the inversion.
    :return: JSON-safe: ``inversion``, ``detectors`` (a row a form), ``wrong_target`` (a detector for another class),
        ``baselines``, ``patching``.
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
    """The trigger that was found, if it leads to ``target``; else the pattern towards it that makes it stand out most."""
    if found.target_class == target and found.trigger is not None:
        return found.trigger
    best = max(found.inverted, key=lambda one: float(np.nan_to_num(one.anomaly_index[target], nan=-np.inf)))
    return best.trigger(target)


def inversion_row(found: Inversion, target: int | None, seconds: float) -> dict[str, Any]:
    """An inversion, JSON-safe."""
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
            }
            for one in found.inverted
        ],
        "seconds": seconds,
    }


def detection_figures(
    clean: tuple[np.ndarray, np.ndarray],
    triggered: tuple[np.ndarray, np.ndarray],
    y_clean: np.ndarray,
    target: int,
) -> dict[str, Any]:
    """
    Rates with both denominators.

    :param clean: Predicted classes (n,) and verdicts (n,) of the clean test images.
    :param triggered: The same of the triggered ones.
    :param y_clean: True classes of the clean ones.
    :return: ``tpr``: caught share of the triggered images that the model sends to the target, ``tpr_of_all``: of all
        triggered images; ``fpr``: of the clean target-class images predicted so, ``fpr_of_all``: of all clean images
        predicted as the target; and the four denominators.
    """
    as_target = triggered[0] == target
    clean_as_target = clean[0] == target
    in_class = clean_as_target & (y_clean == target)
    caught = int((triggered[1] & as_target).sum())
    return {
        "tpr": ratio(caught, int(as_target.sum())),
        "tpr_of_all": ratio(caught, len(as_target)),
        "fpr": ratio(int((clean[1] & in_class).sum()), int(in_class.sum())),
        "fpr_of_all": ratio(int((clean[1] & clean_as_target).sum()), int(clean_as_target.sum())),
        "n_triggered_as_target": int(as_target.sum()),
        "n_triggered": len(as_target),
        "n_clean_target": int(in_class.sum()),
        "n_clean_as_target": int(clean_as_target.sum()),
    }


def source_accuracy(inferred: np.ndarray, y_source: np.ndarray, predicted: np.ndarray, target: int) -> dict[str, Any]:
    """
    Source class inference accuracy: over the triggered images that the model sends to the target (``sia``) and over all of
    them (``sia_of_all``); an image that is not caught counts as wrong.
    """
    right = inferred == y_source
    as_target = predicted == target
    return {
        "sia": ratio(int((right & as_target).sum()), int(as_target.sum())),
        "sia_of_all": ratio(int((right & as_target).sum()), len(as_target)),
    }


def _form_rows(
    classifier: Any,
    split: HeldOut,
    trigger: Trigger,
    target: int,
    random_state: int,
) -> list[dict[str, Any]]:
    """Every form of the detector, on features that are computed once."""
    layers = hidden_layers(classifier, split.x_defence, max(n_layers for _, n_layers, *_ in FORMS))
    is_source = split.y_defence != target
    defence = split.x_defence.copy()
    defence[is_source] = stamped(trigger, split.x_defence[is_source])
    by_layer = [
        [logits_and_hidden(classifier, x, [layer]) for layer in layers] for x in (defence, split.x_clean, split.x_triggered)
    ]
    rows = []
    for family, n_layers, power, margin, removal in FORMS:
        options: dict[str, Any] = {"family": family, "n_layers": n_layers, "power": power, "margin": margin}
        options["removal"] = removal
        detector = InFlightDetector(classifier, trigger, target, **options, random_state=random_state)
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
    """What a detector does that was made for the class ``wrong`` while the backdoor leads to another one."""
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
    """Each baseline with its threshold swept on the test images, as in the paper, and set on the defender's."""
    detectors = {
        "Neural Cleanse": NeuralCleanseFilter(classifier, trigger, target),
        "B3D": B3D(classifier, trigger, target_class=target),
        "STRIP": STRIP(classifier, target_class=target, random_state=random_state),
    }
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
    """Neural Cleanse's patching on the defender's images, by learning rate (Table 3)."""
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
