"""Attacks on images: those of Li et al. 2022, all-to-all, clean-label, and one that hides behind cover samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from art.attacks.evasion import ProjectedGradientDescent

from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.attacks.poisoning import PoisonedData, all_to_one, poison_classes, share_of
from art_plugins.errors import InvalidInputError


def poison_images(
    data: LabelledData,
    trigger: Callable[[np.ndarray], np.ndarray],
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


def poison_all_to_all(
    data: LabelledData, trigger: Callable[[np.ndarray], np.ndarray], n_per_source: int, random_state: int = 0
) -> PoisonedData:
    """
    Send every class c to c + 1, and the last class to 0 (Gu et al. 2019). There is no single target class to find.

    :raises InvalidInputError: If a class has too few images.
    """
    nb_classes = len(data.class_names)
    target_of = {label: (label + 1) % nb_classes for label in range(nb_classes)}
    return poison_classes(data, trigger, target_of, n_per_source, random_state)


def poison_clean_label(
    data: LabelledData,
    trigger: Callable[[np.ndarray], np.ndarray],
    target: int,
    fraction: float,
    proxy: Any,
    eps: float = 0.3,
    random_state: int = 0,
) -> PoisonedData:
    """
    Poison images of the target class without changing a label (Turner et al. 2018).

    Projected gradient descent makes a share of the target class hard to recognise; then these images are stamped. It is
    ART's ``PoisoningAttackCleanLabelBackdoor`` with random draws of its own seed.

    :param fraction: Share of the target's training images, above 0 and at most 1.
    :param proxy: A clean ART classifier, which the perturbation fools.
    :param eps: Largest change of a pixel.
    :raises InvalidInputError: If the share selects no image, or the target is unknown.
    """
    members = np.flatnonzero(data.y_train == target)
    n_poison = share_of(fraction, len(members), "an image")
    chosen = np.random.default_rng(random_state).choice(members, size=n_poison, replace=False)
    x_train = data.x_train.copy()
    hard = ProjectedGradientDescent(proxy, eps=eps, eps_step=eps / 8, max_iter=20, verbose=False)
    x_train[chosen] = trigger(hard.generate(x_train[chosen]))
    is_poison = np.zeros(len(x_train), dtype=bool)
    is_poison[chosen] = True
    return all_to_one(data, x_train, data.y_train.copy(), is_poison, trigger, target)


def poison_with_cover(
    data: LabelledData,
    weak: Callable[[np.ndarray], np.ndarray],
    strong: Callable[[np.ndarray], np.ndarray],
    target: int,
    n_per_source: int,
    n_cover: int,
    random_state: int = 0,
) -> PoisonedData:
    """
    Hide the poison behind cover samples, after the adaptive blend of Qi et al. 2023.

    From every class but the target, ``n_per_source`` images get a weak trigger and the target's label. Another ``n_cover``
    images get the weak trigger and keep their labels, so that the features of poisoned and clean images do not lie apart.
    At test time the strong trigger is used. Qi et al. hide pieces of a blended image; this attack lowers its opacity.

    :param weak: Trigger of the training images.
    :param strong: Trigger of the test images.
    :param n_cover: Number of cover images; they do not count as poison.
    :raises InvalidInputError: As :func:`poison_images`, or if there are fewer images than ``n_cover``.
    """
    attack = poison_images(data, weak, None, target, n_per_source, random_state)
    free = np.flatnonzero(~attack.is_poison & (attack.y_train != target))
    if not 0 <= n_cover <= len(free):
        raise InvalidInputError(f"n_cover must be 0 to {len(free)}, the images that are left; received {n_cover}.")
    covered = np.random.default_rng(random_state).choice(free, size=n_cover, replace=False)
    x_train = attack.x_train.copy()
    x_train[covered] = weak(x_train[covered])
    return attack._replace(x_train=x_train, x_triggered=strong(data.x_test[data.y_test != target]), trigger=strong)
