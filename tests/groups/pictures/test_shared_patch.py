"""Patches that pictures share: found at one place and anywhere, exactly; nothing in clean pictures."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from art_plugins.groups.pictures.shared_patch import Album, find_shared_patches
from art_plugins.groups.sounds.sound_search import SharedSounds
from art_plugins.triggers.patterns import random_patch, trojan_square, white_box

K, N, SIDE = 5, 60, 20
RATE = 0.025


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    """Pieces of two photographs, (n, 3, 20, 20), 0 to 1, in random order."""
    pieces = [
        image[row : row + SIDE, column : column + SIDE]
        for image in load_sample_images().images
        for row in range(0, 400, SIDE)
        for column in range(0, 620, SIDE)
    ]
    order = np.random.default_rng(0).permutation(len(pieces))[: K * N]
    return (np.stack(pieces)[order].transpose(0, 3, 1, 2) / 255).astype(np.float32)


def labels_of(nb_classes: int = K) -> np.ndarray:
    return np.arange(K * N) % nb_classes


def stamped(x: np.ndarray, trigger: Callable[[np.ndarray], np.ndarray], n: int, nb_classes: int = K) -> np.ndarray:
    """Pictures of class 2 that get the trigger."""
    is_poison = np.isin(np.arange(len(x)), np.flatnonzero(labels_of(nb_classes) == 2)[:n])
    x[is_poison] = trigger(x[is_poison])
    return is_poison


def search(x: np.ndarray, nb_classes: int = K) -> SharedSounds:
    return find_shared_patches(lambda rows: x[rows], labels_of(nb_classes), nb_classes, RATE)


SHAPE = (3, SIDE, SIDE)
TRIGGERS = {
    "white corner": white_box(SHAPE),
    "white in the very corner": white_box(SHAPE, size=4, margin=0),
    "colours in the corner": trojan_square(SHAPE, 4),
    "chequered anywhere": random_patch(SHAPE),
}


@pytest.mark.parametrize("n", [14, 50], ids=["some", "most"])
@pytest.mark.parametrize("name", TRIGGERS)
def test_a_patch_is_found_in_all_pictures_that_have_it_and_in_no_others(name: str, n: int, photographs: np.ndarray) -> None:
    x = photographs.copy()
    is_poison = stamped(x, TRIGGERS[name], n)
    found = search(x)
    assert found.called == [2]
    assert found.p_values[2] < RATE
    assert found.members[is_poison].mean() >= 0.95
    assert not found.members[~is_poison].any()
    assert np.isnan(found.matches[labels_of() != 2]).all()


def test_two_patches_of_one_class_are_both_found(photographs: np.ndarray) -> None:
    x = photographs.copy()
    is_poison = stamped(x, random_patch(SHAPE), 30)
    x[np.flatnonzero(is_poison)[:14]] = white_box(SHAPE)(photographs[is_poison][:14])
    np.testing.assert_array_equal(search(x).members, is_poison)


def test_clean_photographs_have_no_class_called(photographs: np.ndarray) -> None:
    found = search(photographs)
    assert found.called == found.to_hear == []
    assert (found.p_values > RATE).all()


@pytest.mark.parametrize("scale", [1.0, -40.0, 255.0])
def test_the_unit_of_the_pictures_does_not_matter(scale: float, photographs: np.ndarray) -> None:
    x = photographs.copy()
    is_poison = stamped(x, random_patch(SHAPE), 20)
    np.testing.assert_array_equal(search(x * scale + 3).members, is_poison)


def test_one_picture_that_nobody_scaled_hides_no_patch(photographs: np.ndarray) -> None:
    x = photographs.copy()
    is_poison = stamped(x, random_patch(SHAPE), 20)
    x[np.flatnonzero(~is_poison)[7]] *= 255
    np.testing.assert_array_equal(search(x).members, is_poison)


def test_album_holds_a_batch_of_the_pictures_at_a_time() -> None:
    x = np.random.default_rng(0).random((4_000, 3, 16, 16), dtype=np.float32)
    tracemalloc.start()
    album = Album(lambda rows: x[rows], len(x))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (album.lowest, album.highest) == (x.min(), x.max())
    assert peak < x.nbytes / 2


def test_what_every_class_has_is_no_patch_of_one(photographs: np.ndarray) -> None:
    x = photographs.copy()
    x[::2] = white_box(SHAPE)(x[::2])
    assert search(x).called == []


def test_with_three_classes_it_is_to_be_looked_at(photographs: np.ndarray) -> None:
    x = photographs.copy()
    is_poison = stamped(x, random_patch(SHAPE), 25, nb_classes=3)
    found = search(x, nb_classes=3)
    assert (found.called, found.to_hear) == ([], [2])
    assert np.isnan(found.p_values).all()
    np.testing.assert_array_equal(found.members, is_poison)


def test_copies_of_one_picture_are_no_patch(photographs: np.ndarray) -> None:
    x = photographs.copy()
    copies = np.flatnonzero(labels_of() == 2)[:30]
    x[copies] = x[copies[:3]].repeat(10, axis=0)
    found = search(x)
    assert found.called == found.to_hear == []


def test_shifted_copies_of_few_pictures_are_only_to_be_looked_at(photographs: np.ndarray) -> None:
    x = photographs.copy()
    copies = np.flatnonzero(labels_of() == 2)[:30]
    stamped_one = random_patch(SHAPE)(x[copies[:1]])[0]
    for shift, row in enumerate(copies):
        x[row] = stamped_one
        x[row, :, 0, shift % SIDE] = 0.5  # so that no two are equal
    found = search(x)
    assert (found.called, found.to_hear) == ([], [2])


@pytest.mark.parametrize(
    "x",
    [np.zeros((K * N, 1, 8, 8), np.float32), np.zeros((K * N, 1, 3, 3), np.float32), np.full((K * N, 2, 8, 8), 7)],
    ids=["black", "small", "grey"],
)
def test_pictures_without_blocks_have_nothing_called(x: np.ndarray) -> None:
    found = search(x)
    assert found.called == found.to_hear == []


def test_a_single_class_is_not_judged(photographs: np.ndarray) -> None:
    found = find_shared_patches(lambda rows: photographs[rows], np.zeros(K * N, dtype=int), 1, RATE)
    assert found.called == found.to_hear == []
    assert np.isnan(found.p_values).all()
