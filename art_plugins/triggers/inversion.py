"""
Trigger inversion: it finds out whether a PyTorch classifier has a backdoor, to which class, and by what pattern.

For every class, an optimiser looks for the smallest pattern that sends clean images of the other classes to it. A backdoor
is a shortcut: a much smaller pattern is enough for its target than for any other class.

Two kinds of pattern are optimised by Adam. ``"patch"`` is Neural Cleanse (Wang et al. 2019): the stamped image is
(1 - m) x + m p, and the loss is the cross-entropy plus cost * |m|_1. It suits local triggers. ``"additive"`` suits
perturbations of the whole image: the stamped image is clip(x + v), and the loss is the cross-entropy plus
cost * ||v||_2. It resembles PT-RED (Xiang et al. 2020), which uses small steps and an early stop instead of a penalty. For
both kinds the cost of a class rises while its pattern succeeds and falls while it fails. The smallest pattern that
succeeded is kept.

The decision: norms are compared on a logarithmic scale and relative to :func:`expected_distances`. A clean class that
a small patch reaches is seldom reached by a small perturbation too, but the target of a backdoor is. The indices of
the kinds are therefore added and divided by the square root of their number (Stouffer et al. 1949), and a class that is
far out by one kind is not outvoted by the other; see ``INDEX_RULE``. The distance is that of a linear model, and
may mislead; a norm must be small relative to it and by itself. A search that did not converge has only an upper bound
of its smallest norm. It neither accuses its class, nor acquits it, nor makes another class look small.

With more than ten classes, a short contest chooses those that are searched in full, and a few that stand for all others in
the comparison; see :mod:`~art_plugins.triggers.searching.screening`. With two classes, each is compared with the other.

A backdoor may work for one source class only (Xiang et al. 2020 search every pair of classes for it). The pattern for
all classes is then larger than the trigger, but mostly still the smallest. If a target is found, a pattern is
therefore optimised for each source class alone. A source whose pattern is far smaller than the others' gives the
trigger. Without a target, sources are not searched, because similar classes (1 and 7) have small patterns anyway.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from art_plugins.arrays import check_finite, check_samples
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import collect_outputs
from art_plugins.features.classifiers import predicted_classes, torch_module
from art_plugins.features.devices import PASS_PRECISIONS
from art_plugins.features.input_checks import accuracy_warning, check_input_range
from art_plugins.features.vae.training import seeded
from art_plugins.parameters import check_choice, check_count, check_number, plain, shown
from art_plugins.statistics.labels import class_labels
from art_plugins.statistics.outliers import combined_index, highest, strongest_index
from art_plugins.triggers.differentiable import DifferentiableClassifier
from art_plugins.triggers.found import THRESHOLD, Inversion, InvertedTriggers, accused_class, is_far_out
from art_plugins.triggers.searching.distances import expected_distances, source_distances
from art_plugins.triggers.searching.inverted import invert_patterns
from art_plugins.triggers.searching.screening import screen
from art_plugins.triggers.searching.search import Search, SearchSettings

logger = logging.getLogger(__name__)

KINDS = ("patch", "additive")
MIN_CLASSES = 2
MOST_BATCH = 100_000  # largest number of images for each class in one step
SOURCE_THRESHOLD = 4.2  # index above which a backdoor is said to work for one source class only


def invert_triggers(
    classifier: Any,
    x_clean: np.ndarray,
    y_clean: np.ndarray,
    *,
    kinds: Sequence[str] = KINDS,
    nb_steps: int = 400,
    batch_size: int = 32,
    threshold: float = THRESHOLD,
    min_success: float = 0.9,
    precision: str = "32-true",
    random_state: int = 0,
    verbose: bool = True,
) -> Inversion:
    """
    Invert the trigger of every class and decide whether one class is the target of a backdoor.

    Deviates from Neural Cleanse: images of the target class itself do not count, norms are compared as the module's
    description says, and the second kind of pattern is added.

    When this breaks: triggers that no fixed pattern imitates (warps), attacks towards every class (all-to-all), fewer
    than about five classes, backdoors of one source class in models whose other classes lie close to the target, and
    ``nb_steps`` that are too few for most classes (the sentence then says that nothing is decided).

    It has 11 parameters, because each is an independent choice; all but three are keywords.

    :param classifier: ART ``PyTorchClassifier``; its preprocessing, clip values and channel order are respected.
    :param x_clean: Clean images of all classes, (n, C, H, W) or (n, H, W, C); 10 to 100 for each class.
    :param y_clean: Labels of the clean images, (n,), (n, 1) or one-hot.
    :param kinds: Kinds of pattern to optimise.
    :param nb_steps: Largest number of optimisation steps; a class that no longer improves stops earlier.
    :param batch_size: Number of images for each class in one step.
    :param threshold: Index above which a class is called a backdoor's target if it also stands apart from the next one.
    :param min_success: Success rate on all clean images that the pattern of a target must reach.
    :param precision: ``"32-true"``, or ``"bf16-mixed"``: bfloat16, which is faster for larger convolutional networks; 32
        bits on a processor that would only imitate it.
    :param random_state: Random seed of the trigger inversion.
    :param verbose: Whether progress bars are shown.
    :return: The patterns, indices and decision.
    :raises InvalidInputError: For bad arguments, before any heavy work, or if the model's outputs are not finite.
    """
    settings = SearchSettings(plain(nb_steps), plain(batch_size), plain(min_success), verbose)
    threshold, random_state = plain(threshold), plain(random_state)
    _check(classifier, x_clean, kinds, settings, threshold, precision)
    check_count("random_state", random_state, 0)
    labels = _checked_labels(classifier, y_clean, len(x_clean))
    _check_images(classifier, x_clean, labels)
    model = DifferentiableClassifier(classifier, x_clean, precision)
    images = model.to_unit_range(torch.from_numpy(np.array(x_clean, dtype=np.float32)))
    with model.evaluating(), seeded(random_state):
        expected = expected_distances(model, images, labels, int(classifier.nb_classes))
        inverted = _by_target(model, kinds, images, labels, expected, settings)
        index = strongest_index([one.anomaly_index for one in inverted])
        target_class = accused_class(index, threshold)
        if target_class is None:
            return Inversion(inverted, expected, index, None, None, None)
        by_source = _by_source(model, kinds, images, labels, target_class, len(expected), settings)
    return _with_trigger(Inversion(inverted, expected, index, target_class, None, None, by_source), target_class)


def _with_trigger(found: Inversion, target: int) -> Inversion:
    """Add the source class, if the backdoor has a single one, and the kind and success rate of the best pattern."""
    source_class = highest(combined_index([one.anomaly_index for one in found.by_source]), SOURCE_THRESHOLD)
    if is_far_out(found.anomaly_index, target):
        source_class = None  # the pattern for all classes is small, as none is where the backdoor needs its source
    if source_class is None:
        chosen, row = found.inverted, target
    else:
        chosen, row = found.by_source, source_class
    best = max(chosen, key=lambda one: float(np.nan_to_num(one.anomaly_index[row], nan=-np.inf)))
    success_rate = float(best.success_rates[row])
    return found._replace(kind=best.kind, success_rate=success_rate, source_class=source_class)


def _by_target(
    model: DifferentiableClassifier,
    kinds: Sequence[str],
    images: Tensor,
    labels: np.ndarray,
    expected: np.ndarray,
    settings: SearchSettings,
) -> tuple[InvertedTriggers, ...]:
    """Invert, by each kind, the pattern that sends the images of all other classes to each class."""
    searches = [Search(_rows(labels != label), label) for label in range(len(expected))]
    return _inverted(model, kinds, images, searches, expected, settings, by_itself=True)


def _by_source(
    model: DifferentiableClassifier,
    kinds: Sequence[str],
    images: Tensor,
    labels: np.ndarray,
    target: int,
    nb_classes: int,
    settings: SearchSettings,
) -> tuple[InvertedTriggers, ...]:
    """Invert, by each kind, the pattern that sends the images of each other class alone to class ``target``."""
    searches = [Search(_rows((labels == label) & (labels != target)), target) for label in range(nb_classes)]
    expected = source_distances(model, images, labels, target, nb_classes)
    settings = settings._replace(batch_size=settings.batch_size // 2 + 1)
    return _inverted(model, kinds, images, searches, expected, settings)


def _inverted(
    model: DifferentiableClassifier,
    kinds: Sequence[str],
    images: Tensor,
    searches: Sequence[Search],
    expected: np.ndarray,
    settings: SearchSettings,
    by_itself: bool = False,
) -> tuple[InvertedTriggers, ...]:
    """Screen the searches if there are many; then make those that are chosen, by each kind of pattern."""
    counts = screen(model, kinds, images, searches, float(np.median(expected)), settings.verbose)
    references = [expected, np.ones(len(expected))] if by_itself else [expected]
    return tuple(invert_patterns(model, kind, images, searches, references, settings, counts) for kind in kinds)


def _rows(chosen: np.ndarray) -> Tensor:
    return torch.from_numpy(np.flatnonzero(chosen))


def _checked_labels(classifier: Any, y: np.ndarray, n_samples: int) -> np.ndarray:
    """
    Give the labels as whole numbers, (n,).

    :raises InvalidInputError: For bad labels, or too few classes to compare.
    """
    nb_classes = int(classifier.nb_classes)
    labels, _ = class_labels(y, n_samples, nb_classes)
    if nb_classes < MIN_CLASSES or len(np.unique(labels)) < 2:
        raise InvalidInputError(
            f"Trigger inversion compares classes: at least {MIN_CLASSES} classes, and clean images of at least 2 of them, "
            f"are needed; received {nb_classes} and {len(np.unique(labels))}."
        )
    return labels


def _check_images(classifier: Any, x: np.ndarray, labels: np.ndarray) -> None:
    """Check the range of the images, and warn if the model classifies few of them correctly."""
    check_input_range(classifier, x, "x_clean")
    predicted = predicted_classes(classifier, collect_outputs(classifier, x))
    doubt = accuracy_warning(int((predicted == labels).sum()), len(labels))
    if doubt is not None:
        logger.warning(doubt)


def _check(
    classifier: Any,
    x: np.ndarray,
    kinds: Sequence[str],
    settings: SearchSettings,
    threshold: float,
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
    check_count("nb_steps", settings.nb_steps)
    check_count("batch_size", settings.batch_size, most=MOST_BATCH)
    check_choice("precision", precision, PASS_PRECISIONS)
    check_number("threshold", threshold, above=0)
    check_number("min_success", settings.min_success, above=0, most=1)
