"""Triggers of their own for each image: formula, sizes, and that each image is stamped as if it were alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from art_plugins.errors import InvalidInputError
from art_plugins.features.vae.training import seeded
from art_plugins.triggers.input_aware import BATCH_SIZE, InputAwareTrigger, TriggerGenerator, stamp

pytestmark = pytest.mark.usefixtures("global_generators_untouched")


@pytest.fixture(scope="module")
def trigger() -> InputAwareTrigger:
    with seeded(0):
        return InputAwareTrigger(TriggerGenerator(3, width=4).eval())


@pytest.fixture
def x(random: np.random.Generator) -> np.ndarray:
    return random.uniform(size=(6, 3, 10, 9)).astype(np.float32)


def drawn(trigger: InputAwareTrigger, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        mask, pattern = trigger.generator(torch.from_numpy(x))
    return mask.numpy(), pattern.numpy()


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (28, 28), (33, 32)])
def test_generator_draws_masks_and_patterns_of_the_images_size_from_0_to_1(size: tuple[int, int], random: Any) -> None:
    with seeded(0):
        generator = TriggerGenerator(3, width=2).eval()
    mask, pattern = drawn(InputAwareTrigger(generator), random.uniform(size=(2, 3, *size)).astype(np.float32))
    assert mask.shape == (2, 1, *size)
    assert pattern.shape == (2, 3, *size)
    for values in (mask, pattern):
        assert 0 <= values.min() < values.max() <= 1


def test_stamp_without_mask_is_the_image_and_with_all_of_it_the_pattern(random: np.random.Generator) -> None:
    images, pattern = (torch.from_numpy(random.uniform(size=(2, 3, 4, 4))) for _ in range(2))
    zeros, ones = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    assert torch.equal(stamp(images, zeros, pattern), images)
    assert torch.equal(stamp(images, ones, pattern), pattern)
    np.testing.assert_allclose(stamp(images, ones / 4, pattern), 0.75 * images.numpy() + 0.25 * pattern.numpy())


def test_trigger_is_wangs_equation_with_the_images_own_mask_and_pattern(trigger: InputAwareTrigger, x: np.ndarray) -> None:
    mask, pattern = drawn(trigger, x)
    np.testing.assert_allclose(trigger(x), (1 - mask) * x + mask * pattern, atol=1e-6)
    assert mask.std(axis=0).max() > 1e-3  # not one for all


def test_crossed_trigger_has_the_other_images_mask_and_pattern(trigger: InputAwareTrigger, x: np.ndarray) -> None:
    others = x[::-1]
    mask, pattern = drawn(trigger, np.ascontiguousarray(others))
    np.testing.assert_allclose(trigger.crossed(x, others), (1 - mask) * x + mask * pattern, atol=1e-6)
    np.testing.assert_array_equal(trigger.crossed(x, x), trigger(x))


def test_trigger_stamps_each_image_as_if_alone_and_leaves_the_input(trigger: InputAwareTrigger, x: np.ndarray) -> None:
    many = np.concatenate([x] * (BATCH_SIZE // len(x) + 2))
    before = many.copy()
    stamped = trigger(many)
    np.testing.assert_array_equal(many, before)
    assert stamped.dtype == many.dtype
    for row in (0, 3, len(many) - 1):
        np.testing.assert_allclose(stamped[row], trigger(many[row]), atol=1e-5)
    assert trigger(x.astype(np.float64)).dtype == np.float64
    assert trigger(x[:0]).shape == x[:0].shape


def test_trigger_of_whole_numbers_or_other_shapes_is_refused(trigger: InputAwareTrigger, x: np.ndarray) -> None:
    with pytest.raises(InvalidInputError, match="received uint8 of shape"):
        trigger((x * 255).astype(np.uint8))
    with pytest.raises(InvalidInputError, match=r"received float32 of shape \(10, 9\)"):
        trigger(x[0, 0])
    with pytest.raises(InvalidInputError, match="by must have the shape of x"):
        trigger.crossed(x, x[:2])
