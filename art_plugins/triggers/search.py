"""The search for the smallest pattern that sends images to a class (Wang et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm.auto import tqdm

from art_plugins.statistics.outliers import norm_index
from art_plugins.triggers.differentiable import DifferentiableClassifier
from art_plugins.triggers.found import InvertedTriggers

SUCCESS = 0.99  # share of the images in a window of steps from which a pattern counts as found (Wang et al. 2019)


WINDOW = 10  # steps over which success is averaged, and after which the cost may change


CHECKED = 256  # images, at most, on which a smaller pattern is checked before it is kept


PATIENCE = 2  # windows of success (or of failure) before the cost goes up (or down)


COST_UP, COST_DOWN = 2.0, 2.0**1.5


QUIET_WINDOWS = 8  # windows without a pattern that is smaller by a hundredth, after which a search stops


class Search(NamedTuple):
    """For a pattern that sends the images in ``rows``, (n,), to class ``target``."""

    rows: Tensor
    target: int


class Patch:
    """A mask with one value a pixel and a pattern, for each search, both through tanh as in Neural Cleanse."""

    learning_rate, first_cost = 0.1, 1e-3
    least_sigma = 0.25  # of the logarithms of the norms of clean classes, measured on LeNet-5

    def __init__(self, nb_classes: int, shape: tuple[int, ...], channels_first: bool, device: Any) -> None:
        mask_shape = (1, *shape[1:]) if channels_first else (*shape[:2], 1)
        self._mask = (0.1 * torch.randn(nb_classes, *mask_shape)).to(device).requires_grad_()
        self._pattern = (0.1 * torch.randn(nb_classes, *shape)).to(device).requires_grad_()
        self.parameters = [self._mask, self._pattern]

    def values(self) -> tuple[Tensor, Tensor]:
        """Masks (K, 1, H, W) and patterns (K, C, H, W), both 0 to 1."""
        return (torch.tanh(self._mask) + 1) / 2, (torch.tanh(self._pattern) + 1) / 2

    @staticmethod
    def stamp(images: Tensor, mask: Tensor, pattern: Tensor) -> Tensor:
        """Eq. 2 of Wang et al. 2019."""
        return images + mask * (pattern - images)

    @staticmethod
    def norms(masks: Tensor, patterns: Tensor) -> Tensor:
        """|m|_1 of every class, in pixels."""
        return masks.flatten(1).sum(dim=1)


class Additive:
    """A perturbation for each class, from near zero."""

    learning_rate, first_cost = 0.01, 1e-2
    least_sigma = 0.1

    def __init__(self, nb_classes: int, shape: tuple[int, ...], channels_first: bool, device: Any) -> None:
        self._pattern = (1e-3 * torch.randn(nb_classes, *shape)).to(device).requires_grad_()
        self._ones = torch.ones(nb_classes, *[1] * len(shape), device=device)
        self.parameters = [self._pattern]

    def values(self) -> tuple[Tensor, Tensor]:
        """Ones, and perturbations (K, C, H, W)."""
        return self._ones, self._pattern

    @staticmethod
    def stamp(images: Tensor, mask: Tensor, pattern: Tensor) -> Tensor:
        """clip(x + v)."""
        return (images + pattern).clamp(0, 1)

    @staticmethod
    def norms(masks: Tensor, patterns: Tensor) -> Tensor:
        """||v||_2 of every class."""
        return (patterns.flatten(1).square().sum(dim=1) + 1e-12).sqrt()


FORMS: dict[str, type[Patch] | type[Additive]] = {"patch": Patch, "additive": Additive}


class CostSchedule:
    """Per class: the penalty's cost rises while the pattern succeeds and falls while it does not (Wang et al. 2019)."""

    def __init__(self, nb_classes: int, first_cost: float) -> None:
        self.costs = np.zeros(nb_classes)
        self._first_cost = first_cost
        self._streak = np.zeros(nb_classes, dtype=int)  # windows of success in a row, negative: of failure
        self._has_risen, self._has_fallen = np.zeros(nb_classes, dtype=bool), np.zeros(nb_classes, dtype=bool)

    def update(self, succeeded: np.ndarray, active: np.ndarray) -> None:
        """One window has passed; both (K,) bool."""
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
        """(K,) bool: the cost has moved both ways, so that it brackets what the class can bear."""
        return self._has_risen & self._has_fallen


