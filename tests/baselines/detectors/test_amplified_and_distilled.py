"""IBD-PSC and Cognitive Distillation: their scores recomputed, and what they find, also as filters of training sets."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from sklearn.metrics import roc_auc_score
from torch import nn

from art_plugins.baselines.detector_filter import DetectorFilter
from art_plugins.baselines.detectors.cognitive_distillation import CognitiveDistillation, total_variation
from art_plugins.baselines.detectors.ibd_psc import IBDPSC
from art_plugins.errors import InvalidInputError


def wrapped(network: nn.Module) -> PyTorchClassifier:
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0, 1), device_type="cpu")


@pytest.fixture(scope="module")
def network(normalised_network: Any) -> nn.Sequential:
    return normalised_network(((1, 8, 1), (8, 16, 2), (16, 16, 1), (16, 32, 2)))


def test_ibd_psc_scores_equal_those_of_copies_with_other_weights(digits: Any, network: nn.Sequential) -> None:
    detector = IBDPSC(wrapped(network), n_copies=3, least_error=0.2)
    detector.fit(digits.x_clean, digits.y_clean)
    assert detector.layers_ == ["10", "7", "4", "1"]

    def outputs(x: np.ndarray, n_amplified: int) -> torch.Tensor:
        one = copy.deepcopy(network)
        for name in detector.layers_[:n_amplified]:
            for weights in one.get_submodule(name).parameters():
                weights.data *= 1.5
        with torch.no_grad():
            return torch.as_tensor(one(torch.tensor(x)).double())

    errors = [float((outputs(digits.x_clean, n).argmax(1).numpy() != digits.y_clean).mean()) for n in range(1, 5)]
    start = next((n for n in range(1, 4) if errors[n - 1] > 0.2), 4)
    assert detector.start_ == start
    x = digits.x_test[:50]
    predicted = outputs(x, 0).argmax(1)
    expected = [outputs(x, min(n, 4)).softmax(1).gather(1, predicted[:, None])[:, 0] for n in range(start + 1, start + 4)]
    np.testing.assert_allclose(detector.outlier_scores(x), torch.stack(expected).mean(0).numpy(), rtol=1e-4, atol=1e-5)


def test_ibd_psc_ranks_triggered_images_above_clean_ones(digits: Any, network: nn.Sequential) -> None:
    detector = IBDPSC(wrapped(network))
    detector.fit(digits.x_clean, digits.y_clean)
    triggered = digits.white_square(digits.x_test[digits.y_test != digits.target])
    scores = np.r_[detector.outlier_scores(digits.x_test), detector.outlier_scores(triggered)]
    assert roc_auc_score(np.arange(len(scores)) >= len(digits.x_test), scores) > 0.7


def test_ibd_psc_network_without_batch_normalisation_is_refused(digits: Any) -> None:
    with pytest.raises(InvalidInputError, match="No batch normalisation"):
        IBDPSC(wrapped(digits.network("clean"))).fit(digits.x_clean, digits.y_clean)


def test_total_variation_of_small_masks_by_hand() -> None:
    masks = torch.tensor([[[[0.0, 1.0], [0.5, 0.5]]], [[[0.3, 0.3], [0.3, 0.3]]]])
    # Down: .25 + .25; across: 1 + 0; by four pixels.
    assert total_variation(masks).tolist() == [0.375, 0.0]
    assert total_variation(torch.tensor([[0.0, 2.0, 2.0]])).item() == pytest.approx(4 / 3)


class OnePixel(nn.Module):
    """Class 1 where the first pixel is bright; the others do not matter."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = 40 * (x[:, 0, 0, 0] - 0.5)
        return torch.stack([-bright, bright], dim=1)


class AllPixels(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = 40 * (x.flatten(1).mean(dim=1) - 0.5)
        return torch.stack([-bright, bright], dim=1)


@pytest.mark.parametrize(("model", "small"), [(OnePixel(), True), (AllPixels(), False)])
def test_distilled_mask_keeps_what_the_model_looks_at(model: nn.Module, small: bool) -> None:
    classifier = PyTorchClassifier(model, nn.CrossEntropyLoss(), (1, 4, 4), 2, clip_values=(0, 1), device_type="cpu")
    x = np.full((2, 1, 4, 4), 0.9, dtype=np.float32)
    detector = CognitiveDistillation(classifier, smoothness=0.0)
    detector.fit(x, [1, 1])
    masks = detector.masks(x)
    assert masks.shape == (2, 1, 4, 4)
    assert masks[:, 0, 0, 0].min() > 0.8
    np.testing.assert_allclose(detector.outlier_scores(x), -masks.mean(axis=(1, 2, 3)), rtol=1e-5)
    assert (masks.mean() < 0.3) == small


@pytest.mark.parametrize("name", ["ibd_psc", "scale_up"])
def test_filter_has_the_scores_and_the_verdicts_of_its_detector(
    digits: Any, poisoned: Any, network: nn.Sequential, name: str
) -> None:
    x, y, _ = poisoned
    defence = DetectorFilter(
        wrapped(network), x, y, digits.x_clean, digits.y_clean, detector=name, detector_params={"fpr": 0.1}
    )
    report, is_clean = defence.detect_poison()
    expected, caught = defence.detector_.detect(x)
    np.testing.assert_array_equal(defence.outlier_scores_, expected["outlier_scores"])
    np.testing.assert_array_equal(np.array(is_clean) == 0, caught)
    assert report["threshold"] == defence.detector_.threshold_
    assert sum(report["n_removed"].values()) == caught.sum()


def test_filter_with_a_wrong_parameter_of_its_detector_names_it(digits: Any, poisoned: Any, network: nn.Sequential) -> None:
    x, y, _ = poisoned
    with pytest.raises(InvalidInputError, match="factor must be"):
        DetectorFilter(wrapped(network), x, y, detector_params={"factor": 0.5})
