"""From the clearness of a group to a p-value and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from art_plugins.groups.evidence import Evidence
from art_plugins.groups.find import MOST_OF_CLASS, Group, evidence_without
from art_plugins.groups.origins import NEAR_COPIES, nearest_fellow_ratio
from art_plugins.groups.trusted import NOTHING, TrustedEvidence, cut_error, trusted_evidence

# Of 552 classes of 36 clean data sets of 1,000 and of 15,000 images (Fashion-MNIST, MNIST and EMNIST letters; LeNet-5 and
# a network of three convolutions without normalisation; three seeds), the clearest groups had a clearness of 6.3, 6.2,
# 5.9, 5.8, 5.4, ..., for which a scale of 1.2 suffices. The records filters, filters_clean and filters_small_clean hold
# all of them. Draws of 30 to 500 samples of a class, in the layers of a network that 15,000 images have trained, reach
# 9.2: the 120 draws of MNIST's classes need 1.92, the 120 of Fashion-MNIST's 0.97. tests/groups/test_null.py prints and
# holds both.
NULL_SCALE = 2.0

Verdict = Literal["poison", "look here", "nothing"]


class Judged(NamedTuple):
    """A group, its p-value among the classes of the data set, the verdict on it, and what trusted samples say of it."""

    group: Group
    p_value: float
    verdict: Verdict
    trusted: TrustedEvidence = NOTHING

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
            "n_trusted": self.trusted.n,
            "n_trusted_inside": self.trusted.n_inside,
        }


def p_value(evidence: Evidence, n_tests: int, log_ratio: float = 0.0) -> float:
    """
    Give the probability that the clearest of K classes' groups is as clear as this one, if no class has a group.

    The clearness of a class's clearest group is exponential at most, as measured on clean classes. The K classes are
    counted by Bonferroni's bound.

    :param evidence: Of a group.
    :param n_tests: Number of classes, K, or of more tests.
    :param log_ratio: Logarithm of an independent likelihood ratio, by which the probability is divided.
    :return: 0 to 1.
    """
    nats = evidence.clearness / NULL_SCALE + log_ratio - float(np.log(n_tests))
    return float(np.exp(-max(nats, 0.0)))


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
    groups: Sequence[Group],
    views: Mapping[str, np.ndarray],
    labels: np.ndarray,
    nb_classes: int,
    fpr: float,
    trusted: np.ndarray | None = None,
) -> list[Judged]:
    """
    Judge groups.

    A group that stands apart from everyone is poison. A group that stands apart from the rest of its class, but not from
    the samples of other classes, is to be looked at: it may be a sub-population of the class, a clean-label attack, or
    labelled wrongly by its content.

    Trusted samples are one more piece of evidence, see :func:`~art_plugins.groups.trusted.trusted_evidence`. A group that
    holds more of them than the error of its cut explains is a part of its class, and no poison, however clear it is. For
    every other group the p-value is divided by the likelihood ratio. So trusted samples that all lie outside also convict a
    group that does not stand apart by itself. Then every group is a test on both of its sides.

    A group that shares samples with clearer ones has to be clear without these: what holds a poison and some of the clean
    samples beside it is no second one.

    A group of near copies is only looked at, see :func:`~art_plugins.groups.origins.nearest_fellow_ratio`: the frames of
    one film stand apart from everyone as well, and trusted samples may be of other films.

    No class is called poison as a whole: a group is only looked at if it and the clearer ones would take more than nine
    tenths of a class.

    :param groups: Groups, as :func:`~art_plugins.groups.find.find_groups` gives them.
    :param views: Those in which they were found.
    :param labels: Class of each sample, (n,).
    :param nb_classes: Number of classes with samples, K.
    :param fpr: Probability that something is called poison in a data set without any.
    :param trusted: Which samples are known to be clean, (n,), bool; ``None``: none is known.
    :return: The groups with their verdicts, those with the strongest evidence first.
    """
    trusted = np.zeros(len(labels), dtype=bool) if trusted is None else trusted
    n_tests = 2 * max(nb_classes, len(groups)) if trusted.any() else nb_classes
    evidence = [_of_trusted(group, labels, trusted) for group in groups]
    order = np.argsort([-_nats(*one) for one in zip(groups, evidence, strict=True)], kind="stable")
    judged, poison = [], np.zeros(len(labels), dtype=bool)
    for group, of_trusted in ((groups[index], evidence[index]) for index in order):
        apart = [p_value(one, nb_classes) for one in (group.evidence, group.within)]
        p = p_value(group.evidence, n_tests, of_trusted.log_ratio)
        verdict: Verdict = "look here" if min(*apart, p) <= fpr else "nothing"
        united = poison | group.members
        if p <= fpr and poison.any():
            left = _of_trusted(group, labels, trusted, ~poison)
            p = p_value(evidence_without(group, labels, poison), n_tests, left.log_ratio)
        if (
            p <= fpr
            and p < 1  # whatever is asked for: nothing speaks against such a group
            and not of_trusted.acquits
            and not of_near_copies(group, views, labels)
            and all(united[labels == label].mean() <= MOST_OF_CLASS for label in group.classes)
        ):
            verdict, poison = "poison", united
        judged.append(Judged(group, p, verdict, of_trusted))
    return judged


def _of_trusted(group: Group, labels: np.ndarray, trusted: np.ndarray, left: np.ndarray | None = None) -> TrustedEvidence:
    """What trusted samples say of a group, or of the part of it that is left."""
    if not trusted.any():
        return NOTHING
    own = np.isin(labels, group.classes) if left is None else np.isin(labels, group.classes) & left
    error = cut_error(group.places[own], group.members[own], group.cut)
    return trusted_evidence(group.members[own], labels[own], group.classes, trusted[own], error)


def _nats(group: Group, of_trusted: TrustedEvidence) -> float:
    """How strong the evidence is, as the negative logarithm of the p-value of one test."""
    return group.evidence.clearness / NULL_SCALE + of_trusted.log_ratio


def of_near_copies(group: Group, views: Mapping[str, np.ndarray], labels: np.ndarray) -> bool:
    """Whether the members of a group are near copies of one another, in the class that has most of them."""
    counts = [int(group.members[labels == label].sum()) for label in group.classes]
    rows = np.flatnonzero(labels == group.classes[int(np.argmax(counts))])
    return nearest_fellow_ratio(views, rows, group.members[rows]) < NEAR_COPIES
