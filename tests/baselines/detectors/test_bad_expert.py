"""BaDExpert: its rule by hand, its two copies trained step by step in torch, and what it finds on digits."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from sklearn.metrics import roc_auc_score
from torch import nn

from art_plugins.baselines.detectors.bad_expert import N_FOLDS, BaDExpert, suspicion
from art_plugins.errors import InvalidInputError
from art_plugins.features.vae.training import seeded


def wrapped(network: nn.Module) -> PyTorchClassifier:
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0, 1), device_type="cpu")


@pytest.mark.parametrize(
    ("expert", "auxiliary", "agreement"),
    [
        (0.8, 0.2, 1 / 3),  # min(.4 / .8, .2 / .3) = .5 and .667: the first
        (0.9, 0.3, 0.0),
        (0.25, 0.9, 0.0),
        (1.0, 0.0, 0.0),
    ],
)
def test_suspicion_by_hand(expert: float, auxiliary: float, agreement: float) -> None:
    first = 2 * auxiliary / expert
    second = (1 - expert) / (0.5 - auxiliary) if auxiliary < 0.5 else np.inf
    assert suspicion(np.array([expert]), np.array([auxiliary]))[0] == pytest.approx(1 / (1 + min(first, second)), rel=1e-6)
    if agreement:
        assert suspicion(np.array([expert]), np.array([auxiliary]))[0] == pytest.approx(1 / 1.5)


def test_suspicion_is_high_where_only_the_expert_agrees_and_finite_in_every_corner() -> None:
    expert, auxiliary = (grid.ravel() for grid in np.meshgrid(np.linspace(0, 1, 21), np.linspace(0, 1, 21)))
    scores = suspicion(expert, auxiliary)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert suspicion(np.array([1.0]), np.array([0.0]))[0] == 1.0
    assert suspicion(np.array([0.05]), np.array([0.95]))[0] < 0.03
    table = scores.reshape(21, 21)  # a row for each confidence of the auxiliary model
    assert (np.diff(table[1:10], axis=1) >= 0).all()
    assert (np.diff(table[:, 1:], axis=0) <= 0).all()


@pytest.fixture(scope="module")
def network(normalised_network: Any) -> nn.Sequential:
    return normalised_network(((1, 8, 1), (8, 16, 2), (16, 32, 2)))


def test_copies_and_scores_equal_a_training_written_out(digits: Any, network: nn.Sequential) -> None:
    settings = {"unlearning_rate": 1e-3, "n_unlearning_epochs": 2, "fine_tuning_rate": 0.02, "n_fine_tuning_epochs": 3}
    detector = BaDExpert(wrapped(network), random_state=5, **settings)
    detector.fit(digits.x_clean, digits.y_clean)
    x, y = torch.from_numpy(np.array(digits.x_clean)), torch.from_numpy(np.array(digits.y_clean))

    def trained(labels: torch.Tensor, rates: list[float], batch: int, kind: Any, **options: Any) -> nn.Module:
        order, one = np.random.default_rng(5), copy.deepcopy(network).train()
        optimiser = kind(one.parameters(), lr=rates[0], **options)
        for rate in rates:
            optimiser.param_groups[0]["lr"] = rate
            for rows in np.array_split(order.permutation(len(x)), -(-len(x) // batch)):
                optimiser.zero_grad()
                nn.functional.cross_entropy(one(x[rows]), labels[rows]).backward()
                optimiser.step()
        return one.eval()

    expert = trained((y + 1) % 10, [1e-3, 1e-3], 128, torch.optim.Adam)
    sgd = {"momentum": 0.9, "weight_decay": 1e-4, "nesterov": True}
    auxiliary = trained(y, [0.02, 0.02, 0.002], 64, torch.optim.SGD, **sgd)
    new = torch.from_numpy(np.array(digits.x_test[:60]))
    with torch.no_grad():
        predicted = network(new).argmax(1)[:, None]
        confidences = [one(new).double().softmax(1).gather(1, predicted)[:, 0].numpy() for one in (expert, auxiliary)]
    np.testing.assert_allclose(detector.outlier_scores(digits.x_test[:60]), suspicion(*confidences), rtol=1e-3, atol=1e-5)


def test_clean_scores_are_those_of_copies_that_never_saw_the_image(digits: Any, network: nn.Sequential) -> None:
    detector = BaDExpert(wrapped(network), n_fine_tuning_epochs=2)
    detector.fit(digits.x_clean, digits.y_clean)
    folds = np.random.default_rng(0).permutation(len(digits.x_clean)) % N_FOLDS
    other = BaDExpert(wrapped(network), n_fine_tuning_epochs=2, threshold=0.5)
    other.fit(digits.x_clean[folds != 1], digits.y_clean[folds != 1])
    np.testing.assert_allclose(
        detector.clean_scores_[folds == 1], other.outlier_scores(digits.x_clean[folds == 1]), rtol=1e-5
    )
    assert np.abs(detector.clean_scores_ - detector.outlier_scores(digits.x_clean)).max() > 1e-3


def test_one_clean_image_is_refused(digits: Any) -> None:
    with pytest.raises(InvalidInputError, match="at least two clean images"):
        BaDExpert(wrapped(digits.network("clean"))).fit(digits.x_clean[:1], digits.y_clean[:1])


def test_expert_forgets_clean_images_and_keeps_the_backdoor(digits: Any, network: nn.Sequential) -> None:
    """One epoch of 200 images is two steps, so a higher rate stands for the authors' 2,000 images."""
    detector = BaDExpert(wrapped(network), unlearning_rate=3e-3, n_unlearning_epochs=5)
    detector.fit(digits.x_clean, digits.y_clean)
    others = digits.x_test[digits.y_test != digits.target]
    triggered = digits.white_square(others)
    right = {}
    for name, one in (("model", detector.classifier), ("expert", detector.expert_), ("auxiliary", detector.auxiliary_)):
        clean = (one.predict(digits.x_test).argmax(axis=1) == digits.y_test).mean()
        right[name] = clean, (one.predict(triggered).argmax(axis=1) == digits.target).mean()
    assert right["model"][0] > 0.9
    assert right["model"][1] > 0.9
    assert right["expert"][0] < 0.5
    assert right["expert"][1] > right["expert"][0] + 0.2
    scores = np.r_[detector.outlier_scores(digits.x_test), detector.outlier_scores(triggered)]
    assert roc_auc_score(np.arange(len(scores)) >= len(digits.x_test), scores) > 0.8


def test_too_high_a_learning_rate_is_named(digits: Any) -> None:
    """Nothing bounds the activations of a network without batch normalisation."""
    with seeded(0):
        sizes = [64, 32, 32, 32, 10]
        hidden = [one for pair in itertools.pairwise(sizes) for one in (nn.Linear(*pair), nn.ReLU())]
        network = nn.Sequential(nn.Flatten(), *hidden[:-1])
    with pytest.raises(InvalidInputError, match="give a lower fine_tuning_rate"):
        BaDExpert(wrapped(network), fine_tuning_rate=1000.0, n_fine_tuning_epochs=10).fit(digits.x_clean, digits.y_clean)


def test_network_that_cannot_be_trained_is_refused_by_name(digits: Any) -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = digits.network("clean")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x).detach()

    with pytest.raises(InvalidInputError, match="cannot be trained"):
        BaDExpert(wrapped(Fixed())).fit(digits.x_clean, digits.y_clean)
