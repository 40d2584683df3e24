"""
Which of many searches are worth their full length: a short contest on few images.

A full search takes hundreds of steps on 32 images, for each class. With hundreds of classes most of it is spent on classes
whose pattern is large. K-Arm (Shen et al. 2021) treats the classes as arms of a bandit and gives the steps to those that
promise a small pattern. Here the bandit is played by successive halving (Karnin et al. 2013), in which all classes of a
round are optimised in one batch: every class gets a few steps, the better half gets some more, and so on. All classes of a
round have had equal budgets, so that their losses can be compared. A backdoor's loss falls fast, since its shortcut needs
few steps. The few winners of each kind of pattern are the candidates.

The null. Only the candidates would be searched in full, and they are the smallest of all classes by choice: compared with
each other, none would stand out, and compared with the screened sizes of the others, which have had less budget and are
larger, all would. The sizes of the other classes are therefore estimated at equal budget. The classes that are no
candidates are sorted by their screened losses and split into strata of equal size. The class in the middle of each stratum,
a reference, is searched in full as well, and stands for its stratum: it is counted as many times as its stratum has classes
in the median and in the spread, as in a stratified sample. The candidates stand for themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from art_plugins.triggers.differentiable import DifferentiableClassifier
from art_plugins.triggers.searching.forms import FORMS
from art_plugins.triggers.searching.search import Search, objective, parts_of_pass

MOST_FULL = 10  # searches that are all made in full; as many are left of more by two kinds of pattern and REFERENCES
CANDIDATES = 2  # winners for each kind of pattern
REFERENCES = 5  # searches that stand for all others; the fewest of which a median and a spread can be told
# Chosen on 11 backdoored models of MNIST and Fashion-MNIST (LeNet-5 and a network without normalisation; white boxes,
# blended images, patches at random places), where the target was first of ten classes after 20 steps, but once second.
BATCH_SIZE = 16  # images of each search in one step
FIRST_STEPS, MORE_STEPS = 20, 10  # steps of all searches, and of the better half in each later round
COMPARED = 5  # last steps of a round, whose mean loss is compared
GROUP = 128  # searches side by side, for the memory


class Contest(NamedTuple):
    """
    ``losses`` (K,): the losses after the first round; ``winners``: positions of the best searches, the best one first;
    ``broken`` (K,), bool: whether a loss was not finite.
    """

    losses: np.ndarray
    winners: list[int]
    broken: np.ndarray


def screen(
    model: DifferentiableClassifier,
    kinds: Sequence[str],
    images: Tensor,
    searches: Sequence[Search],
    distance: float,
    verbose: bool,
) -> np.ndarray | None:
    """
    Choose the searches that are made in full.

    :param model: The classifier.
    :param kinds: Names in ``FORMS``.
    :param images: Images in the unit range, (n, ...).
    :param searches: All searches, K of them; one without images is never chosen.
    :param distance: Median distance of single images from another class; the unit of the sizes of additive patterns.
    :param verbose: Whether a progress bar is shown.
    :return: Number of searches that each search stands for, (K,), int: 1 for a candidate, the size of its stratum for a
        reference, and 0 for a search that is left out. ``None`` if there are so few that all are made in full.
    """
    open_ = np.array([index for index, one in enumerate(searches) if len(one.rows)])
    if len(open_) <= MOST_FULL:
        return None
    chosen = [searches[index] for index in open_.tolist()]
    contests = [contest(model, kind, images, chosen, distance, verbose) for kind in kinds]
    # A search that breaks off does so again in full, which says that nothing is known of its class.
    broken = np.flatnonzero(np.any([one.broken for one in contests], axis=0)).tolist()
    candidates = sorted({winner for one in contests for winner in one.winners}.union(broken))
    # Ranks can be added over the kinds; losses cannot.
    ranks = np.sum([one.losses.argsort().argsort() for one in contests], axis=0)
    rest = [index for index in np.argsort(ranks, kind="stable").tolist() if index not in candidates]
    counts = np.zeros(len(searches), dtype=int)
    counts[open_[candidates]] = 1
    for stratum in np.array_split(np.array(rest, dtype=int), REFERENCES):
        if len(stratum):
            counts[open_[stratum[len(stratum) // 2]]] = len(stratum)
    return counts


def contest(
    model: DifferentiableClassifier,
    kind: str,
    images: Tensor,
    searches: Sequence[Search],
    distance: float,
    verbose: bool = False,
) -> Contest:
    """
    Play successive halving for one kind of pattern.

    The parameters are those of :func:`screen`; every search has images.
    """
    n_groups = -(-len(searches) // GROUP)
    losses, last = np.zeros(len(searches)), np.full(len(searches), np.inf)
    broken = np.zeros(len(searches), dtype=bool)
    with tqdm(total=len(searches), desc=f"screening, {kind}", unit="class", disable=not verbose or None) as bar:
        for group in np.array_split(np.arange(len(searches)), n_groups):
            player = _Group(model, kind, images, [searches[index] for index in group.tolist()], distance)
            left = np.arange(len(group))
            losses[group] = found = player.play(left, FIRST_STEPS)
            while len(left) > CANDIDATES:
                left = left[np.argsort(found, kind="stable")[: max(CANDIDATES, len(left) // 2)]]
                found = player.play(left, MORE_STEPS)
            last[group[left]] = found
            broken[group] = player.broken
            bar.update(len(group))
    return Contest(losses, np.argsort(last, kind="stable")[:CANDIDATES].tolist(), broken)


class _Group:
    """Searches that are screened side by side. A loss that is not finite counts as infinite."""

    def __init__(
        self, model: DifferentiableClassifier, kind: str, images: Tensor, searches: Sequence[Search], distance: float
    ) -> None:
        self.model, self.images, self.searches = model, images, searches
        self.broken = np.zeros(len(searches), dtype=bool)
        self.form = FORMS[kind](len(searches), tuple(images.shape[1:]), model.channels_first, model.device)
        self.form.start_small()
        self._cost = self.form.screening_cost(distance)
        self._optimiser = torch.optim.Adam(self.form.parameters, lr=self.form.learning_rate, betas=(0.5, 0.9))

    def play(self, which: np.ndarray, nb_steps: int) -> np.ndarray:
        """Optimise some of the searches, (S,), and give the mean loss of the last steps, (S,)."""
        losses = np.zeros((nb_steps, len(which)))
        for step in range(nb_steps):
            self._optimiser.zero_grad()
            for part in parts_of_pass(len(which), BATCH_SIZE * self.images[0].numel()):
                searches = [self.searches[index] for index in which[part].tolist()]
                rows = torch.stack([one.rows[torch.randint(len(one.rows), (BATCH_SIZE,))] for one in searches])
                found = objective(self.model, self.form, self.images, searches, which[part], rows)
                loss = found.errors + self._cost * found.norms
                loss.sum().backward()  # type: ignore[no-untyped-call]
                losses[step, part] = loss.detach().cpu().numpy()
            self._optimiser.step()
        self.broken[which] |= ~np.isfinite(losses).all(axis=0)
        compared: np.ndarray = np.nan_to_num(losses[-COMPARED:].mean(axis=0), nan=np.inf)
        return compared
