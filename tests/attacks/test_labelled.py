"""Draws of training samples, and classes that are merged into one label with natural sub-populations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from art_plugins.attacks.datasets.digits import digits
from art_plugins.attacks.datasets.labelled import drawn, merged
from art_plugins.errors import InvalidInputError


def test_drawn_samples_are_of_the_set_with_the_same_shares_and_repeat_by_seed() -> None:
    data = digits()
    some, again, other = (drawn(data, 300, seed) for seed in (0, 0, 1))
    assert some.x_train.shape == (300, 1, 8, 8)
    counts = np.bincount(some.y_train) / 300
    np.testing.assert_allclose(counts, np.bincount(data.y_train) / len(data.y_train), atol=1 / 300)
    np.testing.assert_array_equal(some.x_train, again.x_train)
    assert (some.x_train != other.x_train).any()
    known = {image.tobytes(): label for image, label in zip(data.x_train, data.y_train, strict=True)}
    assert all(known[image.tobytes()] == label for image, label in zip(some.x_train, some.y_train, strict=True))
    assert some.x_test is data.x_test
    assert some.notes == ("300 of 1347 training samples, drawn at random",)


@pytest.mark.parametrize("n_train", [1347, 1345])
def test_nearly_all_samples_can_be_drawn(n_train: int) -> None:
    some = drawn(digits(), n_train)
    assert len(some.y_train) == n_train
    assert len(np.unique(some.x_train, axis=0)) >= n_train - 5  # no sample twice, but for the few equal digits of the set


@pytest.mark.parametrize("n_train", [9, 1348])
def test_too_few_or_too_many_samples_are_refused(n_train: int) -> None:
    with pytest.raises(InvalidInputError, match=f"n_train must be 10, .* to 1347, .*received {n_train}"):
        drawn(digits(), n_train)


def test_merged_classes_share_a_label_and_the_parts_are_known() -> None:
    data = digits()
    both, part = merged(data, {7: 1})
    assert both.class_names == ("0", "1/7", "2", "3", "4", "5", "6", "8", "9")
    np.testing.assert_array_equal(part, data.y_train)
    np.testing.assert_array_equal(np.unique(part[both.y_train == 1]), [1, 7])
    np.testing.assert_array_equal(both.y_train[data.y_train == 9], 8)
    assert set(both.y_test) == set(range(9))


@pytest.mark.parametrize("into", [{7: 10}, {7: 1, 1: 2}, {-1: 0}])
def test_classes_that_cannot_be_merged_are_refused(into: dict[int, int]) -> None:
    with pytest.raises(InvalidInputError, match="into must map classes from 0 to 9"):
        merged(digits(), into)


def test_fixture_of_merged_digits_has_two_sub_populations_and_a_network_that_knows_them(merged_digits: Any) -> None:
    label, parts = merged_digits.label, merged_digits.parts
    members = merged_digits.y == label
    counts = np.bincount(merged_digits.part[members], minlength=10)
    assert (np.flatnonzero(counts) == parts).all()
    assert counts[list(parts)].min() > 100
    predicted = merged_digits.classifier.predict(merged_digits.x).argmax(axis=1)
    assert (predicted == merged_digits.y).mean() > 0.98
