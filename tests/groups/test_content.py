"""What the members of a group resemble: shares by hand, and what clean classes and poison of many classes give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from art_plugins.groups import content
from art_plugins.groups.content import FEWEST_COMPARED, MOST_ASKED, Contents, content_of
from art_plugins.groups.evidence import Evidence
from art_plugins.groups.find import Group, find_groups
from art_plugins.groups.verdict import NULL_SCALE, _Answers, _in_order, clearness_limit, judge_groups, n_questions

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
    found = content_of(x, labels, members, 0, NOBODY)
    assert found.foreign == 1
    assert found.spread == 1
    n = members.sum()
    assert found.score == pytest.approx(np.log(n + 1))  # of n members, and the one that is added


def test_content_of_one_source_class_is_spread_over_one_of_the_others() -> None:
    x, y = classes()
    labels, members = relabelled(y, [3], 20)
    found = content_of(x, labels, members, 0, NOBODY)
    assert found.foreign == 1
    sizes = np.array([40, *[SIZE] * (K - 2)])  # 20 samples of class 3 are of the group, and not outside
    assert found.spread == pytest.approx(1 / np.exp(-(sizes / sizes.sum() * np.log(sizes / sizes.sum())).sum()))


def test_content_of_a_part_of_the_class_is_its_own() -> None:
    x, y = classes()
    part = (y == 2) & (np.arange(len(y)) % 3 == 0)
    assert content_of(x, y, part, 2, NOBODY) == (0.0, 0.0, 0.0, 0.0)


def test_what_is_put_aside_is_neither_asked_nor_compared() -> None:
    x, y = classes()
    labels, foreign = relabelled(y, list(range(1, K)), 4)
    part = (y == 0) & (np.arange(len(y)) < 10)
    both = content_of(x, labels, foreign | part, 0, NOBODY)
    assert 0 < both.foreign < 1
    n = (foreign | part).sum()
    assert both.score == pytest.approx(-np.log1p(-both.foreign * both.spread * n / (n + 1)))  # the rest resembles its class
    assert content_of(x, labels, foreign | part, 0, foreign).foreign == 0
    assert content_of(x, labels, foreign, 0, foreign) == (0.0, 0.0, 0.0, 0.0)  # no one is left to ask


def test_where_that_lies_which_is_put_aside_changes_nothing() -> None:
    x, y = classes()
    labels, foreign = relabelled(y, list(range(1, K)), 4)
    half = foreign & (np.arange(len(y)) % 2 == 0)
    aside = foreign & ~half
    moved = np.array(x)
    moved[aside] = x[half][0]  # there they would decide the vote on this member
    assert content_of(moved, labels, half, 0, aside) == content_of(x, labels, half, 0, aside)
    assert content_of(moved, labels, half, 0, NOBODY) != content_of(x, labels, half, 0, NOBODY)


def test_spread_counts_only_the_members_that_resemble_other_classes() -> None:
    x, y = classes()
    labels, foreign = relabelled(y, [3], 20)
    part = (y == 0) & (np.arange(len(y)) < 20)
    whole, alone = content_of(x, labels, foreign | part, 0, part), content_of(x, labels, foreign | part, 0, NOBODY)
    assert (whole.foreign, alone.foreign) == (1.0, 0.5)
    assert alone.spread == pytest.approx(whole.spread)


def line(*crowds: tuple[float, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Samples on a line, (place, label, number) each."""
    places, labels, sizes = zip(*crowds, strict=True)
    return np.repeat(np.array(places, dtype=np.float32), sizes)[:, None], np.repeat(labels, sizes)


def test_ten_neighbours_vote() -> None:
    """The members have 4 neighbours of their label, then 6 of the other class, and then their whole class."""
    x, labels = line((0, 0, 3), (1, 0, 4), (2, 1, 6), (3, 0, 20))
    assert content_of(x, labels, np.arange(len(x)) < 3, 0, np.zeros(len(x), dtype=bool)).foreign == 1.0
    x, labels = line((0, 0, 3), (1, 1, 4), (2, 0, 6), (3, 1, 20))
    assert content_of(x, labels, np.arange(len(x)) < 3, 0, np.zeros(len(x), dtype=bool)).foreign == 0.0


