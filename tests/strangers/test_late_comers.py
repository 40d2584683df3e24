"""What was added late, with what strangers give: attacks, guarded models, settings and decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from art_plugins.attacks.zoo.registry import IMAGE_ATTACKS, image_attack
from art_plugins.defences.guard_files import check_guard_path, save_guard
from art_plugins.defences.guarded_model import GuardedModel
from art_plugins.errors import InvalidInputError
from art_plugins.inspection.deciding.decisions import read_decisions
from art_plugins.inspection.settings import DetectSettings, ScanSettings
from art_plugins.triggers.reflections import reflected
from art_plugins.triggers.trigger import apply_trigger

ODD: tuple[Any, ...] = (3, 1.5, True, b"x", [], {}, (), object(), np.array([1, 2]), np.int64(3))


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: type(odd).__name__)
def test_odd_values_are_refused_by_name(odd):
    with pytest.raises(InvalidInputError, match="path must be a path"):
        check_guard_path(odd)
    with pytest.raises(InvalidInputError, match="must be a path"):
        read_decisions(odd)
    for kind in (ScanSettings, DetectSettings):
        with pytest.raises(InvalidInputError, match="size must be"):
            kind(size=odd)
    if not isinstance(odd, (int, float, np.integer)) or isinstance(odd, bool):
        for kind in (ScanSettings, DetectSettings):
            with pytest.raises(InvalidInputError, match="seconds must be"):
                kind(seconds=odd)
    if not isinstance(odd, (list, tuple)):
        with pytest.raises(InvalidInputError, match="only must be"):
            ScanSettings(only=odd)
    for name in IMAGE_ATTACKS:
        with pytest.raises(InvalidInputError, match="shape must be"):
            image_attack(name, odd)


@pytest.mark.parametrize("odd", [*ODD, "x", int], ids=lambda odd: type(odd).__name__)
def test_guarded_model_of_what_is_no_detector_is_refused(strangers, odd):
    for given in ((odd, None), (None, odd)):
        with pytest.raises(InvalidInputError, match="is needed, or None"):
            GuardedModel(*given)
    for given in (
        (strangers.classifier, None),
        (None, strangers.network),
        (strangers.make("LayerwiseFeatureDetector"), None),
    ):
        with pytest.raises(InvalidInputError, match="is needed, or None"):
            GuardedModel(*given)


@pytest.mark.parametrize(
    "odd", [None, 3, "x", np.array(1.0), np.zeros((1, 1, 8, 8)), [[1.0], [2.0]], torch.zeros(2, 1, 8, 8)]
)
def test_guard_is_not_saved_by_what_is_no_images(strangers, tmp_path: Path, odd):
    guard = GuardedModel(None, strangers.fitted("LayerwiseFeatureDetector"))
    with pytest.raises(InvalidInputError, match="x must be an array of at least 2 images"):
        save_guard(guard, tmp_path / "a.pt", odd)


def test_trigger_on_what_is_no_array_is_refused_and_of_no_images_gives_none():
    for odd in ([[1.0]], torch.zeros(2, 1, 8, 8), None, np.array(1.0)):
        with pytest.raises(InvalidInputError, match="x must be an array of images"):
            apply_trigger(lambda x: x, odd)
    assert apply_trigger(lambda x: x, np.zeros((0, 1, 8, 8), np.float32)).shape == (0, 1, 8, 8)


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, ">f4", np.uint8, np.int64])
def test_reflection_of_any_real_numbers_is_that_of_the_same_doubles(dtype):
    image = np.random.default_rng(0).integers(0, 99, (3, 8, 8)).astype(dtype)
    for kind in ("sharp", "blurred", "ghost"):
        expected = reflected(image.astype(np.float64), kind)
        np.testing.assert_allclose(reflected(image, kind).astype(np.float64), expected, rtol=1e-6)
    with pytest.raises(InvalidInputError, match="must hold real numbers"):
        reflected(image > 0)
