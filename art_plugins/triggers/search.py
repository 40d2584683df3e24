"""The search for the smallest pattern that sends images to a class (Wang et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm.auto import tqdm

from art_plugins.statistics.outliers import norm_index
from art_plugins.triggers.differentiable import DifferentiableClassifier
from art_plugins.triggers.forms import FORMS, Additive, Patch
from art_plugins.triggers.found import InvertedTriggers

SUCCESS = 0.99  # success rate over a window of steps from which a pattern counts as found (Wang et al. 2019)
WINDOW = 10  # number of steps over which the success rate is averaged, and after which the cost may change
CHECKED = 256  # largest number of images on which a smaller pattern is checked before it is kept
PATIENCE = 2  # windows of success (or of failure) in a row before the cost rises (or falls)
COST_UP, COST_DOWN = 2.0, 2.0**1.5  # factors by which the cost rises and falls (Wang et al. 2019)
QUIET_WINDOWS = 8  # windows without a pattern that is at least 1 % smaller, after which a search stops


class Search(NamedTuple):
    """The search for a pattern that sends the images in ``rows``, (n,), to class ``target``."""

    rows: Tensor
    target: int


class SearchSettings(NamedTuple):
    """
    Settings of one optimisation.

    ``nb_steps``: largest number of steps; ``batch_size``: images in one step of each search; ``min_success``: success rate
    from which a pattern is compared with the others; ``verbose``: whether a progress bar is shown.
    """

    nb_steps: int
    batch_size: int
    min_success: float
    verbose: bool


class CostSchedule:
    """
    The cost of the pattern's size in the loss of each search. It rises while the pattern succeeds and falls while it fails
    (Wang et al. 2019).
    """

    def __init__(self, nb_classes: int, first_cost: float) -> None:
        self.costs = np.zeros(nb_classes)
        self._first_cost = first_cost
        self._streak = np.zeros(nb_classes, dtype=int)  # windows of success in a row, negative: of failure
        self._has_risen, self._has_fallen = np.zeros(nb_classes, dtype=bool), np.zeros(nb_classes, dtype=bool)

    def update(self, succeeded: np.ndarray, active: np.ndarray) -> None:
        """Record whether each search succeeded in the last window; both arguments are (K,), bool."""
        self._streak = np.where(succeeded, self._streak.clip(min=0) + 1, self._streak.clip(max=0) - 1)
        rise, fall = active & (self._streak >= PATIENCE), active & (self._streak <= -PATIENCE)
        starts = rise & (self.costs == 0)
        self.costs = np.where(rise, self.costs * COST_UP, np.where(fall, self.costs / COST_DOWN, self.costs))
        self.costs[starts] = self._first_cost
        self._has_risen |= rise & ~starts
        self._has_fallen |= fall & (self.costs > 0)
        self._streak[rise | fall] = 0

    @property
    def has_turned(self) -> np.ndarray:
        """Whether the cost of each search has moved both up and down, (K,), bool; the best cost then lies in between."""
        return self._has_risen & self._has_fallen


class PatternSearch:
    """
    Optimises one kind of pattern for K searches side by side. A search without images is never active.

    :param model: The classifier.
    :param kind: A name in ``FORMS``.
    :param images: Images in the unit range, (n, ...).
    :param searches: The K searches; their rows index ``images``.
    :param settings: Settings of the optimisation.

    :ivar masks, patterns: The smallest patterns that succeeded, (K, ...); the latest one where none has.
    :ivar broke_off: Whether a search ended early because a loss or a gradient was not finite, (K,), bool.
    """

    def __init__(
        self,
        model: DifferentiableClassifier,
        kind: str,
        images: Tensor,
        searches: Sequence[Search],
        settings: SearchSettings,
    ) -> None:
        n_searches = len(searches)
        self.model, self.kind, self.images, self.searches, self.settings = model, kind, images, searches, settings
        self.form: Patch | Additive = FORMS[kind](n_searches, tuple(images.shape[1:]), model.channels_first, model.device)
        self._optimiser = torch.optim.Adam(self.form.parameters, lr=self.form.learning_rate, betas=(0.5, 0.9))
        self._schedule = CostSchedule(n_searches, self.form.first_cost)
        self._checks = [search.rows[torch.randperm(len(search.rows))[:CHECKED]] for search in searches]
        self.masks, self.patterns = (values.detach().clone() for values in self.form.values())
        self._best = np.full(n_searches, np.inf)
        self._quiet = np.zeros(n_searches, dtype=int)
        self._active = np.array([len(search.rows) > 0 for search in searches])
        self.broke_off = np.zeros(n_searches, dtype=bool)
        self._hits = np.zeros(n_searches)

    def run(self) -> None:
        """Optimise until no search is active or all steps are done."""
        nb_steps = self.settings.nb_steps
        description, silent = f"{self.kind} triggers", not self.settings.verbose or None
        with tqdm(range(nb_steps), desc=description, unit="step", disable=silent) as bar:
            for step in bar:
                self._step()
                window_ends = (step + 1) % WINDOW == 0 or step + 1 == nb_steps
                if window_ends and self._active.any():
                    self._close_window(step % WINDOW + 1)
                    bar.set_postfix(found=int(np.isfinite(self._best).sum()), open=int(self._active.sum()))
                if not self._active.any():
                    break

    def success_rates(self) -> np.ndarray:
        """Give the share of each search's images that its pattern sends to the target, (K,); NaN without images."""
        rates = [
            _success_rate(self.model, self.form, self.images[rows], target, self.masks[index], self.patterns[index])
            for index, (rows, target) in enumerate(self.searches)
        ]
        return np.array(rates)

    def _step(self) -> None:
        """Take one step of every active search, on images drawn at random."""
        which, batch_size = np.flatnonzero(self._active), self.settings.batch_size
        active = [self.searches[index] for index in which.tolist()]
        rows = torch.stack([search.rows[torch.randint(len(search.rows), (batch_size,))] for search in active])
        batch = self.images[rows].to(self.model.device)
        targets = torch.tensor([search.target for search in active], device=self.model.device)
        targets = targets.repeat_interleave(batch_size)
        all_masks, all_patterns = self.form.values()
        mask, pattern = all_masks[which], all_patterns[which]
        triggered = self.form.stamp(batch, mask[:, None], pattern[:, None])
        logits = self.model.logits(triggered.flatten(0, 1))
        errors = functional.cross_entropy(logits, targets, reduction="none").view(len(which), batch_size).mean(dim=1)
        norms = self.form.norms(mask, pattern)
        costs = torch.from_numpy(self._schedule.costs[which]).to(norms)
        self._optimiser.zero_grad()
        (errors + costs * norms).sum().backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        # Each search has parameters of its own: a loss or a gradient that is not finite affects no other search.
        self.broke_off[which] |= ~torch.isfinite(errors).cpu().numpy()
        self.broke_off |= self._active & ~_are_finite(self.form.parameters)
        self._active &= ~self.broke_off
        hits = (logits.argmax(dim=1) == targets).view(len(which), batch_size).float().mean(dim=1)
        self._hits[which] += hits.cpu().numpy()

    @torch.no_grad()
    def _close_window(self, n_steps: int) -> None:
        """Keep the patterns that have become smaller, change the costs, and stop the searches that no longer improve."""
        succeeded = self._active & (self._hits / n_steps >= SUCCESS)
        masks, patterns = self.form.values()
        sizes = self.form.norms(masks, patterns).cpu().numpy()
        smaller = self._still_succeed(succeeded & (sizes < self._best), masks, patterns)
        self._quiet = np.where(smaller & (sizes < 0.99 * self._best), 0, self._quiet + 1)
        # A search that has never succeeded keeps its latest pattern.
        kept = torch.from_numpy(np.flatnonzero(smaller | (self._active & np.isinf(self._best)))).to(self.model.device)
        self.masks[kept], self.patterns[kept] = masks[kept], patterns[kept]
        self._best = np.where(smaller, sizes, self._best)
        self._schedule.update(succeeded, self._active)
        self._active &= ~(self._schedule.has_turned & (self._quiet >= QUIET_WINDOWS))
        self._hits[:] = 0

    def _still_succeed(self, candidates: np.ndarray, masks: Tensor, patterns: Tensor) -> np.ndarray:
        """
        Say which of the candidates, (K,), bool, succeed as they are now: a pattern has shrunk since its window began.
        """
        succeed = candidates.copy()
        for index in np.flatnonzero(candidates).tolist():
            images, target = self.images[self._checks[index]], self.searches[index].target
            rate = _success_rate(self.model, self.form, images, target, masks[index], patterns[index])
            succeed[index] = rate >= SUCCESS
        return succeed


