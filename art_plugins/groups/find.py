"""Which samples of a data set make up groups that stand apart from everyone, and how clearly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from art_plugins.groups.candidates import alike
from art_plugins.groups.cuts import HEAVY, LEAST_MEMBERS, NORMAL, bayes_cut
from art_plugins.groups.discriminant import SelfTrainedDiscriminant, Settled
from art_plugins.groups.evidence import FIFTH, Evidence, evidence_of, valley, valley_bound
from art_plugins.groups.space import Space
from art_plugins.groups.trusted import is_suspect_side

MOST_SPLITS = 3  # of a class, the clearest, that everyone is compared with
FEWEST_IN_CLASS = 2 * LEAST_MEMBERS  # that a group and a rest need
MOST_OF_CLASS = 0.9  # a group that takes more of a class is the class itself, or several that look alike
NEARLY_ALIKE = 0.1  # share of a clearer group, by which another one differs at most if it is told only once
FULLEST_VALLEY = 0.5  # in a class, for which a group of all classes is one: half as many samples as at the smaller peak


class Group(NamedTuple):
    """
    Samples that stand apart.

    ``members``: (n,), bool. ``places``: (n,), how far each sample is on the way from the median of the rest (0) to that of
    the group (1). ``cut``: members have a larger place. ``evidence``: how clearly the group stands apart from everyone,
    also from the samples of all other classes. ``within``: how clearly it stands apart from the rest of its class alone.
    ``label``: the class in which it was found first. ``classes``: those of its members, in order. ``border``: how clearly
    it and the rest of its class lie apart, in nats, whichever of both is the group.
    """

    members: np.ndarray
    places: np.ndarray
    cut: float
    evidence: Evidence
    within: Evidence
    label: int
    classes: list[int]
    border: float = 0.0


def find_groups(
    views: Mapping[str, np.ndarray],
    labels: np.ndarray,
    nb_classes: int,
    random_state: int = 0,
    trusted: np.ndarray | None = None,
) -> list[Group]:
    """
    Find the groups that stand apart from everyone.

    1. In every class, every view gives candidates: cuts in the directions in which the class varies more than the others.
       One more is the cut where its samples begin to look like another class.
    2. From each candidate, a discriminant on all views learns and judges in turn until it settles on a split of the class.
    3. The suspect side of a split is the smaller one, unless the other classes are like that one; where a class has trusted
       samples, it is the side that these speak against. For it there are two questions. How clearly does it stand apart, if
       the samples of all other classes are counted as well? A sub-population of a class differs by what classes differ in,
       so others lie between and beside it; a trigger is something of its own. And if the discriminant learns again from the
       samples of all classes: does it settle on a group of several classes? It does so twice, with normal distributions and
       with heavy tails: among so many samples there are outliers enough to carry a small group away, and a group may be
       wider than heavy tails let it be.
    4. The other side of a split is given as well, as a group that does not stand apart: poison that shows its content more
       than its trigger lies among the other classes, so that the clean side looks like the one that nobody is like.

    When this breaks: a trigger that the views do not show; a group of fewer than 8 samples, and mostly one of fewer
    than thirty, which can prove little (:func:`~art_plugins.groups.evidence.valley_bound`); poison whose only common trait
    is the content of another class, which is then a wrong label, and looks like any other wrong label; two very different
    things under one label, such as two digits, which stand apart like poison; two groups of a class that differ in fewer
    than 1 % of its samples, of which the one that lies farther apart is found.

    :param views: Name -> features of all samples, (n, d), finite, each with about unit variance within the classes.
    :param labels: Class of each sample, (n,), 0 to K - 1.
    :param nb_classes: Number of classes, K.
    :param random_state: Random seed of the folds of the cross-fitting.
    :param trusted: Which samples are known to be clean, (n,), bool; ``None``: none is known.
    :return: The groups, the clearest first; of those that are nearly alike, only the clearest.
    """
    space = Space(views, labels, nb_classes)
    trusted = np.zeros(len(labels), dtype=bool) if trusted is None else trusted
    everyone = SelfTrainedDiscriminant(space.x, random_state=random_state)
    found: list[Group] = []
    for label, rows in enumerate(space.members):
        if len(rows) < FEWEST_IN_CLASS:
            continue
        own = SelfTrainedDiscriminant(space.x[rows], space.scatters.scatter_elsewhere(label), random_state)
        clearest = _clearest_splits(own, space, label)
        for index, split in enumerate([*clearest, *_split_by_content(own, space, label, clearest)]):
            of_class = _of_one_class(own, space, label, split.members, trusted[rows])
            if of_class is not None:
                if index >= len(clearest):  # only what it looks like is asked of it
                    of_class = of_class._replace(evidence=_nothing(of_class.evidence))
                found += [of_class, _other_side(of_class, rows)]
                for dof in (NORMAL, HEAVY) if index < len(clearest) else ():
                    found += _of_all_classes(everyone, space, label, of_class.members, dof)
    found.sort(key=lambda group: -group.evidence.clearness)
    distinct: list[Group] = []
    for group in found:
        if all((group.members != other.members).sum() > NEARLY_ALIKE * other.members.sum() for other in distinct):
            distinct.append(group)
    return distinct


def evidence_without(group: Group, labels: np.ndarray, known: np.ndarray) -> Evidence:
    """
    Give the evidence on a group without samples of which is known what they are.

    :param labels: Class of each sample, (n,).
    :param known: Samples to leave out, (n,), bool.
    :return: The evidence; of nothing (separation 0, valley 1) if fewer than 8 members are left.
    """
    left = ~known if len(group.classes) > 1 else ~known & (labels == group.label)
    members, places = group.members[left], group.places[left]
    if min(members.sum(), (~members).sum()) < LEAST_MEMBERS:
        return Evidence(0.0, 1.0, int(members.sum()), float(members.mean()) if len(members) else 0.0)
    of_class = evidence_of(places, members)
    return Evidence(of_class.separation, valley_bound(group.places[~known], places), of_class.n_members, of_class.share)


def _clearest_splits(own: SelfTrainedDiscriminant, space: Space, label: int) -> list[Settled]:
    """
    The splits of a class at which self-training comes to rest, the clearest first.

    What comes near to one that is there mostly comes to rest at it, and is given up at once.
    """
    found: list[Settled] = []

    def is_there(members: np.ndarray) -> bool:
        return any(alike(members, one.members) for one in found)

    for candidate in space.candidates(label):
        settled = own.settle(candidate.members, is_hopeless=is_there)
        if settled is not None:
            found.append(settled)
    return sorted(found, key=lambda one: -evidence_of(one.places, one.members).clearness)[:MOST_SPLITS]


def _split_by_content(own: SelfTrainedDiscriminant, space: Space, label: int, others: Sequence[Settled]) -> list[Settled]:
    """
    The split of a class that begins with what its samples look like, if it is another one than those that are there.

    Poison with a faint trigger does not stand apart clearly, so it is not among the clearest. In the samples of all classes
    it would be lost; only its own class is asked.
    """
    start = space.cut_by_content(label)
    if start is None:
        return []
    settled = own.settle(start, is_hopeless=lambda members: any(alike(members, one.members) for one in others))
    return [] if settled is None else [settled]


def _of_one_class(
    own: SelfTrainedDiscriminant, space: Space, label: int, split: np.ndarray, trusted: np.ndarray
) -> Group | None:
    """
    The suspect side of a split, by what was learned in this class. The samples of all other classes are counted.

    The smaller side is the suspect. The larger one is, if the typical class lies where the smaller side does, in the fifth
    of the way about its median: then everybody is like the smaller side, and the larger one is what nobody else is. Poison
    of a single source class has that class's content, so that the other classes lie between the two sides. Trusted samples
    tell the sides apart at once.
    """
    rows = space.members[label]
    smaller = split if 2 * split.sum() <= len(split) else ~split
    projected = space.x @ own.direction(smaller).astype(np.float32)
    lower, upper = (float(np.median(projected[rows[side]])) for side in (~smaller, smaller))
    elsewhere = [members for other, members in enumerate(space.members) if other != label and len(members)]
    away = [abs(float(np.median(projected[members])) - upper) for members in elsewhere]
    if trusted.any():
        larger_is_suspect = not is_suspect_side(smaller, trusted)
    else:
        larger_is_suspect = len(away) > 0 and float(np.median(away)) <= FIFTH / 2 * abs(upper - lower)
    inside = ~smaller if larger_is_suspect else smaller
    within = own.places(inside)
    if within is None:
        return None
    inside, cut = _bordered(within, inside)
    start, end = (upper, lower) if larger_is_suspect else (lower, upper)
    places = (projected - start) / (end - start)
    places[rows] = within
    members = np.zeros(len(space.x), dtype=bool)
    members[rows[inside]] = True
    alone = evidence_of(within, inside)
    clear = Evidence(alone.separation, valley_bound(places, within), alone.n_members, alone.share)
    return Group(members, places, cut, clear, alone, label, [label], alone.clearness)


def _other_side(group: Group, rows: np.ndarray) -> Group:
    """The rest of a group's class; nothing says that it stands apart."""
    members = np.zeros(len(group.members), dtype=bool)
    members[rows] = ~group.members[rows]
    nothing = Evidence(0.0, 1.0, int(members.sum()), float(members[rows].mean()))
    return group._replace(members=members, places=1 - group.places, cut=1 - group.cut, evidence=nothing, within=nothing)


