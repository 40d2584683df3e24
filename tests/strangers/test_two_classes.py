"""Two classes, one output neuron, classes without trusted samples: a class that nothing is known of loses no sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn

from art_plugins.baselines.detectors.beatrix import Beatrix
from art_plugins.defences.in_flight import InFlightDetector
from art_plugins.defences.layerwise import LayerwiseFeatureDefence
from art_plugins.defences.layerwise_detector import LayerwiseFeatureDetector
from art_plugins.errors import InvalidInputError
from art_plugins.features.vae.training import seeded
from art_plugins.triggers.inversion import invert_triggers

LAYERS = ["0", "1", "2", "3"]
THRESHOLDS: list[dict[str, Any]] = [{"tau": -50.0}, {"tau": -0.5}, {"fpr": 0.999}, {}]


def clouds(n: int = 60, seed: int = 0, n_classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """So many samples of each class, far apart, (n, 6)."""
    random = np.random.default_rng(seed)
    y = np.repeat(np.arange(n_classes), n)
    return (random.normal(size=(len(y), 6)) + 8 * np.eye(6)[y]).astype(np.float32), y


def perfect(n_outputs: int, shape: tuple[int, ...] = (6,)) -> PyTorchClassifier:
    """A network that is always right about the clouds; of one output, by its sign."""
    with seeded(0):
        network = nn.Sequential(nn.Flatten(), nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, n_outputs))
    with torch.no_grad():
        network[1].weight.copy_(
            torch.cat([torch.eye(6), 0.1 * torch.randn(6, 6, generator=torch.Generator().manual_seed(1))])
        )
        network[1].bias.zero_()
        network[3].bias.zero_()
        weights = torch.zeros(n_outputs, 12)
        if n_outputs == 1:
            weights[0, 0], weights[0, 1] = -1, 1
        else:
            weights[:, :n_outputs] = torch.eye(n_outputs)
        network[3].weight.copy_(weights)
    return PyTorchClassifier(network.eval(), nn.CrossEntropyLoss(), shape, max(n_outputs, 2), device_type="cpu")


@pytest.mark.parametrize("mode", ["mahalanobis", "paper"])
@pytest.mark.parametrize("trusted", [True, False])
def test_filter_of_two_classes_keeps_what_a_perfect_model_was_trained_on(mode, trusted):
    x, y = clouds()
    given = clouds(60, seed=1) if trusted else (None, None)
    defence = LayerwiseFeatureDefence(perfect(2), x, y, *given, mode=mode, layers=LAYERS)
    report, is_clean = defence.detect_poison()
    assert report["classes_not_judged"] == []
    for label in (0, 1):
        assert np.asarray(is_clean)[y == label].mean() > 0.85


@pytest.mark.parametrize("mode", ["mahalanobis", "paper"])
@pytest.mark.parametrize("threshold", THRESHOLDS, ids=str)
def test_class_that_is_not_judged_loses_no_sample_whatever_the_threshold(mode, threshold):
    x, y = clouds(n_classes=3)
    x_val, y_val = clouds(40, seed=1, n_classes=3)
    known = y_val != 1
    own = {"pooled": True} if mode == "paper" else None
    options = {"mode": mode, "mode_params": own, "layers": LAYERS, **threshold}
    defence = LayerwiseFeatureDefence(perfect(3), x, y, x_val[known], y_val[known], **options)
    report, is_clean = defence.detect_poison()
    assert report["classes_not_judged"] == [1]
    assert report["Class_1"]["n_removed"] == 0
    assert np.asarray(is_clean)[y == 1].all()
    if threshold.get("tau") == -50 and mode == "paper":  # the other mode asks whether more are odd than by chance
        assert not np.asarray(is_clean)[y != 1].any()
    detector = LayerwiseFeatureDetector(perfect(3), **options)
    detector.fit(x_val[known], y_val[known])
    found, is_trigger = detector.detect(x)
    np.testing.assert_array_equal(found["predicted_class"], y)
    assert not is_trigger[y == 1].any()


@pytest.mark.parametrize("mode", ["mahalanobis", "paper"])
def test_layerwise_of_one_output_neuron_says_what_to_put_behind_it(mode):
    x, y = clouds()
    with pytest.raises(InvalidInputError, match=r"nb_classes=2, but its model gives outputs of shape \(n, 1\).*torch.cat"):
        LayerwiseFeatureDefence(perfect(1), x, y, x, y, mode=mode, layers=LAYERS).detect_poison()
    with pytest.raises(InvalidInputError, match=r"nb_classes=2, but its model gives outputs of shape \(n, 1\).*torch.cat"):
        LayerwiseFeatureDetector(perfect(1), mode=mode, layers=LAYERS).fit(x, y)


def test_beatrix_of_one_output_neuron_says_what_to_put_behind_it():
    with pytest.raises(InvalidInputError, match=r"outputs of shape \(n, 1\).*torch.cat"):
        Beatrix(perfect(1), layers=["1"]).fit(*clouds())


def test_in_flight_of_one_output_neuron_says_what_to_put_behind_it():
    x, y = clouds()
    with pytest.raises(InvalidInputError, match=r"outputs of shape \(n, 1\).*torch.cat"):
        InFlightDetector(perfect(1), lambda x: x + 1, 1).fit(x, y)


def test_one_output_neuron_with_what_the_message_says_behind_it_works():
    class BothClasses(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return torch.cat([torch.zeros_like(z), z], dim=1)

    one = perfect(1)
    network = nn.Sequential(*one.model, BothClasses()).eval()
    classifier = PyTorchClassifier(network, nn.CrossEntropyLoss(), (6,), 2, device_type="cpu")
    x, y = clouds()
    _, is_clean = LayerwiseFeatureDefence(classifier, x, y, *clouds(60, seed=1), layers=LAYERS).detect_poison()
    for label in (0, 1):
        assert np.asarray(is_clean)[y == label].mean() > 0.85


def test_inversion_of_a_model_with_other_outputs_than_classes_is_refused():
    x = np.random.default_rng(0).uniform(size=(30, 1, 2, 3)).astype(np.float32)
    network = perfect(2).model
    classifier = PyTorchClassifier(network, nn.CrossEntropyLoss(), (1, 2, 3), 4, clip_values=(0, 1), device_type="cpu")
    with pytest.raises(InvalidInputError, match=r"nb_classes=4, but its model gives outputs of shape \(n, 2\)"):
        invert_triggers(classifier, x, np.arange(30) % 4, verbose=False)
