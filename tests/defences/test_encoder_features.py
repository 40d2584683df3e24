"""Poison among the features of encoders that were made by hand, or trained on other data than what is judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from art_plugins.attacks.datasets.digits import digits
from art_plugins.defences.encoder_features import EncoderFeatureDefence
from art_plugins.errors import InvalidInputError
from art_plugins.features.vae.training import seeded

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
K, N, N_POISON = 6, 600, 30


class Made:
    """
    Vectors (600, 20) in 6 classes, each with a centre of its own. The first 30 of class 0 differ in the last feature, on
    which no class depends.
    """

    def __init__(self, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.y = np.arange(N) % K
        self.clean = random.normal(size=(N, 20)).astype(np.float32)
        self.clean[:, :K] += 4 * np.eye(K)[self.y]
        self.is_poison = np.zeros(N, dtype=bool)
        self.is_poison[np.flatnonzero(self.y == 0)[:N_POISON]] = True
        self.poisoned = np.array(self.clean)
        self.poisoned[self.is_poison, -1] += 12


@pytest.fixture(scope="module")
def made() -> Made:
    return Made()


def removed(encoder: Any, x: np.ndarray, y: np.ndarray, **options: Any) -> np.ndarray:
    return np.array(EncoderFeatureDefence(None, x, y, encoder=encoder, **options).detect_poison()[1]) == 0


def turned(x: np.ndarray) -> np.ndarray:
    """The same features in other units and directions, which must not matter."""
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(20, 20)))[0]
    found: np.ndarray = 1e-3 * x @ rotation + 5
    return found


@pytest.mark.parametrize("encoder", [lambda x: x, turned, lambda x: torch.from_numpy(x).double()])
def test_poison_in_a_direction_of_the_features_is_found_and_nothing_else(encoder: Any, made: Made) -> None:
    np.testing.assert_array_equal(removed(encoder, made.poisoned, made.y), made.is_poison)
    assert not removed(encoder, made.clean, made.y).any()


def test_report_says_what_was_found(made: Made) -> None:
    defence = EncoderFeatureDefence(None, made.poisoned, made.y, encoder=turned)
    report, _ = defence.detect_poison()
    (group,) = [one for one in report["groups"] if one["verdict"] == "poison"]
    assert group["n_members"] == report["Class_0"]["n_removed"] == N_POISON
    assert group["classes"] == [0]
    assert report["Class_0"]["clearness"] > report["clearness_limit"] > report["Class_1"]["clearness"]
    assert report["layers"] == defence.layers_ == [""]
    assert report["parameters"]["encoder"] == "function"
    assert report["n_not_finite"] == 0
    assert defence.outlier_scores_[made.is_poison].min() > defence.threshold_


def test_encoder_that_does_not_see_the_trigger_finds_nothing(made: Made) -> None:
    assert not removed(lambda x: x[:, :-1], made.poisoned, made.y).any()


class Maps(nn.Module):
    """Puts the vectors at a place of their own into a map of 5 x 5 places, and gives it beside what is no tensor."""

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        maps = torch.zeros(len(x), x.shape[1], 25)
        places = (x[:, :5].abs().sum(dim=1) * 7).long() % 25
        maps[torch.arange(len(x)), :, places] = x.clamp(min=0)
        return maps.reshape(len(x), -1, 5, 5), None


def test_maps_are_seen_by_their_largest_values_wherever_the_trigger_is(made: Made) -> None:
    found = removed(Maps(), made.poisoned, made.y, layers=[""])
    np.testing.assert_array_equal(found, made.is_poison)
    assert not removed(Maps(), made.clean, made.y, layers=[""]).any()


# What an encoder is


class Dropping(nn.Module):
    """A network that draws random numbers and counts batches in training mode, with a second way to its features."""

    def __init__(self) -> None:
        super().__init__()
        with seeded(0):
            self.body = nn.Sequential(nn.Linear(20, 30), nn.BatchNorm1d(30), nn.ReLU(), nn.Dropout(0.5), nn.Linear(30, 24))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.body(x)
        return found

    def encode(self, x: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        return self(x)


@pytest.mark.parametrize("of_method", [False, True], ids=["module", "method"])
def test_module_runs_in_evaluation_mode_and_is_left_as_it_was(of_method: bool, made: Made) -> None:
    network = Dropping()
    network.body[1].eval()
    modes = [module.training for module in network.modules()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = [
        EncoderFeatureDefence(None, made.poisoned, made.y, encoder=network.encode if of_method else network)
        for _ in range(2)
    ]
    first, second = (one.detect_poison() for one in found)
    assert first == second
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert all(weights.grad is None for weights in network.parameters())
    assert found[0].layers_ == ([""] if of_method else ["body.2", "body.4"])


def test_batch_size_does_not_matter(made: Made) -> None:
    sizes: list[int] = []

    def encoder(x: np.ndarray) -> np.ndarray:
        sizes.append(len(x))
        return x

    one, other = (
        EncoderFeatureDefence(None, made.poisoned, made.y, encoder=encoder, batch_size=size) for size in (17, 600)
    )
    assert one.detect_poison()[1] == other.detect_poison()[1]
    assert {3, 17, 600} <= set(sizes)
    np.testing.assert_allclose(one.outlier_scores_, other.outlier_scores_, atol=1e-5)


def test_sample_whose_features_are_not_finite_is_removed(made: Made) -> None:
    def encoder(x: np.ndarray) -> np.ndarray:
        return np.where(x[:, -2:-1] > 100, np.nan, x)

    x = np.array(made.clean)
    x[7, -2] = 101
    defence = EncoderFeatureDefence(None, x, made.y, encoder=encoder)
    report, is_clean = defence.detect_poison()
    assert np.flatnonzero(np.array(is_clean) == 0).tolist() == [7]
    assert report["n_not_finite"] == 1
    with pytest.raises(InvalidInputError, match="not finite"):
        removed(lambda x: x * np.nan, made.clean, made.y)


def noise(x: np.ndarray) -> np.ndarray:
    noise.random = getattr(noise, "random", np.random.default_rng(0))  # type: ignore[attr-defined]
    found: np.ndarray = x + noise.random.normal(size=x.shape)  # type: ignore[attr-defined]
    return found


def broken(x: np.ndarray) -> np.ndarray:
    raise KeyError("no such feature")


@pytest.mark.parametrize(
    ("encoder", "said"),
    [
        (lambda x: x[:-1], r"for 3 samples it gave \(2, 20\)"),
        (lambda x: x[:, 0], r"for 3 samples it gave \(3,\)"),
        (lambda x: x[:, :0], r"for 3 samples it gave \(3, 0\)"),
        (lambda x: x.tolist(), "it gave list"),
        (lambda x: None, "it gave NoneType"),
        (lambda x: x.astype(str), "an array of <U"),
        (lambda x: x.astype(complex), "an array of complex"),
        (broken, "encoder raised KeyError.*no such feature"),
        (noise, "other features"),
        (nn.Linear(7, 3), r"encoder raised RuntimeError on inputs of shape \(\d, 20\)"),
    ],
)
def test_encoder_that_gives_no_features_is_refused(encoder: Any, said: str, made: Made) -> None:
    with pytest.raises(InvalidInputError, match=said):
        removed(encoder, made.clean, made.y)


def test_layers_that_cannot_be_looked_at_are_refused_by_name(made: Made) -> None:
    with pytest.raises(InvalidInputError, match=r"no layer encoder\.head; it has: .*encoder\.body\.4"):
        removed(Dropping(), made.clean, made.y, layers=["head"])


# Real images


class SmallEncoder(nn.Module):
    """Two convolutions and a hidden layer, for images of 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.second(self.first(x)))
        return found


