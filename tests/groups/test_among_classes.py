"""Scores of groups beside those of the other classes."""

from __future__ import annotations

import numpy as np
import pytest

from art_plugins.groups.among_classes import AmongClasses
from art_plugins.groups.evidence import Evidence
from art_plugins.groups.find import Group
from art_plugins.statistics.outlying import outlying_scores

NOTHING = Evidence(0.0, 1.0, 10, 0.5)


def group_of(*classes: int) -> Group:
    return Group(np.ones(1, dtype=bool), np.ones(1), 0.5, NOTHING, NOTHING, classes[0], list(classes))


def test_a_score_is_compared_with_the_highest_of_every_other_class() -> None:
    scores = [0.1, 0.3, 0.2, 0.0, 5.0]
    groups = [group_of(label) for label in range(5)]
    lower = [group_of(label) for label in range(5)]
    among = AmongClasses([*groups, *lower], [[one] for one in scores] + [[one - 1] for one in scores], 5)
    expected = outlying_scores(np.array(scores), 0.5).p_values
    assert [among.p_value(one, [score]) for one, score in zip(groups, scores, strict=True)] == pytest.approx(expected)
    assert among.p_value(lower[4], [0.2]) == pytest.approx(outlying_scores(np.array([*scores[:4], 0.2]), 0.5).p_values[4])


def test_a_group_of_several_classes_has_the_largest_of_its_p_values() -> None:
    groups = [group_of(label) for label in range(5)]
    among = AmongClasses(groups, [[0.1], [0.3], [0.2], [0.0], [0.1]], 5)
    alone = [among.p_value(group_of(label), [score]) for label, score in ((1, 4.0), (2, 0.1))]
    assert among.p_value(group_of(1, 2), [4.0, 0.1]) == max(alone)
    assert alone[0] < 0.01 < alone[1]


def test_what_cannot_be_judged_has_a_p_value_of_one() -> None:
    groups = [group_of(label) for label in range(4)]
    three = AmongClasses(groups, [[9.0], [0.0], [0.0], [float("nan")]], 4)
    assert three.p_value(groups[0], [9.0]) == 1
    four = AmongClasses(groups, [[9.0], [0.0], [0.0], [0.0]], 4)
    assert four.p_value(groups[0], [9.0]) < 1e-3
    assert four.p_value(groups[0], [float("nan")]) == 1
