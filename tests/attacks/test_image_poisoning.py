"""Which classes the attacks of the paper poison, and towards which."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from art_plugins.attacks.clean_label import poison_clean_label, poison_target_class
from art_plugins.attacks.datasets.digits import digits
from art_plugins.attacks.image_poisoning import (
    poison_all_to_all,
    poison_images,
    poison_several_targets,
    poison_untargeted,
    poison_with_cover,
)
from art_plugins.attacks.poisoning import SEVERAL, UNTARGETED
from art_plugins.attacks.success import attack_metrics
from art_plugins.attacks.training_loop import Training
from art_plugins.attacks.waveform_models import train_classifier
from art_plugins.errors import InvalidInputError
from art_plugins.triggers.adaptive import adaptive_blend
from art_plugins.triggers.patterns import chessboard, sinusoid, white_box

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


def test_an_untargeted_attack_gives_random_other_labels_and_counts_every_wrong_class_as_success() -> None:
    data = digits()
    attack = poison_untargeted(data, TRIGGER, 40)
    before, after = data.y_train[attack.is_poison], attack.y_train[attack.is_poison]
    assert np.bincount(before).tolist() == [40] * 10
    assert (before != after).all()
    # 400 draws among 9 other classes: 44.4 of each step, with a standard deviation of 6.3.
    steps = np.bincount((after - before) % 10, minlength=10)
    assert steps[0] == 0
    assert (np.abs(steps[1:] - 400 / 9) < 4 * 6.3).all()
    np.testing.assert_array_equal(attack.x_train[attack.is_poison], TRIGGER(data.x_train[attack.is_poison]))
    np.testing.assert_array_equal(attack.y_train[~attack.is_poison], data.y_train[~attack.is_poison])
    assert attack.target == UNTARGETED
    assert len(attack.x_triggered) == len(data.x_test)
    other = poison_untargeted(data, TRIGGER, 40, random_state=1)
    assert (other.y_train != attack.y_train).any()


@pytest.mark.parametrize(("predicted", "success"), [([1, 1, 2, 0], 0.5), ([0, 1, 2, 3], 0.0), ([3, 3, 3, 3], 0.75)])
def test_success_of_an_untargeted_attack_is_the_share_not_given_its_own_class(predicted, success) -> None:
    classifier = SimpleNamespace(predict=lambda x: np.eye(4)[predicted])
    y_source = np.arange(4)
    figures = attack_metrics(classifier, np.zeros((4, 1)), y_source, np.zeros((4, 1)), np.full(4, UNTARGETED), y_source)
    assert figures["attack_success"] == success
    with pytest.raises(InvalidInputError, match="give y_source"):
        attack_metrics(classifier, np.zeros((4, 1)), y_source, np.zeros((4, 1)), UNTARGETED)


def test_two_targets_have_two_triggers_on_different_images_of_the_other_classes() -> None:
    data, box = digits(), white_box((1, 8, 8), size=2, margin=0)
    attack = poison_several_targets(data, {9: TRIGGER, 4: box}, 6)
    assert attack.stamping is not None
    number_of = attack.stamping.number_of
    for number, (target, trigger) in enumerate([(9, TRIGGER), (4, box)], start=1):
        rows = number_of == number
        assert np.bincount(data.y_train[rows], minlength=10).tolist() == [6, 6, 6, 6, 0, 6, 6, 6, 6, 0]
        assert (attack.y_train[rows] == target).all()
        np.testing.assert_array_equal(attack.x_train[rows], trigger(data.x_train[rows]))
    np.testing.assert_array_equal(attack.is_poison, number_of > 0)
    np.testing.assert_array_equal(attack.x_train[~attack.is_poison], data.x_train[~attack.is_poison])
    from_source = ~np.isin(data.y_test, (4, 9))
    np.testing.assert_array_equal(attack.x_triggered, np.concatenate([t(data.x_test[from_source]) for t in (TRIGGER, box)]))
    np.testing.assert_array_equal(attack.y_wanted, np.repeat([9, 4], from_source.sum()))
    np.testing.assert_array_equal(attack.y_source, np.tile(data.y_test[from_source], 2))
    assert attack.target == SEVERAL
    assert not attack.is_cover.any()
    assert attack.clean is data


@pytest.mark.parametrize("targets", [[9], [*range(10)], [9, 12]])
def test_bad_targets_of_several_are_refused(targets: list[int]) -> None:
    with pytest.raises(InvalidInputError):
        poison_several_targets(digits(), dict.fromkeys(targets, TRIGGER), 2)


def test_sig_stamps_images_of_the_target_class_alone_and_changes_no_label() -> None:
    data, wave = digits(), sinusoid((1, 8, 8))
    attack = poison_target_class(data, wave, 9, 0.4)
    np.testing.assert_array_equal(attack.y_train, data.y_train)
    assert (data.y_train[attack.is_poison] == 9).all()
    assert attack.is_poison.sum() == int(0.4 * (data.y_train == 9).sum())
    np.testing.assert_array_equal(attack.x_train[attack.is_poison], wave(data.x_train[attack.is_poison]))
    np.testing.assert_array_equal(attack.x_train[~attack.is_poison], data.x_train[~attack.is_poison])
    np.testing.assert_array_equal(attack.x_triggered, wave(data.x_test[data.y_test != 9]))
    assert (attack.y_wanted == 9).all()
    assert not attack.is_cover.any()


def test_a_clean_label_attack_is_trained_on_the_perturbed_images_before_they_are_stamped(proxy) -> None:
    data = digits()
    attack = poison_clean_label(data, TRIGGER, 9, 0.25, proxy, eps=0.1)
    assert attack.stamping is not None
    moved = np.abs(attack.stamping.x - data.x_train)
    assert 0.05 < moved[attack.is_poison].max() <= 0.1 + 1e-6
    assert moved[~attack.is_poison].max() == 0
    np.testing.assert_array_equal(attack.x_train, attack.stamping.stamped())


def test_cover_samples_are_reported_apart_from_the_poison() -> None:
    data = digits()
    weak, strong = adaptive_blend((1, 8, 8))
    attack = poison_with_cover(data, weak, strong, 9, 3, 20)
    assert attack.is_cover.sum() == 20
    assert not (attack.is_cover & attack.is_poison).any()
    np.testing.assert_array_equal(attack.y_train[attack.is_cover], data.y_train[attack.is_cover])
    carries = attack.is_cover | attack.is_poison
    np.testing.assert_array_equal(attack.x_train[carries], weak(data.x_train[carries]))
    np.testing.assert_array_equal((attack.x_train != data.x_train).any(axis=(1, 2, 3)), carries)
    assert not poison_images(data, TRIGGER, None, 9, 5).is_cover.any()