@pytest.fixture(scope="module")
def halves() -> tuple[nn.Module, np.ndarray, np.ndarray]:
    """An encoder trained on one half of real digits, and the other half, without poison."""
    data = digits(test_fraction=0.5)
    x, y = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)
    with seeded(0):
        network = SmallEncoder()
        optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
        for _ in range(8):
            for rows in torch.randperm(len(x)).split(64):
                optimiser.zero_grad()
                nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
                optimiser.step()
    return network, data.x_test, data.y_test


def test_patch_on_real_digits_is_found_by_an_encoder_that_never_saw_it(
    halves: tuple[nn.Module, np.ndarray, np.ndarray],
) -> None:
    network, x, y = halves
    chosen = np.random.default_rng(0).choice(np.flatnonzero(y != 3), 45, replace=False)
    is_poison = np.isin(np.arange(len(y)), chosen)
    stamped, labels = np.array(x), np.where(is_poison, 3, y)
    stamped[is_poison, :, 6:, 6:] = 1
    found = removed(network, stamped, labels)
    assert found[is_poison].mean() > 0.95
    assert found[~is_poison].mean() < 0.002


def test_real_digits_without_poison_are_kept(halves: tuple[nn.Module, np.ndarray, np.ndarray]) -> None:
    network, x, y = halves
    assert not removed(network, x, y).any()
