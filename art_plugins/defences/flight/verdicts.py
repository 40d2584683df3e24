"""The verdicts of the in-flight detector: which images are caught, and the class that each of them comes from."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from art_plugins.defences.flight.densities import log_likelihood_ratios
from art_plugins.features.activations import collect_outputs
from art_plugins.statistics.density import ClassDensities
from art_plugins.statistics.source_inference import STRENGTHS
from art_plugins.triggers.trigger import Trigger, apply_trigger


class FeatureVerdict(NamedTuple):
    """
    What the densities say of n images.

    ``log_likelihoods``, (n, K), are in nats, NaN for images that pass untouched. ``scores``, (n,), are the log-likelihood
    ratios, NaN likewise, and infinite for images whose outputs or features are not finite. ``is_trigger``, (n,), bool,
    marks the images that are caught. ``source``, (n,), is the most likely other class of a caught image, else -1.
    ``explained`` are the indices of the caught images that have such a class.
    """

    log_likelihoods: np.ndarray
    scores: np.ndarray
    is_trigger: np.ndarray
    source: np.ndarray
    explained: np.ndarray


def is_sound(outputs: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Whether all outputs and features of an image are finite, (n,), bool."""
    sound: np.ndarray = np.isfinite(outputs).all(axis=1) & np.isfinite(features).all(axis=1)
    return sound


def judge_features(
    densities: ClassDensities, predicted: np.ndarray, sound: np.ndarray, features: np.ndarray, target: int, margin: float
) -> FeatureVerdict:
    """
    Catch the images that the model sends to the target class although another class explains their features better.

    :param predicted: The model's classes, (n,).
    :param sound: Images whose outputs and features are finite, (n,), bool; the others are caught.
    :param features: (n, D).
    :param target: The target class of the backdoor.
    :param margin: In nats; an image is caught if its score is above it.
    """
    rows = np.flatnonzero((predicted == target) & sound)
    log_likelihoods = np.full((len(predicted), len(densities.known)), np.nan)
    source = np.full(len(predicted), -1)
    scores = np.where(sound, np.nan, np.inf)
    is_trigger = ~sound
    explained = rows[:0]
    if len(rows):
        log_likelihoods[rows] = found = densities.log_likelihoods(features[rows])
        ratios = log_likelihood_ratios(found, target)
        scores[rows] = np.where(np.isnan(ratios), np.inf, ratios)
        is_trigger[rows] = scores[rows] > margin
        has_source = is_trigger[rows] & ~np.isnan(ratios)
        others = np.where(np.arange(found.shape[1]) == target, -np.inf, found)
        source[rows] = np.where(has_source, others.argmax(axis=1), -1)
        explained = rows[has_source]
    return FeatureVerdict(log_likelihoods, scores, is_trigger, source, explained)


def outputs_without_pattern(classifier: Any, trigger: Trigger, x: np.ndarray, batch_size: int) -> np.ndarray:
    """
    The model's outputs for images from which the pattern is subtracted, at each of S strengths, (S, n, K).

    :param x: Caught images, (n, ...).
    """
    added = apply_trigger(trigger, x).astype(np.float32) - x
    less = np.concatenate([x - strength * added for strength in STRENGTHS])
    if classifier.clip_values is not None:
        less = np.clip(less, *classifier.clip_values)
    return collect_outputs(classifier, less, batch_size).reshape(len(STRENGTHS), len(x), -1)
