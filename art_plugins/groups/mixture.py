"""Which side of a split is a mixture of classes: it varies along what the classes differ in, as no class does by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from art_plugins.groups.among_classes import AmongClasses
from art_plugins.groups.class_axes import TINY, AxesOfOthers, ClassAxes
from art_plugins.groups.cuts import LEAST_MEMBERS
from art_plugins.groups.evidence import CONFIDENCE
from art_plugins.groups.find import Group

RATE = 0.01  # probability with which a side is taken for a mixture in a data set without any
# Share of a class that a side has at most which is taken in place of the other one: where the other one is less than half
# as large, its size speaks against it as well, and a class that is a collection of kinds is a mixture by itself.
MOST_TURNED = 2 / 3
ONE_SIDED = float(norm.ppf(CONFIDENCE))


def log_ratio(x: np.ndarray, axes: ClassAxes) -> tuple[float, float]:
    """
    Give how much samples vary along what the classes differ in, over how much they vary otherwise.

    A direction counts by how far the classes lie apart in it. The samples of one class give a ratio of about 1, those of
    all classes give one plus the weighted mean of the variance between the classes. Neither a shift of all samples nor a
    factor changes it, so that a blended trigger does not hide where the samples come from.

    :param x: Features, (m, d), m at least 2.
    :param axes: What the classes differ in.
    :return: The logarithm of the ratio, and its standard error by the delta method.
    """
    squares = ((x - x.mean(axis=0)) @ axes.directions) ** 2
    total, n_apart = max(float(axes.weights.sum()), TINY), len(axes.weights)
    along, otherwise = squares[:, :n_apart] @ axes.weights / total, squares[:, n_apart:].mean(axis=1)
    means = max(float(along.mean()), TINY), max(float(otherwise.mean()), TINY)
    error = float((along / means[0] - otherwise / means[1]).std() / np.sqrt(len(x)))
    return float(np.log(means[0] / means[1])), error


class Mixtures:
    """
    How far the groups of a data set are mixtures of classes.

    The score of a group in a class is the lower limit of the logarithm of the ratio, at a confidence of .95, less the
    logarithm for the rest of the class where this is above 0: a class that is a collection of everything has no part that
    is more of one.

    When this breaks: poison of one source class, or whose labels fit; a class that is a collection of kinds, beside poison
    that is one kind; classes that the features do not tell apart; more than a third of the classes are poisoned.

    :param groups: Groups of the data set.
    :param x: Features of all samples that no label has shaped, such as those of
        :func:`~art_plugins.features.layer_views.input_view`, (n, d), finite, d at least 2.
    :param labels: Class of each sample, (n,).
    :param nb_classes: Number of classes, K.
    """

    def __init__(self, groups: Sequence[Group], x: np.ndarray, labels: np.ndarray, nb_classes: int) -> None:
        self._others, self._labels = AxesOfOthers(x, labels, nb_classes), labels
        scores = [[self._score(group.members, label) for label in group.classes] for group in groups]
        self._among = AmongClasses(groups, scores, nb_classes)

    def p_value(self, group: Group) -> float:
        """Give the probability that any class has a group that is as much of a mixture, if none is poisoned."""
        return self._among.p_value(group, [self._score(group.members, label) for label in group.classes])

    def _score(self, members: np.ndarray, label: int) -> float:
        own = self._labels == label
        of_group, of_rest = self._others.x[own & members], self._others.x[own & ~members]
        axes = self._others.beside(label)
        if axes is None or len(of_group) < LEAST_MEMBERS:
            return float("nan")
        value, error = log_ratio(of_group, axes)
        rest = log_ratio(of_rest, axes)[0] if len(of_rest) >= LEAST_MEMBERS else 0.0
        return value - ONE_SIDED * error - max(0.0, rest)


def with_sides_told(
    groups: Sequence[Group], x: np.ndarray, labels: np.ndarray, nb_classes: int, least: float, trusted: np.ndarray
) -> list[Group]:
    """
    Tell which side of a split is the group that stands apart.

    A split is equally clear from either side. :func:`~art_plugins.groups.find.find_groups` takes the smaller side, or the
    one that nobody else is like. If the rest of the class is a mixture of classes and the side that was taken is not, the
    rest takes its place, with the same evidence: half of a class may be poison, and a trigger that leaves its content to be
    seen lies among the other classes. No further split is called by this.

    When this breaks: see :class:`Mixtures`; poison of more than two thirds of a class.

    :param groups: Groups, as ``find_groups`` gives them.
    :param x: Features of all samples, as :class:`Mixtures` takes them, (n, d).
    :param labels: Class of each sample, (n,).
    :param nb_classes: Number of classes, K.
    :param least: Clearness of the groups that are asked.
    :param trusted: Which samples are known to be clean, (n,), bool. Where a class has some, these tell its sides apart.
    """
    known = set(np.unique(labels[trusted]).tolist())
    asked = [len(one.classes) == 1 and one.evidence.clearness >= least and one.label not in known for one in groups]
    if not any(asked):
        return list(groups)
    mixtures = Mixtures(groups, x, labels, nb_classes)

    def told(group: Group) -> Group:
        rest = turned(group, labels)
        may_turn = rest.evidence.share <= MOST_TURNED and mixtures.p_value(rest) <= RATE < mixtures.p_value(group)
        return rest if may_turn else group

    return [told(group) if is_asked else group for group, is_asked in zip(groups, asked, strict=True)]


def turned(group: Group, labels: np.ndarray) -> Group:
    """Give the rest of the class of a group as a group, with the same evidence."""
    own = labels == group.classes[0]
    members = own & ~group.members
    n_members, share = int(members.sum()), float(members[own].mean())
    evidence = group.evidence._replace(n_members=n_members, share=share)
    within = group.within._replace(n_members=n_members, share=share)
    return group._replace(members=members, places=1 - group.places, cut=1 - group.cut, evidence=evidence, within=within)
