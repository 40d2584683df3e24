"""What the members of a group resemble, if their label is not asked: most poison was taken from all other classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import entr
from sklearn.neighbors import NearestNeighbors

from art_plugins.groups.among_classes import AmongClasses
from art_plugins.groups.find import Group
from art_plugins.groups.sources import SourceMixtures, discriminant_is_better

# A usual number for this rule, without a derivation. Attacks of seed 0 on MNIST, Fashion-MNIST and EMNIST letters were in
# view when it was set, so only the figures of other seeds are reports. docs/results.md says which those are.
N_NEIGHBOURS = 10
MOST_ASKED = 200  # members, and samples of the rest of their class: a share has a standard error of .035 at most
MOST_OF_REST = 1 - 1 / MOST_ASKED  # share of the other classes; beyond it 200 samples show no difference
MOST_COMPARED = 5_000  # samples among which the neighbours are looked for; a bound on the time
FEWEST_COMPARED = 2 * N_NEIGHBOURS  # of a class: with fewer, a class could hardly win a vote; a round number


class Content(NamedTuple):
    """
    Where the samples lie that a group's members resemble, if the group itself is left out.

    ``foreign``: share of the members most of whose nearest samples are of another class than their label says. ``spread``:
    over how many of the other classes these are spread, as a share, 0 to 1. ``score``: see :func:`content_of`.
    ``drawn_from``: share of all other classes, 0 to 1, that the group might be drawn from and the rest of its class might
    not, as the mixtures or the neighbours say, whichever are surer; 0 where nobody has asked.
    """

    foreign: float
    spread: float
    score: float
    drawn_from: float = 0.0


def content_of(
    x: np.ndarray, labels: np.ndarray, members: np.ndarray, label: int, aside: np.ndarray, random_state: int = 0
) -> Content:
    """
    Ask the nearest samples outside a group what its members are (the rule of nearest neighbours, as Wilson 1972 edits data
    sets by it).

    The odd samples of a clean class resemble their own class, or the one or two classes that it is mixed up with. Samples
    that were taken from all classes, stamped and labelled anew, resemble all classes. The product of ``foreign`` and
    ``spread`` is the share of all other classes that the group might be drawn from. The score is by how much the logarithm
    of one minus that share is lower than for the rest of the class, in nats, so that features that hardly tell classes
    apart, or a class that is a collection of everything, give no score. One member is counted as if it were of its label,
    so that a few members prove little.

    :param x: Features of all samples, (n, d), finite.
    :param labels: Class of each sample, (n,).
    :param members: Who is of the group, (n,), bool.
    :param label: A class with members; only they are asked.
    :param aside: Samples that are left out on both sides, (n,), bool, such as what is known as poison.
    :param random_state: Random seed of the samples that are drawn.
    :return: The content; the score is 0 where no one is left to ask or to compare with.
    """
    random = np.random.default_rng(random_state)
    own, outside = labels == label, np.flatnonzero(~members & ~aside)
    asked = _drawn(np.flatnonzero(members & own & ~aside), MOST_ASKED, random)
    compared = _balanced(outside, labels, int(own[outside].sum()), random)
    if len(asked) == 0 or len(compared) <= N_NEIGHBOURS:
        return Content(0.0, 0.0, 0.0)
    nearest = NearestNeighbors(n_neighbors=N_NEIGHBOURS + 1, algorithm="brute").fit(x[compared])
    found = [
        _foreign_and_spread(nearest, x[rows], labels[compared], compared, rows, label)
        for rows in (asked, _drawn(outside[own[outside]], MOST_ASKED, random))
    ]
    (foreign, spread), rest = found
    of_group, of_rest = foreign * spread * len(asked) / (len(asked) + 1), min(rest[0] * rest[1], MOST_OF_REST)
    return Content(foreign, spread, by_how_much(of_group, of_rest))


def by_how_much(of_group: float, of_rest: float) -> float:
    """Give by how much more of the other classes a group might be drawn from than the rest of its class, in nats."""
    return max(0.0, float(np.log1p(-of_rest) - np.log1p(-of_group)))


def _balanced(rows: np.ndarray, labels: np.ndarray, n_own: int, random: np.random.Generator) -> np.ndarray:
    """Draw samples, no more of each class than the group has left of its own: else a large group would look foreign."""
    classes = np.unique(labels[rows])
    most = max(FEWEST_COMPARED, min(n_own, MOST_COMPARED // max(1, len(classes))))
    return np.concatenate([rows[:0], *(_drawn(rows[labels[rows] == label], most, random) for label in classes)])


def _drawn(rows: np.ndarray, most: int, random: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= most else random.choice(rows, most, replace=False)


def _foreign_and_spread(
    nearest: NearestNeighbors, x: np.ndarray, labels: np.ndarray, compared: np.ndarray, rows: np.ndarray, label: int
) -> tuple[float, float]:
    """
    :param nearest: Finds the nearest of the samples compared.
    :param x: Features of those asked, (m, d).
    :param labels: Classes of the samples compared, (c,).
    :param compared: Rows of the samples compared, (c,).
    :param rows: Rows of those asked; no one is its own neighbour.
    :param label: Class of those asked.
    """
    if len(rows) == 0:
        return 0.0, 0.0
    indices = nearest.kneighbors(x, return_distance=False)
    is_self = compared[indices] == rows[:, None]
    is_self[~is_self.any(axis=1), -1] = True  # who is not compared with itself has one neighbour too many
    neighbours = labels[indices[~is_self].reshape(len(rows), N_NEIGHBOURS)]
    n_classes = int(labels.max()) + 1
    votes = np.stack([np.bincount(one, minlength=n_classes).argmax() for one in neighbours])
    is_foreign = votes != label
    sizes = np.bincount(labels, minlength=n_classes) * (np.arange(n_classes) != label)
    if not is_foreign.any() or not sizes.any():
        return 0.0, 0.0
    of_votes = np.bincount(votes[is_foreign], minlength=n_classes)
    return float(is_foreign.mean()), min(1.0, _n_equal(of_votes) / _n_equal(sizes))


def _n_equal(counts: np.ndarray) -> float:
    """How many equal shares have the entropy of these counts."""
    return float(np.exp(entr(counts / counts.sum()).sum()))


class Contents:
    """
    The content of groups, and how far it is beside that of the other classes' groups.

    A mixture of classes is fitted to every group, see :class:`~art_plugins.groups.sources.SourceMixtures`. The neighbours
    of its members are asked as well, see :func:`content_of`, where they tell the classes apart better than a linear
    discriminant does. In some features nearly everything has neighbours of other classes, as in those of speech, so that
    their votes say nothing. Which of both is better is asked of all samples, whatever the groups. The lower p-value counts,
    times the number of those that were asked (Bonferroni's bound).

    When this breaks: poison of one source class, or of a label that fits (clean-label), or whose trigger hides the content
    from the features; more than a third of the classes are poisoned; a class into which wrong labels of all classes went by
    a mistake, which is called poison.

    :param groups: Groups of the data set.
    :param views: Name -> features, (n, d).
    :param labels: Class of each sample, (n,).
    :param nb_classes: Number of classes, K.
    """

    def __init__(
        self, groups: Sequence[Group], views: Mapping[str, np.ndarray], labels: np.ndarray, nb_classes: int
    ) -> None:
        self._groups, self._labels = groups, labels
        self._x = np.concatenate(list(views.values()), axis=1) if groups else np.zeros((len(labels), 0))
        self._are_asked = bool(groups) and not discriminant_is_better(self._x, labels, N_NEIGHBOURS)
        self._mixtures = SourceMixtures(self._x, labels, nb_classes)
        nobody = np.zeros(len(labels), dtype=bool)
        self._parts = [self._of_neighbours(group, nobody) for group in groups]
        self._votes = AmongClasses(groups, [_scores(parts) for parts in self._parts], nb_classes)
        self._mixed = [self._of_mixtures(group, nobody) for group in groups]
        self._among = AmongClasses(groups, self._mixed, nb_classes)

    def resemble_others(self) -> list[bool]:
        """
        Tell of each group whether its members mostly resemble other classes, if the group is left out. Where the neighbours
        are no judges, every group may do so.
        """
        return [not self._are_asked or _least(parts).foreign > 0.5 for parts in self._parts]

    def of(self, index: int) -> Content:
        """Give the content of a group; of several classes' groups that of the class with the lowest score."""
        surest = min(self._answers(index, self._groups[index]))
        return _least(self._parts[index])._replace(drawn_from=float(-np.expm1(-surest[1])))

    def p_value(self, index: int, group: Group, aside: np.ndarray | None = None) -> float:
        """
        Give the probability that any of the classes has a group of such a score, if none is poisoned.

        :param index: Place of the group among all groups.
        :param group: The same group.
        :param aside: Samples to leave out, (n,), bool.
        """
        answers = self._answers(index, group, aside)
        return min(1.0, len(answers) * min(answers)[0])

    def _answers(self, index: int, group: Group, aside: np.ndarray | None = None) -> list[tuple[float, float]]:
        """The p-value and the score of each question: of the mixtures, and of the neighbours, if they are asked."""
        mixed = self._mixed[index] if aside is None else self._of_mixtures(group, aside)
        answers = [(self._among.p_value(group, mixed), min(mixed))]
        if self._are_asked:
            parts = self._parts[index] if aside is None else self._of_neighbours(group, aside)
            answers.append((self._votes.p_value(group, _scores(parts)), min(_scores(parts))))
        return answers

    def _of_neighbours(self, group: Group, aside: np.ndarray) -> list[Content]:
        return [content_of(self._x, self._labels, group.members, label, aside) for label in group.classes]

    def _of_mixtures(self, group: Group, aside: np.ndarray) -> list[float]:
        """The scores of a group in each of its classes, by mixtures."""
        found = []
        for label in group.classes:
            own = (self._labels == label) & ~aside
            excess = self._mixtures.excess(np.flatnonzero(own & group.members), np.flatnonzero(own & ~group.members), label)
            found.append(by_how_much(excess, 0.0))
        return found


def _least(parts: Sequence[Content]) -> Content:
    return min(parts, key=lambda part: part.score)


def _scores(parts: Sequence[Content]) -> list[float]:
    return [part.score for part in parts]
