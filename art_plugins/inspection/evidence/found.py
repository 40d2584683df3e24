"""Samples of one class that some evidence sets apart, and one group where several kinds of evidence mean the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

POISON, LOOK_HERE, LABEL_ERROR = "poison", "look here", "likely label error"  # verdicts on a file, the gravest first
VERDICTS = (POISON, LOOK_HERE, LABEL_ERROR)
SAME = 0.5  # share of all members of two groups that both have, above which they are one


@dataclass(frozen=True)
class Found:
    """
    A group of one class.

    ``label``: its class; ``members``: (n,), bool; ``scores``: (n,), higher is more suspicious; ``verdict``: poison, look
    here or likely label error; ``p_value``: probability that data without poison have such a group, counted for the whole
    scan, ``None``: not known; ``evidence``: a sentence for each kind of evidence; ``kinds``: their names.
    """

    label: int
    members: np.ndarray
    scores: np.ndarray
    verdict: str
    p_value: float | None
    evidence: tuple[str, ...]
    kinds: tuple[str, ...]


def united(found: Sequence[Found]) -> list[Found]:
    """
    Make one group of those of one class that share most of their members, and give every sample one verdict.

    The group with the gravest verdict and the smallest p-value comes first. A group that means the same as an earlier one
    becomes part of it: its members too where the verdict on both is the same. Members that belong to an earlier group that
    means something else stay there.

    :return: Groups without common members, the gravest first; none is empty.
    """
    groups: list[Found] = []
    for one in sorted(found, key=_gravity):
        place = next((index for index, group in enumerate(groups) if _are_same(group, one)), None)
        if place is None:
            groups.append(one)
        else:
            groups[place] = _joined(groups[place], one)
    taken = np.zeros(len(groups[0].members), dtype=bool) if groups else np.zeros(0, dtype=bool)
    distinct = []
    for group in groups:
        members = group.members & ~taken
        taken |= members
        if members.any():
            distinct.append(replace(group, members=members))
    return distinct


def _gravity(one: Found) -> tuple[int, float, int]:
    return VERDICTS.index(one.verdict), 1.0 if one.p_value is None else one.p_value, one.label


def _are_same(group: Found, other: Found) -> bool:
    if group.label != other.label:
        return False
    return bool((group.members & other.members).sum() > SAME * (group.members | other.members).sum())


def _joined(group: Found, other: Found) -> Found:
    """The first group with the evidence of the second; scores of members that only the second has are its own."""
    is_new = other.members & ~group.members
    members = group.members | other.members if other.verdict == group.verdict else group.members
    p_values = [p for p in (group.p_value, other.p_value) if p is not None]
    return Found(
        group.label,
        members,
        np.where(is_new, other.scores, group.scores),
        group.verdict,
        min(p_values, default=None),
        (*group.evidence, *other.evidence),
        (*group.kinds, *other.kinds),
    )
