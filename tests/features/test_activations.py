"""One pass over a model for any of its layers: equal to ART's, and nothing left behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn

from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import collect_activations, penultimate_activations, torch_module


class Branching(nn.Module):
    """A model whose head is nested and whose first child is not run at all."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(3, 3)
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(144, 10), nn.ReLU(), nn.Linear(10, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(x))
        return logits


@pytest.fixture
def classifier() -> Any:
    torch.manual_seed(0)
    model = Branching()
    return PyTorchClassifier(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters()),
        input_shape=(1, 8, 8),
        nb_classes=3,
        preprocessing=(0.5, 2.0),
    )


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(10, 1, 8, 8)).astype(np.float32)


def n_hooks(classifier: Any) -> int:
    modules = torch_module(classifier).modules()
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules)


def test_collect_activations_equals_arts_layer_by_layer(classifier: Any, x: np.ndarray) -> None:
    ours = collect_activations(classifier, x, ["features", "head"], batch_size=4)
    assert n_hooks(classifier) == 0
    for name, values in ours.items():
        theirs = classifier.get_activations(x, layer=name, batch_size=4).reshape(len(x), -1)
        np.testing.assert_allclose(values, theirs, atol=1e-6)


def test_penultimate_activations_times_the_head_give_the_logits(classifier: Any, x: np.ndarray) -> None:
    features = penultimate_activations(classifier, x, batch_size=3)
    head = torch_module(classifier).head[2]  # type: ignore[index]
    weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
    np.testing.assert_allclose(features @ weight.T + bias, classifier.predict(x), atol=1e-5)
    assert n_hooks(classifier) == 0


def test_collect_activations_restores_the_training_mode(classifier: Any, x: np.ndarray) -> None:
    network = torch_module(classifier)
    for mode in (True, False):
        network.train(mode)
        before = network.features[1].running_mean.clone()  # type: ignore[index]
        collect_activations(classifier, x, ["features.2"])
        assert network.training is mode
        assert torch.equal(network.features[1].running_mean, before)  # type: ignore[index]


def test_collect_activations_of_a_layer_that_does_not_run_is_refused_and_leaves_no_hook(
    classifier: Any, x: np.ndarray
) -> None:
    with pytest.raises(InvalidInputError, match="unused took no part"):
        collect_activations(classifier, x, ["features", "unused"])
    assert n_hooks(classifier) == 0


def test_collect_activations_of_an_unknown_layer_lists_the_known_ones(classifier: Any, x: np.ndarray) -> None:
    with pytest.raises(InvalidInputError, match=r"no layer neck.*features\.0"):
        collect_activations(classifier, x, ["neck"])


def test_torch_module_of_something_else_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="PyTorchClassifier"):
        torch_module(object())
