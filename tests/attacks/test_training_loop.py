"""The training loop: what is augmented, and how the learning rate rises and falls."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from art_plugins.attacks.training_loop import augmented, rate_factor
from art_plugins.features.vae.training import seeded


def test_augmented_images_are_crops_of_the_padded_ones_or_their_mirror_images(random: np.random.Generator) -> None:
    images = random.uniform(0.1, 1, size=(200, 2, 5, 7)).astype(np.float32)
    with seeded(0):
        results = augmented(torch.from_numpy(images)).numpy()
    mirrored, places = 0, set()
    for image, result in zip(np.pad(images, ((0, 0), (0, 0), (4, 4), (4, 4))), results, strict=True):
        found = [
            (top, left, flip)
            for top in range(9)
            for left in range(9)
            for flip in (False, True)
            if (image[:, top : top + 5, left : left + 7][..., :: -1 if flip else 1] == result).all()
        ]
        assert found
        mirrored += found[0][2]
        places.add(found[0][:2])
    assert 70 < mirrored < 130  # 100 +- 4.2 standard deviations
    assert len(places) > 55  # of 81; 74 are expected
    assert {top for top, _ in places} == {left for _, left in places} == set(range(9))


def test_augmented_images_without_mirror_are_crops_and_still_drawn_apart(random: np.random.Generator) -> None:
    images = random.uniform(0.1, 1, size=(200, 2, 5, 7)).astype(np.float32)
    with seeded(0):
        results = augmented(torch.from_numpy(images), mirror=False).numpy()
    places = set()
    for image, result in zip(np.pad(images, ((0, 0), (0, 0), (4, 4), (4, 4))), results, strict=True):
        found = [
            (top, left)
            for top in range(9)
            for left in range(9)
            if (image[:, top : top + 5, left : left + 7] == result).all()
        ]
        assert found
        places.add(found[0])
    assert len(places) > 55


@pytest.mark.parametrize("total_steps", [1, 2, 9, 10, 200])
def test_rate_factor_rises_to_one_within_a_tenth_and_falls_towards_zero(total_steps: int) -> None:
    factors = np.array([rate_factor(step, total_steps) for step in range(total_steps + 1)])  # the last one is never used
    peak = factors.argmax()
    assert factors[peak] == 1
    assert peak <= max(0, total_steps // 10 - 1)
    assert (np.diff(factors[: peak + 1]) > 0).all()
    assert (np.diff(factors[peak:]) < 0).all()
    assert factors[-1] == pytest.approx(0)
    assert (factors[:-1] > 0).all()


def test_rate_factor_is_half_at_the_middle_of_the_fall() -> None:
    assert [rate_factor(step, 31) for step in (0, 1, 2)] == pytest.approx([1 / 3, 2 / 3, 1])
    assert rate_factor(2 + 29 // 2, 31) + rate_factor(2 + 29 // 2 + 1, 31) == pytest.approx(1)
