"""What the early layers say that a sample shows, if not the class that the model gives it, and how probable it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from art.estimators.classification import PyTorchClassifier
from scipy.special import softmax
from torch import nn

from art_plugins.defences.layers.likely_class import LikelyClass, fit_likely_class
from art_plugins.defences.layerwise_detector import LayerwiseFeatureDetector


def test_the_nearest_class_besides_the_judged_one_with_its_probability() -> None:
    distances = np.array([[1.0, 2, 4], [1, 2, 4], [np.inf, 2, 4]])
    classes, probabilities = LikelyClass(0.5).of(distances, np.array([0, 1, 1]))
    assert classes.tolist() == [1, 0, 2]
    # Of the others: exp(-1) to exp(-2), exp(-.5) to exp(-2), and one alone.
    np.testing.assert_allclose(probabilities, [1 / (1 + np.exp(-1)), 1 / (1 + np.exp(-1.5)), 1])


def test_a_sample_without_any_other_known_class_has_none() -> None:
    classes, probabilities = LikelyClass(3.0).of(np.array([[1.0, np.inf]]), np.array([0]))
    assert (classes.tolist(), probabilities.tolist()) == ([-1], [0.0])
    empty = LikelyClass(3.0).of(np.zeros((0, 3)), np.zeros(0, dtype=int))
    assert [len(one) for one in empty] == [0, 0]


@pytest.mark.parametrize("sharpness", [0.5, 8.0])
def test_the_sharpness_with_which_labels_were_drawn_is_found(sharpness: float, random: np.random.Generator) -> None:
    distances = random.normal(size=(4000, 5))
    chances = softmax(-sharpness * distances, axis=1)
    labels = (chances.cumsum(axis=1) < random.random((4000, 1))).sum(axis=1)
    assert fit_likely_class(distances, labels).sharpness == pytest.approx(sharpness, rel=0.1)


def test_distances_that_say_nothing_or_that_are_unknown_give_no_sharpness(random: np.random.Generator) -> None:
    assert fit_likely_class(random.normal(size=(4000, 5)), random.integers(5, size=4000)).sharpness < 0.1
    assert fit_likely_class(np.full((3, 2), np.inf), np.zeros(3, dtype=int)).sharpness == 0


@pytest.fixture(scope="module")
def detector(digits) -> LayerwiseFeatureDetector:
    network = digits.network("white_square")
    fitted = LayerwiseFeatureDetector(PyTorchClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), 10, device_type="cpu"))
    fitted.fit(digits.x_clean, digits.y_clean)
    return fitted


def test_digits_with_the_trigger_show_what_they_were_and_the_probability_is_not_far_too_high(digits, detector) -> None:
    """The patch covers a sixteenth of these images, and there are 20 clean ones of a class."""
    others = digits.y_test != digits.target
    report, _ = detector.detect(digits.white_square(digits.x_test[others]))
    truth, sent = digits.y_test[others], report["predicted_class"] == digits.target
    right = report["likely_class"] == truth
    assert (report["likely_class"] != report["predicted_class"]).all()
    assert right[sent].mean() > 0.7  # by chance one in nine
    sure = sent & (report["likely_probability"] >= 0.5)
    assert right[sure].mean() > report["likely_probability"][sure].mean() - 0.15


def test_a_detector_of_the_release_before_does_not_tell(digits, detector, tmp_path: Path) -> None:
    rule = detector.fitted_rule()
    kept, rule.likely_class = rule.likely_class, None
    try:
        detector.save(tmp_path / "old.safetensors")
    finally:
        rule.likely_class = kept
    old = LayerwiseFeatureDetector.load(tmp_path / "old.safetensors", detector.classifier)
    assert "likely_class" not in old.detect(digits.x_test[:5])[0]
