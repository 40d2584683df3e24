"""Which classes the attacks of the paper poison, and towards which."""

from __future__ import annotations

import numpy as np
import pytest

from art_plugins.attacks.datasets.digits import digits
from art_plugins.attacks.image_poisoning import poison_all_to_all, poison_clean_label, poison_images, poison_with_cover
from art_plugins.attacks.poisoning import SEVERAL
from art_plugins.attacks.training_loop import Training
from art_plugins.attacks.waveform_models import train_classifier
from art_plugins.errors import InvalidInputError
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


@pytest.fixture(scope="module")
def proxy():
    data = digits()
    return train_classifier(data.x_train, data.y_train, 10, Training(nb_epochs=1))


def test_poison_clean_label_changes_images_of_the_target_within_eps_and_no_label(proxy) -> None:
    data = digits()
    attack = poison_clean_label(data, TRIGGER, 9, 0.25, proxy, eps=0.1)
    np.testing.assert_array_equal(attack.y_train, data.y_train)
    assert (data.y_train[attack.is_poison] == 9).all()
    assert attack.is_poison.sum() == int(0.25 * (data.y_train == 9).sum())
    changed = (attack.x_train != data.x_train).reshape(len(data.x_train), -1).any(axis=1)
    np.testing.assert_array_equal(changed, attack.is_poison)
    # Without the trigger's own 0.2 on every second pixel, no pixel moved by more than eps.
    moved = attack.x_train[attack.is_poison] - data.x_train[attack.is_poison]
    assert moved.min() >= -0.1 - 1e-6
    assert moved.max() <= 0.3 + 1e-6
    odd = np.indices((8, 8)).sum(axis=0) % 2 == 1
    assert np.abs(moved[..., odd]).max() == pytest.approx(0.1, abs=1e-6)
    np.testing.assert_array_equal(attack.x_triggered, TRIGGER(data.x_test[data.y_test != 9]))
    assert (attack.y_wanted == 9).all()


def test_poison_clean_label_repeats_by_seed_and_leaves_the_global_generator(proxy) -> None:
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    draws = [poison_clean_label(digits(), TRIGGER, 9, 0.25, proxy, random_state=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0].x_train, draws[1].x_train)
    assert (draws[0].is_poison != draws[2].is_poison).any()
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@pytest.mark.parametrize("fraction", [0.0, 0.001, 1.5])
def test_poison_clean_label_of_no_image_is_refused(proxy, fraction) -> None:
    with pytest.raises(InvalidInputError, match="select an image"):
        poison_clean_label(digits(), TRIGGER, 9, fraction, proxy)


def test_poison_with_cover_stamps_other_images_that_keep_their_label() -> None:
    data, strong = digits(), chessboard((1, 8, 8), 0.6)
    attack = poison_with_cover(data, TRIGGER, strong, 9, 3, 20)
    plain = poison_images(data, TRIGGER, None, 9, 3)
    np.testing.assert_array_equal(attack.is_poison, plain.is_poison)
    np.testing.assert_array_equal(attack.y_train, plain.y_train)
    covered = (attack.x_train != plain.x_train).reshape(len(data.x_train), -1).any(axis=1)
    assert covered.sum() == 20
    assert (attack.y_train[covered] == data.y_train[covered]).all()
    assert (attack.y_train[covered] != 9).all()
    np.testing.assert_array_equal(attack.x_train[covered], TRIGGER(data.x_train[covered]))
    np.testing.assert_array_equal(attack.x_triggered, strong(data.x_test[data.y_test != 9]))


def test_poison_with_more_cover_than_images_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="n_cover must be 0 to"):
        poison_with_cover(digits(), TRIGGER, TRIGGER, 9, 3, 10_000)
