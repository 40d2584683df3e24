"""Attacks on images: those of Li et al. 2022, all-to-all, clean-label, and one that hides by covered samples."""

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
    "Embedding the backdoor pattern in" (Li et al., section 5.1) ``n_per_source`` random training images of every source
    class, which are relabelled in place, as Armory does; the paper does not say that they are copies.

    The paper's single-class attack is ``[0], 9, 1_000``, its multi-class attack ``None, 9, 100``.

    :param sources: Source classes; ``None``: every class but the target.
    :param target: Target class.
    :raises InvalidInputError: For unknown classes, a target that is a source, or too few images.
    """
    classes = [label for label in range(len(data.class_names)) if label != target] if sources is None else sources
    return poison_classes(data, trigger, dict.fromkeys(classes, target), n_per_source, random_state)


def poison_all_to_all(
    data: LabelledData, trigger: Callable[[np.ndarray], np.ndarray], n_per_source: int, random_state: int = 0
) -> PoisonedData:
    """
    Every class c is sent to c + 1 (Gu et al. 2019), the last to 0; there is no single target to find.

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
    Turner et al. 2018: a share of the target class itself is made hard to recognise by projected gradient descent, then
    stamped. No label changes. As ART's ``PoisoningAttackCleanLabelBackdoor``, but drawn by a seed of its own.

    :param fraction: Share of the target's training images, above 0 and at most 1.
    :param proxy: A clean ART classifier, which the perturbation fools.
    :param eps: Largest change of a pixel.
    :raises InvalidInputError: For a fraction that selects no image, or an unknown target.
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
    After the adaptive blend of Qi et al. 2023: from every class but the target ``n_per_source`` images get a weak trigger
    and the target's label, and ``n_cover`` others in all the weak trigger alone, so that features of poisoned and clean
    images do not lie apart. At test time the strong trigger is used. Theirs hides pieces of a blended image; this one
    lowers its opacity.

    :param weak: Stamped on training images.
    :param strong: Stamped on test images.
    :param n_cover: Stamped training images that keep their label; they do not count as poison.
    :raises InvalidInputError: As :func:`poison_images`, or for more covered images than there are.
    """
    attack = poison_images(data, weak, None, target, n_per_source, random_state)
    free = np.flatnonzero(~attack.is_poison & (attack.y_train != target))
    if not 0 <= n_cover <= len(free):
        raise InvalidInputError(f"n_cover must be 0 to {len(free)}, the images that are left; received {n_cover}.")
    covered = np.random.default_rng(random_state).choice(free, size=n_cover, replace=False)
    x_train = attack.x_train.copy()
    x_train[covered] = weak(x_train[covered])
    return attack._replace(x_train=x_train, x_triggered=strong(data.x_test[data.y_test != target]), trigger=strong)
