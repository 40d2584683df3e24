"""From the clearness of a group to a p-value and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from art_plugins.groups.content import Content, Contents
from art_plugins.groups.evidence import Evidence
from art_plugins.groups.find import MOST_OF_CLASS, NEARLY_ALIKE, Group, evidence_without
from art_plugins.groups.origins import NEAR_COPIES, nearest_fellow_ratio
from art_plugins.groups.trusted import NOTHING, TrustedEvidence, cut_error, trusted_evidence
from art_plugins.statistics.outlying import LEAST

# Of 1,195 classes of clean data sets of 1,000 to 15,000 images (Fashion-MNIST, MNIST, EMNIST letters, CIFAR-10; LeNet-5, a
# network of three convolutions without normalisation, narrow residual networks), the clearest groups had a clearness of
# 12.3, 12.3, 9.8, 7.6, 6.6, ... The first three are of Fashion-MNIST; the 9.8 is a half of the bags. The scale was chosen
# when that was the largest of 230 classes of Fashion-MNIST: one of them in 230 reaches it with a scale of 9.8 / ln(230) =
# 1.8, and the scale is a little more. Both 12.3 came afterwards. The smallest scale at which none of them is improbable
# (.05) is 1.52, on Fashion-MNIST alone 1.88; the other data sets need 1.04 at most. tests/groups/test_null.py prints these,
# and holds draws of 30 to 500 samples.
NULL_SCALE = 1.9
TINY = 1e-300

Verdict = Literal["poison", "look here", "nothing"]


class JudgedGroup(NamedTuple):
    """
    A group, its p-value among the classes of the data set, the verdict on it, what trusted samples say of it, what its
    members resemble, and whether it is called poison by this content alone.
    """

    group: Group
    p_value: float
    verdict: Verdict
    trusted: TrustedEvidence = NOTHING
    content: Content = Content(0.0, 0.0, 0.0)
    by_content: bool = False

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
            "by_content": self.by_content,
            "drawn_from": self.content.drawn_from,
            "foreign": self.content.foreign,
            "spread": self.content.spread,
            "n_trusted": self.trusted.n,
            "n_trusted_inside": self.trusted.n_inside,
        }


def p_value(evidence: Evidence, n_tests: int, log_ratio: float = 0.0) -> float:
    """
    Give the probability that the clearest of K classes' groups is as clear as this one, if no class has a group.

    The clearness of a class's clearest group is exponential at most, as measured on clean classes. The K classes are
    counted by Bonferroni's bound.

    :param evidence: Evidence on a group.
    :param n_tests: Number of classes, K, or of more tests.
    :param log_ratio: Logarithm of an independent likelihood ratio, by which the probability is divided.
    :return: 0 to 1.
    """
    return as_p_value(evidence.clearness / NULL_SCALE + log_ratio - float(np.log(n_tests)))


def as_p_value(nats: float) -> float:
    """Give the probability whose negative logarithm this is; 1 below 0."""
    return float(np.exp(-max(nats, 0.0)))


def n_questions(nb_classes: int) -> int:
    """
    Give the number of questions that are asked of every group, each at its share of the false-alarm rate: does it stand
    apart, and, if there are classes enough to compare, is its content that of many other classes?
    """
    return 2 if nb_classes >= LEAST else 1


def clearness_limit(nb_classes: int, fpr: float) -> float:
    """Give the clearness from which a group of K classes is poison, whatever its content; ``fpr`` is above 0."""
    return float(NULL_SCALE * np.log(n_questions(nb_classes) * nb_classes / fpr))


def clearest_by_class(groups: Sequence[Group], nb_classes: int) -> list[float]:
    """Give the largest clearness of the groups that each class has a part in; 0 for a class without any; K values."""
    clearest = [0.0] * nb_classes
    for group in groups:
        for label in group.classes:
            clearest[label] = max(clearest[label], group.evidence.clearness)
    return clearest


def judge_groups(
    groups: Sequence[Group],
    views: Mapping[str, np.ndarray],
    labels: np.ndarray,
    nb_classes: int,
    fpr: float,
    trusted: np.ndarray | None = None,
    of_content: Sequence[str] | None = None,
) -> list[JudgedGroup]:
    """
    Judge groups. A group that stands apart from everyone is poison, and so is one whose content is that of many other
    classes, see :class:`~art_plugins.groups.content.Contents`. The first shows a trigger that the network sees well,
    whatever it was put on. The second shows samples that were taken from many classes, also where the trigger is hardly
    seen. Each is asked at half the rate. A group that stands apart from the rest of its class, but not from the samples of
    other classes, is to be looked at: it may be a sub-population of the class, a clean-label attack, or labelled wrongly by
    its content.

    Trusted samples are one more piece of evidence, see :func:`~art_plugins.groups.trusted.trusted_evidence`. A group that
    holds more of them than the error of its cut explains is a part of its class, and no poison, however clear it is. For
    every other group the p-value is divided by the likelihood ratio. So trusted samples that all lie outside also convict a
    group that does not stand apart by itself. Then every group is a test.

    A group that shares samples with clearer ones has to be clear without these: what holds a poison and some of the clean
    samples beside it is no second one. A group of near copies is only looked at, see
    :func:`~art_plugins.groups.origins.nearest_fellow_ratio`: the frames of one film stand apart from everyone as well, and
    trusted samples may be of other films. No class is called poison as a whole: a group is only looked at if it and the
    clearer ones would take more than nine tenths of a class.

    :param groups: Groups, as :func:`~art_plugins.groups.find.find_groups` gives them.
    :param views: Those in which they were found.
    :param labels: Class of each sample, (n,).
    :param nb_classes: Number of classes with samples, K.
    :param fpr: Probability that something is called poison in a data set without any.
    :param trusted: Which samples are known to be clean, (n,), bool; ``None``: none is known.
    :param of_content: Names of the views that show what a sample is, whatever its label; ``None`` or nothing: all.
    :return: The groups with their verdicts, the strongest evidence first, see :func:`_in_order`.
    """
    trusted = np.zeros(len(labels), dtype=bool) if trusted is None else trusted
    tests = _Tests(groups, {name: views[name] for name in of_content or views}, labels, nb_classes, trusted)
    evidence = [_of_trusted(group, labels, trusted) for group in groups]
    pairs = enumerate(zip(groups, evidence, strict=True))
    first = [tests.answers(index, group, group.evidence, of_trusted.log_ratio) for index, (group, of_trusted) in pairs]
    judged, poison = [], np.zeros(len(labels), dtype=bool)
    for index in _in_order(groups, first, tests.contents.resemble_others(), fpr):
        group, of_trusted, answers = groups[index], evidence[index], first[index]
        p, within = as_p_value(max(answers)), p_value(group.within, n_questions(nb_classes) * nb_classes)
        verdict: Verdict = "look here" if min(within, p) <= fpr else "nothing"
        united = poison | group.members
        if verdict != "nothing" and poison.any():
            without = evidence_without(group, labels, poison)
            if p <= fpr:
                left = _of_trusted(group, labels, trusted, ~poison)
                p = as_p_value(max(answers := tests.answers(index, group, without, left.log_ratio, poison)))
            verdict = verdict if without.separation > 0 or p <= fpr else "nothing"  # there is no one left to differ from
        # Nothing speaks against a group with a p-value of 1, whatever is asked for.
        if p <= fpr and p < 1 and not of_trusted.acquits and _may_go(group, united, views, labels):
            verdict, poison = "poison", united
        by_content = verdict == "poison" and as_p_value(answers.apart) > fpr
        judged.append(JudgedGroup(group, p, verdict, of_trusted, tests.contents.of(index), by_content))
    return judged


def _may_go(group: Group, united: np.ndarray, views: Mapping[str, np.ndarray], labels: np.ndarray) -> bool:
    """Whether a group is neither of near copies nor, with what goes already (``united``), nearly all of a class."""
    is_class = any(united[labels == label].mean() > MOST_OF_CLASS for label in group.classes)
    return not is_class and not of_near_copies(group, views, labels)


class _Answers(NamedTuple):
    """
    The negative logarithms of a group's p-values by both questions: does it stand apart, and is its content that of many
    other classes? Below 0: nothing.
    """

    apart: float
    content: float


def _in_order(groups: Sequence[Group], first: Sequence[_Answers], resemble_others: Sequence[bool], fpr: float) -> list[int]:
    """
    Give the places of the groups, the strongest evidence first, but last those that are the clean side of a split.

    A split is equally clear from either side. If one side is the content of many classes, and the other one, left out,
    mostly resembles others (``resemble_others``, for each group) without being the content of many, the latter is the clean
    side. A side whose members resemble the other side has the same content, and keeps its place.

    Several splits of a class may have the content of many classes. They come together, in the place of the one with the
    most evidence, and the one with the clearest border first: it says best where the poison ends. Content that is proven
    says no more of it by being surer.
    """
    is_proven = [as_p_value(one.content) <= fpr for one in first]

    def is_clean_side(place: int) -> bool:
        own = groups[place]
        if is_proven[place] or not resemble_others[place]:
            return False
        rivals = [other for other, proven in zip(groups, is_proven, strict=True) if proven and other.classes == own.classes]
        return any((own.members & other.members).sum() <= NEARLY_ALIKE * own.members.sum() for other in rivals)

    def strength(place: int) -> float:
        return max(first[place]) + (groups[place].within.clearness / NULL_SCALE if is_proven[place] else 0.0)

    def key(place: int) -> tuple[bool, float, float]:
        if not is_proven[place]:
            return is_clean_side(place), -strength(place), 0.0
        own = groups[place].classes
        rivals = [one for one, proven in enumerate(is_proven) if proven and groups[one].classes == own]
        return False, -max(map(strength, rivals)), -groups[place].border

    return sorted(range(len(groups)), key=key)


class _Tests:
    """The tests of all groups of a data set; parameters as of :func:`judge_groups`."""

    def __init__(
        self,
        groups: Sequence[Group],
        views: Mapping[str, np.ndarray],
        labels: np.ndarray,
        nb_classes: int,
        trusted: np.ndarray,
    ) -> None:
        self.contents = Contents(groups, views, labels, int(labels.max(initial=0)) + 1)
        n_classes = max(2 * nb_classes, len(groups)) if trusted.any() else nb_classes
        self._n_classes, self._more = n_classes, n_classes / max(1, nb_classes)
        self._n_questions = n_questions(nb_classes)

    def answers(
        self, index: int, group: Group, evidence: Evidence, log_ratio: float, aside: np.ndarray | None = None
    ) -> _Answers:
        """
        Ask both questions.

        :param index: Place of the group among all groups.
        :param group: The same group.
        :param evidence: On the group, or on what is left of it.
        :param log_ratio: Logarithm of what trusted samples say of it, as a likelihood ratio.
        :param aside: Samples that are left out, (n,), bool.
        """
        apart = evidence.clearness / NULL_SCALE - np.log(self._n_classes)
        content = -np.log(max(self.contents.p_value(index, group, aside), TINY)) - np.log(self._more)
        counted = np.log(self._n_questions)
        return _Answers(float(apart + log_ratio - counted), float(content + log_ratio - counted))


def _of_trusted(group: Group, labels: np.ndarray, trusted: np.ndarray, left: np.ndarray | None = None) -> TrustedEvidence:
    """What trusted samples say of a group, or of the part of it that is left."""
    if not trusted.any():
        return NOTHING
    own = np.isin(labels, group.classes) if left is None else np.isin(labels, group.classes) & left
    error = cut_error(group.places[own], group.members[own], group.cut)
    return trusted_evidence(group.members[own], labels[own], group.classes, trusted[own], error)


def of_near_copies(group: Group, views: Mapping[str, np.ndarray], labels: np.ndarray) -> bool:
    """Whether the members of a group are near copies of one another, in the class that has most of them."""
    counts = [int(group.members[labels == label].sum()) for label in group.classes]
    rows = np.flatnonzero(labels == group.classes[int(np.argmax(counts))])
    return nearest_fellow_ratio(views, rows, group.members[rows]) < NEAR_COPIES