def test_with_ten_samples_to_compare_there_is_no_content_and_with_eleven_there_is() -> None:
    for n, foreign in ((10, 0.0), (11, 1.0)):
        x, labels = line((0, 0, 3), (1, 1, n))
        assert content_of(x, labels, labels == 0, 0, np.zeros(len(x), dtype=bool)).foreign == foreign


def test_a_class_all_of_whose_samples_resemble_another_one_has_no_score_and_no_sample_votes_for_itself() -> None:
    """Each sample of class 1 outside the group has 5 others of its class near, and 5 of class 0, which wins a draw."""
    crowds = [((100.0 * i, 1, 6), (100.0 * i + 1, 0, 5)) for i in range(4)]
    x, labels = line(*(crowd for pair in crowds for crowd in pair), (1_000.0, 1, 3), (1_001.0, 0, 12))
    with np.errstate(all="raise"):
        found = content_of(x, labels, x[:, 0] == 1_000, 1, np.zeros(len(x), dtype=bool))
    assert found == (1.0, 1.0, 0.0, 0.0)


def test_large_group_leaves_few_of_its_class_and_is_compared_with_as_few_of_the_others() -> None:
    """Nothing tells classes 0 and 1 apart; what is left of class 0 is a third of it."""
    random = np.random.default_rng(3)
    labels = np.repeat([0, 1], 300)
    x = random.normal(size=(600, 2)).astype(np.float32)
    found = content_of(x, labels, np.arange(600) < 200, 0, np.zeros(600, dtype=bool))
    assert 0.2 < found.foreign < 0.55  # a draw counts for class 0; with all of class 1 it were .9


