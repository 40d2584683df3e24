"""Views of pictures: exact windows and parts, and what groups they show on real digits."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from art_plugins.groups.find import find_groups
from art_plugins.groups.image_views import (
    MOST_SIDE,
    bounded,
    image_views,
    parts_in_place,
    picture_windows,
    unusual_windows,
    window_axes,
)
from art_plugins.groups.verdict import judge_groups
from art_plugins.groups.windows import project_windows
from art_plugins.triggers.patterns import random_patch, white_box


def test_picture_windows_are_all_squares_in_order_of_their_places() -> None:
    pictures = np.arange(2 * 2 * 3 * 4, dtype=np.float32).reshape(2, 2, 3, 4)
    windows = picture_windows(pictures, 2)
    assert windows.shape == (2, 6, 8)
    np.testing.assert_array_equal(windows[1, 5], pictures[1, :, 1:3, 2:4].ravel())
    np.testing.assert_array_equal(windows[0, 1], pictures[0, :, 0:2, 1:3].ravel())


def test_window_axes_have_unit_variance_and_are_blind_to_brightness(random: np.random.Generator) -> None:
    pictures = random.normal(size=(40, 1, 9, 9)).astype(np.float32)
    axes = window_axes(pictures, 3)
    components = project_windows(picture_windows(pictures, 3), axes)
    assert components.shape == (40, 49, 8)  # nine pixels less their mean
    np.testing.assert_allclose(components.reshape(-1, 8).var(axis=0), 1, rtol=1e-3)
    brighter = project_windows(picture_windows(pictures + 5, 3), axes)
    np.testing.assert_allclose(brighter, components, atol=1e-3)


def test_unusual_windows_give_the_largest_of_each_sign_and_the_longest_window() -> None:
    components = np.array([[[1.0, -2.0], [0.5, 0.0], [-3.0, 1.0]]])
    found = unusual_windows(components)
    np.testing.assert_allclose(found["largest"], np.log1p([[1, 1, 3, 2]]))
    np.testing.assert_array_equal(found["rarest"], [[-3, 1]])


def test_unusual_windows_are_the_same_wherever_the_patch_lies(random: np.random.Generator) -> None:
    pictures = np.zeros((2, 1, 12, 12), dtype=np.float32)
    patch = random.uniform(size=(3, 3))
    pictures[0, 0, 3:6, 3:6] = pictures[1, 0, 5:8, 4:7] = patch
    axes = window_axes(random.uniform(size=(30, 1, 12, 12)).astype(np.float32), 3)
    for one, other in unusual_windows(project_windows(picture_windows(pictures, 3), axes)).values():
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 7), (1, 3)])
def test_parts_in_place_cover_the_picture(height: int, width: int) -> None:
    pictures = np.arange(height * width, dtype=np.float32).reshape(1, 1, height, width)
    parts = parts_in_place(pictures)
    assert len(parts) == 10
    np.testing.assert_array_equal(parts["whole"], pictures.reshape(1, -1))
    np.testing.assert_array_equal(
        parts["part 2, 2"].ravel(), pictures[0, 0, height - -(-height // 2) :, width - -(-width // 2) :].ravel()
    )
    assert {value for name, part in parts.items() if name != "whole" for value in part.ravel()} == set(pictures.ravel())


def test_bounded_averages_squares_of_large_pictures_and_leaves_small_ones(random: np.random.Generator) -> None:
    small = random.normal(size=(2, 3, MOST_SIDE, 10)).astype(np.float32)
    assert bounded(small) is small
    large = random.normal(size=(2, 3, 2 * MOST_SIDE, 11)).astype(np.float32)
    averaged = bounded(large)
    assert averaged.shape == (2, 3, MOST_SIDE, 5)
    np.testing.assert_allclose(averaged[1, 2, 3, 4], large[1, 2, 6:8, 8:10].mean(), rtol=1e-5)


def digits(n_poison: int = 0, trigger: str = "") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scikit-learn's digits, (n, 1, 8, 8); ``n_poison`` of other classes have a trigger and the label 3."""
    x, y = load_digits(return_X_y=True)
    x = (x.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    poison = np.zeros(len(y), dtype=bool)
    if n_poison:
        rows = np.random.default_rng(1).choice(np.flatnonzero(y != 3), n_poison, replace=False)
        make = {"corner": white_box((1, 8, 8), size=2, margin=0), "anywhere": random_patch((1, 8, 8), size=3)}[trigger]
        x[rows], y[rows], poison[rows] = make(x[rows]), 3, True
    return x, y, poison


@pytest.mark.parametrize(("trigger", "n_poison"), [("corner", 20), ("corner", 80), ("corner", 140), ("anywhere", 80)])
def test_a_patch_is_a_group_of_poison_at_one_place_and_at_any(trigger: str, n_poison: int) -> None:
    x, labels, poison = digits(n_poison, trigger)
    views = image_views(lambda rows: x[rows], labels, 10)
    judged = judge_groups(find_groups(views, labels, 10), views, labels, 10, 0.025)
    removed = np.any([one.group.members for one in judged if one.verdict == "poison"], axis=0)
    assert removed[poison].mean() >= 0.95
    assert removed[~poison].mean() <= 0.001


def test_clean_digits_have_no_group_of_poison() -> None:
    x, labels, _ = digits()
    views = image_views(lambda rows: x[rows], labels, 10)
    judged = judge_groups(find_groups(views, labels, 10), views, labels, 10, 0.025)
    assert all(one.verdict != "poison" for one in judged)


def test_views_do_not_depend_on_the_units_but_for_the_tail_of_the_largest() -> None:
    x, labels, _ = digits()
    views, levels = (image_views(lambda rows, s=scale: x[rows] * s, labels, 10) for scale in (1, 256))
    for name, view in views.items():
        np.testing.assert_allclose(np.abs(levels[name]).mean(axis=0), np.abs(view).mean(axis=0), rtol=0.02)


@pytest.mark.parametrize("shape", [(30, 1, 2, 2), (30, 3, 1, 40)])
def test_pictures_smaller_than_a_window_have_views_of_their_parts_alone(
    shape: tuple[int, ...], random: np.random.Generator
) -> None:
    x = random.normal(size=shape).astype(np.float32)
    views = image_views(lambda rows: x[rows], np.arange(30) % 3, 3)
    assert views
    assert not any("rarest" in name for name in views)


def test_pictures_that_do_not_vary_have_no_views() -> None:
    x = np.ones((30, 1, 8, 8), dtype=np.float32)
    assert image_views(lambda rows: x[rows], np.arange(30) % 3, 3) == {}
