"""A dirty-label backdoor attack on a data set, through ART's ``PoisoningAttackBackdoor``."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from art.attacks.poisoning import PoisoningAttackBackdoor

from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.datasets.labelled import LabelledData


class PoisonedData(NamedTuple):
    """
    ``x_train``, ``y_train`` with poison in place, ``is_poison`` (n,) bool; ``x_triggered``: every test sample of the source
    class with the trigger, which the attack wants to see classified as ``target``; ``clean``: the data before.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    is_poison: np.ndarray
    x_triggered: np.ndarray
    source: int
    target: int
    clean: LabelledData


def poison(
    data: LabelledData,
    trigger: Callable[[np.ndarray], np.ndarray],
    source: str,
    target: str,
    fraction: float,
    random_state: int = 0,
) -> PoisonedData:
    """
    As Armory does: ``int(fraction * n_source)`` training samples of the source class, drawn without replacement, get the
    trigger and the target's label in place.

    :param source: Name of the source class.
    :param target: Name of the target class.
    :param fraction: Share of the source class's training samples, above 0 and at most 1.
    :raises InvalidInputError: For unknown or equal classes, or a fraction that selects no sample.
    """
    for name in (source, target):
        if name not in data.class_names:
            raise InvalidInputError(f"{name!r} is not a class of the data; those are: {', '.join(data.class_names)}.")
    if source == target:
        raise InvalidInputError(f"Source and target must be different classes; received {source!r} for both.")
    source_label, target_label = data.class_names.index(source), data.class_names.index(target)
    candidates = np.flatnonzero(data.y_train == source_label)
    n_poison = int(fraction * len(candidates))
    if not 0 < fraction <= 1 or n_poison == 0:
        raise InvalidInputError(
            f"fraction must be above 0 and at most 1 and select a sample; {fraction} of {len(candidates)} is {n_poison}."
        )
    chosen = np.random.default_rng(random_state).choice(candidates, size=n_poison, replace=False)
    attack = PoisoningAttackBackdoor(trigger)
    x_train, y_train = data.x_train.copy(), data.y_train.copy()
    x_train[chosen], y_train[chosen] = attack.poison(x_train[chosen], np.full(n_poison, target_label))
    is_poison = np.zeros(len(y_train), dtype=bool)
    is_poison[chosen] = True
    x_source = data.x_test[data.y_test == source_label]
    x_triggered, _ = attack.poison(x_source, np.full(len(x_source), target_label))
    return PoisonedData(x_train, y_train, is_poison, x_triggered, source_label, target_label, data)
