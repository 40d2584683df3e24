"""The one interface: which samples are poisoned, what they carry, which label they get, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from art.attacks.poisoning import PoisoningAttackBackdoor

from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.attacks.zoo.attack import Attack, CleanLabel, DirtyLabel, SourceSpecific, attack_data
from art_plugins.attacks.zoo.learned import LearnedWithClassifier, SampleSpecific
from art_plugins.attacks.zoo.reflected import Refool
from art_plugins.errors import InvalidInputError, NotFittedError
from art_plugins.triggers.patterns import white_box

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
BOX = white_box((1, 8, 8), size=2, margin=0)
TARGET = 3
ATTACKS: dict[str, Any] = {
    "dirty": lambda: DirtyLabel(BOX),
    "clean": lambda: CleanLabel(BOX),
    "specific": lambda: SourceSpecific(BOX, 5),
    "refool": lambda: Refool(),
    "refool_relabel": lambda: Refool(relabel=True),
    "sample_specific": lambda: SampleSpecific(n_steps=2),
    "with_classifier": lambda: LearnedWithClassifier(n_steps=2),
}
KEEPS_LABELS = ("clean", "refool")


@pytest.fixture
def data(digits: Any) -> LabelledData:
    names = tuple(map(str, range(10)))
    return LabelledData(digits.x_train, digits.y_train.astype(np.int64), digits.x_test, digits.y_test, names)


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_poisons_so_many_samples_of_its_classes_and_nothing_else(name: str, data: LabelledData) -> None:
    x, y, attack = data.x_train, data.y_train, ATTACKS[name]()
    done = attack.poison(x, y, 0.05, TARGET, 7)
    assert (done.x.shape, done.x.dtype, done.y.dtype) == (x.shape, x.dtype, y.dtype)
    assert 0 <= done.x.min() <= done.x.max() <= 1
    assert done.is_poison.sum() == round(0.05 * len(x))
    assert (done.y[done.is_poison] == TARGET).all()
    np.testing.assert_array_equal(done.y[~done.is_poison], y[~done.is_poison])
    assert (y[done.is_poison] == TARGET).all() == (name in KEEPS_LABELS)
    carries = done.stamping.number_of > 0
    changed = (done.x != x).reshape(len(x), -1).any(axis=1)
    assert not changed[~carries].any()
    assert changed[done.is_poison].mean() > 0.9  # on a corner that is white already, a white square changes nothing
    np.testing.assert_array_equal(done.stamping.stamped(), done.x)
    np.testing.assert_allclose(done.x[carries], attack.stamp(x[carries]), atol=1e-6)


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_repeats_by_seed_and_stamps_one_by_one_as_in_a_batch(name: str, data: LabelledData) -> None:
    x, y = data.x_train[:400], data.y_train[:400]
    attack, again, other = (ATTACKS[name]() for _ in range(3))
    first, second, third = attack.poison(x, y, 0.03, TARGET, 1), again.poison(x, y, 0.03, TARGET, 1), None
    third = other.poison(x, y, 0.03, TARGET, 2)
    np.testing.assert_array_equal(first.x, second.x)
    np.testing.assert_array_equal(first.is_poison, second.is_poison)
    assert (first.is_poison != third.is_poison).any()
    batch = attack.stamp(data.x_test[:5])
    for image, stamped in zip(data.x_test[:5], batch, strict=True):
        np.testing.assert_allclose(attack.stamp(image[None])[0], stamped, atol=1e-6)
    triggered, labels = PoisoningAttackBackdoor(attack.stamp).poison(data.x_test[:5], np.full(5, TARGET))
    np.testing.assert_array_equal(triggered, batch)
    assert labels.tolist() == [TARGET] * 5


def test_source_specific_attack_covers_other_classes_with_their_own_labels(data: LabelledData) -> None:
    done = SourceSpecific(BOX, 5, cover=2).poison(data.x_train, data.y_train, 0.02, TARGET)
    is_cover = (done.stamping.number_of > 0) & ~done.is_poison
    assert (done.is_poison.sum(), is_cover.sum()) == (24, 48)
    assert set(data.y_train[done.is_poison]) == {5}
    assert not set(data.y_train[is_cover]) & {5, TARGET}
    np.testing.assert_array_equal(done.y[is_cover], data.y_train[is_cover])


def test_attacked_data_have_the_stamped_test_samples_of_the_sources(data: LabelledData) -> None:
    attack = attack_data(data, SourceSpecific(BOX, 5), 0.02, TARGET)
    assert (attack.sources, attack.target) == ((5,), TARGET)
    assert attack.is_cover.sum() == 12
    np.testing.assert_array_equal(attack.x_triggered, BOX(data.x_test[data.y_test == 5]))
    strong = white_box((1, 8, 8), size=3, margin=0)
    attack = attack_data(data, CleanLabel(BOX, strong), 0.02, TARGET)
    np.testing.assert_array_equal(attack.x_triggered, strong(data.x_test[data.y_test != TARGET]))
    assert set(attack.y_source) == set(range(10)) - {TARGET}
    assert (attack.y_wanted == TARGET).all()


def test_refool_reflects_images_of_other_classes(data: LabelledData) -> None:
    attack = Refool(weight=1.0, kind="sharp")
    attack.poison(data.x_train, data.y_train, 0.02, TARGET)
    (mirror,) = attack.stamp(np.zeros((1, 1, 8, 8), dtype=np.float32))
    rows = np.flatnonzero((data.x_train == mirror).all(axis=(1, 2, 3)))
    assert len(rows) >= 1
    assert (data.y_train[rows] != TARGET).all()


@pytest.mark.slow
def test_sample_specific_attack_changes_every_image_in_its_own_way_within_its_amplitude(data: LabelledData) -> None:
    attack = SampleSpecific(amplitude=0.3, n_bits=4, n_steps=100)
    attack.poison(data.x_train, data.y_train, 0.02, TARGET)
    stamped = attack.stamp(data.x_test)
    change = (stamped - data.x_test).reshape(len(stamped), -1)
    assert np.abs(change).max() <= 0.3 + 1e-6
    assert np.std(change, axis=0).max() > 0.02  # the change of one image is not that of another


@pytest.mark.parametrize("make", [Refool, SampleSpecific, LearnedWithClassifier])
def test_a_trigger_that_is_not_made_yet_is_a_named_error(make: type[Attack]) -> None:
    with pytest.raises(NotFittedError, match="call poison first"):
        make().stamp(np.zeros((1, 1, 8, 8), dtype=np.float32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": 0.0}, "rate must be a share"),
        ({"rate": 1.0}, "rate must be a share"),
        ({"rate": 1e-5}, "rate must select a sample"),
        ({"rate": 0.95}, "needs 1140 samples"),
        ({"target": 10}, "target must be"),
        ({"random_state": -1}, "random_state"),
        ({"x": "images"}, "x must be a NumPy array"),
        ({"y": np.zeros(3)}, "Labels must be of shape"),
    ],
)
def test_bad_arguments_are_refused_by_name(changes: dict[str, Any], message: str, data: LabelledData) -> None:
    arguments = {"x": data.x_train, "y": data.y_train, "rate": 0.05, "target": TARGET, "random_state": 0}
    with pytest.raises(InvalidInputError, match=message):
        DirtyLabel(BOX).poison(**{**arguments, **changes})


def test_a_source_that_is_the_target_is_refused(data: LabelledData) -> None:
    with pytest.raises(InvalidInputError, match="different classes"):
        SourceSpecific(BOX, TARGET).poison(data.x_train, data.y_train, 0.02, TARGET)
