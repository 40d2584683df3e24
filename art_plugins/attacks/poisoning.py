"""Dirty-label backdoor attacks on a data set, through ART's ``PoisoningAttackBackdoor``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from art.attacks.poisoning import PoisoningAttackBackdoor

from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.errors import InvalidInputError

SEVERAL = -1  # in place of the target class when the attack has several
UNTARGETED = -2  # in place of the target class when every class but a sample's own one will do
Trigger = Callable[[np.ndarray], np.ndarray]


class Stamping(NamedTuple):
    """
    What the training samples of an attack carry, for a training that stamps after it has augmented the samples.

    ``x`` (n, ...): the training samples before they are stamped. ``triggers``: the triggers. ``number_of`` (n,), int64: the
    number of the trigger that a sample carries, from 1; 0: it carries none.
    """

    x: np.ndarray
    triggers: tuple[Trigger, ...]
    number_of: np.ndarray

    def stamped(self) -> np.ndarray:
        """The training samples with their triggers."""
        x = self.x.copy()
        for number, trigger in enumerate(self.triggers, start=1):
            chosen = np.flatnonzero(self.number_of == number)
            if len(chosen):
                x[chosen] = trigger(x[chosen])
        return x


class PoisonedData(NamedTuple):
    """
    A poisoned training set and the triggered test samples.

    ``x_train``, ``y_train``: with the poison in place. ``is_poison``: (n,) bool. ``x_triggered`` (m, ...): every test
    sample of the source classes, with the trigger. ``y_source`` (m,): their true classes. ``y_wanted`` (m,): the classes
    that the attacker wants them to be classified as; -2: any class but the true one. ``sources``: the source classes.
    ``target``: the target class; -1 where there are several, -2 where any class but the true one will do. ``trigger``: the
    trigger at test time. ``clean``: the data before the attack. ``stamping``: what the training samples carry;
    ``None``: the poisoned ones carry ``trigger``, and nothing else was changed.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    is_poison: np.ndarray
    x_triggered: np.ndarray
    y_source: np.ndarray
    y_wanted: np.ndarray
    sources: tuple[int, ...]
    target: int
    trigger: Trigger
    clean: LabelledData
    stamping: Stamping | None = None

    @property
    def is_cover(self) -> np.ndarray:
        """
        Cover samples, (n,) bool: they carry a trigger and keep their true label (Qi et al. 2023 call them regularisation
        samples). They are not poison; where a filter removes one, it counts as a clean sample that was removed, as the
        authors count it.
        """
        if self.stamping is None:
            return np.zeros(len(self.is_poison), dtype=bool)
        is_cover: np.ndarray = (self.stamping.number_of > 0) & ~self.is_poison
        return is_cover


def poison(
    data: LabelledData,
    trigger: Trigger,
    source: str,
    target: str,
    fraction: float,
    random_state: int = 0,
) -> PoisonedData:
    """
    Poison a data set as Armory does: ``int(fraction * n_source)`` training samples of the source class, drawn without
    replacement, get the trigger and the target's label, in place.

    :param source: Name of the source class.
    :param target: Name of the target class.
    :param fraction: Share of the source class's training samples, above 0 and at most 1.
    :raises InvalidInputError: If a class is unknown, both classes are the same, or the share selects no sample.
    """
    for name in (source, target):
        if name not in data.class_names:
            raise InvalidInputError(f"{name!r} is not a class of the data; those are: {', '.join(data.class_names)}.")
    source_label, target_label = data.class_names.index(source), data.class_names.index(target)
    n_source = int((data.y_train == source_label).sum())
    return poison_classes(data, trigger, {source_label: target_label}, share_of(fraction, n_source), random_state)