def test_so_many_are_asked_and_compared_as_the_comments_say(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Counted(NearestNeighbors):
        def fit(self, x: np.ndarray, y: None = None) -> Counted:
            seen.append(len(x))
            return super().fit(x)

        def kneighbors(self, x: np.ndarray, **kwargs: Any) -> Any:
            seen.append(len(x))
            return super().kneighbors(x, **kwargs)

    monkeypatch.setattr(content, "NearestNeighbors", Counted)
    labels = np.repeat(np.arange(4), 2_000)
    x = np.random.default_rng(0).normal(size=(len(labels), 2)).astype(np.float32)
    content_of(x, labels, np.arange(len(x)) < 500, 0, np.zeros(len(x), dtype=bool))
    assert seen == [5_000, 200, 200]
    assert np.sqrt(0.25 / seen[1]) == pytest.approx(0.035, abs=5e-4)
    seen.clear()
    few = labels < 2  # class 0 keeps 3 samples outside the group
    content_of(x[few], labels[few], np.arange(4_000) < 1_997, 0, np.zeros(4_000, dtype=bool))
    assert seen == [3 + FEWEST_COMPARED, 200, 3]


def test_a_class_that_is_a_collection_of_everything_gives_no_score() -> None:
    x, y = classes()
    labels, everything = relabelled(y, list(range(1, K)), 16)
    labels = np.where(y == 0, 1, labels)  # class 0 has nothing of its own
    some = everything & (np.arange(len(y)) % 2 == 0)
    found = content_of(x, labels, some, 0, NOBODY)
    assert found.foreign * found.spread > 0.9
    assert found.score < 0.5


def test_a_few_members_prove_little() -> None:
    x, y = classes()
    scores = []
    for n_each in (1, 4, 12):
        labels, members = relabelled(y, list(range(1, K)), n_each)
        scores.append(content_of(x, labels, members, 0, NOBODY).score)
    assert scores[0] < scores[1] < scores[2]
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


def test_order_of_the_groups_changes_no_p_value() -> None:
    x, y = classes()
    labels, first = relabelled(y, list(range(2, K)), 4)
    second = (labels == y) & (y >= 2) & (np.arange(len(y)) % SIZE < 8)
    labels = np.where(second, 1, labels)
    parts = [(labels == y) & (y == label) & (np.arange(len(y)) % 5 == 0) for label in range(K)]
    groups = [group_of(members, labels) for members in (first, second, *parts)]
    p_values = [Contents(groups, {"all": x}, labels, K).p_value(index, group) for index, group in enumerate(groups)]
    turned = Contents(groups[::-1], {"all": x}, labels, K)
    assert p_values == [turned.p_value(len(groups) - 1 - index, group) for index, group in enumerate(groups)]
    assert max(p_values[:2]) < 0.2 < min(p_values[2:])


def test_every_view_is_looked_at() -> None:
    x, y = classes()
    labels, poison = relabelled(y, list(range(1, K)), 4)
    noise = np.random.default_rng(5).normal(size=(len(x), 2)).astype(np.float32)
    groups = [group_of(poison, labels)]
    for views in ({"noise": noise, "all": x}, {"all": x, "noise": noise}):
        assert Contents(groups, views, labels, K).of(0).foreign == 1.0


def test_with_four_classes_content_is_judged() -> None:
    x, y = classes()
    few = y < 4
    groups = [group_of((y[few] == label) & (np.arange(few.sum()) % 3 == 0), y[few]) for label in range(4)]
    contents = Contents(groups, {"all": x[few]}, y[few], 4)
    assert contents._among.are_judged
    assert contents._votes.are_judged
    labels, poison = relabelled(y[few], [1, 2, 3], 12)
    groups[0] = group_of(poison, labels)
    assert Contents(groups, {"all": x[few]}, labels, 4).p_value(0, groups[0]) < 0.2


def test_with_three_classes_there_is_one_question_and_content_tells_nothing() -> None:
    x, y = classes()
    few = y < 3
    groups = [group_of((y[few] == label) & (np.arange(few.sum()) % 3 == 0), y[few]) for label in range(3)]
    contents = Contents(groups, {"all": x[few]}, y[few], 3)
    assert contents.p_value(0, groups[0]) == 1.0
    assert [n_questions(nb_classes) for nb_classes in (2, 3, 4, 100)] == [1, 1, 2, 2]
    assert clearness_limit(4, 0.01) == pytest.approx(NULL_SCALE * np.log(2 * 4 / 0.01))


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
        assert said["drawn_from"] > 0.8


def test_poison_that_the_later_views_know_by_its_label_is_called_by_the_views_of_content_alone() -> None:
    x, y = classes(apart=3.0)
    labels, poison = relabelled(y, list(range(1, K)), 4)
    x[poison, 0] += 4
    learned = 20 * np.eye(K, dtype=np.float32)[labels] + 0.1 * x[:, :K]
    views = {"early": x, "late": learned}
    groups = find_groups({"early": x}, labels, K)
    for of_content, is_called in ((["early"], True), (None, False)):
        judged = judge_groups(groups, views, labels, K, 0.01, of_content=of_content)
        assert any(one.verdict == "poison" for one in judged) == is_called


def test_poison_that_stands_apart_is_not_called_by_its_content() -> None:
    x, y = classes(apart=3.0)
    labels, poison = relabelled(y, list(range(1, K)), 4)
    x[poison, 0] += 40
    called = [
        one
        for one in judge_groups(find_groups({"all": x}, labels, K), {"all": x}, labels, K, 0.01)
        if one.verdict == "poison"
    ]
    assert called
    assert not any(one.by_content for one in called)
    assert max(one.group.evidence.clearness for one in called) > clearness_limit(K, 0.01)


@pytest.mark.parametrize("seed", range(3))
def test_wrong_labels_in_all_classes_alike_are_no_poison(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, y = classes(seed, apart=3.0)
    labels = np.where(random.random(len(y)) < 0.1, random.integers(K, size=len(y)), y)
    judged = judge_groups(find_groups({"all": x}, labels, K), {"all": x}, labels, K, 0.01)
    assert [one.verdict for one in judged if one.verdict == "poison"] == []


def test_of_both_sides_of_a_clear_split_the_one_with_the_content_of_other_classes_goes() -> None:
    """A split is equally clear from either side, and poison may be most of its class."""
    x, y = classes()
    labels, poison = relabelled(y, list(range(1, K)), 12)
    clean = (labels == 0) & ~poison
    assert poison.sum() > clean.sum()
    clear = Evidence(20.0, np.exp(-4.0), int(clean.sum()), 0.4)
    wrong_side = group_of(clean, labels)._replace(evidence=clear, within=clear)
    parts = [group_of((labels == label) & (np.arange(len(y)) % 5 == 0), labels) for label in range(1, K)]
    judged = judge_groups([wrong_side, group_of(poison, labels), *parts], {"all": x}, labels, K, 0.01)
    verdicts = {one.group.members.tobytes(): one.verdict for one in judged}
    assert verdicts[poison.tobytes()] == "poison"
    assert verdicts[clean.tobytes()] == "nothing"
    assert set(verdicts.values()) == {"poison", "nothing"}


def test_a_part_of_a_poison_is_not_to_be_looked_at_as_well() -> None:
    """It stands apart from the rest of its class alone, and all of that is poison already."""
    x, y = classes()
    whole, part = (y == 0) & (np.arange(len(y)) % SIZE < 40), (y == 0) & (np.arange(len(y)) % SIZE < 15)
    clear, faint = Evidence(20.0, np.exp(-20.0), 40, 0.3), Evidence(2.0, 0.5, 15, 0.1)
    groups = [
        group_of(whole, y)._replace(evidence=clear, within=clear),
        group_of(part, y)._replace(evidence=faint, within=clear),
    ]
    assert [one.verdict for one in judge_groups(groups, {"all": x}, y, K, 0.01)] == ["poison", "nothing"]
    assert [one.verdict for one in judge_groups(groups[1:], {"all": x}, y, K, 0.01)] == ["look here"]


def test_a_clear_group_without_a_rival_on_the_other_side_keeps_its_place() -> None:
    """Poison of one source class resembles that class and is not the content of many; nothing speaks for its other side."""
    x, y = classes()
    labels, poison = relabelled(y, [3], 20)
    clear = Evidence(20.0, np.exp(-4.0), int(poison.sum()), 0.25)
    less = Evidence(20.0, np.exp(-1.0), 20, 0.3)
    parts = [group_of((labels == label) & (np.arange(len(y)) % SIZE > 39), labels) for label in range(1, K)]
    groups = [group_of(poison, labels)._replace(evidence=clear, within=clear), parts[0]._replace(evidence=less), *parts[1:]]
    judged = judge_groups(groups, {"all": x}, labels, K, 0.01)
    assert judged[0].content.foreign == 1
    assert [one.group.evidence for one in judged[:2]] == [clear, less]


def test_of_the_groups_whose_content_is_proven_the_one_with_the_clearest_border_comes_first() -> None:
    _, y = classes()
    nothing, clear, clearer = (Evidence(20.0, np.exp(-nats), 20, 0.3) for nats in (0, 1, 2))
    parts = [group_of((y == 0) & (np.arange(len(y)) % 3 == part), y) for part in range(3)]
    borders = [nothing, clear, clearer]
    groups = [
        part._replace(evidence=nothing, within=one, border=one.clearness) for part, one in zip(parts, borders, strict=True)
    ]
    proven, unproven = _Answers(-1.0, 8.0), _Answers(8.0, -1.0)
    foreign = [False] * 3
    assert _in_order(groups, [proven] * 3, foreign, 0.01) == [2, 1, 0]
    assert _in_order(groups, [unproven] * 3, foreign, 0.01) == [0, 1, 2]
    surer = _Answers(-1.0, 100.0)  # its content is no more than proven
    assert _in_order(groups, [surer, proven, proven], foreign, 0.01) == [2, 1, 0]
    among = clearer.clearness / NULL_SCALE + 8  # the evidence of the last group
    for apart, order in ((among - 0.1, [2, 1, 0]), (among + 0.1, [0, 2, 1])):
        assert _in_order(groups, [_Answers(apart, -1.0), proven, proven], foreign, 0.01) == order
    others = [groups[0]._replace(classes=[1]), *groups[1:]]
    assert _in_order(others, [surer, proven, proven], foreign, 0.01) == [0, 2, 1]
