"""How well an attack works: its success rate, and what is left of the clean accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np

from art_plugins.attacks.poisoning import PoisonedData
from art_plugins.errors import InvalidInputError
from art_plugins.triggers.input_aware import InputAwareTrigger


def ratio(numerator: int, denominator: int) -> float | None:
    """The quotient, or ``None`` for a denominator of 0."""
    return numerator / denominator if denominator else None


def attack_metrics(
    classifier: Any, x_test: np.ndarray, y_test: np.ndarray, x_triggered: np.ndarray, target: int | np.ndarray
) -> dict[str, Any]:
    """
    Accuracy on clean test samples, and the share of triggered source-class test samples that are classified as the target.

    :param target: One class, or what the attack wants of each triggered sample, (m,).
    """
    clean = classifier.predict(x_test).argmax(axis=1)
    triggered = classifier.predict(x_triggered).argmax(axis=1)
    return {
        "clean_accuracy": float((clean == y_test).mean()),
        "attack_success": float((triggered == target).mean()),
        "n_clean_test": len(x_test),
        "n_triggered_test": len(x_triggered),
    }


def assert_attack_works(classifier: Any, attack: PoisonedData, least: float = 0.95) -> dict[str, Any]:
    """
    A defence that is tested on an attack that failed shows nothing: raise unless the attack works.

    :param least: Lowest share of triggered test images of the source classes that the model must classify as wanted.
    :return: ``clean_accuracy``, ``attack_success``, ``n_clean_test``, ``n_triggered_test``; of an input-aware attack
        ``crossed_success`` as well: the share that comes to the target with the trigger of another image, drawn at random.
    :raises InvalidInputError: If fewer are.
    """
    clean = attack.clean
    figures = attack_metrics(classifier, clean.x_test, clean.y_test, attack.x_triggered, attack.y_wanted)
    if figures["attack_success"] < least:
        raise InvalidInputError(
            f"The attack works on {figures['attack_success']:.3f} of the triggered test images, less than {least}; make "
            "the trigger stronger, poison more images or train longer before judging a defence."
        )
    if isinstance(attack.trigger, InputAwareTrigger):
        x = clean.x_test[np.isin(clean.y_test, attack.sources)]
        crossed = attack.trigger.crossed(x, np.random.default_rng(0).permutation(x))
        figures["crossed_success"] = float((classifier.predict(crossed).argmax(axis=1) == attack.target).mean())
    return figures
