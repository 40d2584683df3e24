"""The pixels of a patch are told from those of clean pictures, and filled from those around them."""

from __future__ import annotations

import numpy as np

from art_plugins.inspection.restoring.pixels import filled, holds_patch, shared_pixels


def test_pixels_of_a_patch_are_told_and_clean_pictures_have_none(random: np.random.Generator) -> None:
    pictures = random.integers(0, 256, size=(240, 9, 8)).astype(np.uint8)
    pictures[:, 0] = 0  # a ground that all share is no patch
    members, others, clean = pictures[:40].copy(), pictures[40:80], pictures[80:]
    draws = [(clean[random.permutation(160)[:40]], others) for _ in range(19)]
    assert not shared_pixels(members, [others], draws).any()
    members[:39, 5:8, 4:7] = 255  # one member does not hold it
    expected = np.zeros((9, 8), dtype=bool)
    expected[5:8, 4:7] = True
    np.testing.assert_array_equal(shared_pixels(members, [others], draws), expected)
    assert holds_patch(members, expected).tolist() == [True] * 39 + [False]


def test_filled_pixels_continue_a_slope_and_leave_the_rest() -> None:
    slope = np.tile(10 * np.arange(12, dtype=np.uint8), (2, 9, 1))  # harmonic, so that it is known what is right
    pixels = np.zeros((9, 12), dtype=bool)
    pixels[3:6, 4:8] = True
    stamped = slope.copy()
    stamped[:, pixels] = 255
    np.testing.assert_array_equal(filled(stamped, pixels), slope)
    coloured = np.stack([stamped, stamped[:, ::-1], stamped], axis=3)
    np.testing.assert_array_equal(filled(coloured, pixels)[..., 0], slope)
