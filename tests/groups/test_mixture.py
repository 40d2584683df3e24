"""Mixtures of classes: the ratio by hand, what changes nothing in it, and on which side of a split it puts the poison."""

from __future__ import annotations

import numpy as np
import pytest

from art_plugins.groups.class_axes import ClassAxes
from art_plugins.groups.evidence import Evidence
from art_plugins.groups.find import Group
from art_plugins.groups.mixture import MOST_TURNED, Mixtures, log_ratio, turned, with_sides_told

K, SIZE, D = 10, 120, 20
APART = 3.0


def classes(seed: int = 0, apart: float = APART) -> tuple[np.ndarray, np.ndarray]:
    """Ten crowds of unit variance in twenty directions; their centres differ in the first eight."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(K), SIZE)
    centres = np.zeros((K, D))
    centres[:, :8] = apart * random.normal(size=(K, 8))
    return centres[labels] + random.normal(size=(K * SIZE, D)), labels


def poisoned(seed: int = 0, n_each: int = 12, shift: float = 4.0, factor: float = 0.8) -> tuple[np.ndarray, ...]:
    """Some samples of every class, blended with one pattern, get the label 0; samples, labels, and who they are."""
    x, y = classes(seed)
    random = np.random.default_rng([seed, 1])
    who = (y > 0) & (np.arange(len(y)) % SIZE < n_each)
    x[who] = factor * x[who] + shift * random.normal(size=D)
    return x, np.where(who, 0, y), who


def split(labels: np.ndarray, members: np.ndarray, clearness: float) -> list[Group]:
    """A group of class 0 with this clearness, and the rest of the class without any."""
    found = []
    for who, valley in ((members, float(np.exp(-clearness))), ((labels == 0) & ~members, 1.0)):
        evidence = Evidence(1.0, valley, int(who.sum()), float(who[labels == 0].mean()))
        found.append(Group(who, who.astype(float), 0.5, evidence, evidence._replace(separation=2.0), 0, [0]))
    return found


def told(groups: list[Group], x: np.ndarray, labels: np.ndarray, trusted: np.ndarray | None = None) -> list[Group]:
    trusted = np.zeros(len(labels), dtype=bool) if trusted is None else trusted
    return with_sides_told(groups, x, labels, K, 10.0, trusted)


def others(x: np.ndarray, labels: np.ndarray, seed: int = 0) -> list[Group]:
    """A half of each other class, drawn at random, and the rest of it."""
    random = np.random.default_rng([seed, 2])
    found = []
    for label in range(1, K):
        half = (labels == label) & (random.random(len(x)) < 0.5)
        for who in (half, (labels == label) & ~half):
            nothing = Evidence(0.0, 1.0, int(who.sum()), 0.5)
            found.append(Group(who, who.astype(float), 0.5, nothing, nothing, label, [label]))
    return found


def test_ratio_of_one_class_is_one_and_that_of_all_classes_is_by_how_far_they_lie_apart() -> None:
    random = np.random.default_rng(0)
    centres = np.zeros((4, 6))
    centres[:, 0] = [-3, -1, 1, 3]  # a variance of 5 between the classes, in one of three directions that may be theirs
    axes = ClassAxes(np.eye(6), centres)
    one_class = random.normal(size=(40_000, 6))
    value, error = log_ratio(one_class, axes)
    assert abs(value) < 4 * error < 0.1
    mixed = one_class + centres[random.integers(4, size=len(one_class))]
    softened = 1 + 5 / 1  # the variance within is softened alike on both sides of the ratio
    assert log_ratio(mixed, axes)[0] == pytest.approx(np.log(softened), abs=0.05)


def test_ratio_changes_neither_by_a_shift_nor_by_a_factor() -> None:
    x, y = classes()
    axes = ClassAxes(np.eye(D), np.stack([x[y == label].mean(axis=0) for label in range(K)]))
    assert log_ratio(0.3 * x[:200] + 7, axes) == pytest.approx(log_ratio(x[:200], axes))


def test_error_of_the_ratio_is_its_deviation_over_draws() -> None:
    random = np.random.default_rng(1)
    axes = ClassAxes(np.eye(6), random.normal(size=(4, 6)))
    found = np.array([log_ratio(random.normal(size=(200, 6)), axes) for _ in range(300)])
    assert found[:, 1].mean() == pytest.approx(found[:, 0].std(), rel=0.15)


def test_poison_of_many_classes_is_a_mixture_and_the_clean_half_is_none() -> None:
    x, labels, who = poisoned()
    groups = [*split(labels, who, 20.0), *others(x, labels)]
    mixtures = Mixtures(groups, x, labels, K)
    assert mixtures.p_value(groups[0]) < 1e-3
    assert mixtures.p_value(groups[1]) > 0.05


@pytest.mark.parametrize("poison_was_taken", [True, False])
def test_the_side_that_is_a_mixture_is_the_group(poison_was_taken: bool) -> None:
    x, labels, who = poisoned()
    clean = (labels == 0) & ~who
    groups = [*split(labels, who if poison_was_taken else clean, 20.0), *others(x, labels)]
    found = told(groups, x, labels)
    clear = [one for one in found if one.evidence.clearness > 0]
    assert len(clear) == 1
    assert (clear[0].members == who).all()
    assert clear[0].evidence.clearness == groups[0].evidence.clearness
    assert len(found) == len(groups)


def test_the_rest_of_a_group_has_its_evidence_and_the_turned_places() -> None:
    _, labels, who = poisoned()
    group = split(labels, who, 20.0)[0]
    rest = turned(group, labels)
    assert (rest.members == ((labels == 0) & ~who)).all()
    assert (rest.places == 1 - group.places).all()
    assert rest.cut == 1 - group.cut
    assert rest.evidence.clearness == group.evidence.clearness
    assert rest.within.separation == group.within.separation
    assert (rest.evidence.n_members, rest.within.n_members) == (SIZE, SIZE)
    assert rest.evidence.share == pytest.approx(1 - group.evidence.share)


def test_only_clear_groups_of_one_class_without_trusted_samples_are_asked() -> None:
    x, labels, who = poisoned()
    clean = (labels == 0) & ~who
    groups = [*split(labels, clean, 20.0), *others(x, labels)]
    for less in (
        [*split(labels, clean, 9.0), *groups[2:]],  # below the least clearness
        [groups[0]._replace(classes=[0, 1]), *groups[1:]],
    ):
        assert told(less, x, labels) == less
    one, elsewhere = np.zeros((2, len(labels)), dtype=bool)
    one[np.flatnonzero(clean)[0]] = elsewhere[np.flatnonzero(labels == 3)[0]] = True
    assert told(groups, x, labels, one) == groups
    assert (told(groups, x, labels, elsewhere)[0].members == who).all()


@pytest.mark.parametrize("n_each", [16, 40])
def test_poison_is_taken_up_to_two_thirds_of_a_class(n_each: int) -> None:
    x, labels, who = poisoned(n_each=n_each)
    groups = [*split(labels, (labels == 0) & ~who, 20.0), *others(x, labels)]
    (first, *_) = told(groups, x, labels)
    assert (who[labels == 0].mean() <= MOST_TURNED) == (n_each == 16)
    assert (first.members == who).all() == (n_each == 16)


def test_poison_of_one_source_class_leaves_the_sides_as_they_were() -> None:
    x, y = classes()
    who = (y == 3) & (np.arange(len(y)) % SIZE < 60)
    labels = np.where(who, 0, y)
    groups = [*split(labels, who, 20.0), *others(x, labels)]
    assert told(groups, x, labels) == groups


def test_poison_of_one_kind_in_a_class_of_several_kinds_is_not_given_up_for_the_class() -> None:
    """The class is the mixture here, and the poison is none; its size says that it is the poison."""
    for seed in range(5):
        x, y = classes(seed)
        collection, who = np.isin(y, [0, 1, 2, 3]), (y == 4) & (np.arange(len(y)) % SIZE < 60)
        x = np.where(who[:, None], x + 3.0, x)
        labels = np.where(collection | who, 0, y - 3 * (y > 3))
        groups = [*split(labels, who, 20.0), *[one for one in others(x, labels) if one.members.any()]]
        assert told(groups, x, labels) == groups


def test_what_few_samples_prove_is_less() -> None:
    """Ten samples of a class vary along the classes' directions by chance, as much as a mixture of faint classes does."""
    called = 0
    for seed in range(40):
        x, y = classes(seed, apart=0.7)
        few = (y == 0) & (np.arange(len(y)) < 10)
        groups = [*split(y, few, 20.0), *others(x, y, seed)]
        called += Mixtures(groups, x, y, K).p_value(groups[0]) <= 0.05
    assert called <= 3


