"""The self-trained discriminant, against Fisher's by definition and on groups that are known."""

from __future__ import annotations

import numpy as np
import pytest

from art_plugins.groups.cuts import HEAVY
from art_plugins.groups.discriminant import RIDGE, SelfTrainedDiscriminant


def with_group(n: int, share: float, distance: float, n_dims: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    group = np.arange(n) < share * n
    x = random.normal(size=(n, n_dims)) * np.linspace(0.5, 2, n_dims)
    x[group, 0] += distance * 0.5
    return x, group


def fisher(x: np.ndarray, group: np.ndarray) -> np.ndarray:
    """By definition: the scatter within group and rest, with the class's ridge."""
    within = sum((x[part] - x[part].mean(axis=0)).T @ (x[part] - x[part].mean(axis=0)) for part in (group, ~group))
    total = (x - x.mean(axis=0)).T @ (x - x.mean(axis=0))
    ridge = RIDGE * np.trace(total) / len(total)
    return np.linalg.solve(within + ridge * np.eye(len(total)), x[group].mean(axis=0) - x[~group].mean(axis=0))


def test_direction_is_fishers():
    x, group = with_group(300, 0.3, 3)
    found, expected = SelfTrainedDiscriminant(x).direction(group), fisher(x, group)
    cosine = found @ expected / np.linalg.norm(found) / np.linalg.norm(expected)
    assert cosine == pytest.approx(1, abs=1e-6)


def test_places_each_sample_is_judged_without_itself():
    """Of pure noise, a discriminant that has seen the samples tells the group; one that has not cannot."""
    random = np.random.default_rng(3)
    x, group = random.normal(size=(200, 100)), np.arange(200) < 100
    places = SelfTrainedDiscriminant(x).places(group)
    by_all = x @ SelfTrainedDiscriminant(x).direction(group)
    assert (by_all[group] > np.median(by_all)).mean() > 0.8
    assert places is None or (places[group] > np.median(places)).mean() < 0.65


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.8])
def test_settle_finds_the_whole_group_from_a_part_of_it(share):
    x, group = with_group(1500, share, 9)
    start = group & (np.random.default_rng(1).random(1500) < 0.6)
    found = SelfTrainedDiscriminant(x).settle(start)
    assert (found.members != group).mean() < 0.01


def test_settle_a_small_group_does_not_draw_in_the_tail_of_the_rest():
    x, group = with_group(1500, 0.03, 6, seed=5)
    found = SelfTrainedDiscriminant(x).settle(group)
    assert found.members[~group].mean() < 0.005


def test_what_others_vary_in_is_no_direction():
    """The same group, where the other classes differ in the same way."""
    x, group = with_group(400, 0.4, 5)
    elsewhere = np.zeros((20, 20))
    elsewhere[0, 0] = 1e6
    w = SelfTrainedDiscriminant(x, elsewhere).direction(group)
    assert abs(w[0]) < 0.05 * abs(SelfTrainedDiscriminant(x).direction(group)[0])


def test_places_too_few_of_a_side_give_none():
    x, group = with_group(100, 0.03, 5)
    assert SelfTrainedDiscriminant(x).places(group) is None
    assert SelfTrainedDiscriminant(x).settle(group) is None


def test_same_seed_same_result():
    x, group = with_group(300, 0.2, 6)
    one, other = (SelfTrainedDiscriminant(x, random_state=4).settle(group) for _ in range(2))
    np.testing.assert_array_equal(one.places, other.places)


def test_settle_with_heavy_tails_outliers_of_the_rest_do_not_carry_a_small_group_away():
    random = np.random.default_rng(0)
    x, group = random.standard_t(3, size=(8000, 20)), np.arange(8000) < 200
    x[group, 0] += 12
    found = SelfTrainedDiscriminant(x).settle(group, HEAVY)
    assert found is not None
    assert found.members[group].mean() > 0.97
    assert found.members[~group].mean() < 0.004
    by_normal = SelfTrainedDiscriminant(x).settle(group)
    assert by_normal is None or by_normal.members[~group].sum() > 2 * found.members[~group].sum()


def test_settle_gives_up_what_the_caller_does_not_want():
    x, group = with_group(1500, 0.1, 9)
    start = group & (np.random.default_rng(1).random(1500) < 0.6)
    discriminant, rounds = SelfTrainedDiscriminant(x), []

    def is_large(members: np.ndarray) -> bool:
        rounds.append(int(members.sum()))
        return members.sum() > 0.08 * 1500

    assert discriminant.settle(start) is not None
    assert discriminant.settle(start, is_hopeless=is_large) is None
    assert len(rounds) == 1
    assert rounds[0] > 120
    assert discriminant.settle(start, is_hopeless=lambda members: members.sum() > 160) is not None
