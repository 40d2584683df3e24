"""The classes of a scan that a person should look at, and the order in which to look at their samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from art_plugins.files.folder_data import FolderData
from art_plugins.inspection.deciding.decisions import REJECT, Decisions
from art_plugins.inspection.evidence.examine import Examined
from art_plugins.inspection.evidence.found import LABEL_ERROR, LOOK_HERE, POISON, Found

TITLES = {  # of a group and of its members
    POISON: ("Suspects in", "Suspects"),
    LOOK_HERE: ("Worth a look, but no verdict:", "Suspected part (no verdict)"),
    LABEL_ERROR: ("Likely label errors in", "Likely label errors"),
}
A_PERSON = ("a person",)  # in place of the kinds of evidence
BY_A_PERSON = "A person has rejected it. The scan itself does not suspect it."


@dataclass(frozen=True)
class Group:
    """
    Samples of a class to look at.

    ``name``: the class; ``is_verdict``: whether they are called poison; ``suspects``: their positions, most suspicious
    first; ``typical``: those of others of the class, most typical first; ``number``: from 1, the gravest first; ``found``:
    the verdict and its evidence.
    """

    name: str
    is_verdict: bool
    suspects: np.ndarray
    typical: np.ndarray
    number: int
    found: Found

    @property
    def title(self) -> str:
        """What the page calls the group, before the name of its class."""
        if self.found.kinds == A_PERSON:
            return "Rejected by a person in"
        return TITLES[self.found.verdict][0]

    @property
    def what(self) -> str:
        """What the page calls the members."""
        return TITLES[self.found.verdict][1]


class Halves(NamedTuple):
    """Positions of a class's samples: the suspects, the most suspicious first; the others, the most typical first."""

    suspects: np.ndarray
    typical: np.ndarray


def groups_to_show(examined: Examined, data: FolderData) -> list[Group]:
    """The groups, the gravest first, with the order in which to look at their samples."""
    return [_group(examined, data, found, number) for number, found in enumerate(examined.groups, start=1)]


def rejected_groups(
    groups: Sequence[Group], data: FolderData, hash_of: Callable[[int], str], decisions: Decisions
) -> list[Group]:
    """
    The samples that a person has rejected and that are in none of the groups, class by class.

    :param hash_of: SHA-256 of the content of a sample, by its position.
    """
    if not decisions.has_rejected:
        return []
    known = {int(index) for group in groups for index in group.suspects}
    found: dict[int, list[int]] = {}
    for index, label in enumerate(data.labels):
        if index not in known and decisions.of(hash_of(index), data.class_names[label]) == REJECT:
            found.setdefault(int(label), []).append(index)
    rows = []
    for number, (label, rejected) in enumerate(sorted(found.items()), start=len(groups) + 1):
        others = np.setdiff1d(np.flatnonzero(data.labels == label), [*known, *rejected])
        members = np.isin(np.arange(len(data.labels)), rejected)
        by_a_person = Found(label, members, members.astype(float), POISON, None, (BY_A_PERSON,), A_PERSON)
        rows.append(Group(data.class_names[label], True, np.array(rejected), others, number, by_a_person))
    return rows


def order_halves(members: np.ndarray, suspects: np.ndarray, scores: np.ndarray, latents: np.ndarray) -> Halves:
    """
    Put the halves of a class into the order in which a person should look at them.

    Most samples of a half have equal scores. Among those, the place along the line between the two halves' means (in the
    class's standard deviations; 0 at the mean of the others, 1 at that of the suspects) decides: suspects far out come
    first, typical samples are those near 0.

    :param members: Positions of the class's samples, (m,).
    :param suspects: Which of them are suspected, (m,), bool, neither none nor all.
    :param scores: Outlier scores of these samples, (m,).
    :param latents: Latents of these samples, (m, D).
    """
    deviation = latents.std(axis=0)
    scaled = latents / np.where(deviation > 0, deviation, 1)
    origin = scaled[~suspects].mean(axis=0)
    line = scaled[suspects].mean(axis=0) - origin
    place = (scaled - origin) @ line / max(float(line @ line), 1e-12)
    order = np.lexsort((-place, -scores))
    typical = np.argsort(np.abs(place), kind="stable")
    return Halves(members[order[suspects[order]]], members[typical[~suspects[typical]]])


def _group(examined: Examined, data: FolderData, found: Found, number: int) -> Group:
    rows = np.flatnonzero(data.labels == found.label)
    is_suspect, scores = found.members[rows], found.scores[rows]
    in_any = np.any([one.members[rows] for one in examined.groups], axis=0)
    if examined.defence is not None and not is_suspect.all():
        latents = examined.defence.latents_[rows].astype(np.float64)
        halves = order_halves(rows, is_suspect, scores, latents)
    else:
        order = np.argsort(-scores, kind="stable")
        halves = Halves(rows[order[is_suspect[order]]], rows[order[~is_suspect[order]]][::-1])
    typical = halves.typical[~np.isin(halves.typical, rows[in_any])]
    return Group(data.class_names[found.label], found.verdict == POISON, halves.suspects, typical, number, found)
