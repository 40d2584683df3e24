"""PSBD: its uncertainty and its rate by hand, dropout in a trained network by hooks, and what it finds among digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from sklearn.metrics import roc_auc_score
from torch import nn

from art_plugins.attacks.networks import resnet18_cifar
from art_plugins.baselines.psbd import PSBD, RATES
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import collect_activations, collect_outputs
from art_plugins.features.altered_layers import dropout_layers, dropping_out
from art_plugins.statistics.peers.prediction_shift import best_rate, shift_ratio, shift_uncertainty


def wrapped(network: nn.Module, shape: tuple[int, ...] = (1, 8, 8)) -> PyTorchClassifier:
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), shape, 10, clip_values=(0, 1), device_type="cpu")


def test_uncertainty_and_shift_ratio_of_two_samples_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.3, 0.7]])
    dropped = np.array([[[0.8, 0.2], [0.6, 0.4]], [[0.5, 0.5], [0.1, 0.9]]])
    # Class 0 of the first sample: .9 - (.8 + .5) / 2; class 1 of the second: .7 - (.4 + .9) / 2.
    np.testing.assert_allclose(shift_uncertainty(probabilities, dropped), [0.25, 0.05])
    assert shift_ratio(probabilities, dropped) == 1 / 4  # a tie stays with the first class


def test_rate_is_the_one_of_the_largest_gap_among_those_that_shift_enough() -> None:
    clean = np.array([0.1, 0.7, 0.85, 0.9, 0.8])
    train = np.array([0.1, 0.2, 0.80, 0.75, 0.79])
    assert best_rate(clean, train) == 3  # a gap of .5 at the second rate does not count: only .7 shift there
    assert best_rate(clean[:2], train[:2]) == 1
    assert best_rate(np.array([0.8, 0.2]), np.array([0.8, 0.0])) == 0


def test_dropout_keeps_the_mean_and_drops_the_share_and_leaves_the_network(digits: Any) -> None:
    network = digits.network("clean")
    classifier, before = wrapped(network), torch.get_rng_state()
    plain = collect_activations(classifier, digits.x_test, ["2", "3"])
    with dropping_out(classifier, ["2"], 0.3, 5):
        first = collect_activations(classifier, digits.x_test, ["2", "3"])
    with dropping_out(classifier, ["2"], 0.3, 5):
        second = collect_activations(classifier, digits.x_test, ["2", "3"])
    np.testing.assert_array_equal(first["3"], second["3"])
    kept = (first["2"] != 0) & (plain["2"] != 0)
    np.testing.assert_allclose(first["2"][kept], plain["2"][kept] / 0.7, rtol=1e-5)
    assert kept.sum() / (plain["2"] != 0).sum() == pytest.approx(0.7, abs=0.02)
    weights, bias = (one.detach().numpy() for one in (network[3].weight, network[3].bias))
    np.testing.assert_allclose(first["3"], first["2"] @ weights.T + bias, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(collect_activations(classifier, digits.x_test, ["2", "3"])["3"], plain["3"])
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_is_put_behind_the_residual_blocks_as_the_authors_do() -> None:
    network = resnet18_cifar(1, 10, width=2)
    layers = dropout_layers(wrapped(network), np.zeros((1, 1, 8, 8), dtype=np.float32))
    assert [type(dict(network.named_modules())[name]).__name__ for name in layers] == ["ResidualBlock"] * 8


def test_layer_that_is_unknown_or_gives_no_tensor_is_refused(digits: Any) -> None:
    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x, x

    class First(nn.Module):
        def forward(self, x: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            return x[0]

    with (
        pytest.raises(InvalidInputError, match="no layer nowhere"),
        dropping_out(wrapped(digits.network("clean")), ["nowhere"], 0.5, 0),
    ):
        pass
    classifier = wrapped(nn.Sequential(nn.Flatten(), Pair(), First(), nn.Linear(64, 10)))
    with pytest.raises(InvalidInputError, match="Pair gives a tuple"), dropping_out(classifier, ["1"], 0.5, 0):
        collect_outputs(classifier, digits.x_test[:3])
    with pytest.raises(InvalidInputError, match="one layer only"):
        dropout_layers(wrapped(nn.Sequential(nn.Flatten(), nn.Linear(64, 10))), digits.x_test)


@pytest.fixture(scope="module")
def poisoned(digits: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The training set of the network with the chessboard, as it was poisoned."""
    x, y = np.array(digits.x_train), np.array(digits.y_train)
    rows = np.random.default_rng(1).choice(np.flatnonzero(y != digits.target), len(x) // 10, replace=False)
    x[rows], y[rows] = digits.chessboard(x[rows]), digits.target
    return x, y, np.isin(np.arange(len(x)), rows)


def test_psbd_scores_equal_a_recomputation_and_poison_ranks_above_clean(digits: Any, poisoned: Any) -> None:
    x, y, is_poison = poisoned
    classifier = wrapped(digits.network("chessboard"))
    defence = PSBD(classifier, x, y, digits.x_clean, layers=["2"], n_passes=3)
    report, is_clean = defence.detect_poison()
    assert report["rate"] == defence.rate_ in RATES
    plain = torch.softmax(torch.tensor(collect_outputs(classifier, x)).double(), dim=1).numpy()
    with dropping_out(classifier, ["2"], defence.rate_, 0):
        passes = [torch.softmax(torch.tensor(collect_outputs(classifier, x)).double(), dim=1).numpy() for _ in range(3)]
    top = plain.argmax(axis=1)
    expected = [sum(one[row, label] for one in passes) / 3 - plain[row, label] for row, label in enumerate(top)]
    np.testing.assert_allclose(defence.outlier_scores_, expected, atol=1e-12)
    np.testing.assert_array_equal(np.array(is_clean) == 0, -defence.outlier_scores_ < report["limit"])
    assert roc_auc_score(is_poison, defence.outlier_scores_) > 0.7


def test_psbd_without_trusted_samples_says_what_to_give(digits: Any) -> None:
    defence = PSBD(wrapped(digits.network("clean")), digits.x_test, digits.y_test)
    with pytest.raises(InvalidInputError, match="give x_val, such as 20 test samples"):
        defence.detect_poison()
    for bad, match in (
        (digits.x_clean[:, 0], "of the shape"),
        (digits.x_clean * 255, "x_train"),
        (digits.x_clean[:0], "x_val"),
    ):
        defence.x_val = bad
        with pytest.raises(InvalidInputError, match=match):
            defence.detect_poison()
