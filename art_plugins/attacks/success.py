"""How well an attack works: its success rate, and the clean accuracy of the attacked model."""

from __future__ import annotations

from typing import Any

import numpy as np

from art_plugins.attacks.poisoning import UNTARGETED, PoisonedData
from art_plugins.errors import InvalidInputError
from art_plugins.triggers.input_aware import InputAwareTrigger

LEAST_SUCCESS = 0.8  # a defence is not judged on an attack that works on fewer of the triggered test samples


def ratio(numerator: int, denominator: int) -> float | None:
    """The quotient, or ``None`` for a denominator of 0."""
    return numerator / denominator if denominator else None


def attack_metrics(
    classifier: Any,
    x_test: np.ndarray,
    y_test: np.ndarray,
    x_triggered: np.ndarray,
    target: int | np.ndarray,
    y_source: np.ndarray | None = None,
) -> dict[str, Any]:
    """
    Accuracy on clean test samples, and the share of the triggered samples that are classified as the attacker wants.

    :param target: One class, or the class that the attacker wants for each triggered sample, (m,); -2: any class but the
        true one, which an untargeted attack wants.
    :param y_source: True classes of the triggered samples, (m,); an untargeted attack needs them.
    :raises InvalidInputError: For an untargeted attack without the true classes.
    """
    any_other = np.asarray(target) == UNTARGETED
    if any_other.any() and y_source is None:
        raise InvalidInputError("The success of an untargeted attack is counted by the true classes; give y_source.")
    clean = classifier.predict(x_test).argmax(axis=1)
    triggered = classifier.predict(x_triggered).argmax(axis=1)
    succeeded = np.where(any_other, triggered != y_source, triggered == target)
    return {
        "clean_accuracy": float((clean == y_test).mean()),
        "attack_success": float(succeeded.mean()),
        "n_clean_test": len(x_test),
        "n_triggered_test": len(x_triggered),
    }


def attack_success(classifier: Any, attack: PoisonedData) -> dict[str, Any]:
    """
    Give the figures of :func:`attack_metrics` for an attack on the classifier's training set.

    For an input-aware attack also ``crossed_success``: the share that is sent to the target with the trigger of another
    image, drawn at random.
    """
    clean = attack.clean
    figures = attack_metrics(classifier, clean.x_test, clean.y_test, attack.x_triggered, attack.y_wanted, attack.y_source)
    if isinstance(attack.trigger, InputAwareTrigger):
        x = clean.x_test[np.isin(clean.y_test, attack.sources)]
        crossed = attack.trigger.crossed(x, np.random.default_rng(0).permutation(x))
        figures["crossed_success"] = float((classifier.predict(crossed).argmax(axis=1) == attack.target).mean())
    return figures


def too_weak(figures: dict[str, Any], what: str = "images") -> str | None:
    """
    Say why no defence is judged on an attack; ``None`` if it works, or if there is none.

    :param figures: From :func:`attack_metrics`, or with ``None`` as ``attack_success``.
    :param what: Name of the test samples.
    """
    success = figures["attack_success"]
    if success is None or success >= LEAST_SUCCESS:
        return None
    return f"not judged: the attack works on less than {LEAST_SUCCESS:g} of the triggered test {what}"
