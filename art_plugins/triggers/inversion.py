"""
Is a trained classifier backdoored, towards which class, and by what pattern? Trigger inversion for PyTorch classifiers.

For every class, the smallest pattern that sends clean images of the other classes to it is sought. A backdoor is a
shortcut: towards its target a much smaller pattern suffices than towards the others.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from art_plugins.arrays import check_finite, check_samples
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import collect_outputs
from art_plugins.features.classifiers import (
    accuracy_warning,
    check_input_range,
    predicted_classes,
    torch_module,
)
from art_plugins.features.training import seeded
from art_plugins.parameters import check_choice, check_count, check_number, plain, shown
from art_plugins.statistics.labels import class_labels
from art_plugins.statistics.outliers import combined_index, highest
from art_plugins.triggers.differentiable import DifferentiableClassifier
from art_plugins.triggers.distances import expected_distances, source_distances
from art_plugins.triggers.found import Inversion
from art_plugins.triggers.search import Search, invert_patterns

logger = logging.getLogger(__name__)

KINDS = ("patch", "additive")
INVERSION_PRECISIONS = ("32-true", "bf16-mixed")
MIN_CLASSES = 3
MOST_BATCH = 100_000  # images of a step, for each class
SOURCE_THRESHOLD = 4.2  # index above which one source class has a pattern of its own


def invert_triggers(
    classifier: Any,
    x_clean: np.ndarray,
    y_clean: np.ndarray,
    *,
    kinds: Sequence[str] = KINDS,
    nb_steps: int = 400,
    batch_size: int = 32,
    threshold: float = 4.2,
    min_success: float = 0.9,
    precision: str = "32-true",
    random_state: int = 0,
    verbose: bool = True,
) -> Inversion:
    """
    Invert the triggers of all classes at once and decide whether one of them is a backdoor's.

    ``"patch"``, Neural Cleanse (Wang et al. 2019): x' = (1 - m) x + m p, cross-entropy + cost |m|_1, for local triggers.
    ``"additive"``: x' = clip(x + v), cross-entropy + cost ||v||_2, for perturbations all over the image; as PT-RED (Xiang
    et al. 2020), but with the norm as a penalty whose cost adapts, where PT-RED relies on small steps and an early stop.
    In both the cost of a class rises while its pattern succeeds and falls while it does not, by Adam, and the
    smallest pattern that succeeded is kept.

    Deviates from Neural Cleanse: images of a class itself do not count towards it. Norms are compared on a logarithmic
    scale, on which those of clean classes are closer to normal, and relative to :func:`expected_distances`. A class that is
    easy to reach by a small patch is seldom easy to reach by a small perturbation as well, while a backdoor is: the
    indices of the kinds are added and divided by the square root of their number (Stouffer et al. 1949); ``INDEX_RULE``
    says it in words.

    A backdoor may work from one source class alone (Xiang et al. 2020 search every pair of classes for it). The pattern for
    all classes is then larger than the trigger but mostly still the smallest. So pairs are searched for the target that was
    found, and a source whose pattern is far smaller than the others' gives the trigger. Without a target a small pattern
    from one source says little: ones are near to most digits by nature.

    When this breaks: triggers that no fixed pattern can stand for (warps), attacks towards every class (all-to-all), fewer
    than about five classes, and backdoors of one source class in models whose other classes lie near.

    :param classifier: ART ``PyTorchClassifier``; its preprocessing, clip values and channel order are respected.
    :param x_clean: Clean images (n, C, H, W) or (n, H, W, C), of all classes; 10 to 100 a class.
    :param y_clean: Their labels, (n,), (n, 1) or one-hot.
    :param kinds: Which patterns to try.
    :param nb_steps: Most optimisation steps; a class that no longer improves stops earlier.
    :param batch_size: Images of a step, for each class.
    :param threshold: Index above which a class is a backdoor's target.
    :param min_success: Success rate on all clean images that the target's pattern must reach.
    :param precision: ``"32-true"``, or ``"bf16-mixed"``: the model's forward and backward passes in bfloat16, which is
        faster for convolutional networks of some size where the processor has it.
    :raises InvalidInputError: For bad images, labels or parameters, before any heavy work; or if the model gives values
        that are not finite for some of the clean images.
    """
    nb_steps, batch_size, random_state = plain(nb_steps), plain(batch_size), plain(random_state)
    threshold, min_success = plain(threshold), plain(min_success)
    _check(classifier, x_clean, kinds, nb_steps, batch_size, threshold, min_success, precision)
    check_count("random_state", random_state, 0)
    nb_classes = int(classifier.nb_classes)
    labels, _ = class_labels(y_clean, len(x_clean), nb_classes)
    if nb_classes < MIN_CLASSES or len(np.unique(labels)) < 2:
        raise InvalidInputError(
            f"Trigger inversion compares classes: at least {MIN_CLASSES} classes, and clean images of at least 2 of them, "
            f"are needed; received {nb_classes} and {len(np.unique(labels))}."
        )
    check_input_range(classifier, x_clean, "x_clean")
    predicted = predicted_classes(classifier, collect_outputs(classifier, x_clean))
    doubt = accuracy_warning(int((predicted == labels).sum()), len(labels))
    if doubt is not None:
        logger.warning(doubt)
    model = DifferentiableClassifier(classifier, x_clean, precision)
    images = model.to_unit_range(torch.from_numpy(np.array(x_clean, dtype=np.float32)))
    with model.evaluating(), seeded(random_state):
        expected = expected_distances(model, images, labels, nb_classes)
        searches = [Search(torch.from_numpy(np.flatnonzero(labels != label)), label) for label in range(nb_classes)]
        inverted = tuple(
            invert_patterns(model, kind, images, searches, expected, nb_steps, batch_size, min_success, verbose)
            for kind in kinds
        )
        index = combined_index([one.anomaly_index for one in inverted])
        target_class = highest(index, threshold)
        if target_class is None:
            return Inversion(inverted, expected, index, None, None, None)
        sources = [Search(torch.from_numpy(np.flatnonzero(labels == label)), target_class) for label in range(nb_classes)]
        sources[target_class] = Search(torch.empty(0, dtype=torch.int64), target_class)
        apart = source_distances(model, images, labels, target_class, nb_classes)
        by_source = tuple(
            invert_patterns(model, kind, images, sources, apart, nb_steps, batch_size // 2 + 1, min_success, verbose)
            for kind in kinds
        )
    source_class = highest(combined_index([one.anomaly_index for one in by_source]), SOURCE_THRESHOLD)
    chosen, row = (inverted, target_class) if source_class is None else (by_source, source_class)
    best = max(chosen, key=lambda one: float(np.nan_to_num(one.anomaly_index[row], nan=-np.inf)))
    success_rate = float(best.success_rates[row])
    return Inversion(inverted, expected, index, target_class, best.kind, success_rate, by_source, source_class)


def _check(
    classifier: Any,
    x: np.ndarray,
    kinds: Sequence[str],
    nb_steps: int,
    batch_size: int,
    threshold: float,
    min_success: float,
    precision: str,
) -> None:
    torch_module(classifier)
    check_samples(x)
    check_finite(x, "clean images", "remove such images first")
    if x.ndim != 4 or tuple(x.shape[1:]) != tuple(classifier.input_shape):
        raise InvalidInputError(
            f"x_clean must hold images of the classifier's shape {tuple(classifier.input_shape)}; received {x.shape[1:]}."
        )
    listed = list(kinds) if isinstance(kinds, (list, tuple)) else []
    if not listed or any(kind not in KINDS for kind in listed) or len(set(listed)) < len(listed):
        raise InvalidInputError(f"kinds must be one or more of {KINDS}, each once; received {shown(kinds)}.")
    check_count("nb_steps", nb_steps)
    check_count("batch_size", batch_size, most=MOST_BATCH)
    check_choice("precision", precision, INVERSION_PRECISIONS)
    check_number("threshold", threshold, above=0)
    check_number("min_success", min_success, above=0, most=1)
