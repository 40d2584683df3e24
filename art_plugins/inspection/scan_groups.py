"""The classes of a scan that a person should look at, and the order in which to look at their samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.files.folder_data import FolderData
from art_plugins.inspection.deciding.decisions import REJECT, Decisions
from art_plugins.inspection.scan_words import POISONED, classes_to_show


@dataclass(frozen=True)
class Group:
    """
    A class to look at: positions of its suspects, most suspicious first, and of the others, most typical first.

    ``by_a_person``: the suspects are samples that a person has rejected, and the scan itself does not suspect.
    """

    name: str
    is_verdict: bool
    suspects: np.ndarray
    typical: np.ndarray
    by_a_person: bool = False


class Halves(NamedTuple):
    """Positions of a class's samples: the suspects, the most suspicious first; the others, the most typical first."""

    suspects: np.ndarray
    typical: np.ndarray


def groups_to_show(defence: VAELatentDefence, data: FolderData, classes: Sequence[dict[str, Any]]) -> list[Group]:
    """
    :param defence: After its detection.
    :param classes: The ranking, the most suspicious class first.
    """
    return [_group(defence, data, row) for row in classes_to_show(classes)]


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
    for label, rejected in sorted(found.items()):
        others = np.setdiff1d(np.flatnonzero(data.labels == label), [*known, *rejected])
        rows.append(Group(data.class_names[label], True, np.array(rejected), others, True))
    return rows


def order_halves(members: np.ndarray, suspects: np.ndarray, scores: np.ndarray, latents: np.ndarray) -> Halves:
    """
    Put the halves of a class into the order in which a person should look at them.

    Most samples of a half have equal scores. Among those, the place along the line between the two halves' means (in the
    class's standard deviations; 0 at the mean of the others, 1 at that of the suspects) decides: suspects far out come
    first, typical samples are those near 0.

    :param members: Positions of the class's samples, (m,).
    :param suspects: Which of them are suspected, (m,), bool, neither none nor all.
    :param scores: Their outlier scores, (m,).
    :param latents: Their latents, (m, D).
    """
    deviation = latents.std(axis=0)
    scaled = latents / np.where(deviation > 0, deviation, 1)
    origin = scaled[~suspects].mean(axis=0)
    line = scaled[suspects].mean(axis=0) - origin
    place = (scaled - origin) @ line / max(float(line @ line), 1e-12)
    order = np.lexsort((-place, -scores))
    typical = np.argsort(np.abs(place), kind="stable")
    return Halves(members[order[suspects[order]]], members[typical[~suspects[typical]]])


def _group(defence: VAELatentDefence, data: FolderData, row: dict[str, Any]) -> Group:
    members = np.flatnonzero(data.labels == data.class_names.index(row["name"]))
    halves = order_halves(
        members, defence.suspects_[members], defence.outlier_scores_[members], defence.latents_[members].astype(np.float64)
    )
    return Group(row["name"], row["verdict"] == POISONED, halves.suspects, halves.typical)
