"""A filter takes a data set of torch where ART hands arrays, and judges it as it judges the arrays."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from art_plugins.baselines.bounds import RandomFilter
from art_plugins.defences.data_sets import as_arrays
from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.errors import InvalidInputError

X = np.random.default_rng(1).uniform(size=(40, 1, 4, 4)).astype(np.float32)
Y = np.arange(40) % 5


class Pairs(torch.utils.data.Dataset[Any]):
    """Counts how often it is asked."""

    def __init__(self, with_labels: bool = True) -> None:
        self.with_labels = with_labels
        self.n_asked = 0

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, row: int) -> Any:
        self.n_asked += 1
        return (torch.from_numpy(X[row]), int(Y[row])) if self.with_labels else torch.from_numpy(X[row])


@pytest.mark.parametrize(("dataset", "labels"), [(Pairs(), None), (Pairs(), Y), (Pairs(with_labels=False), Y)])
def test_data_set_becomes_the_arrays_on_disk_and_is_asked_once_a_sample(dataset: Pairs, labels: Any) -> None:
    dataset.n_asked = 0
    x, y = as_arrays(dataset, labels)
    assert isinstance(x, np.memmap)
    assert np.array_equal(x, X)
    assert np.array_equal(y, Y)
    assert dataset.n_asked <= len(X) + 1  # one look at what it gives


def test_filter_judges_a_data_set_as_its_arrays() -> None:
    settings = {
        "autoencoder": {"channels": 2, "latent_dim": 2},
        "kind": "image",
        "channels_first": True,
        "nb_epochs": 1,
        "verbose": False,
    }
    _, of_set = VAELatentDefence(None, Pairs(), None, **settings).detect_poison()
    _, of_arrays = VAELatentDefence(None, X, Y, **settings).detect_poison()
    assert of_set == of_arrays


def test_evaluation_of_a_data_set_runs_the_detection_first() -> None:
    removed = RandomFilter(None, Pairs(), None)
    assert set(json.loads(removed.evaluate_defence(np.ones(len(X), dtype=int)))) == {f"class_{label}" for label in range(5)}


def test_arrays_and_what_is_no_data_set_stay_as_they_are() -> None:
    for given in (X, list(X), torch.from_numpy(X), None, "x", 7):
        assert as_arrays(given, Y)[0] is given


class Giving(Pairs):
    def __init__(self, give: Any) -> None:
        super().__init__()
        self.give = give

    def __getitem__(self, row: int) -> Any:
        return self.give(row)


def fails_at_5(row: int) -> Any:
    return (X[row], 0) if row < 5 else {}[row]


@pytest.mark.parametrize(
    "label", [lambda y: np.eye(5)[y], lambda y: torch.tensor(y), lambda y: float(y), lambda y: np.array([y])]
)
def test_labels_of_a_data_set_have_every_form_that_labels_have(label: Any) -> None:
    data = Giving(lambda row: (X[row], label(int(Y[row])), "a third thing"))
    np.testing.assert_array_equal(RandomFilter(None, *as_arrays(data, None)).labels()[0], Y)


@pytest.mark.parametrize(
    ("give", "sentence"),
    [
        (lambda row: (X[row], row + 0.5), "whole numbers"),
        (lambda row: (X[row], float("nan")), "NaN"),
        (lambda row: (X[row], "cat"), "Labels must be numbers"),
        (lambda row: (X[row], None), "Labels must be numbers"),
        (lambda row: (X[row], [0] * (row + 1)), "labels of the Giving have different shapes"),
        (fails_at_5, "raised KeyError when asked for sample 5"),
        (lambda row: ("text", 0), "must be arrays of real numbers"),
        (lambda row: (X[row].astype(complex), 0), "must be arrays of real numbers"),
        (lambda row: (np.zeros((1, 4, 4), np.uint8) if row == 0 else X[row], 0), "Sample 1 .* float32.* uint8"),
        (lambda row: (np.zeros((1, 4, 4), np.int8 if row == 0 else int), 0), "Sample 1 .* int64.* int8"),
    ],
)
def test_data_set_that_gives_odd_things_is_refused_by_name_and_nothing_is_rounded(give: Any, sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        RandomFilter(None, Giving(give), None).detect_poison()


def test_labels_of_a_data_set_are_not_looked_at_where_others_are_given() -> None:
    np.testing.assert_array_equal(as_arrays(Giving(lambda row: (X[row], "cat")), Y)[1], Y)


def test_samples_of_different_shapes_and_missing_labels_are_refused() -> None:
    class Odd(Pairs):
        def __getitem__(self, row: int) -> Any:
            return torch.zeros(1, 4, 4 + row), 0

    with pytest.raises(InvalidInputError, match=r"Sample 1 of the Odd has the shape \(1, 4, 5\), and the first one"):
        RandomFilter(None, Odd(), None).detect_poison()
    with pytest.raises(InvalidInputError, match="gives no labels; give them as y_train"):
        RandomFilter(None, Pairs(with_labels=False), None).detect_poison()
