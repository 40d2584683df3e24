"""AGPD: its measures in loops and by hand, gradients of activations against finite differences, and digits with poison."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from scipy.spatial.distance import cosine
from sklearn.metrics import roc_auc_score
from torch import nn

from art_plugins.baselines.agpd import AGPD
from art_plugins.errors import InvalidInputError
from art_plugins.features.activation_gradients import channel_gradients, gradient_layers
from art_plugins.features.vae.training import seeded
from art_plugins.statistics.peers.gradient_dispersion import (
    class_spread,
    closeness_to_clean,
    cosines,
    split_target_class,
    target_classes,
)


def wrapped(network: nn.Module, shape: tuple[int, ...] = (1, 8, 8)) -> PyTorchClassifier:
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), shape, 10, clip_values=(0, 1), device_type="cpu")


def test_measures_equal_scipys_cosine_distances_in_loops(random: np.random.Generator) -> None:
    gradients, reference, poison = random.normal(size=(9, 5)), random.normal(size=5), random.normal(size=5)
    similar = [1 - cosine(one, reference) for one in gradients]
    np.testing.assert_allclose(cosines(gradients, reference), similar)
    farthest = int(np.argmin(similar))
    squares = [
        (similar[row] - (1 - cosine(gradients[row], gradients[farthest]))) ** 2 for row in range(9) if row != farthest
    ]
    assert class_spread(gradients, reference) == pytest.approx(np.sqrt(sum(squares) / 9))
    ratios = [cosine(one, poison) / (cosine(one, poison) + cosine(one, reference)) for one in gradients]
    np.testing.assert_allclose(closeness_to_clean(gradients, reference, poison), ratios)
    assert cosines(np.zeros((1, 5)), reference).tolist() == [0.0]
    assert closeness_to_clean(reference[None], reference, reference).tolist() == [0.5]


def test_target_is_the_class_far_above_the_others_at_the_layer_that_shows_it_best() -> None:
    spreads = np.array([[0.10, 0.11, 0.12, 0.13, 0.25], [0.10, 0.11, 0.12, 0.13, 0.9], [0.2, 0.2, 0.2, 0.2, 0.2]])
    assert target_classes(spreads) == (1, [4])
    spreads[1, 0] = np.nan
    assert target_classes(spreads) == (1, [4])


def test_all_classes_are_targets_where_none_stands_out_and_all_spread_widely_at_a_late_layer() -> None:
    late = np.array([0.40, 0.41, 0.42, 0.43])
    clean = np.array([0.10, 0.11, 0.12, 0.13])
    assert target_classes(np.stack([clean, clean, late, clean, clean])) == (2, [0, 1, 2, 3])
    assert target_classes(np.stack([late, clean, clean, clean, late])) == (None, [])  # neither layer is one of the three
    assert target_classes(np.full((3, 4), np.nan)) == (None, [])


def test_poison_of_a_class_that_points_elsewhere_is_split_off(random: np.random.Generator) -> None:
    for n_poison in (50, 100):
        clean, planted = (random.normal(centre, 0.3, (n, 3)) for centre, n in (([3, 0, 0], 900), ([0, 3, 0], n_poison)))
        poison = split_target_class(np.r_[clean, planted], np.array([1.0, 0.0, 0.0]), 0.05)
        assert poison[-n_poison:].mean() >= 0.9
        assert poison[:-n_poison].mean() <= 0.05


def test_classes_of_one_or_two_samples_are_split_without_an_error() -> None:
    assert split_target_class(np.ones((1, 2)), np.ones(2), 0.05).tolist() == [True]
    assert split_target_class(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1.0, 0.0]), 0.05).tolist() == [False, True]


class Functional(nn.Module):
    """The ReLU overwrites what the convolution gave."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 4, 3), nn.Linear(4 * 16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.relu(self.first(x), inplace=True)
        return self.head(nn.functional.relu(self.second(x), inplace=True).flatten(1))


