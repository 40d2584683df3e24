"""The search for the smallest pattern that sends images to a class (Wang et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm.auto import tqdm

from art_plugins.triggers.differentiable import DifferentiableClassifier
from art_plugins.triggers.searching.costs import CostSchedule
from art_plugins.triggers.searching.forms import FORMS, Additive, Patch

SUCCESS = 0.99  # success rate over a window of steps from which a pattern counts as found (Wang et al. 2019)
WINDOW = 10  # number of steps over which the success rate is averaged, and after which the cost may change
CHECKED = 256  # largest number of images on which a smaller pattern is checked before it is kept
QUIET_WINDOWS = 8  # windows without a pattern that is at least 1 % smaller, after which a search stops
MOST_VALUES = 2**24  # values of the images in one pass (64 MiB); a pass of more is made in parts, for the memory


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
    :ivar converged: Whether a search has found its smallest pattern, (K,), bool: its cost has moved both up and down, and
        in the last windows the pattern has hardly shrunk. "Hardly" is 1 % while steps are left. After the last step it is
        the standard deviation by which clean classes differ (``least_sigma``): more steps would hardly move an index.
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
        self.converged = np.zeros(n_searches, dtype=bool)
        self._best_sizes: list[np.ndarray] = []  # after each window
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
        if len(self._best_sizes) > QUIET_WINDOWS:
            with np.errstate(invalid="ignore", divide="ignore"):  # no pattern succeeded, or none is needed
                shrunk = np.log(self._best_sizes[-1 - QUIET_WINDOWS]) - np.log(self._best)
            self.converged |= self._active & self._schedule.has_turned & (shrunk <= self.form.least_sigma)

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
        self._optimiser.zero_grad()
        for part in parts_of_pass(len(which), batch_size * self.images[0].numel()):
            searches = [active[index] for index in part.tolist()]
            found = objective(self.model, self.form, self.images, searches, which[part], rows[part])
            costs = torch.from_numpy(self._schedule.costs[which[part]]).to(found.norms)
            (found.errors + costs * found.norms).sum().backward()  # type: ignore[no-untyped-call]
            self.broke_off[which[part]] |= ~torch.isfinite(found.errors).cpu().numpy()
            self._hits[which[part]] += found.hits.cpu().numpy()
        self._optimiser.step()
        # Each search has parameters of its own: a loss or a gradient that is not finite affects no other search.
        self.broke_off |= self._active & ~_are_finite(self.form.parameters)
        self._active &= ~self.broke_off

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
        finished = self._active & self._schedule.has_turned & (self._quiet >= QUIET_WINDOWS)
        self.converged |= finished
        self._active &= ~finished
        self._best_sizes.append(self._best.copy())
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


class Objective(NamedTuple):
    """What a step of some searches gives, (S,) each: mean cross-entropy, norm, and share of images sent to the target."""

    errors: Tensor
    norms: Tensor
    hits: Tensor


def objective(
    model: DifferentiableClassifier,
    form: Patch | Additive,
    images: Tensor,
    searches: Sequence[Search],
    which: np.ndarray,
    rows: Tensor,
) -> Objective:
    """
    Stamp images with the patterns of some searches, and say how well the patterns work.

    :param searches: The searches, S of them.
    :param which: Positions of the searches in ``form``, (S,).
    :param rows: The images of each search, (S, B), which index ``images``.
    """
    n_searches, batch_size = rows.shape
    targets = torch.tensor([search.target for search in searches], device=model.device).repeat_interleave(batch_size)
    all_masks, all_patterns = form.values()
    mask, pattern = all_masks[which], all_patterns[which]
    triggered = form.stamp(images[rows].to(model.device), mask[:, None], pattern[:, None])
    logits = model.logits(triggered.flatten(0, 1))
    errors = functional.cross_entropy(logits, targets, reduction="none").view(n_searches, batch_size).mean(dim=1)
    hits = (logits.argmax(dim=1) == targets).view(n_searches, batch_size).float().mean(dim=1)
    return Objective(errors, form.norms(mask, pattern), hits)


def parts_of_pass(n_searches: int, n_values: int) -> list[np.ndarray]:
    """
    Split the searches of a step so that no pass takes more than ``MOST_VALUES``, if one search does not.

    :param n_values: Number of values of one search's images.
    """
    return np.array_split(np.arange(n_searches), min(n_searches, -(-n_searches * n_values // MOST_VALUES)))


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
