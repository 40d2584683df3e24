"""The patterns of one kind towards all classes, and how far the size of each lies below that of the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from art_plugins.statistics.outliers import lower_reading, norm_index
from art_plugins.triggers.differentiable import DifferentiableClassifier
from art_plugins.triggers.found import InvertedTriggers
from art_plugins.triggers.searching.search import PatternSearch, Search, SearchSettings


def invert_patterns(
    model: DifferentiableClassifier,
    kind: str,
    images: Tensor,
    searches: Sequence[Search],
    references: Sequence[np.ndarray],
    settings: SearchSettings,
    counts: np.ndarray | None = None,
) -> InvertedTriggers:
    """
    Optimise one kind of pattern side by side for all searches that are chosen, and compare the sizes that were reached.

    The parameters are those of :class:`PatternSearch`, and:

    :param references: Norms with which the norm that is reached is compared, (K,) each; the lowest index counts.
    :param counts: Number of searches that each search stands for, (K,), int; 0: the search is left out. ``None``: every
        search stands for itself.
    :return: One pattern for each search; a search without images, or one that is left out, finds none.
    """
    has_images = np.array([len(one.rows) > 0 for one in searches])
    stands_for = np.zeros(0, dtype=np.int64) if counts is None else counts
    counts = np.ones(len(searches), dtype=int) if counts is None else counts
    chosen = np.flatnonzero(counts > 0)
    search = PatternSearch(model, kind, images, [searches[index] for index in chosen.tolist()], settings)
    search.run()
    success_rates = search.success_rates()
    norms = search.form.norms(search.masks, search.patterns).cpu().numpy().astype(np.float64)
    index = np.full(len(chosen), np.nan)
    known = search.converged
    works = success_rates[known] >= settings.min_success
    least_sigma, numbers = search.form.least_sigma, counts[chosen][known]
    readings = [norm_index((norms / one[chosen])[known], works, least_sigma, numbers) for one in references]
    index[known] = lower_reading(readings)
    scaled = search.patterns * model.range + (model.low if kind == "patch" else 0.0)
    masks = search.masks.expand(len(chosen), *search.masks.shape[1:]).cpu().numpy()
    unfinished = has_images[chosen] & ~search.converged & ~search.broke_off

    def spread(values: np.ndarray, rest: float) -> np.ndarray:
        """Give each of the K searches its values, and the others ``rest``."""
        every = np.full((len(searches), *values.shape[1:]), rest, dtype=values.dtype)
        every[chosen] = values
        return every

    return InvertedTriggers(
        kind,
        spread(masks, 0),
        spread(scaled.cpu().numpy(), 0),
        spread(norms, np.nan),
        spread(success_rates, np.nan),
        spread(index, np.nan),
        (model.low, model.low + model.range),
        spread(search.broke_off, False),
        spread(unfinished, False),
        has_images & (counts == 0),
        stands_for,
    )
