"""What the members of a group resemble: shares by hand, and what clean classes and poison of many classes give."""

from __future__ import annotations

import numpy as np
import pytest

from art_plugins.groups.content import MOST_ASKED, Contents, content_of
from art_plugins.groups.evidence import Evidence
from art_plugins.groups.find import Group, find_groups
from art_plugins.groups.verdict import clearness_limit, judge_groups, n_questions

K, SIZE, D = 8, 60, 12
NOBODY = np.zeros(K * SIZE, dtype=bool)


def classes(seed: int = 0, apart: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    """Eight crowds about centres of their own."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(K), SIZE)
    centres = apart * random.normal(size=(K, D))
    return (centres[labels] + random.normal(size=(K * SIZE, D))).astype(np.float32), labels


def relabelled(labels: np.ndarray, sources: list[int], n_each: int, target: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Some samples of each source class get the target's label; the new labels, and who they are."""
    members = np.isin(labels, sources) & (np.arange(len(labels)) % SIZE < n_each)
    return np.where(members, target, labels), members


def group_of(members: np.ndarray, labels: np.ndarray) -> Group:
    alone = Evidence(0.0, 1.0, int(members.sum()), 0.1)
    found = np.unique(labels[members]).tolist()
    return Group(members, members.astype(float), 0.5, alone, alone, found[0], found)


def test_content_of_samples_of_all_other_classes_is_foreign_and_spread_over_all() -> None:
    x, y = classes()
    labels, members = relabelled(y, list(range(1, K)), 4)
    content = content_of(x, labels, members, 0, NOBODY)
    assert content.foreign == 1
    assert content.spread == 1
    n = members.sum()
    assert content.score == pytest.approx(np.log(n + 1))  # of n members, and the one that is added


def test_content_of_one_source_class_is_spread_over_one_of_the_others() -> None:
    x, y = classes()
    labels, members = relabelled(y, [3], 20)
    content = content_of(x, labels, members, 0, NOBODY)
    assert content.foreign == 1
    sizes = np.array([40, *[SIZE] * (K - 2)])  # 20 samples of class 3 are of the group, and not outside
    assert content.spread == pytest.approx(1 / np.exp(-(sizes / sizes.sum() * np.log(sizes / sizes.sum())).sum()))


def test_content_of_a_part_of_the_class_is_its_own() -> None:
    x, y = classes()
    part = (y == 2) & (np.arange(len(y)) % 3 == 0)
    assert content_of(x, y, part, 2, NOBODY) == (0.0, 0.0, 0.0)


def test_what_is_put_aside_is_neither_asked_nor_compared() -> None:
    x, y = classes()
    labels, foreign = relabelled(y, list(range(1, K)), 4)
    part = (y == 0) & (np.arange(len(y)) < 10)
    both = content_of(x, labels, foreign | part, 0, NOBODY)
    assert 0 < both.foreign < 1
    assert content_of(x, labels, foreign | part, 0, foreign).foreign == 0
    half = foreign & (np.arange(len(y)) % 2 == 0)
    twins = np.where(foreign[:, None], x[:1], x)  # all at one place: if some were compared, they would be neighbours
    assert content_of(twins, labels, half, 0, foreign & ~half) == content_of(twins, labels, half, 0, foreign & ~half)
    assert content_of(x, labels, foreign, 0, foreign) == (0.0, 0.0, 0.0)  # no one is left to ask


def test_a_class_that_is_a_collection_of_everything_gives_no_score() -> None:
    x, y = classes()
    labels, everything = relabelled(y, list(range(1, K)), 16)
    labels = np.where(y == 0, 1, labels)  # class 0 has nothing of its own
    some = everything & (np.arange(len(y)) % 2 == 0)
    content = content_of(x, labels, some, 0, NOBODY)
    assert content.foreign * content.spread > 0.9
    assert content.score < 0.5


def test_a_few_members_prove_little() -> None:
    x, y = classes()
    scores = []
    for n_each in (1, 4, 12):
        labels, members = relabelled(y, list(range(1, K)), n_each)
        scores.append(content_of(x, labels, members, 0, NOBODY).score)
    assert scores == sorted(scores)
    assert scores[0] < np.log(K) + 1e-9


def test_large_groups_are_drawn_from_and_the_seed_decides() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(4, size=4 * 500)
    x = random.normal(size=(len(labels), 3)).astype(np.float32)
    members = labels == 1
    members[np.flatnonzero(members)[400:]] = False
    assert members.sum() > MOST_ASKED
    nobody = np.zeros(len(labels), dtype=bool)
    first, same, other = (content_of(x, labels, members, 1, nobody, seed) for seed in (0, 0, 1))
    assert first == same
    assert first != other


def test_p_values_of_clean_groups_are_large_and_of_poison_small_whatever_the_names_of_the_classes() -> None:
    x, y = classes()
    labels, poison = relabelled(y, list(range(1, K)), 4)
    parts = [(labels == label) & ~poison & (np.arange(len(y)) % 5 == 0) for label in range(K)]
    groups = [group_of(members, labels) for members in (poison, *parts)]
    contents = Contents(groups, {"all": x}, labels, K)
    assert contents.are_judged
    p_values = [contents.p_value(index, group) for index, group in enumerate(groups)]
    assert p_values[0] < 1e-3
    assert min(p_values[1:]) > 0.5
    renamed = np.random.default_rng(1).permutation(K)[labels]
    again = [group_of(group.members, renamed) for group in groups]
    after = Contents(again, {"all": x}, renamed, K)
    assert after.p_value(0, again[0]) == pytest.approx(p_values[0])
    assert contents.p_value(0, groups[0], poison) > 0.5  # nothing of it is left


def test_group_of_several_classes_is_as_foreign_as_its_least_foreign_part() -> None:
    x, y = classes()
    labels, poison = relabelled(y, list(range(1, K)), 4)
    ordinary = (labels == 5) & (np.arange(len(y)) % SIZE > 40)
    parts = [(labels == label) & ~poison & (np.arange(len(y)) % 5 == 0) for label in range(K)]
    groups = [group_of(members, labels) for members in (poison | ordinary, *parts)]
    contents = Contents(groups, {"all": x}, labels, K)
    assert contents.of(0).score == 0
    assert contents.p_value(0, groups[0]) > 0.5


def test_with_three_classes_there_is_one_question_and_content_tells_nothing() -> None:
    x, y = classes()
    few = y < 3
    groups = [group_of((y[few] == label) & (np.arange(few.sum()) % 3 == 0), y[few]) for label in range(3)]
    contents = Contents(groups, {"all": x[few]}, y[few], 3)
    assert not contents.are_judged
    assert contents.p_value(0, groups[0]) == 1.0
    assert [n_questions(nb_classes) for nb_classes in (2, 3, 4, 100)] == [1, 1, 2, 2]
    assert clearness_limit(4, 0.01) == pytest.approx(2 * np.log(2 * 4 / 0.01))


@pytest.mark.parametrize("seed", range(3))
def test_poison_of_all_classes_that_does_not_stand_apart_is_called_by_its_content(seed: int) -> None:
    x, y = classes(seed, apart=3.0)
    labels, poison = relabelled(y, list(range(1, K)), 4)
    x[poison, 0] += 4  # a trigger that is weaker than what classes differ by
    judged = judge_groups(find_groups({"all": x}, labels, K), {"all": x}, labels, K, 0.01)
    called = [one for one in judged if one.verdict == "poison"]
    removed = np.any([one.group.members for one in called], axis=0)
    assert removed[poison].mean() > 0.9
    assert removed[~poison].mean() < 0.01
    assert max(one.group.evidence.clearness for one in called) < clearness_limit(K, 0.01)
    for one in called:
        said = one.summary()
        assert said["by_content"]
        assert said["foreign"] > 0.8
        assert said["spread"] > 0.8


@pytest.mark.parametrize("seed", range(3))
def test_wrong_labels_in_all_classes_alike_are_no_poison(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, y = classes(seed, apart=3.0)
    labels = np.where(random.random(len(y)) < 0.1, random.integers(K, size=len(y)), y)
    judged = judge_groups(find_groups({"all": x}, labels, K), {"all": x}, labels, K, 0.01)
    assert [one.verdict for one in judged if one.verdict == "poison"] == []
