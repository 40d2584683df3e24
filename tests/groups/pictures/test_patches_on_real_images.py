"""Shared patches on real images: the rates at which patches are found, and clean data sets with nothing called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from art_plugins.attacks.datasets.images import image_data
from art_plugins.attacks.datasets.labelled import drawn
from art_plugins.groups.pictures.shared_patch import find_shared_patches
from art_plugins.groups.sounds.sound_search import SharedSounds
from art_plugins.triggers.patterns import random_patch, trojan_square, white_box

RATE = 0.025  # half of the default false-alarm rate
TARGET = 3
# The blocks and what stands out were chosen on the first two.
SETS = ("fashion_mnist", "mnist", "emnist_letters", "cifar10", "gtsrb32")
PATCHES: dict[str, Callable[..., Callable[[np.ndarray], np.ndarray]]] = {
    "white corner": white_box,
    "colours in the corner": lambda shape: trojan_square(shape, 5),
    "chequered anywhere": random_patch,
}


def search(x: np.ndarray, labels: np.ndarray) -> SharedSounds:
    return find_shared_patches(lambda rows: x[rows], labels, int(labels.max()) + 1, RATE)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.05, 0.3])
@pytest.mark.parametrize("patch", PATCHES)
@pytest.mark.parametrize("name", SETS)
def test_patches_are_found(name: str, patch: str, share: float, data_root: Path) -> None:
    data = drawn(image_data(name, data_root), 4_000, random_state=7)
    x, labels = data.x_train.copy(), data.y_train.copy()
    n = max(12, round(share / (1 - share) * (labels == TARGET).sum()))  # fewer than about eight are no evidence
    chosen = np.random.default_rng(1).choice(np.flatnonzero(labels != TARGET), n, replace=False)
    is_poison = np.isin(np.arange(len(labels)), chosen)
    x[is_poison], labels[is_poison] = PATCHES[patch](x.shape[1:])(x[is_poison]), TARGET
    found = search(x, labels)
    assert found.called == [TARGET]
    least = 0.85 if patch == "white corner" else 0.95  # a white square on a bright ground, as in GTSRB, does not stand out
    assert found.members[is_poison].mean() >= least
    assert found.members[~is_poison].mean() <= 0.002


@pytest.mark.slow
@pytest.mark.parametrize("n", [600, 6_000])
@pytest.mark.parametrize("name", SETS)
def test_clean_sets_have_no_class_called(name: str, n: int, data_root: Path) -> None:
    data = drawn(image_data(name, data_root), n, random_state=1)
    assert search(data.x_train, data.y_train).called == []