def test_fewer_samples_of_the_same_poison_prove_less() -> None:
    for seed in range(5):
        p_values = []
        for n_each in (1, 12):
            x, labels, who = poisoned(seed, n_each)
            groups = [*split(labels, who, 20.0), *others(x, labels, seed)]
            p_values.append(Mixtures(groups, x, labels, K).p_value(groups[0]))
        assert p_values[0] > 5 * p_values[1]


def test_a_part_is_no_mixture_because_the_rest_of_its_class_varies_little() -> None:
    random = np.random.default_rng(0)
    x, y = classes()
    half = (y == 0) & (np.arange(len(y)) % 2 == 0)
    rest = (y == 0) & ~half
    x[rest, :8] = x[y == 0, :8].mean(axis=0) + 0.1 * random.normal(size=(rest.sum(), 8))
    groups = [*split(y, half, 20.0), *others(x, y)]
    assert Mixtures(groups, x, y, K).p_value(groups[0]) > 0.05


def test_the_scale_of_the_features_changes_nothing() -> None:
    x, labels, who = poisoned(n_each=3)
    scales = np.where(np.arange(D) % 2, 4.0, 1.0)
    found = []
    for features in (x, x * scales):
        groups = [*split(labels, who, 20.0), *others(x, labels)]
        found.append(np.log(Mixtures(groups, features, labels, K).p_value(groups[0])))
    assert found[1] == pytest.approx(found[0], rel=0.05)


