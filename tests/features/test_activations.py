"""One pass over a model for any of its layers: equal to ART's, and nothing left behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn

from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import (
    collect_activations,
    hidden_layers,
    logits_and_hidden,
    penultimate_activations,
    torch_module,
)
from art_plugins.features.training import seeded


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


class Backwards(nn.Module):
    """A model whose layers are defined in another order than they run in, one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.twice, self.between, self.first = (nn.Linear(*sizes) for sizes in ((7, 3), (7, 7), (7, 7), (64, 7)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = x.flatten(1)
        for layer in (self.first, self.twice, self.between, self.twice):
            z = torch.relu(layer(z))
        logits: torch.Tensor = self.last(z)
        return logits


class OverTokens(nn.Module):
    """Eight rows of an image as tokens; linear layers over each of them, as (B, T, D) or as (B T, D), and a head."""

    def __init__(self, flat: bool, with_head: bool = True) -> None:
        super().__init__()
        self.flat = flat
        self.embed = nn.Linear(8, 3)
        self.neck, self.head = (nn.Linear(3, 5), nn.Linear(5, 3)) if with_head else (nn.Identity(), nn.Identity())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.reshape(-1, 8) if self.flat else x[:, 0]
        pooled = torch.relu(self.embed(tokens)).reshape(len(x), 8, 3).mean(dim=1)
        logits: torch.Tensor = self.head(torch.relu(self.neck(pooled)))
        return logits


def wrapped(model: nn.Module, **options: Any) -> Any:
    return PyTorchClassifier(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters()),
        input_shape=(1, 8, 8),
        nb_classes=3,
        **options,
    )


@pytest.fixture
def classifier() -> Any:
    with seeded(0):
        return wrapped(Branching(), preprocessing=(0.5, 2.0))


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


# The last hidden layers


@pytest.mark.parametrize(
    ("n_layers", "expected"), [(1, ["6"]), (2, ["4", "6"]), (3, ["1", "4", "6"]), (9, ["1", "4", "6"])]
)
def test_hidden_layers_of_a_sequence_are_its_last_linear_layers(x: np.ndarray, n_layers: int, expected: list[str]) -> None:
    with seeded(0):
        model = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 9), nn.ReLU(), nn.BatchNorm1d(9), nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 3)
        )
    assert hidden_layers(wrapped(model), x, n_layers) == expected


def test_hidden_layers_are_in_the_order_in_which_they_run_not_that_of_their_definition(x: np.ndarray) -> None:
    with seeded(0):
        classifier = wrapped(Backwards())
    assert hidden_layers(classifier, x, 9) == ["first", "between", "twice", "last"]
    assert hidden_layers(classifier, x, 2) == ["twice", "last"]


def test_hidden_layers_leaves_out_a_layer_that_does_not_run(classifier: Any, x: np.ndarray) -> None:
    assert hidden_layers(classifier, x, 5) == ["head.0", "head.2"]


@pytest.mark.parametrize("flat", [False, True])
def test_hidden_layers_leaves_out_layers_over_tokens(x: np.ndarray, flat: bool) -> None:
    with seeded(0):
        classifier = wrapped(OverTokens(flat))
    names = hidden_layers(classifier, x, 3)
    assert names == ["neck", "head"]
    assert logits_and_hidden(classifier, x, names, batch_size=4)[1].shape == (len(x), 3 + 5)


@pytest.mark.parametrize(
    "model",
    [
        lambda: nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten()),
        lambda: OverTokens(flat=False, with_head=False),
        lambda: OverTokens(flat=True, with_head=False),
    ],
    ids=["convolutions", "tokens", "flat_tokens"],
)
def test_hidden_layers_without_a_linear_layer_over_samples_is_refused_and_leaves_no_hook(x: np.ndarray, model: Any) -> None:
    with seeded(0):
        classifier = wrapped(model())
    with pytest.raises(InvalidInputError, match="no penultimate layer"):
        hidden_layers(classifier, x, 2)
    assert n_hooks(classifier) == 0