def _nothing(evidence: Evidence) -> Evidence:
    """The evidence on as large a group that does not stand apart."""
    return evidence._replace(separation=0.0, valley=1.0)


def _bordered(places: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, float]:
    """Draw the border of a group with heavy tails, so that outliers of the others stay out; its members, and the border."""
    cut = bayes_cut(places, members, HEAVY)
    return places > cut, cut


def _of_all_classes(
    everyone: SelfTrainedDiscriminant, space: Space, label: int, suspect: np.ndarray, dof: float
) -> list[Group]:
    """
    The group at which self-training over the samples of all classes comes to rest, in the classes that have one.

    A group that has the majority of a class is no group in it, but what the class is, unless the suspects are its majority.
    A group that has grown until it holds nearly all of a class is given up at once: it would have to shrink again, and a
    discriminant that has learned from it takes it for the class. A class that is too small for a group and a rest says
    neither: one sample alone is always all of its class.
    """
    are_majority = suspect[space.members[label]].mean() > 0.5
    large = [rows for rows in space.members if len(rows) >= FEWEST_IN_CLASS]
    judged = [rows for rows in large if not (rows is space.members[label] and are_majority)]

    def holds_a_class(members: np.ndarray) -> bool:
        return any(members[rows].mean() > MOST_OF_CLASS for rows in judged)

    settled = everyone.settle(suspect, dof, holds_a_class)
    if settled is None:
        return []
    places, classes = settled.places, []
    everywhere, cut = _bordered(places, settled.members)
    members = everywhere.copy()
    if any(members[rows].mean() > MOST_OF_CLASS for rows in large):
        return []
    for one, rows in enumerate(space.members):
        n_inside, is_large = members[rows].sum(), len(rows) >= FEWEST_IN_CLASS
        if is_large and n_inside >= LEAST_MEMBERS and valley(places[rows]) <= FULLEST_VALLEY:
            classes.append(one)
        else:
            members[rows] = False
    shares = [float(members[space.members[one]].mean()) for one in classes]
    from_majority = classes == [label] and are_majority
    if not classes or (max(shares) > 0.5 and not from_majority):
        return []
    clear = evidence_of(places, everywhere)
    rows = space.members[max(classes, key=lambda one: int(members[space.members[one]].sum()))]
    alone = evidence_of(places[rows], members[rows])
    if len(classes) == 1 and alone.clearness < clear.clearness:  # what is of one class must stand apart from that class too
        clear = alone
    return [Group(members, places, cut, clear, alone, label, classes, alone.clearness)]
