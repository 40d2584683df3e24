"""Which classes the attacks of the paper poison, and towards which."""

from __future__ import annotations

import numpy as np
import pytest

from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.datasets.digits import digits
from art_plugins.evaluation.image_attacks import poison_all_to_all, poison_images
from art_plugins.evaluation.poisoning import SEVERAL
from art_plugins.triggers.patterns import chessboard

TRIGGER = chessboard((1, 8, 8), 0.2)


def test_poison_images_without_sources_poison_every_class_but_the_target() -> None:
    data = digits()
    attack = poison_images(data, TRIGGER, None, 9, 5)
    assert attack.sources == tuple(range(9))
    assert np.bincount(data.y_train[attack.is_poison], minlength=10).tolist() == [5] * 9 + [0]
    assert (attack.y_train[attack.is_poison] == 9).all()
    np.testing.assert_array_equal(attack.x_train[attack.is_poison], TRIGGER(data.x_train[attack.is_poison]))
    np.testing.assert_array_equal(attack.x_triggered, TRIGGER(data.x_test[data.y_test != 9]))
    np.testing.assert_array_equal(attack.y_source, data.y_test[data.y_test != 9])


def test_poison_images_of_one_source_repeat_by_seed() -> None:
    draws = [poison_images(digits(), TRIGGER, [0], 9, 30, random_state=seed) for seed in (0, 0, 1)]
    assert draws[0].sources == (0,)
    np.testing.assert_array_equal(draws[0].x_train, draws[1].x_train)
    assert (draws[0].is_poison != draws[2].is_poison).any()


def test_poison_images_with_the_target_among_the_sources_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="different classes"):
        poison_images(digits(), TRIGGER, [1, 9], 9, 5)


def test_poison_all_to_all_sends_every_class_to_the_next() -> None:
    data = digits()
    attack = poison_all_to_all(data, TRIGGER, 4)
    before, after = data.y_train[attack.is_poison], attack.y_train[attack.is_poison]
    assert np.bincount(before).tolist() == [4] * 10
    np.testing.assert_array_equal(after, (before + 1) % 10)
    np.testing.assert_array_equal(attack.y_wanted, (data.y_test + 1) % 10)
    assert attack.target == SEVERAL
