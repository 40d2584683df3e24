"""Our detectors inside ART's ``DetectorClassifier``: networks that give logits, probabilities or log-probabilities."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import DetectorClassifier, PyTorchClassifier
from torch import nn

from art_plugins.baselines.detectors.beatrix import Beatrix
from art_plugins.baselines.detectors.patterns import B3D, STRIP, NeuralCleanseFilter
from art_plugins.baselines.detectors.scale_up import ScaleUp
from art_plugins.defences.detector_classifier import verdicts
from art_plugins.defences.in_flight import InFlightDetector
from art_plugins.defences.layerwise_detector import LayerwiseFeatureDetector
from art_plugins.errors import InvalidInputError
from art_plugins.features.vae.training import seeded

LAYERS = ["1", "2", "3", "4", "5"]


class Sure(nn.Module):
    """Outputs times ten thousand: what follows, in single precision, is as sure as it can be."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 1e4 * x


ENDS: dict[str, list[nn.Module]] = {
    "logits": [],
    "log_softmax": [nn.LogSoftmax(dim=1)],
    "sure_log_softmax": [Sure(), nn.LogSoftmax(dim=1)],
    "softmax": [nn.Softmax(dim=1)],
}
KINDS: dict[str, Any] = {
    "layerwise": lambda classifier, digits: LayerwiseFeatureDetector(classifier, layers=LAYERS, fpr=0.05),
    "layerwise_paper": lambda classifier, digits: LayerwiseFeatureDetector(
        classifier, layers=LAYERS, mode="paper", mode_params={"pooled": True}
    ),
    "in_flight": lambda classifier, digits: InFlightDetector(classifier, digits.white_square, digits.target),
    "strip": lambda classifier, digits: STRIP(classifier, n_blends=5, fpr=0.1),
    "b3d": lambda classifier, digits: B3D(classifier, digits.white_square, fpr=0.1),
    "cleanse": lambda classifier, digits: NeuralCleanseFilter(classifier, digits.white_square, digits.target, fpr=0.1),
    "scale_up": lambda classifier, digits: ScaleUp(classifier, "data-free", threshold=0.7),
    "beatrix": lambda classifier, digits: Beatrix(classifier, layers=["2"], fpr=0.1),
}


def wrapped(digits: Any, end: str) -> PyTorchClassifier:
    network = nn.Sequential(*digits.network("white_square"), *ENDS[end]).eval()
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0, 1), device_type="cpu")


@pytest.fixture(scope="module")
def mixed(digits):
    return np.concatenate([digits.x_test[:60], digits.white_square(digits.x_test[digits.y_test != digits.target][:60])])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_every_catch_becomes_the_additional_class_and_all_others_keep_theirs(digits, mixed, kind, end):
    classifier = wrapped(digits, end)
    detector = KINDS[kind](classifier, digits)
    detector.fit(digits.x_clean, digits.y_clean)
    _, is_trigger = detector.detect(mixed)
    with seeded(0):
        outputs = classifier.predict(mixed)
        combined = DetectorClassifier(classifier, detector).predict(mixed)
    if end == "sure_log_softmax":
        assert (outputs.max(axis=1) == 0).mean() > 0.9  # where every finite factor gives 0
        np.testing.assert_array_equal(detector.predict(mixed), np.where(is_trigger, 1, -1)[:, None])
    if kind in ("layerwise", "in_flight") and end == "log_softmax":
        assert is_trigger.sum() > 20
    assert combined.shape == (len(mixed), 11)
    assert np.isfinite(combined).all()
    np.testing.assert_array_equal(combined[:, :10], outputs)
    np.testing.assert_array_equal(combined.argmax(axis=1), np.where(is_trigger, 10, outputs.argmax(axis=1)))


@pytest.mark.parametrize("top", [-np.float32(3.0), np.float32(-1e-45), np.float32(0), np.float32(1e-45), np.float32(7)])
def test_verdicts_in_arts_formula_win_for_the_caught_and_lose_for_the_others(top):
    outputs = np.full(2, top, dtype=np.float32)
    product = (np.reshape(verdicts(np.array([True, False])), [-1]) + 1) * outputs
    assert type(product) is np.ndarray
    assert product[0] > top
    assert product[1] <= top


def test_verdicts_above_zero_are_arts_own_numbers():
    outputs = np.array([0.5, 3.0])
    np.testing.assert_array_equal((verdicts(np.array([True, False])).reshape(-1) + 1) * outputs, [1.0, 0.0])


def test_verdicts_survive_copies_and_pickling():
    found = verdicts(np.array([True, False]))
    for other in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert type(other) is type(found)
        np.testing.assert_array_equal(other, [[1], [-1]])


@pytest.mark.parametrize("kind", ["layerwise", "layerwise_paper", "in_flight"])
def test_detector_classifier_saves_into_a_folder(digits, tmp_path, kind):
    classifier = wrapped(digits, "logits")
    detector = KINDS[kind](classifier, digits)
    detector.fit(digits.x_clean, digits.y_clean)
    DetectorClassifier(classifier, detector).save("f", path=str(tmp_path / "d"))
    detector.save(tmp_path / "whole_path")
    loaded = type(detector).load(tmp_path / "d" / "f_detector", classifier)
    assert (tmp_path / "d" / "f_detector").read_bytes() == (tmp_path / "whole_path").read_bytes()
    np.testing.assert_array_equal(loaded.detect(digits.x_test[:50])[1], detector.detect(digits.x_test[:50])[1])


def test_detector_without_a_file_form_says_so_by_a_named_error(digits, tmp_path):
    with pytest.raises(InvalidInputError, match="STRIP cannot be saved"):
        KINDS["strip"](wrapped(digits, "logits"), digits).save("f", path=str(tmp_path))


@pytest.mark.parametrize("arguments", [(None,), (3, "d"), ("f", 3)])
def test_save_of_no_path_is_refused(digits, arguments):
    detector = KINDS["layerwise"](wrapped(digits, "logits"), digits)
    detector.fit(digits.x_clean, digits.y_clean)
    with pytest.raises(InvalidInputError, match="must be a path"):
        detector.save(*arguments)
