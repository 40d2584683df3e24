"""Many classes: a contest of few steps chooses the searches that are made in full, and which of them stand for others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn

from art_plugins.errors import InvalidInputError
from art_plugins.features.vae.training import seeded
from art_plugins.reports.trigger_figures import inversion_figure, inversion_words, shown_classes
from art_plugins.triggers.differentiable import DifferentiableClassifier
from art_plugins.triggers.inversion import invert_triggers
from art_plugins.triggers.searching import screening, search
from art_plugins.triggers.searching.screening import CANDIDATES, MOST_FULL, REFERENCES, Contest, contest, screen
from art_plugins.triggers.searching.search import Search, parts_of_pass

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
K, TARGET = 24, 17


class Pixels(nn.Module):
    """
    Class k is where pixel k is bright, so that all other pixels must be covered to get there. With a backdoor, the last
    pixel sends every image to class ``TARGET``.
    """

    def __init__(self, backdoor: float = 0.0, n_classes: int = K) -> None:
        super().__init__()
        self.backdoor, self.n_classes = backdoor, n_classes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(1)
        logits = 10 * flat[:, : self.n_classes]
        is_target = torch.arange(self.n_classes) == min(TARGET, self.n_classes - 1)
        return logits + self.backdoor * flat[:, -1:] * is_target


class NanPixels(Pixels):
    """Not a number wherever class 4 would be the answer, but for the clean images, whose other pixels are dark."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = super().forward(x)
        stamped = (x.flatten(1)[:, 4] > 0.3) & (x.flatten(1).sum(dim=1) > 4)
        return torch.where(stamped[:, None], torch.nan, logits)


def images(n_classes: int = K, n: int = 6) -> tuple[np.ndarray, np.ndarray]:
    y = np.repeat(np.arange(n_classes), n)
    x = 0.1 * np.random.default_rng(0).uniform(size=(len(y), 36)).astype(np.float32)
    x[np.arange(len(y)), y], x[:, -1] = 1, 0
    return x.reshape(-1, 1, 6, 6), y


def wrapped(network: nn.Module, n_classes: int = K) -> PyTorchClassifier:
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), (1, 6, 6), n_classes, clip_values=(0, 1), device_type="cpu")


def searches(y: np.ndarray, n_classes: int = K) -> list[Search]:
    return [Search(torch.from_numpy(np.flatnonzero(y != label)), label) for label in range(n_classes)]


@pytest.fixture(scope="module")
def found():
    with seeded(0):
        return invert_triggers(wrapped(Pixels(30.0)), *images(), verbose=False)


def test_backdoor_in_a_model_of_many_classes_is_found_by_few_full_searches(found):
    assert found.target_class == TARGET
    for one in found.inverted:
        n_full = int((~one.screened).sum())
        assert CANDIDATES + REFERENCES <= n_full <= MOST_FULL - 1
        assert not one.screened[TARGET]
        assert np.isnan(one.norms[one.screened]).all()
        assert np.isfinite(one.norms[~one.screened]).all()
        assert np.isnan(one.anomaly_index[one.screened]).all()
    assert "nan" not in found.sentence()
    assert all(one.screened.any() for one in found.by_source)  # the sources are screened too


def test_clean_model_of_many_classes_gives_no_alarm_although_the_smallest_are_chosen():
    found = invert_triggers(wrapped(Pixels()), *images(), kinds=["additive"], verbose=False)
    assert found.target_class is None
    assert found.sentence().startswith("No backdoor found")


def test_figure_leaves_out_the_classes_without_a_pattern(found):
    shown = shown_classes(found)
    assert shown[0] == TARGET
    assert not set(shown) & set(found.screened)
    names = [f"class {label}" for label in range(K)]
    assert len(inversion_figure(found, names).axes) == 2 * len(shown)
    assert f"each of {len(shown)} classes" in inversion_words(found, names)


@pytest.mark.parametrize("kind", ["patch", "additive"])
def test_contest_the_target_wins_after_few_steps(kind):
    x, y = images()
    with seeded(0):
        model = DifferentiableClassifier(wrapped(Pixels(30.0)), x)
        one = contest(model, kind, torch.from_numpy(x), searches(y), 0.7)
    assert one.winners[0] == TARGET == one.losses.argmin()
    assert not one.broken.any()


