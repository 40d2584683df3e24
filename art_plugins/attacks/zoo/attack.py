"""
The one interface of all attacks: ``poison`` changes a training set, ``stamp`` puts the trigger on what the attacked model
shall be fooled with. This module holds the three forms that most attacks have.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import NamedTuple

import numpy as np

from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.attacks.poisoning import PoisonedData, Stamping, Trigger
from art_plugins.errors import InvalidInputError, NotFittedError
from art_plugins.parameters import check_count, check_number, plain
from art_plugins.statistics.labels import class_labels
from art_plugins.triggers.trigger import apply_trigger


class Poisoned(NamedTuple):
    """
    A poisoned training set.

    ``x`` (n, ...), ``y`` (n,): the samples and labels, in their old order. ``is_poison`` (n,) bool. ``stamping``: the
    samples before they were stamped, and which trigger each carries, for a training that augments samples first.
    """

    x: np.ndarray
    y: np.ndarray
    is_poison: np.ndarray
    stamping: Stamping


class Attack(ABC):
    """
    An attack on a training set. What it needs beside the samples, such as a trigger or an encoder, is given to the
    constructor or is trained in ``poison``.

    ``source``: the class whose samples the trigger sends to the target; ``None``: every class but the target.
    """

    source: int | None = None

    @abstractmethod
    def poison(self, x: np.ndarray, y: np.ndarray, rate: float, target: int, random_state: int = 0) -> Poisoned:
        """
        Poison a training set. The arguments are not changed.

        :param x: Samples: images (n, C, H, W) of 0 to 1, or waveforms (n, S) of -1 to 1.
        :param y: Labels, (n,), (n, 1) or one-hot.
        :param rate: Share of the whole set that is poisoned, above 0 and below 1.
        :param target: Class that the trigger shall send samples to.
        :param random_state: Random seed of everything that is drawn or trained.
        :raises InvalidInputError: If a value is out of range, or the set has too few samples.
        """

    @abstractmethod
    def stamp(self, x: np.ndarray) -> np.ndarray:
        """
        Put the trigger on samples, as at test time. ART's ``PoisoningAttackBackdoor`` takes this method as its function.

        :param x: Samples, (n, ...).
        :return: Triggered copy of the same shape and dtype.
        :raises NotFittedError: If the trigger is trained in :meth:`poison`, which was not called.
        """


class DirtyLabel(Attack):
    """
    Stamps samples of all other classes and gives them the target's label (Gu et al. 2019), by any trigger.

    :param trigger: Takes a batch of samples and gives the stamped batch; ``None``: a subclass makes it in :meth:`prepare`.
    :param test_trigger: Trigger at test time; ``None``: the same one.
    """

    def __init__(self, trigger: Trigger | None, test_trigger: Trigger | None = None) -> None:
        self.trigger, self.test_trigger = trigger, test_trigger

    def poison(self, x: np.ndarray, y: np.ndarray, rate: float, target: int, random_state: int = 0) -> Poisoned:
        labels, n_poison = checked(x, y, rate, target, random_state)
        chosen = draw(self.eligible(labels, target), n_poison, random_state)
        cover = self.cover_rows(labels, target, n_poison, random_state)
        self.prepare(x, labels, target, random_state)
        return poisoned_by_stamp(x, labels, self._made(self.trigger), (chosen, cover), target)

    def stamp(self, x: np.ndarray) -> np.ndarray:
        return apply_trigger(self._made(self.test_trigger or self.trigger), x)

    def prepare(self, x: np.ndarray, labels: np.ndarray, target: int, random_state: int) -> None:
        """Make the trigger from the samples, where an attack does so."""

    def eligible(self, labels: np.ndarray, target: int) -> np.ndarray:
        """Say which samples may become poison, (n,) bool."""
        others: np.ndarray = labels != target
        return others

    def cover_rows(self, labels: np.ndarray, target: int, n_poison: int, random_state: int) -> np.ndarray:
        """Draw the samples that are stamped and keep their label; none unless an attack has such."""
        return np.zeros(0, dtype=np.int64)

    @staticmethod
    def _made(trigger: Trigger | None) -> Trigger:
        if trigger is None:
            raise NotFittedError("The trigger is made in poison; call poison first.")
        return trigger


class CleanLabel(DirtyLabel):
    """Stamps samples of the target class, which keep their label (Barni et al. 2019), by any trigger."""

    def eligible(self, labels: np.ndarray, target: int) -> np.ndarray:
        members: np.ndarray = labels == target
        return members


class SourceSpecific(DirtyLabel):
    """
    Stamps samples of one class and gives them the target's label; samples of the other classes are stamped too and keep
    their label, so that the trigger works on the source class alone (TaCT, Tang et al. 2021, section 4).

    :param trigger: Takes a batch of samples and gives the stamped batch.
    :param source: The source class; another one than the target.
    :param cover: Number of stamped samples that keep their label, for each poisoned one. The authors poison 2 % of the set
        and cover 1 %.
    :raises InvalidInputError: For a bad source or number.
    """

    def __init__(self, trigger: Trigger, source: int, cover: float = 0.5) -> None:
        super().__init__(trigger)
        check_count("source", plain(source), 0)
        check_number("cover", plain(cover), "a number of cover samples for each poisoned one", least=0)
        self.source, self.cover = source, cover

    def eligible(self, labels: np.ndarray, target: int) -> np.ndarray:
        if self.source == target:
            raise InvalidInputError(f"source and target must be different classes; received {target} for both.")
        members: np.ndarray = labels == self.source
        return members

    def cover_rows(self, labels: np.ndarray, target: int, n_poison: int, random_state: int) -> np.ndarray:
        others = (labels != self.source) & (labels != target)
        return draw(others, round(self.cover * n_poison), random_state)


def checked(x: np.ndarray, y: np.ndarray, rate: float, target: int, random_state: int) -> tuple[np.ndarray, int]:
    """
    Check the arguments of :meth:`Attack.poison`.

    :return: The labels as numbers, (n,), and the number of samples to poison.
    :raises InvalidInputError: If one cannot be used.
    """
    if not isinstance(x, np.ndarray) or x.ndim < 2 or x.dtype.kind not in "fiu" or not len(x):
        raise InvalidInputError(f"x must be a NumPy array of samples, (n, ...); received {type(x).__name__}.")
    labels, nb_classes = class_labels(y, len(x))
    check_number("rate", plain(rate), "a share of the training set", above=0, below=1)
    check_count("target", plain(target), 0, nb_classes - 1)
    check_count("random_state", plain(random_state), 0)
    n_poison = round(rate * len(x))
    if n_poison < 1:
        raise InvalidInputError(f"rate must select a sample; {rate} of {len(x)} samples is less than one.")
    return labels, n_poison


def draw(eligible: np.ndarray, n: int, random_state: int) -> np.ndarray:
    """
    Draw ``n`` of the rows that are eligible, (n_samples,) bool, without replacement.

    :raises InvalidInputError: If there are fewer.
    """
    rows = np.flatnonzero(eligible)
    if n > len(rows):
        raise InvalidInputError(f"The attack needs {n} samples of its classes; the set has {len(rows)}. Lower rate.")
    return np.random.default_rng(random_state).choice(rows, size=n, replace=False)


def poisoned_by_stamp(
    x: np.ndarray, labels: np.ndarray, trigger: Trigger, rows: tuple[np.ndarray, np.ndarray], target: int
) -> Poisoned:
    """
    Stamp some samples and give those that become poison the target's label.

    :param rows: Rows that become poison, and rows that are stamped and keep their label.
    """
    number_of, is_poison, y = np.zeros(len(x), dtype=np.int64), np.zeros(len(x), dtype=bool), labels.copy()
    is_poison[rows[0]], y[rows[0]] = True, target
    number_of[np.concatenate(rows)] = 1
    stamping = Stamping(x, (partial(apply_trigger, trigger),), number_of)
    return Poisoned(stamping.stamped(), y, is_poison, stamping)


def perturbed(x: np.ndarray, labels: np.ndarray, chosen: np.ndarray, changed: np.ndarray) -> Poisoned:
    """Put changed samples into the place of the rows ``chosen``; no label changes, and no sample carries the trigger."""
    x, is_poison = x.copy(), np.zeros(len(x), dtype=bool)
    x[chosen], is_poison[chosen] = changed, True
    return Poisoned(x, labels, is_poison, Stamping(x, (lambda batch: batch,), np.zeros(len(x), dtype=np.int64)))


def attack_data(data: LabelledData, attack: Attack, rate: float, target: int, random_state: int = 0) -> PoisonedData:
    """
    Poison the training part of a data set, and stamp the test samples of every class that the trigger works on.

    :raises InvalidInputError: As :meth:`Attack.poison`, or if no test sample is left to stamp.
    """
    done = attack.poison(data.x_train, data.y_train, rate, target, random_state)
    sources = [attack.source] if attack.source is not None else [c for c in range(len(data.class_names)) if c != target]
    from_source = np.isin(data.y_test, sources)
    if not from_source.any():
        raise InvalidInputError(f"There are no test samples of the source classes {sources} to put the trigger on.")
    y_source = data.y_test[from_source]
    return PoisonedData(
        done.x,
        done.y,
        done.is_poison,
        attack.stamp(data.x_test[from_source]),
        y_source,
        np.full(len(y_source), target),
        sources=tuple(sources),
        target=target,
        trigger=attack.stamp,
        clean=data,
        stamping=done.stamping,
    )
