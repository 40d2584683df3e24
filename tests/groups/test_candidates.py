"""Where a class may fall in two: by what its samples look like, beside the directions in which it varies most."""

from __future__ import annotations

import numpy as np
import pytest

from art_plugins.groups import find
from art_plugins.groups.candidates import SHRINKAGE, content_cut
from art_plugins.groups.cuts import minimum_error_cut
from art_plugins.groups.find import find_groups
from art_plugins.groups.space import Space
from art_plugins.statistics.labels import indices_by_class

K, N, D = 6, 150, 20


def cut_of(x: np.ndarray, labels: np.ndarray, label: int, elsewhere: np.ndarray) -> np.ndarray | None:
    """The cut of one class, by the medians of all."""
    own, *others = (np.median(x[labels == one], axis=0) for one in sorted(set(labels), key=lambda one: one != label))
    return content_cut(x[labels == label], own, others, elsewhere)


def faint(seed: int, n_each: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some samples of every other class get the label 0, and nothing else; one direction shows it by one deviation."""
    random = np.random.default_rng(seed)
    y = np.repeat(np.arange(K), N)
    centres = np.pad(random.normal(0, 3, (K, 6)), ((0, 0), (0, D - 6)))
    x = random.normal(size=(K * N, D)) + centres[y]
    x[:, 8:12] *= 6  # what makes the samples of every class differ
    poison = (y > 0) & (np.arange(len(y)) % N < n_each)
    x[poison, -1] += 1
    return x.astype(np.float32), np.where(poison, 0, y), poison


def test_cut_by_content_is_that_of_the_discriminant_by_hand() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 40)
    x = (random.normal(size=(120, 2)) + 6.0 * np.array([[0, 0], [1, 0], [0, 1]])[labels]).astype(np.float32)
    x[:12] += [6.0, 0.0]  # of class 0, but like class 1
    found = cut_of(x, labels, 0, np.eye(2))
    assert found is not None
    assert (found == (np.arange(40) < 12)).all()
    medians = np.stack([np.median(x[labels == label], axis=0) for label in range(3)])
    squares = ((x[:40, None] - medians) ** 2).sum(axis=2) / (1 + SHRINKAGE)
    by_hand = (squares[:, 0] - squares[:, 1:].min(axis=1)) / 2  # by how much another class is the likelier one, in nats
    cut = minimum_error_cut(by_hand)
    assert cut is not None
    assert (found == (by_hand > cut)).all()


def test_a_direction_in_which_all_classes_vary_says_little_about_the_class() -> None:
    x, labels, poison = faint(1)
    members = indices_by_class(labels, K)
    elsewhere = np.diag(np.where((np.arange(D) >= 8) & (np.arange(D) < 12), 36.0, 1.0))
    found = cut_of(x, labels, 0, elsewhere)
    assert found is not None
    assert (found == poison[members[0]]).mean() > 0.95
    blind = cut_of(x, labels, 0, np.diag(1 / np.diag(elsewhere)))
    assert blind is not None
    assert (blind == poison[members[0]]).mean() < 0.8


@pytest.mark.parametrize("n_classes", [1, 2])
def test_without_another_class_there_is_no_content_to_cut_by(n_classes: int) -> None:
    random = np.random.default_rng(2)
    labels = np.repeat(np.arange(n_classes), 40)
    x = random.normal(size=(len(labels), 3)).astype(np.float32)
    assert (cut_of(x, labels, 0, np.eye(3)) is None) == (n_classes == 1)
    space = Space({"all": x}, labels, n_classes + 1)  # the last class has no samples
    assert (space.cut_by_content(0) is None) == (n_classes == 1)


def test_a_class_whose_outermost_samples_are_equal_is_not_cut_into_all_and_none() -> None:
    x = np.zeros((64, 2), dtype=np.float32)
    x[4:34] = 1
    x[34:] = [5, 0]
    found = cut_of(x, np.repeat([0, 1], [34, 30]), 0, np.eye(2))
    assert found is None or 0 < found.sum() < 34


def test_classes_of_a_few_samples_are_no_content() -> None:
    x, labels, _ = faint(7)
    few = np.flatnonzero(labels == 0)[:7]
    beside = np.append(labels, np.full(7, K))
    with_few = Space({"all": np.concatenate([x, x[few]])}, beside, K + 1).cut_by_content(0)
    without = Space({"all": x}, labels, K).cut_by_content(0)
    assert with_few is not None
    assert without is not None
    assert (with_few == without).mean() > 0.98


def test_a_class_of_equal_samples_or_of_a_few_is_not_cut() -> None:
    x = np.zeros((50, 3), dtype=np.float32)
    labels = np.repeat([0, 1], 25)
    assert cut_of(x, labels, 0, np.zeros((3, 3))) is None
    x = np.random.default_rng(3).normal(size=(40, 3)).astype(np.float32)
    labels = np.repeat([0, 1], [15, 25])
    assert cut_of(x, labels, 0, np.eye(3)) is None


@pytest.mark.parametrize("n_sources", [1, K - 1])
def test_a_split_begins_with_the_cut_by_content(n_sources: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no direction of the largest variance gives a start, poison is still split off by what it looks like."""
    x, labels, poison = faint(4, 60 // n_sources)
    kept = ~poison | (np.arange(len(x)) // N <= n_sources)
    x, labels, poison = x[kept], labels[kept], poison[kept]
    monkeypatch.setattr(Space, "candidates", lambda self, label: [])
    found = find_groups({"all": x}, labels, K)
    assert max((one.members & poison).sum() / (one.members | poison).sum() for one in found) > 0.9
    monkeypatch.setattr(Space, "cut_by_content", lambda self, label: None)
    assert not find_groups({"all": x}, labels, K)


def test_the_split_by_content_is_kept_beside_the_clearest_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few of these are kept, it is not pushed out by them."""
    x, labels, poison = faint(5)
    monkeypatch.setattr(find, "MOST_SPLITS", 0)
    found = find_groups({"all": x}, labels, K)
    assert max((one.members & poison).sum() / (one.members | poison).sum() for one in found) > 0.9
