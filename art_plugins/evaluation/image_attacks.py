"""The attacks of Li et al. 2022 and an all-to-all one: which classes are poisoned, and towards which."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from art_plugins.evaluation.datasets.labelled import LabelledData
from art_plugins.evaluation.poisoning import PoisonedData, poison_classes


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
