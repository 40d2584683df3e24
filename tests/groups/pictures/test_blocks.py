"""Blocks of pictures: equal where the levels are equal, and told apart by how they stand out."""

from __future__ import annotations

import numpy as np
import pytest

from art_plugins.groups.pictures.blocks import as_levels, blocks_of, bounded, ground_of, mixed

CHEQUERED = (np.indices((5, 5)).sum(axis=0) % 2 == 0) * 255


def noise(random: np.random.Generator, n: int = 3, channels: int = 1) -> np.ndarray:
    return random.integers(0, 256, size=(n, channels, 12, 14)).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_contents_are_equal_exactly_where_the_levels_are(channels: int, random: np.random.Generator) -> None:
    levels = (noise(random, channels=channels) % 2).astype(np.uint8)
    contents = blocks_of(levels, 3).contents
    windows = np.lib.stride_tricks.sliding_window_view(levels, (3, 3), axis=(2, 3)).transpose(0, 2, 3, 1, 4, 5)
    texts = [window.tobytes() for window in windows.reshape(-1, channels * 9)]
    assert contents.shape == (3, 10, 12)
    assert len(set(texts)) == len(set(contents.ravel())) == len(set(zip(texts, contents.ravel(), strict=True)))


def test_contents_of_different_sides_are_different() -> None:
    flat = np.zeros((1, 1, 12, 12), dtype=np.uint8)
    assert blocks_of(flat, 3).contents[0, 0, 0] != blocks_of(flat, 4).contents[0, 0, 0]


def test_contrast_is_the_least_mean_difference_across_a_side(random: np.random.Generator) -> None:
    levels = noise(random, channels=3)
    one, values = blocks_of(levels, 4), levels.astype(float) / 255
    row, column = 3, 5
    block = values[1, :, row : row + 4, column : column + 4]
    across = [
        np.abs(block[:, 0] - values[1, :, row - 1, column : column + 4]).mean(),
        np.abs(block[:, 3] - values[1, :, row + 4, column : column + 4]).mean(),
        np.abs(block[:, :, 0] - values[1, :, row : row + 4, column - 1]).mean(),
        np.abs(block[:, :, 3] - values[1, :, row : row + 4, column + 4]).mean(),
    ]
    assert one.contrast[1, row, column] == pytest.approx(min(across), abs=1e-6)
    corner = values[0, :, :4, :4]
    inside = [
        np.abs(corner[:, 3] - values[0, :, 4, :4]).mean(),
        np.abs(corner[:, :, 3] - values[0, :, :4, 4]).mean(),
    ]
    assert one.contrast[0, 0, 0] == pytest.approx(min(inside), abs=1e-6)


def picture(**parts: np.ndarray) -> np.ndarray:
    levels = np.full((1, 1, 12, 14), 60, dtype=np.uint8)
    for part in parts.values():
        levels[0, 0, 4 : 4 + part.shape[0], 4 : 4 + part.shape[1]] = part
    return levels


@pytest.mark.parametrize(
    ("part", "side", "expected"),
    [
        (CHEQUERED, 3, 9),
        (CHEQUERED, 5, 1),
        (CHEQUERED, 4, 4),
        (np.full((5, 5), 255) - np.arange(5) * 60, 3, 0),
        (np.full((3, 3), 255), 3, 1),
        (np.full((3, 3), 255), 4, 0),
        (np.full((3, 8), 255), 3, 0),
        (np.full((6, 6), 255), 3, 0),
        (np.full((3, 3), 80), 3, 0),
    ],
    ids=[
        "pattern",
        "whole pattern",
        "parts of the pattern",
        "soft edge",
        "square",
        "more than the square",
        "bar",
        "corner of a large square",
        "faint",
    ],
)
def test_what_stands_out(part: np.ndarray, side: int, expected: int) -> None:
    stands_out = blocks_of(picture(part=part), side).stands_out[0]
    row = slice(4, 4 + part.shape[0] - side + 1) if part.shape[0] >= side else slice(4, 5)
    assert stands_out[row, 4 : 4 + max(1, part.shape[1] - side + 1)].sum() == expected


def test_a_few_pixels_that_touch_a_flat_corner_do_not_make_it_stand_out() -> None:
    levels = np.zeros((1, 1, 12, 14), dtype=np.uint8)
    levels[0, 0, 3, :10] = 230  # of a shirt's shoulder under the upper right corner
    levels[0, 0, 4:] = 230
    levels[0, 0, 4, 11:] = [120, 0, 0]
    assert not blocks_of(levels, 4).stands_out[0, 0, 10]


def test_the_ground_is_the_colour_of_a_quarter_of_all_pixels(random: np.random.Generator) -> None:
    levels = noise(random, channels=3)
    assert len(ground_of(levels)) == 0
    levels[:, :, :4] = np.array([7, 8, 9])[:, None, None]
    assert ground_of(levels).shape == (1, 3, 9, 9)
    assert ground_of(levels)[0, :, 3, 4].tolist() == [7, 8, 9]


def test_a_square_in_the_very_corner_stands_out() -> None:
    levels = np.full((1, 1, 12, 14), 60, dtype=np.uint8)
    levels[0, 0, -3:, -3:] = 255
    assert blocks_of(levels, 3).stands_out[0, -1, -1]


def test_as_levels_rounds_to_the_steps_of_the_range() -> None:
    np.testing.assert_array_equal(as_levels(np.array([-1.0, 0, 1, 3, 5]), -1, 3), [0, 64, 128, 255, 255])


def test_bounded_averages_large_pictures_and_leaves_small_ones(random: np.random.Generator) -> None:
    small, large = random.random((2, 1, 64, 10)), random.random((2, 3, 130, 65))
    assert bounded(small) is small
    assert bounded(large).shape == (2, 3, 43, 21)
    assert bounded(large)[1, 2, 4, 5] == pytest.approx(large[1, 2, 12:15, 15:18].mean())


def test_mixed_gives_each_key_a_number_of_its_own() -> None:
    keys = mixed(np.arange(100_000, dtype=np.uint64))
    assert len(np.unique(keys)) == 100_000
    assert abs((keys >> np.uint64(63)).mean() - 0.5) < 0.01
