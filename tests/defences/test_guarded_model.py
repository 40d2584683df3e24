"""The guarded model: the detector's scores in one pass, and files that run without this package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from art.defences.postprocessor import Rounded
from art.estimators.classification import PyTorchClassifier
from torch import nn

from art_plugins.defences.guard_files import FORMATS, check_guard_path, save_guard
from art_plugins.defences.guarded_model import GuardedModel
from art_plugins.defences.in_flight import InFlightDetector
from art_plugins.errors import InvalidInputError, MissingPackageError, NotFittedError

# What another machine does: no part of this package can be imported there.
RUN_ALONE = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("art", "art_plugins"):
            raise ImportError(name)
sys.meta_path.insert(0, Without())
import numpy as np
import onnxruntime
import torch
x = np.load("x.npy")
for name, load in (("pt2", lambda: torch.export.load("guard.pt2").module()), ("pt", lambda: torch.jit.load("guard.pt"))):
    for n in (1, 3, len(x)):
        np.savez(f"{name}-{n}.npz", *[output.detach().numpy() for output in load()(torch.from_numpy(x[:n]))])
session = onnxruntime.InferenceSession("guard.onnx")
for n in (1, 3, len(x)):
    np.savez(f"onnx-{n}.npz", *session.run(["logits", "trigger_score", "corrected_label"], {"x": x[:n]}))
"""


def wrapped(network: nn.Module, **options: Any) -> PyTorchClassifier:
    return PyTorchClassifier(
        network, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0, 1), device_type="cpu", **options
    )


def fitted(digits: Any, **parameters: Any) -> InFlightDetector:
    classifier = parameters.pop("classifier", None) or wrapped(digits.network("white_square"))
    detector = InFlightDetector(classifier, digits.white_square, digits.target, **parameters)
    detector.fit(digits.x_clean, digits.y_clean)
    return detector


@pytest.fixture(scope="module")
def mixed(digits):
    """Test images, then those of the other classes with the trigger."""
    return np.concatenate([digits.x_test, digits.white_square(digits.x_test[digits.y_test != digits.target])])


@pytest.fixture(scope="module")
def guard(digits):
    return GuardedModel(fitted(digits))


def judged(guard: GuardedModel, x: np.ndarray) -> list[np.ndarray]:
    with torch.no_grad():
        return [output.numpy() for output in guard(torch.from_numpy(np.array(x)))]


@pytest.mark.parametrize(
    "parameters",
    [{}, {"n_layers": 1}, {"density": {"family": "oas", "power": 1}}, {"density": {"family": "tied", "power": 0.7}}],
    ids=["default", "one_layer", "oas", "tied"],
)
def test_scores_and_labels_are_those_of_the_detector(digits, mixed, parameters):
    detector = fitted(digits, removal=False, **parameters)
    report, is_trigger = detector.detect(mixed)
    logits, scores, labels = judged(GuardedModel(detector), mixed)
    np.testing.assert_array_equal(logits.argmax(axis=1), report["predicted_class"])
    as_target = report["predicted_class"] == digits.target
    np.testing.assert_allclose(
        scores[as_target], report["outlier_scores"][as_target] - detector.margin_, rtol=1e-5, atol=1e-4
    )
    assert np.isneginf(scores[~as_target]).all()
    np.testing.assert_array_equal(scores > 0, is_trigger)
    assert is_trigger.sum() > 100
    np.testing.assert_array_equal(labels, detector.predict_with_correction(mixed))


def test_preprocessing_of_the_classifier_is_inside(digits):
    x = digits.x_test[:40]
    shifted = wrapped(digits.network("white_square"), preprocessing=(0.3, 0.7))
    detector = fitted(digits, classifier=shifted, removal=False)
    logits, scores, _ = judged(GuardedModel(detector), x)
    np.testing.assert_allclose(logits, shifted.predict(x), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(scores > 0, detector.detect(x)[1])


def test_images_that_are_not_finite_are_caught_without_a_class(guard, digits):
    x = np.array(digits.x_test[:3])
    x[1, 0, 2, 2] = np.nan
    _, scores, labels = judged(guard, x)
    assert np.isposinf(scores[1])
    assert labels[1] == -1
    assert np.isfinite(labels[[0, 2]]).all()
    assert not np.isposinf(scores[[0, 2]]).any()


def test_one_forward_pass_of_the_network_and_no_hooks_left(guard, digits):
    runs = []
    handle = guard.network.register_forward_hook(lambda *_: runs.append(1))
    judged(guard, digits.x_test[:5])
    handle.remove()
    assert len(runs) == 1
    assert not any(module._forward_pre_hooks for module in guard.network.modules())
    assert not guard.train().training


@pytest.mark.slow
def test_files_run_without_this_package_and_agree(guard, digits, mixed, tmp_path):
    try:
        check_guard_path("guard.onnx")
    except MissingPackageError as error:  # beside TensorFlow, ONNX cannot be imported
        pytest.skip(str(error))
    for ending in FORMATS:
        save_guard(guard, tmp_path / f"guard{ending}", digits.x_clean)
    x = np.ascontiguousarray(mixed[-60:])
    np.save(tmp_path / "x.npy", x)
    done = subprocess.run([sys.executable, "-c", RUN_ALONE], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for ending in FORMATS:
        for n in (1, 3, len(x)):
            with np.load(tmp_path / f"{ending[1:]}-{n}.npz") as found:
                logits, scores, labels = (found[f"arr_{index}"] for index in range(3))
            expected = judged(guard, x[:n])
            np.testing.assert_allclose(logits, expected[0], rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(scores, expected[1], rtol=1e-5, atol=1e-5)
            np.testing.assert_array_equal(labels, expected[2])
    assert (expected[1] > 0).mean() > 0.9  # these images carry the trigger
    assert {path.suffix for path in Path(tmp_path).iterdir()} == {".npz", ".npy", *FORMATS}


class Fickle(nn.Module):
    """Counts its runs, so that a traced copy gives other outputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.runs = network, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.runs += 1
        outputs: torch.Tensor = self.network(x) + self.runs
        return outputs


def test_file_whose_outputs_differ_is_not_written(digits, tmp_path):
    guard = GuardedModel(fitted(digits, classifier=wrapped(Fickle(digits.network("white_square")))))
    with pytest.raises(InvalidInputError, match="was not written: its logits differ"):
        save_guard(guard, tmp_path / "guard.pt", digits.x_clean)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "n", "match"), [("guard.bin", 9, "must end in"), ("guard.pt", 1, "at least 2 images")])
def test_bad_arguments_of_a_file_are_refused(guard, digits, tmp_path, name, n, match):
    with pytest.raises(InvalidInputError, match=match):
        save_guard(guard, tmp_path / name, digits.x_clean[:n])


def test_detectors_that_cannot_be_exported_are_refused(digits):
    with pytest.raises(NotFittedError, match="call fit"):
        GuardedModel(InFlightDetector(wrapped(digits.network("clean")), digits.white_square, 3))
    with pytest.raises(InvalidInputError, match="another density family"):
        GuardedModel(fitted(digits, density={"family": "mixture"}))
    rounded = wrapped(digits.network("white_square"), postprocessing_defences=Rounded(3))
    with pytest.raises(InvalidInputError, match="postprocessing"):
        GuardedModel(fitted(digits, classifier=rounded))
