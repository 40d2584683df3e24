"""What the in-flight detector is fitted to: hidden features of clean images that were stamped with the trigger."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import psutil

from art_plugins.defences.flight.verdicts import is_sound
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import hidden_layers, logits_and_hidden
from art_plugins.features.classifiers import predicted_classes
from art_plugins.features.outputs import check_outputs
from art_plugins.statistics.factor_gaussians import fit_bytes
from art_plugins.triggers.trigger import Trigger, apply_trigger

logger = logging.getLogger(__name__)

WEAK_PATTERN = 0.93  # the estimate of the trigger is weak if its success rate is below this
FEW_SAMPLES = 10  # the false-positive rate rises with fewer clean images of a class


class StampedFeatures(NamedTuple):
    """
    ``layers``: names of the layers whose inputs are the features; ``features``, (n, D); ``success_rate``: the share of
    images of one class that the trigger sends to the target class, for the class from which it sends most.
    """

    layers: list[str]
    features: np.ndarray
    success_rate: float


def check_class_sizes(sizes: np.ndarray, target: int) -> None:
    """
    :param sizes: Number of clean images of each class, (K,).
    :raises InvalidInputError: Without images of the target class and of another one. Small classes give a warning.
    """
    if sizes[target] == 0 or np.count_nonzero(sizes) < 2:
        raise InvalidInputError(
            f"Clean images of the target class {target} and of at least one other class are needed; received "
            f"{sizes[target]} and {np.count_nonzero(sizes) - (sizes[target] > 0)}."
        )
    smallest = sizes[sizes > 0].min()
    if smallest < FEW_SAMPLES:
        logger.warning(
            "One class has only %d clean images. With fewer than %d the false-positive rate rises.", smallest, FEW_SAMPLES
        )


def check_memory(n_samples: int, n_features: int, layers: Sequence[str]) -> None:
    """
    Check, and say in the log, how much memory the fit of the densities takes at most.

    :param layers: Names of the layers whose inputs are the features.
    :raises InvalidInputError: If that is more than the machine has available.
    """
    needed, available = fit_bytes(n_samples, n_features), int(psutil.virtual_memory().available)
    logger.info("The densities of %d features take at most %.2f GB of memory.", n_features, needed / 1e9)
    if needed > available:
        raise InvalidInputError(
            f"The densities of {n_features:,} features (the inputs of the layers {', '.join(layers)}) of {n_samples:,} "
            f"images take up to {needed / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB are available; give fewer "
            "clean images, or a smaller n_layers."
        )


def stamped_features(
    classifier: Any, trigger: Trigger, x: np.ndarray, labels: np.ndarray, target: int, n_layers: int, batch_size: int
) -> StampedFeatures:
    """
    Stamp the images of all classes but the target class, and take the hidden features of all images.

    :param x: Clean images, (n, ...).
    :param labels: Classes of these samples, (n,).
    :raises InvalidInputError: If outputs or features are not finite.
    """
    is_source = labels != target
    images = np.array(x)
    images[is_source] = apply_trigger(trigger, x[is_source])
    layers = hidden_layers(classifier, images, n_layers)
    check_memory(len(images), logits_and_hidden(classifier, images[:1], layers)[1].shape[1], layers)
    outputs, features = logits_and_hidden(classifier, images, layers, batch_size)
    check_outputs(outputs, int(classifier.nb_classes))
    n_bad = int((~is_sound(outputs, features)).sum())
    if n_bad:
        raise InvalidInputError(
            f"{n_bad} of the {len(x)} images give outputs or features that are not finite (features: the inputs of the "
            f"layers {', '.join(layers)}; images of other classes than the target were stamped with the trigger). Remove "
            "such images, check how they are scaled, and whether the model's weights hold NaN."
        )
    sent = predicted_classes(classifier, outputs) == target
    # A trigger may work from one class alone.
    rate = float(max(sent[labels == label].mean() for label in np.unique(labels[is_source])))
    if rate < WEAK_PATTERN:
        logger.warning(
            "The trigger sends at most %.3f of the images of any class to class %d, so the detector rests on a weak "
            "estimate.",
            rate,
            target,
        )
    return StampedFeatures(layers, features, rate)
