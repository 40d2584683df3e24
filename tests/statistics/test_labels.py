from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from art_plugins.errors import InvalidInputError
from art_plugins.statistics.labels import class_labels, indices_by_class

LABELS = np.array([2, 0, 1, 1, 2])


@pytest.mark.parametrize(
    "y",
    [
        LABELS,
        LABELS.tolist(),
        LABELS.astype(np.uint8),
        LABELS.astype(np.float32),
        LABELS[:, None],
        np.eye(3)[LABELS],
        np.eye(3, dtype=bool)[LABELS],
    ],
    ids=["int", "list", "uint8", "float", "column", "one_hot", "one_hot_bool"],
)
def test_class_labels_every_accepted_form_gives_the_same_indices(y):
    labels, nb_classes = class_labels(y, 5)
    assert labels.tolist() == LABELS.tolist()
    assert labels.dtype == np.int64
    assert labels.shape == (5,)
    assert nb_classes == 3


def test_class_labels_one_hot_keeps_the_empty_last_classes():
    assert class_labels(np.eye(7)[LABELS], 5)[1] == 7


def test_class_labels_given_number_of_classes_is_taken():
    assert class_labels(LABELS, 5, nb_classes=9)[1] == 9


def test_class_labels_bool_indices_are_two_classes():
    labels, nb_classes = class_labels(np.array([True, False]), 2)
    assert labels.tolist() == [1, 0]
    assert nb_classes == 2


@pytest.mark.parametrize(
    ("y", "n_samples", "nb_classes", "says"),
    [
        ([0, 1], 3, None, r"\(3,\).*received \(2,\)"),
        (np.zeros((2, 2, 2)), 2, None, r"received \(2, 2, 2\)"),
        (np.array(0), 1, None, r"received \(\)"),
        ([0.0, np.nan], 2, None, "Label 1 is NaN"),
        ([np.inf, 0.0], 2, None, "Label 0 is NaN or infinite"),
        ([[1, 0], [1, 1]], 2, None, "Row 1 .* not one-hot"),
        ([[0.2, 0.8], [1, 0]], 2, None, "Row 0 .* not one-hot"),
        ([[1, 0], [0, 0]], 2, None, "Row 1 .* not one-hot"),
        ([[2, -1]], 1, None, "Row 0 .* not one-hot"),
        ([0, -1], 2, None, "received -1"),
        ([0, 1.5], 2, None, "received 1.5"),
        ([0, 1e300], 2, None, r"received 1e\+300"),
        ([0, 3], 2, 3, "Label 3 is out of range for 3 classes"),
        (["yes", "no"], 2, None, "must be numbers"),
        ([None, 1], 2, None, "must be numbers"),
        ([1j, 0], 2, None, "must be numbers"),
        ([[0], [0, 1]], 2, None, "do not form an array"),
        ([0, 10**12], 2, None, "1000000000000"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_class_labels_bad_labels_are_refused_with_the_cause(y, n_samples, nb_classes, says):
    with pytest.raises(InvalidInputError, match=says):
        class_labels(y, n_samples, nb_classes)


@given(st.lists(st.integers(0, 6), max_size=30), st.integers(7, 10))
def test_indices_by_class_any_labels_partition_the_samples_in_order(labels, nb_classes):
    labels = np.array(labels, dtype=np.int64)
    members = indices_by_class(labels, nb_classes)
    assert [indices.tolist() for indices in members] == [
        [position for position, label in enumerate(labels) if label == wanted] for wanted in range(nb_classes)
    ]
