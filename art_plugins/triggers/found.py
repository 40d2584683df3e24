"""The result of a trigger inversion: patterns, indices, and the decision in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from art_plugins.statistics.outliers import gaps_below, highest
from art_plugins.triggers.stamps import AdditiveTrigger, MaskedTrigger

INDEX_RULE = (
    "The index of a class is the highest of its indices by each kind of pattern and of the sum of its indices by each kind "
    "of pattern, divided by the square root of the number of kinds. So a kind by which a class is far out is not outvoted. "
    "A kind of which no pattern works for the class is left out. A search that broke off or did not converge counts "
    "neither for its class nor in the comparison. Its class is not decided, unless its index is above the threshold. The "
    "class of the highest index is called a backdoor's target if that index is above the threshold and the class stands "
    "apart: its index lies at least 2.58 above that of the next class, or is so high that at most 1 in 100 clean models "
    "has such an index. In clean models classes differ too, but the smallest pattern is seldom much smaller than the next. "
    "A model may have two targets. So two classes above the threshold may stand apart together, if there are five classes "
    "or more: the lower one lies at least 2.58 above the next class."
)
# The null: the indices of the classes of 17 clean models with 10 to 92 classes (the records in_flight,
# in_flight_cifar10_clean and in_flight_classes), of which the highest are 5.0 and 3.3, and the gaps between the two highest
# indices of each model, of which the largest are 1.7 and 1.2. Both are exponential at most: each scale is the smallest, to
# a tenth, at which exp(-q / scale) is nowhere below the share of the classes, or of the models, that reach q.
NULL_SCALE = 0.9
GAP_SCALE = 0.8
GAP_RATE, ALONE_RATE = 0.04, 0.01  # of clean models that the first gap, or an index alone, accuses; together 1 in 20
THRESHOLD = 3.5  # robust deviations from which a value counts as an outlier (Iglewicz and Hoaglin 1993)
MOST_NAMES = 10  # classes that a sentence names


class InvertedTriggers(NamedTuple):
    """
    One pattern for each of K searches, in the images' units and channel order. There is a search for each target class, or
    for each source class of one target.

    ``kind``: ``"patch"`` or ``"additive"``; ``masks`` (K, ...): 0 to 1, one value a pixel (all ones for additive
    patterns); ``patterns`` (K, ...); ``norms`` (K,): sum of the mask in pixels, or L2 norm of the perturbation in units of
    the images' range; ``success_rates`` (K,): share of the searched clean images that the pattern sends to the target;
    ``anomaly_index`` (K,): how far the logarithm of norm / expected distance lies below the median, in robust standard
    deviations (1.4826 MAD, but at least the usual value for clean classes: 0.25 for patches, 0.1 for additive patterns);
    for target classes, the same of the norm alone, if that is lower. A higher index is more suspicious; it is NaN if no
    pattern succeeded or the search did not converge. ``clip_values``:
    lowest and highest value of the images; ``broke_off`` (K,) bool: searches that ended early because the model gave values
    or gradients that are not finite; ``unfinished`` (K,) bool: searches whose pattern was still shrinking, or that had
    found none that works, after the last step. A smaller pattern may exist for both, so that they do not count.
    ``screened`` (K,) bool: searches that were not made in full, because a short contest had found smaller patterns for
    other classes (see :mod:`~art_plugins.triggers.searching.screening`); they have no pattern, and NaN as norm and success
    rate. ``stands_for`` (K,) int: number of searches that a search stands for in the comparison; 0 for those that were
    only screened; empty if every search stands for itself.
    """

    kind: str
    masks: np.ndarray
    patterns: np.ndarray
    norms: np.ndarray
    success_rates: np.ndarray
    anomaly_index: np.ndarray
    clip_values: tuple[float, float]
    broke_off: np.ndarray = np.zeros(0, dtype=bool)
    unfinished: np.ndarray = np.zeros(0, dtype=bool)
    screened: np.ndarray = np.zeros(0, dtype=bool)
    stands_for: np.ndarray = np.zeros(0, dtype=np.int64)

    def trigger(self, label: int) -> Callable[[np.ndarray], np.ndarray]:
        """Give the pattern of row ``label`` as a callable that stamps a batch of images."""
        if self.kind == "patch":
            patch: Callable[[np.ndarray], np.ndarray] = MaskedTrigger(self.masks[label], self.patterns[label])
            return patch
        additive: Callable[[np.ndarray], np.ndarray] = AdditiveTrigger(self.patterns[label], self.clip_values)
        return additive


class Inversion(NamedTuple):
    """
    The result of a trigger inversion.

    ``inverted``: one :class:`InvertedTriggers` for each kind of pattern; ``expected_distances`` (K,): see
    :func:`~art_plugins.triggers.searching.distances.expected_distances`; ``anomaly_index`` (K,): the index of each class,
    see ``INDEX_RULE``; ``target_class``: the target of the backdoor, or ``None`` if there is none or it is not decided (see
    ``undecided``); ``kind`` and ``success_rate``: kind and success rate of the target's pattern with the highest index.

    If a backdoor was found, ``by_source`` holds for each kind the patterns that send one source class alone to the target.
    Their indices compare the norms relative to :func:`~art_plugins.triggers.searching.distances.source_distances`.
    ``source_class`` is the class whose pattern is far smaller than those of the other sources, or ``None`` if the backdoor
    works for all classes. It is ``None`` too if the pattern for all classes is far out by itself (:func:`is_far_out`): then
    the backdoor needs no single source. If there is such a class, ``kind``, ``success_rate`` and ``trigger`` belong to its
    pattern.
    """

    inverted: tuple[InvertedTriggers, ...]
    expected_distances: np.ndarray
    anomaly_index: np.ndarray
    target_class: int | None
    kind: str | None
    success_rate: float | None
    by_source: tuple[InvertedTriggers, ...] = ()
    source_class: int | None = None

    @property
    def broke_off(self) -> list[int]:
        """Classes with a search that ended early because the model gave values that are not finite."""
        return self._classes("broke_off")

    @property
    def unfinished(self) -> list[int]:
        """Classes with a search that had not converged after the last step, and none that broke off."""
        return [label for label in self._classes("unfinished") if label not in self.broke_off]

    @property
    def screened(self) -> list[int]:
        """Classes that were not searched in full, because a short contest had found smaller patterns for other classes."""
        return self._classes("screened")

    @property
    def undecided(self) -> list[int]:
        """
        Classes with a search that broke off or did not converge. Such a class may be the target of a backdoor although no
        small pattern was found.
        """
        return sorted({*self.broke_off, *self.unfinished} - {self.target_class})

    def _classes(self, state: str) -> list[int]:
        """Classes of which a search by one kind or more ended in this state."""
        found = [getattr(one, state) for one in self.inverted if len(getattr(one, state))]
        return [int(label) for label in np.flatnonzero(np.any(found, axis=0))] if found else []

    @property
    def trigger(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """The estimated trigger, or ``None`` if no backdoor was found."""
        if self.target_class is None:
            return None
        if self.source_class is not None:
            return next(one for one in self.by_source if one.kind == self.kind).trigger(self.source_class)
        return next(one for one in self.inverted if one.kind == self.kind).trigger(self.target_class)

    def sentence(self) -> str:
        """Give the finding in words."""
        known = np.isfinite(self.anomaly_index).any()
        highest_index = f"the highest index is {self._index_words(int(np.nanargmax(self.anomaly_index)))}" if known else ""
        reasons = "; ".join(self._reasons())
        if self.target_class is None and reasons:
            return f"Not decided: {reasons}; {highest_index or 'no class has a pattern that works'}."
        if self.target_class is None:
            return f"No backdoor found: {highest_index or 'no class has a pattern that works; give more steps'}."
        images = "the clean images" if self.source_class is None else f"the clean images of class {self.source_class} alone"
        return (
            f"A backdoor towards class {self.target_class}: its index is {self._index_words(self.target_class)}; its "
            f"{self.kind} pattern sends {self.success_rate:.3f} of {images} there."
            + (f" But {reasons}." if reasons else "")
        )

    def _reasons(self) -> list[str]:
        """Say for which classes nothing is decided, and why."""
        broke_off = [label for label in self.broke_off if label in self.undecided]
        unfinished = [label for label in self.unfinished if label in self.undecided]
        reasons = []
        if broke_off:
            classes = listed(map(str, broke_off))
            reasons.append(f"the model gave values or gradients that are not finite in the search for class {classes}")
        if unfinished:
            classes = listed(map(str, unfinished))
            reasons.append(f"the search for class {classes} did not converge, so give more steps")
        return reasons

    def _index_words(self, label: int) -> str:
        """Give the index of a class, followed by the indices of the kinds if there are several."""
        index = f"{self.anomaly_index[label]:.2f}"
        parts = [
            f"{one.kind} {one.anomaly_index[label]:.2f}" for one in self.inverted if not np.isnan(one.anomaly_index[label])
        ]
        return index if len(self.inverted) == 1 else f"{index} (from {', '.join(parts)})"


def false_alarm_rate(threshold: float, nb_classes: int) -> float:
    """
    Give the share of clean models that are accused, at most. A class is accused by a gap below it or by its index alone.
    The rates are added; those of the gaps do not depend on the number of classes. The gap below the j-th class has the
    scale of the first divided by j, so that the same length has the rate of the first to the power of j. A high threshold
    lowers their sum: the index of a clean class is exponential at most, and the classes are counted by Bonferroni's bound.

    :param threshold: Index above which a class may be called a backdoor's target.
    :param nb_classes: Number of classes of the models.
    :return: 0 to 1.
    """
    by_gaps = sum(GAP_RATE**place for place in range(1, _most_together(nb_classes) + 1))
    return float(min(by_gaps + ALONE_RATE, nb_classes * np.exp(-max(threshold, 0.0) / NULL_SCALE)))


def accused_class(index: np.ndarray, threshold: float) -> int | None:
    """
    Give the class that is called a backdoor's target by ``INDEX_RULE``, or ``None``.

    :param index: Indices of the classes, (K,); NaN where nothing is known.
    """
    label = highest(index, threshold)
    if label is None:
        return None
    n_above = min(int((index > threshold).sum()), _most_together(len(index)))
    stand_apart = gaps_below(index)[:n_above] >= GAP_SCALE * np.log(1 / GAP_RATE)
    return label if is_far_out(index, label) or stand_apart.any() else None


def is_far_out(index: np.ndarray, label: int) -> bool:
    """Say whether the index of a class is so high that at most 1 in 100 clean models has such an index."""
    return bool(index[label] >= NULL_SCALE * np.log(len(index) / ALONE_RATE))


def _most_together(nb_classes: int) -> int:
    """How many classes may stand apart together: two, if they are fewer than half, since the median has index 0."""
    return 2 if nb_classes > 4 else 1


def listed(names: Iterable[str]) -> str:
    """Give the first names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - MOST_NAMES} more" if len(every) > MOST_NAMES else ""
    return ", ".join(every[:MOST_NAMES]) + more
