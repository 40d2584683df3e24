"""A filter takes a data set of torch where ART hands arrays, and judges it as it judges the arrays."""

from __future__ import annotations

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


def test_arrays_and_what_is_no_data_set_stay_as_they_are() -> None:
    for given in (X, list(X), torch.from_numpy(X), None, "x", 7):
        assert as_arrays(given, Y)[0] is given


def test_samples_of_different_shapes_and_missing_labels_are_refused() -> None:
    class Odd(Pairs):
        def __getitem__(self, row: int) -> Any:
            return torch.zeros(1, 4, 4 + row), 0

    with pytest.raises(InvalidInputError, match=r"Sample 1 of the Odd has the shape \(1, 4, 5\), and the first one"):
        RandomFilter(None, Odd(), None).detect_poison()
    with pytest.raises(InvalidInputError, match="gives no labels; give them as y_train"):
        RandomFilter(None, Pairs(with_labels=False), None).detect_poison()
