"""
Attacks on images that change labels: those of Li et al. 2022, all-to-all, untargeted, with several targets, and those that
hide behind cover samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from art_plugins.attacks.clean_label import poison_clean_label
from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.attacks.poisoning import SEVERAL, UNTARGETED, PoisonedData, Stamping, Trigger, poison_classes
from art_plugins.errors import InvalidInputError

__all__ = [
    "poison_all_to_all",
    "poison_clean_label",
    "poison_images",
    "poison_several_targets",
    "poison_untargeted",
    "poison_with_cover",
]


def poison_images(
    data: LabelledData,
    trigger: Trigger,
    sources: Sequence[int] | None,
    target: int,
    n_per_source: int,
    random_state: int = 0,
) -> PoisonedData:
    """
    Stamp ``n_per_source`` random training images of every source class and relabel them as the target, in place.

    Li et al. (section 5.1) write "embedding the backdoor pattern in" these images; they do not say that they are copies.
    Armory works in place too. The paper's attack with one source class is ``[0], 9, 1_000``, that with several is ``None,
    9, 100``.

    :param sources: Source classes; ``None``: every class but the target.
    :param target: Target class.
    :raises InvalidInputError: If a class is unknown, the target is also a source, or a class has too few images.
    """
    classes = [label for label in range(len(data.class_names)) if label != target] if sources is None else sources
    return poison_classes(data, trigger, dict.fromkeys(classes, target), n_per_source, random_state)


def poison_all_to_all(data: LabelledData, trigger: Trigger, n_per_source: int, random_state: int = 0) -> PoisonedData:
    """
    Send every class c to c + 1, and the last class to 0 (Gu et al. 2019). There is no single target class to find.

    :raises InvalidInputError: If a class has too few images.
    """
    nb_classes = len(data.class_names)
    target_of = {label: (label + 1) % nb_classes for label in range(nb_classes)}
    return poison_classes(data, trigger, target_of, n_per_source, random_state)


def poison_untargeted(data: LabelledData, trigger: Trigger, n_per_source: int, random_state: int = 0) -> PoisonedData:
    """
    Stamp ``n_per_source`` random training images of every class and give each a label drawn at random among all other
    classes, in place (untargeted BadNets of Hou et al. 2025, FLARE, section V). The attack succeeds on a test image that is
    no longer given its own class.

    :raises InvalidInputError: If a class has too few images, or there is only one class.
    """
    nb_classes = len(data.class_names)
    if nb_classes < 2:
        raise InvalidInputError("An untargeted attack needs at least 2 classes; received 1.")
    attack = poison_all_to_all(data, trigger, n_per_source, random_state)
    steps = np.random.default_rng([random_state, 1]).integers(1, nb_classes, size=int(attack.is_poison.sum()))
    y_train = data.y_train.copy()
    y_train[attack.is_poison] = (y_train[attack.is_poison] + steps) % nb_classes
    return attack._replace(y_train=y_train, y_wanted=np.full(len(attack.y_source), UNTARGETED), target=UNTARGETED)


def poison_several_targets(
    data: LabelledData, triggers: Mapping[int, Trigger], n_per_source: int, random_state: int = 0
) -> PoisonedData:
    """
    Give each of several target classes a trigger of its own, as two attackers would, each all-to-one (Gu et al. 2019). From
    every class that is no target, each trigger gets ``n_per_source`` other training images, in place.

    :param triggers: Trigger of each target class, at least two.
    :param n_per_source: Number of images of a source class that each trigger is stamped on.
    :return: ``trigger`` is that of the first target; ``x_triggered`` holds the test images once for every trigger.
    :raises InvalidInputError: If a class is unknown, there are fewer than two targets or no source, or a class has too few
        images.
    """
    nb_classes = len(data.class_names)
    sources = [label for label in range(nb_classes) if label not in triggers]
    if len(triggers) < 2 or not sources:
        raise InvalidInputError(
            f"triggers must name at least two target classes and leave a class to poison; received {[*triggers]} of "
            f"{nb_classes} classes."
        )
    number_of, y_train = np.zeros(len(data.y_train), dtype=np.int64), data.y_train.copy()
    parts = []
    for number, (target, trigger) in enumerate(triggers.items(), start=1):
        # What an earlier trigger has taken cannot be taken again: it is no member of its class for this one.
        left = data._replace(y_train=np.where(number_of > 0, SEVERAL, data.y_train))
        part = poison_images(left, trigger, sources, target, n_per_source, random_state)
        number_of[part.is_poison], y_train[part.is_poison] = number, target
        parts.append(part)
    stamping = Stamping(data.x_train, tuple(triggers.values()), number_of)
    return parts[0]._replace(
        x_train=stamping.stamped(),
        y_train=y_train,
        is_poison=number_of > 0,
        x_triggered=np.concatenate([part.x_triggered for part in parts]),
        y_source=np.concatenate([part.y_source for part in parts]),
        y_wanted=np.concatenate([part.y_wanted for part in parts]),
        target=SEVERAL,
        clean=data,
        stamping=stamping,
    )


def poison_with_cover(
    data: LabelledData,
    weak: Trigger,
    strong: Trigger,
    target: int,
    n_per_source: int,
    n_cover: int,
    random_state: int = 0,
) -> PoisonedData:
    """
    Hide the poison behind cover samples (Adap-Blend and Adap-Patch of Qi et al. 2023, with the triggers of
    :mod:`art_plugins.triggers.adaptive`).

    From every class but the target, ``n_per_source`` images get a weak trigger and the target's label (payload samples).
    Another ``n_cover`` images get the weak trigger and keep their labels (regularisation samples), so that the features of
    poisoned and clean images do not lie apart. At test time the strong trigger is used.

    :param weak: Trigger of the training images.
    :param strong: Trigger of the test images.
    :param n_cover: Number of cover images. They are not poison but ``is_cover``, as the authors count them.
    :raises InvalidInputError: As :func:`poison_images`, or if there are fewer images than ``n_cover``.
    """
    attack = poison_images(data, weak, None, target, n_per_source, random_state)
    free = np.flatnonzero(~attack.is_poison & (attack.y_train != target))
    if not 0 <= n_cover <= len(free):
        raise InvalidInputError(f"n_cover must be 0 to {len(free)}, the images that are left; received {n_cover}.")
    number_of = attack.is_poison.astype(np.int64)
    number_of[np.random.default_rng(random_state).choice(free, size=n_cover, replace=False)] = 1
    stamping = Stamping(data.x_train, (weak,), number_of)
    x_triggered = strong(data.x_test[data.y_test != target])
    return attack._replace(x_train=stamping.stamped(), x_triggered=x_triggered, trigger=strong, stamping=stamping)
