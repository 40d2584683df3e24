"""Suspects that share a hidden trait bring in their like; a mere tail of a class brings in nothing."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from art_plugins.statistics import self_training
from art_plugins.statistics.self_training import group_of_suspects, random_parts

pytestmark = [pytest.mark.usefixtures("global_generators_untouched"), pytest.mark.filterwarnings("error")]


def a_class(
    random: np.random.Generator, n_poison: int, n: int = 600, gap: float = 8.0
) -> tuple[list[np.ndarray], np.ndarray]:
    """
    Two views of a class. Poison lies apart along a direction of little variance that shows in neither a single feature nor
    the class's larger axes.
    """
    is_poison = np.arange(n) < n_poison
    views = []
    for n_dims in (12, 30):
        mixing = random.normal(size=(n_dims, n_dims))
        hidden = random.normal(size=(n, n_dims)) * np.linspace(0.3, 3, n_dims)
        hidden[is_poison, 0] += 0.3 * gap
        views.append(hidden @ mixing)
    return views, is_poison


def some(random: np.random.Generator, rows: np.ndarray, share: float) -> np.ndarray:
    """That share of the rows, bool."""
    found = np.zeros(len(rows), dtype=bool)
    members = np.flatnonzero(rows)
    found[random.choice(members, round(share * len(members)), replace=False)] = True
    return found


@pytest.mark.parametrize("caught", [0.95, 0.6])
def test_group_poison_that_was_missed_joins_the_poison_that_was_caught(random, caught):
    views, is_poison = a_class(random, 80)
    suspects = some(random, is_poison, caught) | some(random, ~is_poison, 0.02)
    group = group_of_suspects(views, suspects)
    assert group is not None
    assert group[is_poison].mean() > 0.98
    assert group[~is_poison].mean() < 0.005  # the clean suspects leave


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tail", ["by_chance", "outer", "one_feature"])
def test_group_clean_suspects_are_none(seed, tail):
    random = np.random.default_rng(seed)
    (first, second), _ = a_class(random, 0)
    measure = {"by_chance": random.normal(size=600), "outer": (second**2).sum(axis=1), "one_feature": first[:, 3]}[tail]
    assert group_of_suspects([first, second], measure > np.quantile(measure, 0.93)) is None


def test_group_that_would_be_mostly_unsuspected_is_none(random):
    views, is_poison = a_class(random, 300)
    assert group_of_suspects(views, some(random, is_poison, 0.3)) is None
    assert group_of_suspects(views, some(random, is_poison, 0.8)) is not None


@pytest.mark.parametrize("n_suspects", [0, 19, 581, 600])
def test_group_too_few_on_either_side_are_none(random, n_suspects):
    views, _ = a_class(random, n_suspects)
    assert group_of_suspects(views, np.arange(600) < n_suspects) is None


def test_group_is_the_same_again_and_for_other_units_and_order(random):
    views, is_poison = a_class(random, 60)
    suspects = some(random, is_poison, 0.8)
    group = group_of_suspects(views, suspects)
    assert group is not None
    np.testing.assert_array_equal(group_of_suspects(views, suspects), group)
    np.testing.assert_array_equal(group_of_suspects([1_000 * view + 5 for view in views], suspects), group)
    shuffled = random.permutation(600)
    again = group_of_suspects([view[shuffled] for view in views], suspects[shuffled])
    assert again is not None
    assert (again != group[shuffled]).mean() < 0.01


def test_group_constant_features_and_views_say_nothing(random):
    views, is_poison = a_class(random, 60)
    suspects = some(random, is_poison, 0.8)
    more = [np.column_stack([views[0], np.ones(600)]), views[1], np.zeros((600, 4))]
    np.testing.assert_array_equal(group_of_suspects(more, suspects), group_of_suspects(views, suspects))
    assert group_of_suspects([np.zeros((600, 4))], suspects) is None


def test_group_that_lies_among_the_rest_is_none(random):
    for gap, found in ((3.0, False), (12.0, True)):
        views, is_poison = a_class(random, 150, gap=gap)
        assert (group_of_suspects(views, is_poison) is not None) == found


def test_group_clean_suspects_towards_the_poison_do_not_draw_in_others(random):
    views, is_poison = a_class(random, 80, gap=9.0)
    towards = LinearDiscriminantAnalysis().fit(views[1], is_poison).decision_function(views[1])
    near = ~is_poison & (towards > np.quantile(towards[~is_poison], 0.96))
    group = group_of_suspects(views, is_poison | near)
    assert group is not None
    assert group[is_poison].mean() > 0.98
    assert group[~is_poison].mean() < 0.01


def test_members_are_not_on_the_far_side_of_the_rest(random):
    projected = np.concatenate([random.normal(size=500), random.normal(10, 3, size=60), [-12.0]])
    group = np.arange(561) >= 500
    found, separation = self_training._members(projected, group)
    assert not found[-1]
    assert found[500:560].mean() > 0.95
    assert separation == pytest.approx(10 / 4, rel=0.3)


def test_members_clean_suspects_among_them_do_not_widen_the_group(random):
    projected = np.concatenate([random.normal(size=500), random.normal(10, 0.5, size=60)])
    group = np.arange(560) >= 490  # ten clean ones, all over the rest
    found, separation = self_training._members(projected, group)
    np.testing.assert_array_equal(found, np.arange(560) >= 500)
    assert separation > 5


def test_group_of_two_that_take_turns_is_settled(random, monkeypatch):
    views, _ = a_class(random, 60)
    turns = [np.arange(600) < n for n in (60, 70)] * 20
    monkeypatch.setattr(self_training, "_members", lambda projected, group: (turns.pop(), 4.0))
    assert group_of_suspects(views, np.arange(600) < 60) is not None
    assert len(turns) > 30


def test_discriminant_judges_a_sample_without_its_own_suspicion(random):
    """More features than samples tell any group from the rest, of those that were learned from."""
    features, group = random.normal(size=(200, 400)), random.uniform(size=200) < 0.4
    fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(features, group)
    assert fitted.score(features, group) > 0.99
    folds = np.array_split(np.arange(200), 5)
    assert roc_auc_score(group, self_training._Discriminant(features).project(group, folds)) < 0.65


def test_discriminant_ranks_held_out_samples_as_scikit_learns_does(random):
    (features, _), is_poison = a_class(random, 150)
    folds = [np.arange(0, 600, 2), np.arange(1, 600, 2)]
    projected = self_training._Discriminant(features).project(is_poison, folds)
    for held, learned in (folds, folds[::-1]):
        oracle = LinearDiscriminantAnalysis(solver="lsqr").fit(features[learned], is_poison[learned])
        assert np.corrcoef(projected[held], oracle.decision_function(features[held]))[0, 1] > 0.95


@pytest.mark.parametrize(("n_samples", "n_parts"), [(10, 3), (9, 1), (8, 8)])
def test_random_parts_hold_every_index_once_in_equal_parts(n_samples, n_parts):
    parts = random_parts(n_samples, n_parts, 0)
    assert sorted(np.concatenate(parts)) == list(range(n_samples))
    assert {len(part) for part in parts} <= {n_samples // n_parts, -(-n_samples // n_parts)}
    assert all((np.diff(part) > 0).all() for part in parts)
    assert n_parts in (1, n_samples) or any((np.diff(part) > 1).any() for part in parts)
