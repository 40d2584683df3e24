"""
Where a class may fall in two: along directions in which it varies more than the other classes do, and where its samples
begin to look like another class. Each is cut once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh

from art_plugins.groups.cuts import minimum_error_cut
from art_plugins.groups.evidence import separation

ALIKE = 0.01  # share of the samples in which two cuts may differ and still be taken for one
N_DIRECTIONS = 6  # of each view: a trigger takes one, a class's own kinds take others
SHRINKAGE = 0.01  # of the mean variance, that is added to every direction's for the discriminant of all classes
RIDGE = 1e-3  # of the mean variance, so that a view of lower rank than it has axes can be used


class Candidate(NamedTuple):
    """A cut of a class: ``members`` (m,), bool, and how far both sides lie apart in that one direction."""

    members: np.ndarray
    separation: float


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two cuts of a class, (m,), bool, differ in at most 1 % of the samples, or are each other's rest."""
    return bool(min((one != other).mean(), (one == other).mean()) <= ALIKE)


def candidate_groups(x: np.ndarray, elsewhere: np.ndarray) -> list[Candidate]:
    """
    Cut a class in the directions in which its variance is largest beside that of the other classes.

    The directions are the generalised eigenvectors of both covariances. What makes the samples of every class differ is
    shared by all; a trigger is in one class, or is a small part of many.

    :param x: A view of the samples of the class, (m, d).
    :param elsewhere: Covariance of the other classes about their own centres, (d, d).
    :return: At most 6, one for each direction.
    """
    centred = x - np.median(x, axis=0)
    own = centred.T.astype(np.float64) @ centred / len(x)
    d = len(elsewhere)
    reference = elsewhere + np.eye(d) * max(RIDGE * np.trace(elsewhere) / d, 1e-12)
    _, axes = eigh(own, reference, subset_by_index=[max(0, d - N_DIRECTIONS), d - 1])
    found = []
    for values in (centred @ axes).T:
        cut = minimum_error_cut(values)
        if cut is None:
            continue
        members = values > cut
        if 0 < members.sum() < len(members):
            found.append(Candidate(members, separation(values, members)))
    return found


def content_cut(
    x: np.ndarray, centre: np.ndarray, others: Sequence[np.ndarray], elsewhere: np.ndarray
) -> np.ndarray | None:
    """
    Cut a class where its samples begin to look like another class, by the linear discriminant of all classes.

    A faint trigger varies less than the content of the samples, so that no direction of the largest variance shows it. The
    samples still differ from their class in that they came from others. Of a clean class these are its odd samples.

    :param x: Features of the samples of the class, (m, d).
    :param centre: Where the class lies, (d,).
    :param others: Where each other class lies, (d,).
    :param elsewhere: Covariance of the other classes about their own centres, (d, d).
    :return: Which samples of the class look like another one, (m,), bool; ``None`` without another class, or where the
        class cannot be cut.
    """
    if not others:
        return None
    d = len(elsewhere)
    factor = cho_factor(elsewhere + np.eye(d) * max(SHRINKAGE * np.trace(elsewhere) / d, 1e-12))
    centres = np.stack([centre, *others]).astype(np.float64)
    weights = cho_solve(factor, centres.T)
    scores = x @ weights - (centres.T * weights).sum(axis=0) / 2
    of_another = scores[:, 1:].max(axis=1) - scores[:, 0]
    cut = minimum_error_cut(of_another)
    found = None if cut is None else of_another > cut
    return found if found is not None and found.any() else None
