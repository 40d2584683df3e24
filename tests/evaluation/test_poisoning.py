"""The attack changes just what it says it does."""

from __future__ import annotations

import numpy as np
import pytest

from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.datasets.digits import digits
from art_plugins.evaluation.poisoning import poison
from art_plugins.triggers.patterns import PatchTrigger


def test_poison_changes_only_the_drawn_source_samples() -> None:
    data = digits()
    poisoned = poison(data, PatchTrigger(), "1", "7", 0.25, random_state=3)
    assert poisoned.is_poison.sum() == int(0.25 * (data.y_train == 1).sum())
    assert (data.y_train[poisoned.is_poison] == 1).all()
    assert (poisoned.y_train[poisoned.is_poison] == 7).all()
    assert (poisoned.x_train[poisoned.is_poison][..., 6:, 6:] == 1).all()
    untouched = ~poisoned.is_poison
    np.testing.assert_array_equal(poisoned.x_train[untouched], data.x_train[untouched])
    np.testing.assert_array_equal(poisoned.y_train[untouched], data.y_train[untouched])
    assert len(poisoned.x_triggered) == (data.y_test == 1).sum()


def test_poison_with_one_seed_draws_the_same_samples_and_with_another_others() -> None:
    data = digits()
    draws = [poison(data, PatchTrigger(), "1", "7", 0.25, random_state=seed).is_poison for seed in (0, 0, 1)]
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
        poison(digits(), PatchTrigger(), source, target, fraction)