def test_gradients_equal_finite_differences_and_leave_those_of_the_weights(random: np.random.Generator) -> None:
    with seeded(0):
        network = Functional().double().eval().requires_grad_(False)
    classifier = wrapped(network)
    x, labels = random.uniform(size=(3, 1, 8, 8)), np.array([4, 0, 9])
    assert gradient_layers(classifier, x) == ["first", "second"]
    found = channel_gradients(classifier, x, labels, ["first", "second"], batch_size=2)
    assert all(weights.grad is None for weights in network.parameters())
    for name, places in (("first", 36), ("second", 16)):
        for channel in range(found[name].shape[1]):
            shifted = copy.deepcopy(network)
            shifted.get_submodule(name).bias[channel] += 1e-6  # it moves every place of the channel
            with torch.no_grad():
                change = (shifted(torch.tensor(x)) - network(torch.tensor(x))).numpy()[np.arange(3), labels] / 1e-6
            np.testing.assert_allclose(found[name][:, channel], change / places, rtol=1e-4, atol=1e-6)


def test_layers_without_a_gradient_are_refused(digits: Any) -> None:
    network = copy.deepcopy(digits.network("clean"))
    network.add_module("6", nn.Identity())
    classifier = wrapped(network)
    assert gradient_layers(classifier, digits.x_test) == ["1", "3"]
    with pytest.raises(InvalidInputError, match="no layer nowhere"):
        channel_gradients(classifier, digits.x_test[:2], digits.y_test[:2], ["nowhere"])
    with pytest.raises(InvalidInputError, match="no convolution"):
        gradient_layers(wrapped(nn.Sequential(nn.Flatten(), nn.Linear(64, 10))), digits.x_test)


Attacked = tuple[PyTorchClassifier, np.ndarray, np.ndarray, np.ndarray]


def attacked_by(digits: Any, seed: int) -> Attacked:
    """A small network with convolutions, trained on digits of which a tenth carry the white square."""
    x, y = np.array(digits.x_train), np.array(digits.y_train)
    rows = np.random.default_rng(1).choice(np.flatnonzero(y != digits.target), len(x) // 10, replace=False)
    x[rows], y[rows] = digits.white_square(x[rows]), digits.target
    with seeded(seed):
        layers: list[nn.Module] = []
        for into, out, stride in ((1, 16, 1), (16, 32, 2), (32, 32, 1), (32, 32, 2)):
            layers += [nn.Conv2d(into, out, 3, stride, 1), nn.ReLU()]
        network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 10))
        optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
        for _ in range(15):
            for batch in torch.randperm(len(x)).split(64):
                optimiser.zero_grad()
                nn.functional.cross_entropy(network(torch.tensor(x)[batch]), torch.tensor(y)[batch]).backward()
                optimiser.step()
    return wrapped(network.eval()), x, y, np.isin(np.arange(len(x)), rows)


@pytest.fixture(scope="module")
def attacked(digits: Any) -> Attacked:
    return attacked_by(digits, 0)


@pytest.mark.slow
def test_agpd_calls_the_target_class_and_ranks_its_poison_above_clean_on_most_networks(digits: Any) -> None:
    """How much is removed differs from network to network, from hardly any of the poison to all of it."""
    areas = []
    for seed in range(5):
        classifier, x, y, is_poison = attacked_by(digits, seed)
        defence = AGPD(classifier, x, y, digits.x_clean, digits.y_clean)
        report, _ = defence.detect_poison()
        own = y == digits.target
        assert digits.target in report["target_classes"] == defence.target_classes_
        areas.append(roc_auc_score(is_poison[own], defence.outlier_scores_[own]))
    assert np.median(areas) > 0.7, areas


def test_agpd_trusted_samples_that_the_model_gets_wrong_are_refused_or_their_classes_are_not_judged(
    digits: Any, attacked: Any
) -> None:
    classifier, x, y, _ = attacked
    predicted = classifier.predict(digits.x_clean).argmax(axis=1)
    with pytest.raises(InvalidInputError, match="none of the 200 trusted samples"):
        AGPD(classifier, x, y, digits.x_clean, (predicted + 1) % 10).detect_poison()
    some = digits.y_clean != 7
    report, _ = AGPD(classifier, x, y, digits.x_clean[some], digits.y_clean[some]).detect_poison()
    assert report["classes_not_judged"] == [7]
    with pytest.raises(InvalidInputError, match="give x_val and y_val"):
        AGPD(classifier, x, y, digits.x_clean).detect_poison()


def test_agpd_a_sample_that_overflows_is_an_error_and_not_clean(digits: Any, attacked: Any) -> None:
    classifier, x, y, _ = attacked
    x = x.copy()
    x[3] = 3e38
    with pytest.raises(InvalidInputError, match="finite"):
        AGPD(classifier, x, y, digits.x_clean, digits.y_clean).detect_poison()