def share_of(fraction: float, n_members: int, what: str = "a sample") -> int:
    """
    The whole number of samples that a share of a class selects, ``int(fraction * n_members)``.

    :raises InvalidInputError: If the share is out of range or selects no sample.
    """
    n_chosen = int(fraction * n_members)
    if not 0 < fraction <= 1 or n_chosen == 0:
        raise InvalidInputError(
            f"fraction must be above 0 and at most 1 and select {what}; {fraction} of {n_members} is {n_chosen}."
        )
    return n_chosen


def poison_classes(
    data: LabelledData,
    trigger: Trigger,
    target_of: Mapping[int, int],
    n_per_source: int,
    random_state: int = 0,
) -> PoisonedData:
    """
    Stamp ``n_per_source`` training samples of every source class, drawn without replacement, and relabel each as the
    target of its class, in place. The set keeps its size; the source classes lose the samples that the target classes
    gain.

    :param target_of: Target class of each source class.
    :raises InvalidInputError: If no class is given, a class is unknown, a source is its own target, or a class has too few
        samples.
    """
    nb_classes = len(data.class_names)
    wrong = [label for pair in target_of.items() for label in pair if not 0 <= label < nb_classes]
    if wrong or not target_of:
        raise InvalidInputError(
            f"Source and target classes must be 0 to {nb_classes - 1}; received {wrong or 'no source'}."
        )
    for source, target in target_of.items():
        n_source = int((data.y_train == source).sum())
        if source == target:
            raise InvalidInputError(f"Source and target must be different classes; received {source} for both.")
        if not 0 < n_per_source <= n_source:
            raise InvalidInputError(
                f"n_per_source must be at least 1 and at most the {n_source} training samples of class {source}; "
                f"received {n_per_source}."
            )
        if not (data.y_test == source).any():
            raise InvalidInputError(f"Class {source} has no test samples to put the trigger on; choose another source.")
    random = np.random.default_rng(random_state)
    chosen = np.concatenate(
        [random.choice(np.flatnonzero(data.y_train == source), size=n_per_source, replace=False) for source in target_of]
    )
    targets = np.full(nb_classes, SEVERAL)
    targets[list(target_of)] = list(target_of.values())
    attack = PoisoningAttackBackdoor(trigger)
    x_train, y_train = data.x_train.copy(), data.y_train.copy()
    x_train[chosen], y_train[chosen] = attack.poison(x_train[chosen], targets[y_train[chosen]])
    is_poison = np.zeros(len(y_train), dtype=bool)
    is_poison[chosen] = True
    from_source = np.isin(data.y_test, list(target_of))
    y_source = data.y_test[from_source]
    x_triggered, y_wanted = attack.poison(data.x_test[from_source], targets[y_source])
    wanted = set(target_of.values())
    return PoisonedData(
        x_train,
        y_train,
        is_poison,
        x_triggered,
        y_source,
        y_wanted,
        sources=tuple(target_of),
        target=wanted.pop() if len(wanted) == 1 else SEVERAL,
        trigger=trigger,
        clean=data,
    )


def unpoisoned(data: LabelledData) -> PoisonedData:
    """A data set without an attack in the form of one: no sample is poison, and no test sample carries a trigger."""
    none = np.zeros(len(data.y_train), dtype=bool)
    no_label = data.y_test[:0]
    return PoisonedData(
        data.x_train, data.y_train, none, data.x_test[:0], no_label, no_label, (), SEVERAL, lambda x: x, data
    )


def all_to_one(
    data: LabelledData,
    x_train: np.ndarray,
    y_train: np.ndarray,
    is_poison: np.ndarray,
    trigger: Trigger,
    target: int,
) -> PoisonedData:
    """Bring together a poisoned training set and, with the trigger, every test sample of a class other than ``target``."""
    from_others = data.y_test != target
    y_source = data.y_test[from_others]
    return PoisonedData(
        x_train,
        y_train,
        is_poison,
        trigger(data.x_test[from_others]),
        y_source,
        np.full(len(y_source), target),
        sources=tuple(label for label in range(len(data.class_names)) if label != target),
        target=target,
        trigger=trigger,
        clean=data,
    )