def test_contest_in_groups_finds_the_same_winner(monkeypatch):
    x, y = images()
    monkeypatch.setattr(screening, "GROUP", 7)
    with seeded(0):
        model = DifferentiableClassifier(wrapped(Pixels(30.0)), x)
        one = contest(model, "patch", torch.from_numpy(x), searches(y), 0.7)
    assert one.winners[0] == TARGET
    assert (one.losses > 0).all()


def test_references_stand_for_strata_of_all_other_classes(monkeypatch):
    # The order of the losses is that of the classes, so that the strata can be told by hand.
    losses = np.arange(23.0)
    monkeypatch.setattr(screening, "contest", lambda *_: Contest(losses, [0, 2], np.zeros(23, dtype=bool)))
    anything: Any = None
    every = [*(Search(torch.arange(3), label) for label in range(23)), Search(torch.arange(0), 23)]
    counts = screen(anything, ["patch"], torch.zeros(1), every, 1.0, verbose=False)
    assert counts is not None
    # 21 classes in 5 strata: 1 3 4 5 6 | 7 .. 10 | 11 .. 14 | 15 .. 18 | 19 .. 22
    assert {int(label): int(counts[label]) for label in np.flatnonzero(counts)} == {
        0: 1,
        2: 1,
        4: 5,
        9: 4,
        13: 4,
        17: 4,
        21: 4,
    }
    assert counts.sum() == 23


def test_class_whose_search_breaks_off_while_screened_is_not_decided():
    found = invert_triggers(wrapped(NanPixels()), *images(), kinds=["patch"], nb_steps=30, verbose=False)
    assert 4 in found.broke_off
    assert "not finite in the search for class" in found.sentence()


def test_up_to_ten_classes_are_all_searched_in_full():
    _, y = images(MOST_FULL)
    anything: Any = None
    assert screen(anything, ["patch"], torch.zeros(1), searches(y, MOST_FULL), 1.0, verbose=False) is None


def test_steps_grow_far_slower_than_the_classes(monkeypatch):
    def images_seen(n_classes: int) -> int:
        seen: list[int] = []
        logits = DifferentiableClassifier.logits

        def counted(self: Any, x: torch.Tensor) -> torch.Tensor:
            seen.append(len(x))
            return logits(self, x)

        with monkeypatch.context() as counting:
            counting.setattr(DifferentiableClassifier, "logits", counted)
            network = wrapped(Pixels(n_classes=n_classes), n_classes)
            invert_triggers(network, *images(n_classes, 4), nb_steps=60, kinds=["patch"], verbose=False)
        return sum(seen)

    assert images_seen(34) < 2 * images_seen(10)


def test_parts_of_pass_hold_every_search_once_and_few_values(monkeypatch):
    monkeypatch.setattr(search, "MOST_VALUES", 100)
    for n, each, n_parts in ((7, 10, 1), (12, 30, 4), (3, 500, 3)):
        parts = parts_of_pass(n, each)
        assert len(parts) == n_parts
        assert [index for part in parts for index in part] == list(range(n))


# Two classes, and one output neuron


@pytest.mark.parametrize(("backdoor", "target"), [(30.0, 1), (0.0, None)])
def test_two_classes_are_compared_with_each_other(backdoor, target):
    class Halves(nn.Module):
        """Class 1 is where the lower half is brighter; a bright corner is worth as much as all pixels."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            upper, lower = x[:, :, :3].flatten(1).sum(dim=1), x[:, :, 3:, :5].flatten(1).sum(dim=1)
            return torch.stack([upper, lower + backdoor * x[:, 0, 5, 5]], dim=1)

    y = np.arange(60) % 2
    x = 0.2 * np.random.default_rng(0).uniform(size=(60, 1, 6, 6)).astype(np.float32)
    x[y == 0, :, :3] += 0.5
    x[y == 1, :, 3:] += 0.5
    x[:, :, 5, 5] = 0
    found = invert_triggers(wrapped(Halves(), 2), x, y, kinds=["patch"], verbose=False)
    assert found.target_class == target
    assert found.source_class is None
    assert found.undecided == []


def test_one_output_neuron_is_refused_with_what_to_put_behind_it():
    class One(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1).sum(dim=1, keepdim=True)

    x, y = images(2)
    with pytest.raises(InvalidInputError, match=r"outputs of shape \(n, 1\).*torch\.cat"):
        invert_triggers(wrapped(One(), 2), x, y, verbose=False)