def invert_patterns(
    model: DifferentiableClassifier,
    kind: str,
    images: Tensor,
    searches: Sequence[Search],
    expected: np.ndarray,
    nb_steps: int,
    batch_size: int,
    min_success: float,
    verbose: bool,
) -> InvertedTriggers:
    """
    The optimisation of one kind of pattern, for all searches side by side; one without images finds nothing.

    :param expected: What each search's norm is compared with, (number of searches,).
    """
    n_searches = len(searches)
    form = FORMS[kind](n_searches, tuple(images.shape[1:]), model.channels_first, model.device)
    optimiser = torch.optim.Adam(form.parameters, lr=form.learning_rate, betas=(0.5, 0.9))
    schedule = CostSchedule(n_searches, form.first_cost)
    checks = [search.rows[torch.randperm(len(search.rows))[:CHECKED]] for search in searches]
    masks, patterns = (values.detach().clone() for values in form.values())
    best = np.full(n_searches, np.inf)
    quiet = np.zeros(n_searches, dtype=int)
    active = np.array([len(search.rows) > 0 for search in searches])
    broke_off = np.zeros(n_searches, dtype=bool)
    bar = tqdm(range(nb_steps), desc=f"{kind} triggers", unit="step", disable=not verbose or None)
    hits = np.zeros(n_searches)
    for step in bar:
        which = np.flatnonzero(active)
        drawn = [searches[index].rows for index in which.tolist()]
        rows = torch.stack([rows[torch.randint(len(rows), (batch_size,))] for rows in drawn])
        batch = images[rows].to(model.device)
        targets = torch.tensor([searches[index].target for index in which.tolist()], device=model.device)
        targets = targets.repeat_interleave(batch_size)
        all_masks, all_patterns = form.values()
        mask, pattern = all_masks[which], all_patterns[which]
        stamped = form.stamp(batch, mask[:, None], pattern[:, None])
        logits = model.logits(stamped.flatten(0, 1))
        errors = functional.cross_entropy(logits, targets, reduction="none").view(len(which), batch_size).mean(dim=1)
        norms = form.norms(mask, pattern)
        costs = torch.from_numpy(schedule.costs[which]).to(norms)
        optimiser.zero_grad()
        (errors + costs * norms).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        # Each search has parameters of its own: a loss that is not finite, or whose gradients are not, spoils no other.
        broke_off[which] |= ~torch.isfinite(errors).cpu().numpy()
        broke_off |= active & ~_are_finite(form.parameters)
        active &= ~broke_off
        hits[which] += (logits.argmax(dim=1) == targets).view(len(which), batch_size).float().mean(dim=1).cpu().numpy()
        if not active.any():
            break
        if (step + 1) % WINDOW and step + 1 < nb_steps:
            continue
        succeeded = active & (hits / ((step % WINDOW) + 1) >= SUCCESS)
        with torch.no_grad():
            now_masks, now_patterns = form.values()
            sizes = form.norms(now_masks, now_patterns).cpu().numpy()
            # The pattern has shrunk since the window's first step, so a candidate has to succeed as it is now.
            smaller = succeeded & (sizes < best)
            candidates = np.flatnonzero(smaller)
            rates = [
                _success_rate(
                    model, form, images[checks[index]], searches[index].target, now_masks[index], now_patterns[index]
                )
                for index in candidates.tolist()
            ]
            smaller[candidates] = np.array(rates) >= SUCCESS
            quiet = np.where(smaller & (sizes < 0.99 * best), 0, quiet + 1)
            # A search that has never succeeded keeps its latest pattern.
            kept = torch.from_numpy(np.flatnonzero(smaller | (active & np.isinf(best)))).to(model.device)
            masks[kept], patterns[kept] = now_masks[kept], now_patterns[kept]
        best = np.where(smaller, sizes, best)
        schedule.update(succeeded, active)
        active &= ~(schedule.has_turned & (quiet >= QUIET_WINDOWS))
        hits[:] = 0
        bar.set_postfix(found=int(np.isfinite(best).sum()), open=int(active.sum()))
        if not active.any():
            break
    bar.close()
    success_rates = np.array(
        [
            _success_rate(model, form, images[search.rows], search.target, masks[index], patterns[index])
            for index, search in enumerate(searches)
        ]
    )
    norms_found = form.norms(masks, patterns).cpu().numpy().astype(np.float64)
    relative = norms_found / expected
    index = np.full(n_searches, np.nan)
    searched = np.array([len(search.rows) > 0 for search in searches])
    index[searched] = norm_index(relative[searched], success_rates[searched] >= min_success, form.least_sigma)
    scaled = patterns * model.range + (model.low if kind == "patch" else 0.0)
    full_masks = masks.expand(n_searches, *masks.shape[1:])
    clip_values = (model.low, model.low + model.range)
    return InvertedTriggers(
        kind, full_masks.cpu().numpy(), scaled.cpu().numpy(), norms_found, success_rates, index, clip_values, broke_off
    )


def _are_finite(parameters: Sequence[Tensor]) -> np.ndarray:
    """Whether all parameters of each search are finite, (K,), bool."""
    finite = torch.stack([torch.isfinite(one.detach().flatten(1)).all(dim=1) for one in parameters])
    found: np.ndarray = finite.all(dim=0).cpu().numpy()
    return found


@torch.no_grad()
def _success_rate(
    model: DifferentiableClassifier, form: Any, images: Tensor, label: int, mask: Tensor, pattern: Tensor
) -> float:
    """Share of the images that the pattern sends to class ``label``; NaN without images."""
    hits = 0
    for start in range(0, len(images), 512):
        batch = images[start : start + 512].to(model.device)
        logits = model.logits(form.stamp(batch, mask, pattern))
        hits += int(((logits.argmax(dim=1) == label) & ~torch.isnan(logits).any(dim=1)).sum())
    return hits / len(images) if len(images) else np.nan
