"""Groups in made views whose poison is known, and in classes that have kinds of their own."""

from __future__ import annotations

import numpy as np
import pytest

from art_plugins.groups.find import find_groups
from art_plugins.groups.verdict import judge_groups

K, N = 8, 250


def classes(seed: int = 0, n_dims: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Classes with centres of their own on the first dimensions, and a last dimension that no class uses."""
    random = np.random.default_rng(seed)
    y = np.repeat(np.arange(K), N)
    x = random.normal(size=(K * N, n_dims)) + np.pad(random.normal(0, 4, (K, n_dims - 1)), ((0, 0), (0, 1)))[y]
    return x.astype(np.float32), y


def poisoned(x: np.ndarray, rows: np.ndarray, distance: float = 12) -> np.ndarray:
    x = x.copy()
    x[rows, -1] += distance
    return x


def removed(x: np.ndarray, y: np.ndarray, fpr: float = 0.01) -> np.ndarray:
    views = {"first": x[:, ::2], "second": x[:, 1::2]}
    found = judge_groups(find_groups(views, y, y.max() + 1), views, y, y.max() + 1, fpr)
    return np.any([np.zeros(len(x), bool)] + [one.group.members for one in found if one.verdict == "poison"], axis=0)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_group_of_one_class_is_found_also_where_it_is_the_majority(share):
    x, y = classes()
    rows = np.flatnonzero(y == 3)[: int(share * N)]
    caught = removed(poisoned(x, rows), y)
    assert caught[rows].mean() > 0.98
    assert np.delete(caught, rows).mean() < 0.002


def test_group_of_all_classes_is_found():
    x, y = classes(1)
    rows = np.arange(len(y))[::12]
    caught = removed(poisoned(x, rows), y)
    assert caught[rows].mean() > 0.98
    assert np.delete(caught, rows).mean() < 0.002


@pytest.mark.parametrize("n", [1, 15])
def test_group_of_all_classes_is_not_hidden_by_a_small_class_of_poison(n):
    """All samples of the small class are of the group, which would have been the class itself if it were larger."""
    x, y = classes(1)
    rows = np.append(np.arange(len(y))[::12], len(y) + np.arange(n))
    small = np.random.default_rng(0).normal(size=(n, x.shape[1])).astype(np.float32)
    x, y = np.concatenate([x, small]), np.append(y, np.full(n, K))
    caught = removed(poisoned(x, rows), y)
    assert caught[rows[:-n]].mean() > 0.98
    assert np.delete(caught, rows).mean() < 0.002


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.35])
def test_poison_of_a_single_source_never_costs_the_clean_side(share):
    """Its content is that of the source class, so that the other classes lie between both sides, or beyond."""
    for seed in range(4):
        x, y = classes(20 + seed)
        rows, source = np.flatnonzero(y == 3)[: int(share * N)], np.flatnonzero(y == 6)[: int(share * N)]
        x[rows] = x[source] + np.random.default_rng(seed).normal(0, 0.5, x[source].shape).astype(np.float32)
        caught = removed(poisoned(x, rows), y)
        assert np.delete(caught, rows).mean() < 0.002


def test_both_sides_of_a_split_have_one_border():
    x, y = classes()
    rows = np.flatnonzero(y == 3)[: N // 2]
    x, own = poisoned(x, rows), y == 3
    found = [group for group in find_groups({"all": x}, y, K) if group.classes == [3]]
    sides = [(one, other) for one in found for other in found if (one.members == own & ~other.members).all()]
    assert sides
    assert all(one.border == other.border > 0 for one, other in sides)
    assert {one.within.clearness for pair in sides for one in pair} >= {0.0, sides[0][0].border}


def test_two_triggers_in_two_classes_are_both_found():
    x, y = classes(2)
    one, other = np.flatnonzero(y == 1)[:60], np.flatnonzero(y == 5)[:60]
    x = poisoned(x, one)
    x[other, -1] -= 12
    caught = removed(x, y)
    assert caught[np.concatenate([one, other])].mean() > 0.98
    assert np.delete(caught, np.concatenate([one, other])).mean() < 0.002


@pytest.mark.slow
def test_clean_classes_lose_nothing():
    assert [removed(*classes(seed)).sum() for seed in range(10, 16)] == [0] * 6


def test_kinds_of_a_class_are_looked_at_but_stay():
    """The samples of class 2 are of two kinds, and differ in what the samples of every class differ in."""
    x, y = classes(3)
    width = np.random.default_rng(8).uniform(-9, 9, len(y))
    width[y == 2] = np.where(np.arange(N) % 2, -6, 6) + np.random.default_rng(9).normal(0, 0.5, N)
    x[:, 0] += width.astype(np.float32)
    groups = judge_groups(find_groups({"all": x}, y, K), {"all": x}, y, K, 0.01)
    assert [one.verdict for one in groups if one.group.label == 2 and one.verdict != "nothing"][:1] == ["look here"]
    assert not any(one.verdict == "poison" for one in groups)


def test_near_copies_are_looked_at_but_stay():
    """Thirty frames of one film, far from everything else."""
    x, y = classes(7)
    rows = np.flatnonzero(y == 2)[:30]
    x[rows] = x[rows[0]] + 0.1 * np.random.default_rng(1).normal(size=(30, x.shape[1]))
    x[rows, -1] += 12
    groups = judge_groups(find_groups({"all": x}, y, K), {"all": x}, y, K, 0.01)
    assert [one.verdict for one in groups if one.group.members[rows].all()][:1] == ["look here"]
    assert not removed(x, y).any()


def test_order_of_the_classes_changes_nothing():
    x, y = classes(4)
    x = poisoned(x, np.flatnonzero(y == 3)[:40])
    np.testing.assert_array_equal(removed(x, y), removed(x, (y + 3) % K))


@pytest.mark.parametrize("n", [0, 1, 5, 15])
def test_small_and_empty_classes_are_passed_over(n):
    x, y = classes(5)
    keep = (y != 4) | (np.arange(len(y)) < np.flatnonzero(y == 4)[0] + n)
    rows = np.flatnonzero(y[keep] == 3)[:40]
    caught = removed(poisoned(x[keep], rows), y[keep])
    assert caught[rows].mean() > 0.98


def test_constant_views_give_no_group():
    _, y = classes()
    assert find_groups({"constant": np.zeros((len(y), 3), np.float32)}, y, K) == []
