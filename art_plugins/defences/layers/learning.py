"""Learning what benign samples look like at every layer, with trusted samples or from the training set itself."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from art_plugins.defences.layers.model import LayerwiseModel
from art_plugins.defences.layers.options import RULES
from art_plugins.defences.layers.rules import LEAST_SAMPLES, LayerRule
from art_plugins.errors import InvalidInputError
from art_plugins.features.blocks import find_blocks
from art_plugins.features.input_checks import accuracy_warning
from art_plugins.statistics.labels import indices_by_class

logger = logging.getLogger(__name__)

MOST_PER_CLASS = 500  # samples that are learned from
N_TRIMMINGS, TRIMMED = 3, 0.2  # rounds, and share of each class that is left out, without trusted data


def learn_benign(
    classifier: Any,
    x: np.ndarray,
    labels: np.ndarray,
    nb_classes: int,
    options: dict[str, Any],
    batch_size: int,
    **how: bool,
) -> LayerwiseModel:
    """
    Learn what benign samples look like at every layer.

    At most 500 samples of each class are used. Without trusted samples, the fifth of each class with the highest scores is
    left out of centroids, Gaussians and their moments, in three rounds. The thresholds look at all samples, by medians.

    :param x: Benign samples, (n, ...).
    :param labels: Labels of these samples, (n,).
    :param nb_classes: Number of classes K.
    :param options: Values by the names in ``OPTIONS``.
    :param batch_size: Number of samples in one forward pass.
    :param how: ``by_label``: compare samples with the classes of their labels, not with the model's classes; ``trusted``:
        the samples are known to be benign.
    :raises InvalidInputError: For too few samples or layers.
    """
    what = "trusted samples" if how["trusted"] else "samples"
    chosen = _at_most(labels, nb_classes, MOST_PER_CLASS, options["random_state"])
    x, labels = x[chosen], labels[chosen]
    rule = _make_rule(classifier, x, nb_classes, options, batch_size)
    rule.check_class_sizes(np.bincount(labels, minlength=nb_classes), what)
    rule.observe(classifier, x)
    if how["trusted"] or not rule.sound.any():
        _check_sound(len(x) - int(rule.sound.sum()), len(x), rule.unsound)
    labels = labels[rule.sound]
    kept = np.ones(len(labels), dtype=bool)
    for _ in range(0 if how["trusted"] else N_TRIMMINGS):
        scores, _ = rule.learn(labels, how["by_label"], kept, robust=True)
        kept = _lowest(scores, labels, nb_classes, 1 - TRIMMED)
    scores, judged = rule.learn(labels, how["by_label"], kept, robust=not how["trusted"])
    rule.check_class_sizes(rule.n_benign, f"{what} that the model classifies correctly")
    finite = np.isfinite(scores)
    if how["trusted"] or not finite.any():
        _check_sound(int((~finite).sum()), len(finite), rule.unsound)
    model = LayerwiseModel(rule, scores[finite], judged[finite], how["trusted"])
    _warn_of_doubts(model, len(labels))
    return model


def _make_rule(classifier: Any, x: np.ndarray, nb_classes: int, options: dict[str, Any], batch_size: int) -> LayerRule:
    """
    :raises InvalidInputError: If the rule needs more layers than there are.
    """
    layers = list(find_blocks(classifier, x[:1]) if options["layers"] is None else options["layers"])
    logger.info("Layers: %s.", ", ".join(layers))
    shared: dict[str, Any] = {"random_state": options["random_state"], "batch_size": batch_size}
    rule = RULES[options["mode"]](layers, nb_classes, **shared, **(options["mode_params"] or {}))
    rule.check_layers()
    return rule


def _warn_of_doubts(model: LayerwiseModel, n_samples: int) -> None:
    """Warn of a model that is often wrong, and of classes with few or no benign samples."""
    n_benign, what = model.rule.n_benign, "trusted" if model.trusted else "training"
    doubt = accuracy_warning(int(n_benign.sum()), n_samples) if model.trusted else None
    if doubt is not None:
        logger.warning(doubt)
    few = [int(label) for label in np.flatnonzero((n_benign > 0) & (n_benign < LEAST_SAMPLES))]
    if few:
        logger.warning(
            "The model classifies fewer than %d %s samples of %s correctly, so verdicts for %s are less reliable.",
            LEAST_SAMPLES,
            what,
            named_classes(few),
            "this class" if len(few) == 1 else "these classes",
        )
    if model.not_judged:
        logger.warning(
            "The model classifies no %s sample of %s correctly, so samples of %s are not judged and pass.",
            what,
            named_classes(model.not_judged),
            "this class" if len(model.not_judged) == 1 else "these classes",
        )


def named_classes(labels: list[int]) -> str:
    """``"class 1"``, ``"classes 1 and 4"``, ``"classes 1, 4 and 6"``."""
    if len(labels) == 1:
        return f"class {labels[0]}"
    return f"classes {', '.join(map(str, labels[:-1]))} and {labels[-1]}"


def _check_sound(n_bad: int, n_samples: int, by_layer: dict[str, int]) -> None:
    """
    :raises InvalidInputError: If there are any whose features or outputs are not finite.
    """
    if n_bad:
        said = ", ".join(f"{name}: {n}" for name, n in by_layer.items())
        raise InvalidInputError(
            f"{n_bad} of the {n_samples} benign samples give features or outputs that are not finite, or too large for "
            f"single precision{f' (samples by layer: {said})' if said else ''}. Remove such samples, check how the samples "
            "are scaled, and whether the model's weights hold NaN."
        )


def _at_most(labels: np.ndarray, nb_classes: int, most: int, random_state: int) -> np.ndarray:
    """Indices of at most ``most`` samples of each class, drawn without replacement, in ascending order."""
    random = np.random.default_rng(random_state)
    members = indices_by_class(labels, nb_classes)
    rows: np.ndarray = np.sort(np.concatenate([random.permutation(indices)[:most] for indices in members]))
    return rows


def _lowest(scores: np.ndarray, labels: np.ndarray, nb_classes: int, share: float) -> np.ndarray:
    """Which samples belong to the given share of their class with the lowest scores, (n,), bool."""
    kept = np.zeros(len(scores), dtype=bool)
    for indices in indices_by_class(labels, nb_classes):
        order = indices[np.argsort(scores[indices], kind="stable")]
        kept[order[: int(np.ceil(share * len(order)))]] = True
    return kept
