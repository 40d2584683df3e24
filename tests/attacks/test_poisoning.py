"""The attack changes just what it says it does."""

from __future__ import annotations

import numpy as np
import pytest

from art_plugins.attacks.datasets.digits import digits
from art_plugins.attacks.poisoning import SEVERAL, poison, poison_classes
from art_plugins.errors import InvalidInputError
from art_plugins.triggers.patterns import white_box

SQUARE = white_box((1, 8, 8), size=2, margin=0)


def test_poison_changes_only_the_drawn_source_samples() -> None:
    data = digits()
    poisoned = poison(data, SQUARE, "1", "7", 0.25, random_state=3)
    assert poisoned.is_poison.sum() == int(0.25 * (data.y_train == 1).sum())
    assert (data.y_train[poisoned.is_poison] == 1).all()
    assert (poisoned.y_train[poisoned.is_poison] == 7).all()
    assert (poisoned.x_train[poisoned.is_poison][..., 6:, 6:] == 1).all()
    untouched = ~poisoned.is_poison
    np.testing.assert_array_equal(poisoned.x_train[untouched], data.x_train[untouched])
    np.testing.assert_array_equal(poisoned.y_train[untouched], data.y_train[untouched])
    assert len(poisoned.x_triggered) == (data.y_test == 1).sum()
    assert (poisoned.sources, poisoned.target) == ((1,), 7)
    assert (poisoned.y_source == 1).all()
    assert (poisoned.y_wanted == 7).all()
    assert len(poisoned.x_train) == len(data.x_train)


def test_poison_with_one_seed_draws_the_same_samples_and_with_another_others() -> None:
    data = digits()
    draws = [poison(data, SQUARE, "1", "7", 0.25, random_state=seed).is_poison for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()


@pytest.mark.parametrize(
    ("source", "target", "fraction", "message"),
    [
        ("eleven", "7", 0.1, "'eleven' is not a class"),
        ("1", "1", 0.1, "different classes"),
        ("1", "7", 0.0, "fraction"),
        ("1", "7", 1.5, "fraction"),
        ("1", "7", 0.001, "fraction"),
    ],
)
def test_poison_with_bad_arguments_says_what_is_wrong(source: str, target: str, fraction: float, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        poison(digits(), SQUARE, source, target, fraction)


def test_poison_draws_what_numpys_choice_draws() -> None:
    data = digits()
    candidates = np.flatnonzero(data.y_train == 1)
    expected = np.random.default_rng(3).choice(candidates, size=int(0.25 * len(candidates)), replace=False)
    is_poison = poison(data, SQUARE, "1", "7", 0.25, random_state=3).is_poison
    np.testing.assert_array_equal(np.flatnonzero(is_poison), np.sort(expected))


def test_poison_classes_send_every_source_to_its_own_target() -> None:
    data = digits()
    poisoned = poison_classes(data, SQUARE, {4: 0, 2: 9}, 12)
    pairs = list(zip(data.y_train[poisoned.is_poison], poisoned.y_train[poisoned.is_poison], strict=True))
    assert sorted(pairs) == [(2, 9)] * 12 + [(4, 0)] * 12
    from_source = np.isin(data.y_test, [2, 4])
    np.testing.assert_array_equal(poisoned.y_source, data.y_test[from_source])
    np.testing.assert_array_equal(poisoned.y_wanted, np.where(poisoned.y_source == 4, 0, 9))
    np.testing.assert_array_equal(poisoned.x_triggered[..., :6], data.x_test[from_source][..., :6])
    assert (poisoned.x_triggered[..., 6:, 6:] == 1).all()
    assert (poisoned.sources, poisoned.target) == ((4, 2), SEVERAL)


@pytest.mark.parametrize(
    ("target_of", "n_per_source", "message"),
    [
        ({}, 1, "no source"),
        ({1: 10}, 1, r"0 to 9; received \[10\]"),
        ({-1: 3}, 1, r"received \[-1\]"),
        ({2: 2}, 1, "different classes"),
        ({2: 3}, 0, "n_per_source"),
        ({2: 3}, 1_000, "at most the 1.. training samples of class 2"),
    ],
)
def test_poison_classes_with_bad_arguments_say_what_is_wrong(
    target_of: dict[int, int], n_per_source: int, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        poison_classes(digits(), SQUARE, target_of, n_per_source)


def test_poison_classes_without_test_samples_of_a_source_are_refused() -> None:
    data = digits()
    seen = data.y_test != 5
    with pytest.raises(InvalidInputError, match="Class 5 has no test samples"):
        poison_classes(data._replace(x_test=data.x_test[seen], y_test=data.y_test[seen]), SQUARE, {5: 1}, 3)
