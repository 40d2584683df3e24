"""From the clearness of a group to a p-value and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from art_plugins.groups.evidence import Evidence
from art_plugins.groups.find import MOST_OF_CLASS, Group, evidence_without
from art_plugins.groups.origins import NEAR_COPIES, nearest_fellow_ratio

# Of 56 classes of four clean data sets (Fashion-MNIST with two seeds, MNIST, EMNIST letters; a network of three
# convolutions without normalisation), the clearest group of a class had a clearness of at most 6.5, 5.7, 4.8, 4.5, ...
# This is the smallest scale at which exp(-q / scale) is nowhere below the share of these classes that reach q.
NULL_SCALE = 1.7

Verdict = Literal["poison", "look here", "nothing"]


class Judged(NamedTuple):
    """A group, its p-value among the classes of the data set, and the verdict on it."""

    group: Group
    p_value: float
    verdict: Verdict

    def summary(self) -> dict[str, Any]:
        """Give what a report says of the group, JSON-safe."""
        return {
            "verdict": self.verdict,
            "p_value": self.p_value,
            "classes": self.group.classes,
            "n_members": int(self.group.members.sum()),
            "clearness": self.group.evidence.clearness,
            "separation": self.group.evidence.separation,
            "valley": self.group.evidence.valley,
        }


def p_value(evidence: Evidence, nb_classes: int) -> float:
    """
    Give the probability that the clearest of K classes' groups is as clear as this one, if no class has a group.

    The clearness of a class's clearest group is exponential at most, as measured on clean classes. The K classes are
    counted by Bonferroni's bound.

    :param evidence: Of a group.
    :param nb_classes: Number of classes, K.
    :return: 0 to 1.
    """
    return float(min(1.0, nb_classes * np.exp(-evidence.clearness / NULL_SCALE)))


def clearness_limit(nb_classes: int, fpr: float) -> float:
    """Give the clearness from which a group of K classes is poison: where :func:`p_value` is ``fpr``, above 0."""
    return float(NULL_SCALE * np.log(nb_classes / fpr))


def clearest_by_class(groups: Sequence[Group], nb_classes: int) -> list[float]:
    """Give the largest clearness of the groups that each class has a part in; 0 for a class without any; K values."""
    clearest = [0.0] * nb_classes
    for group in groups:
        for label in group.classes:
            clearest[label] = max(clearest[label], group.evidence.clearness)
    return clearest


def judge_groups(
    groups: Sequence[Group], views: Mapping[str, np.ndarray], labels: np.ndarray, nb_classes: int, fpr: float
) -> list[Judged]:
    """
    Judge groups.

    A group that stands apart from everyone is poison. A group that stands apart from the rest of its class, but not from
    the samples of other classes, is to be looked at: it may be a sub-population of the class, a clean-label attack, or
    labelled wrongly by its content.

    A group that shares samples with clearer ones has to be clear without these: what holds a poison and some of the clean
    samples beside it is no second one.

    A group of near copies is only looked at, see :func:`~art_plugins.groups.origins.nearest_fellow_ratio`: the frames of
    one film stand apart from everyone as well.

    No class is called poison as a whole: a group is only looked at if it and the clearer ones would take more than nine
    tenths of a class.

    :param groups: Groups, as :func:`~art_plugins.groups.find.find_groups` gives them, the clearest first.
    :param views: Those in which they were found.
    :param labels: Class of each sample, (n,).
    :param nb_classes: Number of classes with samples, K.
    :param fpr: Probability that something is called poison in a data set without any.
    """
    judged, poison = [], np.zeros(len(labels), dtype=bool)
    for group in groups:
        p, p_within = (p_value(evidence, nb_classes) for evidence in (group.evidence, group.within))
        verdict: Verdict = "look here" if min(p, p_within) <= fpr else "nothing"
        united = poison | group.members
        if p <= fpr and poison.any():
            p = p_value(evidence_without(group, labels, poison), nb_classes)
        if (
            p <= fpr
            and not of_near_copies(group, views, labels)
            and all(united[labels == label].mean() <= MOST_OF_CLASS for label in group.classes)
        ):
            verdict, poison = "poison", united
        judged.append(Judged(group, p, verdict))
    return judged


def of_near_copies(group: Group, views: Mapping[str, np.ndarray], labels: np.ndarray) -> bool:
    """Whether the members of a group are near copies of one another, in the class that has most of them."""
    counts = [int(group.members[labels == label].sum()) for label in group.classes]
    rows = np.flatnonzero(labels == group.classes[int(np.argmax(counts))])
    return nearest_fellow_ratio(views, rows, group.members[rows]) < NEAR_COPIES
