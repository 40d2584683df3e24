"""Triggers on images: what is changed, where, by how much, and what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from art.attacks.poisoning import PoisoningAttackBackdoor
from art.attacks.poisoning.perturbations.image_perturbations import add_single_bd
from scipy.ndimage import map_coordinates

from art_plugins.errors import InvalidInputError
from art_plugins.triggers.patterns import (
    blended,
    chessboard,
    single_pixel,
    trojan_square,
    warp,
    watermark,
    white_box,
)
from art_plugins.triggers.stamps import AdditiveTrigger, MaskedTrigger, WarpTrigger

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
SHAPE = (3, 10, 12)
TRIGGERS: dict[str, Callable[..., Any]] = {
    "chessboard": lambda **seed: chessboard(SHAPE, 0.1),
    "single_pixel": lambda **seed: single_pixel(SHAPE),
    "white_box": lambda **seed: white_box(SHAPE),
    "trojan_square": lambda **seed: trojan_square(SHAPE, 4, **seed),
    "watermark": lambda **seed: watermark(SHAPE),
    "blended": lambda **seed: blended(SHAPE, **seed),
    "warp": lambda **seed: warp(SHAPE, **seed),
}
SEEDED = ("trojan_square", "blended", "warp")


@pytest.fixture
def x(random: np.random.Generator) -> np.ndarray:
    return random.uniform(0.2, 0.8, size=(5, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize("name", TRIGGERS)
def test_every_trigger_in_arts_attack_changes_a_copy_within_the_range_and_takes_the_labels(
    name: str, x: np.ndarray
) -> None:
    before = x.copy()
    poisoned, labels = PoisoningAttackBackdoor(TRIGGERS[name]()).poison(x, np.full(5, 7))
    assert (poisoned.shape, poisoned.dtype) == (x.shape, x.dtype)
    assert (labels == 7).all()
    np.testing.assert_array_equal(x, before)
    assert (poisoned != x).reshape(5, -1).any(axis=1).all()
    assert poisoned.min() >= 0
    assert poisoned.max() <= 1


@pytest.mark.parametrize("name", TRIGGERS)
def test_every_trigger_treats_each_image_alone(name: str, x: np.ndarray) -> None:
    trigger = TRIGGERS[name]()
    np.testing.assert_array_equal(trigger(x)[[3, 1]], trigger(x[[3, 1]]))
    np.testing.assert_array_equal(trigger(x)[2], trigger(x[2]))


@pytest.mark.parametrize("name", TRIGGERS)
def test_every_trigger_of_another_size_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match=r"is made for images of shape .*10, 12.*received \(2, 3, 12, 10\)"):
        TRIGGERS[name]()(np.zeros((2, 3, 12, 10)))


@pytest.mark.parametrize("name", SEEDED)
def test_seeded_triggers_repeat_by_seed(name: str, x: np.ndarray) -> None:
    first, again, other = (TRIGGERS[name](random_state=seed)(x) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


# The three forms


def test_masked_trigger_mixes_by_the_mask() -> None:
    trigger = MaskedTrigger(np.array([[[0, 0.25, 1]]]), np.array([[[9.0, 0.4, 0.6]]]))
    np.testing.assert_allclose(trigger(np.array([[[[0.1, 0.8, 0.3]]]])), [[[[0.1, 0.7, 0.6]]]])


def test_masked_trigger_mask_of_one_channel_counts_for_all(x: np.ndarray, random: np.random.Generator) -> None:
    mask, pattern = random.uniform(size=SHAPE[1:]), random.uniform(size=SHAPE)
    expected = MaskedTrigger(np.stack([mask] * 3), pattern)(x)
    np.testing.assert_array_equal(MaskedTrigger(mask[None], pattern)(x), expected)
    np.testing.assert_array_equal(MaskedTrigger(mask, pattern)(x), expected)
    channels_last = MaskedTrigger(mask[..., None], pattern.transpose(1, 2, 0))(x.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(channels_last.transpose(0, 3, 1, 2), expected)


def test_masked_trigger_on_bytes_is_rounded() -> None:
    trigger = MaskedTrigger(np.full((1, 1, 1), 0.5), np.full((1, 1, 2), 255.0))
    triggered = trigger(np.array([[[[0, 250]]]], dtype=np.uint8))
    assert triggered.dtype == np.uint8
    assert triggered.tolist() == [[[[128, 252]]]]  # 127.5 and 252.5, to the even one


@pytest.mark.parametrize(
    ("mask", "pattern", "message"),
    [
        (np.full((1, 4, 4), 1.1), np.zeros((3, 4, 4)), "0 to 1; received 1.1"),
        (np.full((1, 4, 4), -0.1), np.zeros((3, 4, 4)), "0 to 1; received -0.1"),
        (np.full((1, 4, 4), np.nan), np.zeros((3, 4, 4)), "mask must hold finite"),
        (np.zeros((1, 4, 4)), np.full((3, 4, 4), np.inf), "pattern must hold finite"),
        (np.zeros((1, 4, 5)), np.zeros((3, 4, 4)), "does not broadcast"),
        (np.zeros((3, 4, 4)), np.zeros((1, 4, 4)), "does not broadcast"),
        (np.zeros((1, 3, 4, 4)), np.zeros((3, 4, 4)), "does not broadcast"),
    ],
)
def test_masked_trigger_with_bad_arrays_says_what_is_wrong(mask: np.ndarray, pattern: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        MaskedTrigger(mask, pattern)


def test_additive_trigger_adds_and_clips() -> None:
    perturbation, x = np.array([[[-0.3, 0.25, 0.3]]]), np.array([[[[0.1, 0.5, 0.9]]]])
    np.testing.assert_allclose(AdditiveTrigger(perturbation)(x), [[[[0, 0.75, 1]]]])
    np.testing.assert_allclose(AdditiveTrigger(perturbation, (-1, 2))(x), [[[[-0.2, 0.75, 1.2]]]])


@pytest.mark.parametrize(
    ("perturbation", "clip_values", "message"),
    [(np.array([[[np.nan]]]), (0, 1), "finite"), (np.zeros((1, 2, 2)), (1, 1), "clip_values")],
)
def test_additive_trigger_with_bad_arguments_says_what_is_wrong(
    perturbation: np.ndarray, clip_values: tuple[float, float], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        AdditiveTrigger(perturbation, clip_values)


def test_warp_trigger_equals_scipys_linear_interpolation(x: np.ndarray, random: np.random.Generator) -> None:
    displacement = random.normal(scale=3, size=(2, *SHAPE[1:]))  # many of them beyond the edges
    places = np.indices(SHAPE[1:]) + displacement
    expected = [[map_coordinates(channel, places, order=1, mode="nearest") for channel in image] for image in x]
    np.testing.assert_allclose(WarpTrigger(displacement)(x), expected, atol=1e-6)


def test_warp_trigger_of_whole_pixels_shifts(x: np.ndarray) -> None:
    displacement = np.stack([np.full(SHAPE[1:], 2.0), np.full(SHAPE[1:], -1.0)])
    np.testing.assert_array_equal(WarpTrigger(displacement)(x)[..., :-2, 1:], x[..., 2:, :-1])
    np.testing.assert_array_equal(WarpTrigger(0 * displacement)(x), x)


def test_warp_trigger_of_one_plane_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"\(2, H, W\)"):
        WarpTrigger(np.zeros((1, 4, 4)))


# The attacks


def test_chessboard_adds_the_amplitude_where_row_and_column_are_even_together(x: np.ndarray) -> None:
    added = chessboard(SHAPE, 0.05)(x) - x
    for row in range(SHAPE[1]):
        for column in range(SHAPE[2]):
            expected = 0.05 if (row + column) % 2 == 0 else 0
            np.testing.assert_allclose(added[..., row, column], expected, atol=1e-6)


def test_single_pixel_is_arts_single_pixel(x: np.ndarray) -> None:
    one_channel = x[:, 0]
    np.testing.assert_array_equal(single_pixel((1, 10, 12))(x[:, :1])[:, 0], add_single_bd(one_channel.copy()))
    changed = np.argwhere((single_pixel(SHAPE, 3, 4, value=0)(x) != x).any(axis=(0, 1)))
    assert changed.tolist() == [[3, 4]]


@pytest.mark.parametrize(("size", "margin"), [(3, 1), (2, 0), (1, 9), (10, 0)])
def test_white_box_equals_an_assignment_to_the_corner(x: np.ndarray, size: int, margin: int) -> None:
    expected = x.copy()
    expected[:, :, 10 - margin - size : 10 - margin, 12 - margin - size : 12 - margin] = 0.9
    np.testing.assert_array_equal(white_box(SHAPE, size, margin, value=0.9)(x), expected)


def test_trojan_square_is_saturated_colour_in_the_corner_only(x: np.ndarray) -> None:
    triggered = trojan_square(SHAPE, 5, margin=2)(x)
    square = triggered[..., 3:8, 5:10]
    assert set(np.unique(square)) == {0, 1}
    assert (square == square[0]).all()
    triggered[..., 3:8, 5:10] = x[..., 3:8, 5:10]
    np.testing.assert_array_equal(triggered, x)


def test_watermark_is_a_ring_and_a_diagonal_that_let_the_image_through() -> None:
    shape = (3, 32, 32)
    mark = watermark(shape, 0.4)(np.zeros((1, *shape)))[0, 0]
    assert mark.max() == pytest.approx(0.4)
    np.testing.assert_allclose(mark, mark.T, atol=1e-7)
    np.testing.assert_allclose(mark, mark[::-1, ::-1], atol=1e-7)
    ring, down_left = (15, 15 - 11), (20, 11)
    assert mark[ring] == mark[down_left] == pytest.approx(0.4)
    assert not mark[[0, 31, 11, 20], [0, 31, 11, 20]].any()  # the corners, and beside the bar
    np.testing.assert_allclose(watermark(shape)(np.ones((1, *shape))), 1, atol=1e-6)


def test_blended_mixes_every_image_with_one_key(x: np.ndarray) -> None:
    trigger = blended(SHAPE, 0.3)
    key = trigger(np.zeros((1, *SHAPE)))[0] / 0.3
    assert 0 <= key.min() < 0.05
    assert 0.95 < key.max() <= 1.0001
    np.testing.assert_allclose(trigger(x), 0.7 * x + 0.3 * key, atol=1e-6)


def test_warp_passes_through_its_grid_and_moves_by_the_strength() -> None:
    grid = warp((1, 16, 31), strength=0.7, grid_size=4).displacement[:, ::5, ::10]
    assert grid.shape == (2, 4, 4)
    assert np.abs(grid).mean() == pytest.approx(0.7)
    assert np.abs(grid).max() < 4 * 0.7
    doubled = warp((1, 16, 31), strength=1.4, grid_size=4).displacement
    np.testing.assert_allclose(doubled, 2 * warp((1, 16, 31), strength=0.7, grid_size=4).displacement)


def test_warp_is_smooth_between_its_grid_points() -> None:
    displacement = warp((1, 64, 64), strength=1, grid_size=4).displacement
    # Between neighbouring grid points 21 pixels apart at most about 4 pixels of difference.
    assert np.abs(np.diff(displacement, axis=1)).max() < 0.5
    assert np.abs(np.diff(displacement, axis=2)).max() < 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: chessboard(SHAPE, 0), "amplitude"),
        (lambda: chessboard(SHAPE, 25), "amplitude .* received 25"),
        (lambda: chessboard((10, 12), 0.1), r"shape must be \(C, H, W\)"),  # type: ignore[arg-type]
        (lambda: single_pixel(SHAPE, 10), r"Pixel \(10, -2\) does not fit"),
        (lambda: single_pixel(SHAPE, 0, -13), "does not fit"),
        (lambda: white_box(SHAPE, 8, 3), "does not fit into an image of 10 x 12"),
        (lambda: white_box(SHAPE, 0), "size must be a whole number of at least 1; received 0"),
        (lambda: trojan_square((3, 0, 4), 1), r"shape must be"),
        (lambda: trojan_square(SHAPE, 11), "does not fit"),
        (lambda: watermark((3, 7, 9)), "8 x 8"),
        (lambda: watermark(SHAPE, 0), "opacity"),
        (lambda: blended(SHAPE, 1.2), "alpha"),
        (lambda: warp(SHAPE, grid_size=1), "grid_size"),
        (lambda: warp(SHAPE, strength=float("nan")), "strength"),
    ],
)
def test_attacks_with_arguments_that_do_not_fit_say_what_is_wrong(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: MaskedTrigger([[1]], np.zeros((1, 2, 2))),  # type: ignore[arg-type]
        lambda: MaskedTrigger(np.ones((1, 2, 2)), np.full((1, 2, 2), "a")),
        lambda: AdditiveTrigger(None),  # type: ignore[arg-type]
        lambda: AdditiveTrigger(np.zeros((1, 2, 2)), None),  # type: ignore[arg-type]
        lambda: AdditiveTrigger(np.zeros((1, 2, 2)), (0, 1, 2)),  # type: ignore[arg-type]
        lambda: AdditiveTrigger(np.zeros((1, 2, 2)), ("a", "b")),  # type: ignore[arg-type]
        lambda: AdditiveTrigger(np.zeros((1, 2, 2)), (0, float("nan"))),
        lambda: AdditiveTrigger(np.zeros((1, 2, 2)))([[1]]),  # type: ignore[arg-type]
        lambda: WarpTrigger("a"),  # type: ignore[arg-type]
        lambda: chessboard(None, 0.1),  # type: ignore[arg-type]
        lambda: chessboard((True, 8, 8), 0.1),
        lambda: chessboard((3, 10**6, 10**6), 0.1),
        lambda: chessboard((3, 8.0, 8), 0.1),  # type: ignore[arg-type]
        lambda: single_pixel(SHAPE, "a"),  # type: ignore[arg-type]
        lambda: trojan_square(SHAPE, 2, random_state=-1),
    ],
)
def test_triggers_of_odd_arguments_are_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(InvalidInputError):
        make()