def test_logits_and_hidden_equal_a_forward_pass_by_hand_with_arts_preprocessing(classifier: Any, x: np.ndarray) -> None:
    logits, hidden = logits_and_hidden(classifier, x, ["head.0", "head.2"], batch_size=3)
    network = torch_module(classifier).eval()
    with torch.no_grad():
        flat = network.features(torch.from_numpy((x - 0.5) / 2.0))  # type: ignore[operator]
        penultimate = torch.relu(flat @ network.head[0].weight.T + network.head[0].bias)  # type: ignore[index]
        expected = penultimate @ network.head[2].weight.T + network.head[2].bias  # type: ignore[index]
    np.testing.assert_allclose(hidden, torch.cat([flat, penultimate], dim=1).numpy(), atol=1e-5)
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-5)
    np.testing.assert_allclose(logits, classifier.predict(x), atol=1e-5)


def test_logits_and_hidden_last_part_equals_the_penultimate_activations(classifier: Any, x: np.ndarray) -> None:
    hidden = logits_and_hidden(classifier, x, hidden_layers(classifier, x, 2))[1]
    np.testing.assert_allclose(hidden[:, -10:], penultimate_activations(classifier, x), atol=1e-6)


def test_logits_and_hidden_layer_that_runs_twice_gives_its_last_input(x: np.ndarray) -> None:
    with seeded(0):
        model = Backwards()
    hidden = logits_and_hidden(wrapped(model), x, ["twice"])[1]
    with torch.no_grad():
        first = torch.relu(model.first(torch.from_numpy(x).flatten(1)))
        expected = torch.relu(model.between(torch.relu(model.twice(first)))).numpy()
    np.testing.assert_allclose(hidden, expected, atol=1e-6)


def test_logits_and_hidden_batch_size_and_order_of_the_samples_change_nothing(classifier: Any, x: np.ndarray) -> None:
    layers = ["head.0", "head.2"]
    logits, hidden = logits_and_hidden(classifier, x, layers, batch_size=10)
    order = np.random.default_rng(1).permutation(len(x))
    for batch_size in (1, 4, 128):
        other_logits, other_hidden = logits_and_hidden(classifier, x[order], layers, batch_size)
        np.testing.assert_allclose(other_logits, logits[order], atol=1e-6)
        np.testing.assert_allclose(other_hidden, hidden[order], atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_hidden_layers_and_logits_and_hidden_leave_no_hook_and_restore_the_mode(
    classifier: Any, x: np.ndarray, training: bool
) -> None:
    network = torch_module(classifier).train(training)
    before = network.features[1].running_mean.clone()  # type: ignore[index]
    logits_and_hidden(classifier, x, hidden_layers(classifier, x, 2))
    assert network.training is training
    assert torch.equal(network.features[1].running_mean, before)  # type: ignore[index]
    assert n_hooks(classifier) == 0


@pytest.mark.parametrize("training", [True, False])
def test_hidden_layers_and_logits_and_hidden_leave_no_hook_and_restore_the_mode_also_after_an_error(
    classifier: Any, x: np.ndarray, training: bool
) -> None:
    network = torch_module(classifier).train(training)
    for call in (
        lambda: hidden_layers(classifier, x[..., :5], 2),
        lambda: logits_and_hidden(classifier, x[..., :5], ["head.2"]),
    ):
        with pytest.raises(RuntimeError, match="shape"):
            call()
        assert network.training is training
        assert n_hooks(classifier) == 0


def test_logits_and_hidden_unknown_layer_asks_whether_the_model_is_another_one(classifier: Any, x: np.ndarray) -> None:
    with pytest.raises(InvalidInputError, match=r"no layer neck; was the detector fitted on another model"):
        logits_and_hidden(classifier, x, ["head.0", "neck"])
    assert n_hooks(classifier) == 0


def test_logits_and_hidden_layer_that_does_not_run_is_refused_and_leaves_no_hook(classifier: Any, x: np.ndarray) -> None:
    with pytest.raises(InvalidInputError, match="unused took no part"):
        logits_and_hidden(classifier, x, ["unused", "head.2"])
    assert n_hooks(classifier) == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda classifier, x: collect_activations(classifier, x, ["unused"]),
        lambda classifier, x: logits_and_hidden(classifier, x, ["unused"]),
    ],
    ids=["collect_activations", "logits_and_hidden"],
)
def test_mode_and_gradients_after_a_refusal_in_the_middle_of_the_pass_are_restored_while_the_error_is_held(
    classifier: Any, x: np.ndarray, call: Any
) -> None:
    # A notebook keeps the last error, and with it every frame of its traceback.
    network = torch_module(classifier).train()
    with pytest.raises(InvalidInputError) as held:
        call(classifier, x)
    assert held.value.__traceback__ is not None
    assert network.training
    assert not torch.is_inference_mode_enabled()
