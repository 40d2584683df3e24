"""Attacks on images that change no label: SIG, and Turner et al. with adversarial perturbations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from art.attacks.evasion import ProjectedGradientDescent

from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.attacks.poisoning import PoisonedData, Stamping, Trigger, all_to_one, share_of


def poison_target_class(
    data: LabelledData,
    trigger: Trigger,
    target: int,
    fraction: float,
    random_state: int = 0,
    *,
    perturbed: Callable[[np.ndarray], np.ndarray] | None = None,
    test_trigger: Trigger | None = None,
) -> PoisonedData:
    """
    Stamp random training images of the target class, which keep their label (SIG, Barni et al. 2019, section 3; they poison
    20 to 40 % of the class). At test time the trigger on an image of any other class shall send it to the target.

    :param fraction: Share of the target's training images, above 0 and at most 1.
    :param perturbed: Changes the chosen images (m, ...) before they are stamped; ``None``: they are not changed.
    :param test_trigger: Trigger at test time, such as a stronger sinusoid as Barni et al. use; ``None``: the same one.
    :raises InvalidInputError: If the share selects no image, or the target is unknown.
    """
    members = np.flatnonzero(data.y_train == target)
    n_poison = share_of(fraction, len(members), "an image")
    chosen = np.random.default_rng(random_state).choice(members, size=n_poison, replace=False)
    is_poison = np.zeros(len(data.x_train), dtype=bool)
    is_poison[chosen] = True
    x = data.x_train
    if perturbed is not None:
        x = x.copy()
        x[chosen] = perturbed(x[chosen])
    stamping = Stamping(x, (trigger,), is_poison.astype(np.int64))
    at_test = trigger if test_trigger is None else test_trigger
    attack = all_to_one(data, stamping.stamped(), data.y_train.copy(), is_poison, at_test, target)
    return attack._replace(stamping=stamping)


def poison_clean_label(
    data: LabelledData,
    trigger: Trigger,
    target: int,
    fraction: float,
    proxy: Any,
    eps: float = 0.3,
    random_state: int = 0,
) -> PoisonedData:
    """
    Poison images of the target class without changing a label (Turner et al. 2019, section 4.2, the adversarial form).

    Projected gradient descent makes a share of the target class hard to recognise; then these images are stamped. It is
    ART's ``PoisoningAttackCleanLabelBackdoor`` with random draws of its own seed.

    :param fraction: Share of the target's training images, above 0 and at most 1.
    :param proxy: A clean ART classifier, which the perturbation fools.
    :param eps: Largest change of a pixel, in the images' units. Turner et al. use up to 32 of 255 levels on CIFAR-10; .3 is
        usual for MNIST.
    :raises InvalidInputError: If the share selects no image, or the target is unknown.
    """
    hard = ProjectedGradientDescent(proxy, eps=eps, eps_step=eps / 8, max_iter=20, verbose=False)
    return poison_target_class(data, trigger, target, fraction, random_state, perturbed=hard.generate)