def invert_patterns(
    model: DifferentiableClassifier,
    kind: str,
    images: Tensor,
    searches: Sequence[Search],
    expected: np.ndarray,
    settings: SearchSettings,
) -> InvertedTriggers:
    """
    Optimise one kind of pattern for all searches side by side, and compare the sizes that were reached.

    The parameters are those of :class:`PatternSearch`, and:

    :param expected: Expected norm of each search's pattern, (K,), with which the norm reached is compared.
    :return: One pattern for each search; a search without images finds none.
    """
    search = PatternSearch(model, kind, images, searches, settings)
    search.run()
    success_rates = search.success_rates()
    norms = search.form.norms(search.masks, search.patterns).cpu().numpy().astype(np.float64)
    index = np.full(len(searches), np.nan)
    searched = np.array([len(one.rows) > 0 for one in searches])
    works = success_rates[searched] >= settings.min_success
    index[searched] = norm_index((norms / expected)[searched], works, search.form.least_sigma)
    scaled = search.patterns * model.range + (model.low if kind == "patch" else 0.0)
    masks = search.masks.expand(len(searches), *search.masks.shape[1:]).cpu().numpy()
    clip_values = (model.low, model.low + model.range)
    return InvertedTriggers(kind, masks, scaled.cpu().numpy(), norms, success_rates, index, clip_values, search.broke_off)


def _are_finite(parameters: Sequence[Tensor]) -> np.ndarray:
    """Say whether all parameters of each search are finite, (K,), bool."""
    finite = torch.stack([torch.isfinite(one.detach().flatten(1)).all(dim=1) for one in parameters])
    found: np.ndarray = finite.all(dim=0).cpu().numpy()
    return found


@torch.no_grad()
def _success_rate(
    model: DifferentiableClassifier, form: Patch | Additive, images: Tensor, label: int, mask: Tensor, pattern: Tensor
) -> float:
    """Give the share of the images that the pattern sends to class ``label``; NaN without images."""
    hits = 0
    for start in range(0, len(images), 512):
        batch = images[start : start + 512].to(model.device)
        logits = model.logits(form.stamp(batch, mask, pattern))
        hits += int(((logits.argmax(dim=1) == label) & ~torch.isnan(logits).any(dim=1)).sum())
    return hits / len(images) if len(images) else np.nan
