"""One pass over a model for any of its layers: equal to ART's, and nothing left behind."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn

from art_plugins.errors import InvalidInputError
from art_plugins.features import devices
from art_plugins.features.activations import (
    collect_activations,
    hidden_layers,
    logits_and_hidden,
    penultimate_activations,
    stream_activations,
)
from art_plugins.features.classifiers import torch_module
from art_plugins.features.vae.training import seeded


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
        with pytest.raises(InvalidInputError, match="shape"):
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


# A batch at a time


class Overwriting(nn.Module):
    """What torchvision's residual blocks do: the sum and the rectifier overwrite what the layers before put out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.rectifier = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        identity = self.rectifier(self.first(x.flatten(1)))
        z = self.second(identity)
        z += identity
        logits: torch.Tensor = self.head(self.rectifier(z))
        return logits


class Wrapping(nn.Module):
    """A module that gives its input in a container."""

    def __init__(self, wrap: Any) -> None:
        super().__init__()
        self.wrap = wrap

    def forward(self, x: torch.Tensor) -> Any:
        return self.wrap(x)


class Containers(nn.Module):
    """Modules that give tuples, mappings and nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Wrapping(lambda x: (None, x, -x))
        self.named = Wrapping(lambda x: OrderedDict(loss=None, last_hidden_state=x, others=(-x,)))
        self.nested = Wrapping(lambda x: {"all": [(x, -x)]})
        self.nothing = Wrapping(lambda x: (None, "nothing"))
        self.head = nn.Linear(64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(1)
        for module in (self.pair, self.named, self.nested, self.nothing):
            module(flat)
        logits: torch.Tensor = self.head(flat)
        return logits


def test_stream_activations_batches_are_those_of_the_modules_run_by_hand(classifier: Any, x: np.ndarray) -> None:
    network = torch_module(classifier).eval()
    starts = []
    for batch in stream_activations(classifier, x, ["features.0", "head.0", ""], batch_size=4):
        rows = torch.from_numpy((x[batch.start : batch.start + 4] - 0.5) / 2.0)
        with torch.no_grad():
            convolution = network.features[0](rows)  # type: ignore[index]
            hidden = network.head[0](network.features(rows))  # type: ignore[index, operator]
            logits = network.head(network.features(rows))  # type: ignore[operator]
        assert list(batch.activations) == ["features.0", "head.0", ""]
        torch.testing.assert_close(batch.activations["features.0"], convolution)
        torch.testing.assert_close(batch.activations["head.0"], hidden)
        torch.testing.assert_close(batch.activations[""], logits)
        torch.testing.assert_close(batch.outputs, logits)
        starts.append(batch.start)
    assert starts == [0, 4, 8]


def test_stream_activations_bfloat16_is_handed_out_as_float32_and_near_the_exact_values(
    classifier: Any, x: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "processor_has_bfloat16", lambda: True)
    exact = next(stream_activations(classifier, x, ["features.0"]))
    rounded = next(stream_activations(classifier, x, ["features.0"], precision="bf16-mixed"))
    for a, b in ((exact.outputs, rounded.outputs), (exact.activations["features.0"], rounded.activations["features.0"])):
        assert b.dtype == torch.float32
        assert 0 < (a - b).abs().max() < 0.03 * a.abs().max()  # 8 bits of mantissa
    bits = rounded.activations["features.0"]
    assert torch.equal(bits, bits.bfloat16().float())


def test_stream_activations_bfloat16_is_not_left_on_for_the_caller(
    classifier: Any, x: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "processor_has_bfloat16", lambda: True)
    for batch in stream_activations(classifier, x, ["features.0"], batch_size=4, precision="bf16-mixed"):
        assert not torch.is_autocast_enabled("cpu")
        assert torch.is_grad_enabled()
        batch.outputs.sub_(batch.outputs.mean())  # an ordinary tensor of the caller's


def test_stream_activations_output_overwritten_later_in_the_pass_is_what_the_module_gave(x: np.ndarray) -> None:
    with seeded(0):
        model = Overwriting()
    seen = collect_activations(wrapped(model), x, ["first", "second", "rectifier"], batch_size=4)
    with torch.no_grad():
        first = model.first(torch.from_numpy(x).flatten(1))
        second = model.second(torch.relu(first))
        last = torch.relu(second + torch.relu(first))
    assert (first < 0).any()
    np.testing.assert_allclose(seen["first"], first.numpy(), atol=1e-6)
    np.testing.assert_allclose(seen["second"], second.numpy(), atol=1e-6)
    np.testing.assert_allclose(seen["rectifier"], last.numpy(), atol=1e-6)


def test_stream_activations_layer_that_runs_twice_gives_its_last_output(x: np.ndarray) -> None:
    with seeded(0):
        model = Backwards()
    seen = collect_activations(wrapped(model), x, ["between", "twice"])
    with torch.no_grad():
        expected = model.twice(torch.relu(torch.from_numpy(seen["between"]))).numpy()
    np.testing.assert_allclose(seen["twice"], expected, atol=1e-6)


@pytest.mark.parametrize("name", ["pair", "named", "nested"])
def test_stream_activations_of_a_container_is_its_first_tensor(x: np.ndarray, name: str) -> None:
    with seeded(0):
        classifier = wrapped(Containers())
    np.testing.assert_array_equal(collect_activations(classifier, x, [name])[name], x.reshape(len(x), -1))


def test_stream_activations_of_a_container_without_a_tensor_is_refused_and_leaves_no_hook(x: np.ndarray) -> None:
    with seeded(0):
        classifier = wrapped(Containers())
    with pytest.raises(InvalidInputError, match="tuple without a tensor"):
        next(stream_activations(classifier, x, ["nothing"]))
    assert n_hooks(classifier) == 0


def test_stream_activations_leaves_the_model_as_it_was_between_two_batches(classifier: Any, x: np.ndarray) -> None:
    network = torch_module(classifier).train()
    network.features[1].eval()  # type: ignore[index]  # as one freezes a normalisation
    modes = [module.training for module in network.modules()]
    stream = stream_activations(classifier, x, ["features", "head"], batch_size=4)
    for _ in range(2):
        next(stream)
        assert n_hooks(classifier) == 0
        assert [module.training for module in network.modules()] == modes
    stream.close()
    assert n_hooks(classifier) == 0
    assert [module.training for module in network.modules()] == modes


def test_stream_activations_batch_is_emptied_when_the_next_is_asked_for(classifier: Any, x: np.ndarray) -> None:
    stream = stream_activations(classifier, x, ["features"], batch_size=4)
    first = next(stream)
    kept = first.activations["features"]
    copy = kept.clone()
    next(stream)
    assert first.activations == {}
    assert torch.equal(kept, copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layers": ["neck"]}, r"no layer neck.*features\.0"),
        ({"batch_size": 0}, "at least 1; received 0"),
        ({"precision": "16"}, "32-true, bf16-mixed; received '16'"),
    ],
)
def test_stream_activations_bad_argument_is_refused_before_anything_runs(
    classifier: Any, x: np.ndarray, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidInputError, match=words):
        stream_activations(classifier, x, **{"layers": ["head"], **change})