def test_two_mixtures_stay_as_they_were_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels, who = poisoned()
    groups = [*split(labels, (labels == 0) & ~who, 20.0), *others(x, labels)]
    assert (told(groups, x, labels)[0].members == who).all()
    monkeypatch.setattr(Mixtures, "p_value", lambda *_: 1e-3)
    assert told(groups, x, labels) == groups


def test_a_class_is_compared_with_what_the_others_differ_in() -> None:
    """What only sets this class apart from the others is no direction in which a mixture varies."""
    random = np.random.default_rng(0)
    x, y = classes()
    x[y == 0, 10] += 50.0
    wide = (y == 0) & (np.arange(len(y)) % 2 == 0)
    x[wide, 10] += 5 * random.normal(size=wide.sum())
    groups = [*split(y, wide, 20.0), *others(x, y)]
    assert Mixtures(groups, x, y, K).p_value(groups[0]) > 0.05


def test_directions_count_by_how_far_the_classes_lie_apart_in_them() -> None:
    random = np.random.default_rng(0)
    centres = np.zeros((6, 8))
    centres[:, 0], centres[:, 1] = [-9, -6, -3, 3, 6, 9], [1, -1, 1, -1, 1, -1]
    axes = ClassAxes(np.eye(8), centres)
    base = random.normal(size=(20_000, 8))
    found = []
    for axis in (0, 1):
        wider = base.copy()
        wider[:, axis] *= 3.0
        found.append(log_ratio(wider, axes)[0])
    shares = (centres**2).sum(axis=0) / (centres**2).sum()
    assert np.exp(found) == pytest.approx(1 + 8 * shares[:2], rel=0.1)


@pytest.mark.slow
def test_clean_classes_are_mixtures_no_more_often_than_the_rate_says() -> None:
    alarms = 0
    for seed in range(100):
        x, labels = classes(seed)
        half = (labels == 0) & (np.random.default_rng(seed).random(len(x)) < 0.5)
        groups = [*split(labels, half, 20.0), *others(x, labels, seed)]
        mixtures = Mixtures(groups, x, labels, K)
        alarms += min(mixtures.p_value(one) for one in groups) <= 0.05
    assert alarms <= 10  # 5 are expected; 11 and more have a chance of .01


def test_a_class_that_is_a_collection_of_everything_has_no_group_that_is_a_mixture() -> None:
    x, labels, who = poisoned(n_each=24)
    x, labels = x[(labels > 0) | who], labels[(labels > 0) | who]
    half = (labels == 0) & (np.random.default_rng(3).random(len(x)) < 0.5)
    groups = [*split(labels, half, 20.0), *others(x, labels)]
    assert told(groups, x, labels) == groups
    assert min(Mixtures(groups, x, labels, K).p_value(one) for one in groups[:2]) > 0.5


@pytest.mark.parametrize("n_classes", [1, 2, 3])
def test_with_few_classes_no_side_is_told(n_classes: int) -> None:
    x, labels, who = poisoned()
    kept = labels < n_classes
    groups = split(labels[kept], who[kept], 20.0)
    assert told(groups, x[kept], labels[kept]) == groups


def test_features_that_do_not_vary_tell_nothing() -> None:
    _, labels, who = poisoned()
    groups = split(labels, who, 20.0)
    for n_dims in (1, 3):
        assert told(groups, np.ones((len(labels), n_dims), np.float32), labels) == groups
