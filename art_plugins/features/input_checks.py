"""Checks of samples before a classifier judges them: their shape, their unit, and whether the model knows them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from art_plugins.arrays import check_finite, check_samples
from art_plugins.errors import InvalidInputError
from art_plugins.features.classifiers import class_outputs, in_evaluation_mode, torch_module
from art_plugins.features.forward_pass import run_batch
from art_plugins.features.outputs import check_outputs

FAR = 5  # widths of clip_values that samples may lie outside; bytes for a model of 0 to 1 lie farther outside
NARROW = 200  # samples may be this many times narrower than clip_values; 0 to 1 in place of 0 to 255 is narrower
OTHER_SAMPLES = 20  # ratio of the ranges of two data sets from which they have different units
ROWS_AT_ONCE = 1024  # number of samples of a memory map that are read together
LOW_ACCURACY = 0.5  # accuracy on trusted samples below which the inputs probably differ from those of the training


def check_input_shape(classifier: Any, x: np.ndarray, name: str = "x") -> None:
    """
    Check the shape of samples, (n, ...).

    ART does not hold a classifier to the shape that it declares, and some resize or turn their inputs themselves (Armory's
    for CIFAR-10 and GTSRB do). So another shape is taken if the classifier predicts a sample of it.

    :raises InvalidInputError: If it is not the classifier's shape, and the classifier cannot predict it.
    """
    check_samples(x, name)
    shape = tuple(classifier.input_shape)
    if tuple(x.shape[1:]) == shape:
        return
    refused = InvalidInputError(f"{name} must have the classifier's shape {shape}; received {x.shape[1:]}.")
    if x.ndim != len(shape) + 1:
        raise refused
    try:
        with torch.random.fork_rng(devices=[]), in_evaluation_mode(torch_module(classifier)):
            classifier.predict(np.asarray(x[:1], dtype=np.float32))
    except Exception as error:  # whatever a stranger's network raises
        raise refused from error


def check_class_outputs(classifier: Any, x: np.ndarray) -> None:
    """
    Check on the first sample that the network gives one real score for each class. A network that gives fewer, as one with
    one output neuron for two classes, or more, would be judged by classes that it does not predict.

    :param x: Samples, (n, ...), n at least 1.
    :raises InvalidInputError: If it does not.
    """
    check_outputs(class_outputs(run_batch(classifier, x[:1]), 1), int(classifier.nb_classes))


def typical_range(x: np.ndarray) -> tuple[float, float]:
    """
    Give the median of the samples' lowest values and the median of their highest values. Single unusual samples have little
    influence on them.

    :param x: Samples, (n, ...); a memory map is read in parts.
    """
    parts = [x[start : start + ROWS_AT_ONCE].reshape(len(x[start : start + ROWS_AT_ONCE]), -1) for start in _starts(x)]
    low, high = (np.concatenate([extreme(part, axis=1) for part in parts]) for extreme in (np.min, np.max))
    return float(np.median(low)), float(np.median(high))


def check_input_range(classifier: Any, x: np.ndarray, name: str = "x") -> None:
    """
    Compare the range of the typical sample with the classifier's ``clip_values``. Without ``clip_values`` nothing is
    checked.

    :param x: Finite samples, (n, ...).
    :param name: Name of the argument, for the message.
    :raises InvalidInputError: If the samples are outside by more than five times the width of ``clip_values``, or fill less
        than 1 / 200 of it. They are then in another unit, such as 0 to 255 in place of 0 to 1.
    """
    if getattr(classifier, "clip_values", None) is None:
        return
    least, most = (float(extreme(values)) for extreme, values in zip((np.min, np.max), classifier.clip_values, strict=True))
    low, high = typical_range(x)
    width, found = most - least, high - low
    if max(high - most, least - low) > FAR * width or 0 < found * NARROW < width:
        raise InvalidInputError(
            f"{name} holds values from {low:.4g} to {high:.4g} in the typical sample, and the classifier's clip_values are "
            f"{least:g} to {most:g}: bring the samples into the range that the model was trained on, or give the "
            "classifier its true clip_values."
        )


def check_same_unit(x: np.ndarray, trusted: np.ndarray, name: str) -> None:
    """
    Compare the range of the typical sample with that of the typical trusted sample.

    :param x: Finite samples, (n, ...).
    :param trusted: Finite trusted samples, (m, ...).
    :param name: Name of ``x``, for the message.
    :raises InvalidInputError: If one range is at least 20 times the other.
    """
    (low, high), (least, most) = typical_range(x), typical_range(trusted)
    if high > low and most > least and not 1 / OTHER_SAMPLES < (high - low) / (most - least) < OTHER_SAMPLES:
        raise InvalidInputError(
            f"{name} holds values from {low:.4g} to {high:.4g} in the typical sample, and the trusted samples from "
            f"{least:.4g} to {most:.4g}: bring both into the range that the model was trained on."
        )


def check_trusted(x_val: np.ndarray, x_train: np.ndarray) -> None:
    """
    Check trusted samples, (m, ...), beside the suspect ones, (n, ...).

    :raises InvalidInputError: If they have another shape or unit, or values that are not finite.
    """
    check_samples(x_val, "x_val")
    if x_val.shape[1:] != x_train.shape[1:]:
        raise InvalidInputError(f"x_val must hold samples of the shape {x_train.shape[1:]}; received {x_val.shape[1:]}.")
    check_finite(x_val, "trusted data", "remove such samples first")
    check_same_unit(x_train, x_val, "x_train")


def accuracy_warning(n_right: int, n_samples: int) -> str | None:
    """
    Give a warning if the model misclassifies most trusted samples, or ``None`` if at least half are right.

    :param n_right: Number of trusted samples that the model classifies as labelled.
    :param n_samples: Number of trusted samples.
    """
    if n_right >= LOW_ACCURACY * n_samples:
        return None
    return (
        f"The model classifies only {n_right} of {n_samples} trusted samples as they are labelled. Their range, their "
        "normalisation or the order of their labels is probably not what the model was trained with, and then no verdict "
        "can be relied on."
    )


def _starts(x: np.ndarray) -> range:
    return range(0, len(x), ROWS_AT_ONCE)
