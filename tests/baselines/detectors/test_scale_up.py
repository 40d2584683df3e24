"""Scaled prediction consistency on one pixel, by hand, and in loops; deviations by class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn

from art_plugins.baselines.detectors.scale_up import ScaleUp
from art_plugins.errors import InvalidInputError


class Bands(nn.Module):
    """Class 1 from a brightness of 0.35 to 0.75, class 0 elsewhere."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inside = ((x > 0.35) & (x < 0.75)).float()
        return torch.cat([1 - inside, inside], dim=1)


def classifier(**options: Any) -> PyTorchClassifier:
    options = {"clip_values": (0, 1), **options}
    return PyTorchClassifier(Bands(), nn.CrossEntropyLoss(), (1,), 2, device_type="cpu", **options)


def pixels(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)[:, None]


def test_data_free_scores_are_the_share_of_brighter_copies_that_agree():
    detector = ScaleUp(classifier(), "data-free", scales=(2, 3, 4, 5))
    detector.fit(pixels(0.1, 0.5), [0, 1])
    # 0.1: .2, .3, then .4, .5 -> class 1; 0.14: .28, then .42, .56, .7 -> 1; 0.5: all 1 -> class 0; 0: stays; 0.3: .6 -> 1.
    scores = detector.outlier_scores(pixels(0.1, 0.14, 0.5, 0.0, 0.3))
    np.testing.assert_allclose(scores, [2 / 4, 1 / 4, 0, 1, 3 / 4])


def test_data_limited_scores_are_deviations_from_the_class_of_the_model():
    detector = ScaleUp(classifier(), "data-limited", scales=(2, 3, 4, 5))
    clean, labels = pixels(0.1, 0.14, 0.0, 0.5, 0.6), np.array([0, 0, 0, 1, 1])
    detector.fit(clean, labels)
    consistencies = np.array([2 / 4, 1 / 4, 1, 0, 0])
    expected = (3 / 4 - consistencies[:3].mean()) / consistencies[:3].std()
    # Both clean images of class 1 score 0: its deviation is that of all five.
    np.testing.assert_allclose(
        detector.outlier_scores(pixels(0.3, 0.5)), [expected, (0 - 0) / consistencies.std()], atol=1e-12
    )


def test_scores_of_a_data_set_in_bytes_are_scaled_as_numbers():
    class Bytes(Bands):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x / 255)

    wrapped = PyTorchClassifier(Bytes(), nn.CrossEntropyLoss(), (1,), 2, device_type="cpu", clip_values=(0, 255))
    detector = ScaleUp(wrapped, "data-free", scales=(2, 3))
    x = np.array([[25], [60]], dtype=np.uint8)
    detector.fit(x, [0, 0])
    np.testing.assert_allclose(detector.outlier_scores(x), [1, 0.5 * 0])


def test_classifier_without_clip_values_is_refused():
    with pytest.raises(InvalidInputError, match="clip_values, such as"):
        ScaleUp(classifier(clip_values=None)).fit(pixels(0.1, 0.5), [0, 1])


@pytest.mark.parametrize("scales", [[], [1, 3], [3, 3], [2.5]])
def test_scales_that_cannot_be_are_refused(scales):
    with pytest.raises(InvalidInputError, match="scales must be a list of different whole numbers from 2"):
        ScaleUp(classifier(), scales=scales).fit(pixels(0.1), [0])
