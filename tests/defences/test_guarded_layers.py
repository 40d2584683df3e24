"""The layer-wise score inside a guarded model: the detector's own, also in files that run without this package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn

from art_plugins.defences.guard_files import FORMATS, check_guard_path, save_guard
from art_plugins.defences.guarded_layers import ClassDistances
from art_plugins.defences.guarded_model import LAYER_SCORE, OUTPUTS, GuardedModel
from art_plugins.defences.in_flight import InFlightDetector
from art_plugins.defences.layerwise_detector import LayerwiseFeatureDetector
from art_plugins.errors import InvalidInputError, MissingPackageError, NotFittedError
from art_plugins.features.vae.training import seeded
from art_plugins.optional import import_optional
from art_plugins.statistics.layer_gaussian import fit_layer_gaussian

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def small_network() -> nn.Module:
    """Feature maps, so that both views count; the second layer overwrites its input."""
    with seeded(0):
        first = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)]
        second = [nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        return nn.Sequential(nn.Sequential(*first), nn.Sequential(*second), nn.Flatten(), nn.Linear(128, 10))


@pytest.fixture(scope="module")
def classifier(digits: Any) -> PyTorchClassifier:
    network = small_network()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    found = PyTorchClassifier(
        network, nn.CrossEntropyLoss(), (1, 8, 8), 10, optimiser, clip_values=(0, 1), device_type="cpu"
    )
    with seeded(0):
        found.fit(np.array(digits.x_train), digits.y_train, batch_size=64, nb_epochs=4, verbose=False)
    return found


def fitted(digits: Any, classifier: PyTorchClassifier, max_dims: int) -> LayerwiseFeatureDetector:
    detector = LayerwiseFeatureDetector(classifier, fpr=0.05, mode_params={"max_dims": max_dims})
    detector.fit(digits.x_clean, digits.y_clean)
    return detector


@pytest.fixture(scope="module", params=[512, 20], ids=["whole", "projected"])
def layers(request: pytest.FixtureRequest, digits: Any, classifier: PyTorchClassifier) -> LayerwiseFeatureDetector:
    return fitted(digits, classifier, request.param)


def judged(guard: GuardedModel, x: np.ndarray) -> list[np.ndarray]:
    with torch.no_grad():
        return [output.numpy() for output in guard(torch.from_numpy(np.array(x)))]


def mixed(digits: Any) -> np.ndarray:
    """Clean images, images with a stain, noise, and one that is not finite."""
    noise = np.random.default_rng(0).random((20, 1, 8, 8), dtype=np.float32)
    broken = np.full((1, 1, 8, 8), np.nan, dtype=np.float32)
    found: np.ndarray = np.concatenate([digits.x_test[:150], digits.white_square(digits.x_test[:50]), noise, broken])
    return found


def test_score_of_the_layers_is_that_of_the_detector(digits, classifier, layers):
    x = mixed(digits)
    logits, scores = judged(GuardedModel(None, layers), x)
    np.testing.assert_allclose(logits[:-1], classifier.predict(x[:-1]), rtol=1e-5, atol=1e-5)
    report, stands_out = layers.detect(x[:-1])
    np.testing.assert_allclose(scores[:-1], report["outlier_scores"] - layers.threshold_, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(scores[:-1] > 0, stands_out)
    assert 0.02 < stands_out.mean() < 0.9
    assert np.isposinf(scores[-1])


def test_both_detectors_side_by_side(digits, classifier, layers):
    in_flight = InFlightDetector(classifier, digits.white_square, digits.target, removal=False)
    in_flight.fit(digits.x_clean, digits.y_clean)
    x = mixed(digits)
    guard = GuardedModel(in_flight, layers)
    assert guard.outputs == (*OUTPUTS, LAYER_SCORE)
    four, three, two = judged(guard, x), judged(GuardedModel(in_flight), x), judged(GuardedModel(None, layers), x)
    for one, other in zip(four, [*three, two[1]], strict=True):
        np.testing.assert_array_equal(one, other)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in guard.network.modules())


def runner(path: Path) -> Any:
    """A function that runs the exported model on a batch."""
    if path.suffix == ".onnx":
        session = import_optional("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda x: session.run(["logits", LAYER_SCORE], {"x": x})
    module: Any = torch.jit.load(path) if path.suffix == ".pt" else torch.export.load(path).module()
    return lambda x: [output.detach().numpy() for output in module(torch.from_numpy(x))]


# An export takes seconds: the fast tests have every format and every form of the features, the slow ones all pairs.
SLOW_PAIRS = {(".pt2", 20), (".onnx", 512), (".onnx", 20)}


@pytest.mark.parametrize(
    ("ending", "max_dims"),
    [
        pytest.param(ending, n, id=f"{name}-{ending}", marks=[pytest.mark.slow] if (ending, n) in SLOW_PAIRS else [])
        for ending in FORMATS
        for n, name in ((512, "whole"), (20, "projected"))
    ],
)
def test_file_with_the_layers_agrees_on_batches_of_any_size(digits, classifier, tmp_path: Path, ending, max_dims):
    guard, path = GuardedModel(None, fitted(digits, classifier, max_dims)), tmp_path / f"guard{ending}"
    try:
        check_guard_path(path)
    except MissingPackageError as error:  # beside TensorFlow, ONNX cannot be imported
        pytest.skip(str(error))
    save_guard(guard, path, digits.x_clean)
    run, x = runner(path), mixed(digits)
    for n in (1, 3, len(x)):
        logits, scores = run(np.ascontiguousarray(x[-n:]))
        expected = judged(guard, x[-n:])
        np.testing.assert_allclose(logits, expected[0], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(scores, expected[1], rtol=1e-5, atol=1e-5)


def test_a_class_without_trusted_samples_is_not_judged_and_classes_that_do_not_vary_are_no_error(digits, classifier):
    known = digits.y_clean != 4
    detector = LayerwiseFeatureDetector(classifier)
    detector.fit(digits.x_clean[known], digits.y_clean[known])
    x = digits.x_test[:200]
    report, _ = detector.detect(x)
    _, scores = judged(GuardedModel(None, detector), x)
    np.testing.assert_allclose(scores, report["outlier_scores"] - detector.threshold_, rtol=1e-5, atol=1e-4)
    assert (report["predicted_class"] == 4).any()


def test_what_cannot_be_guarded_is_refused(digits, classifier, layers):
    with pytest.raises(InvalidInputError, match="Give an in-flight detector, a layer-wise one, or both"):
        GuardedModel(None)
    with pytest.raises(NotFittedError, match="learned nothing"):
        GuardedModel(None, LayerwiseFeatureDetector(classifier))
    paper = LayerwiseFeatureDetector(classifier, mode="paper", mode_params={"pooled": True}, layers=list("0123"))
    paper.fit(digits.x_clean, digits.y_clean)
    with pytest.raises(InvalidInputError, match="Only a layer-wise detector of mode 'mahalanobis'"):
        GuardedModel(None, paper)
    other = PyTorchClassifier(small_network(), nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0, 1), device_type="cpu")
    in_flight = InFlightDetector(other, digits.white_square, digits.target)
    with pytest.raises(InvalidInputError, match="for the same classifier"):
        GuardedModel(in_flight, layers)


def test_distances_lose_nothing_where_features_lie_far_from_zero_and_close_together():
    random = np.random.default_rng(0)
    labels = np.arange(300) % 3
    features = (1_000 + 0.5 * labels[:, None] + 0.1 * random.standard_normal((300, 6))).astype(np.float32)
    gaussian = fit_layer_gaussian(features, labels, 3)
    found = ClassDistances(gaussian, None)(torch.from_numpy(features))
    np.testing.assert_allclose(found.log(), np.log(gaussian.known_distances(features)), atol=2e-5)


def test_a_layer_without_feature_maps_is_measured_once(layers):
    score = GuardedModel(None, layers).layer_score
    assert score is not None
    maps = [name for name in layers.layers_ if f"channels_{layers.layers_.index(name)}" in score.distances]
    assert 0 < len(maps) < len(layers.layers_)
    assert len(score.distances) == len(layers.layers_) + len(maps)
