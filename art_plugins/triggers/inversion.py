"""
Is a trained classifier backdoored, towards which class, and by what pattern? Trigger inversion for PyTorch classifiers.

For every class, the smallest pattern that sends clean images of the other classes to it is sought. A backdoor is a
shortcut: towards its target a much smaller pattern suffices than towards the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm.auto import tqdm

from art_plugins.arrays import check_finite, check_samples
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import collect_outputs
from art_plugins.features.classifiers import (
    accuracy_warning,
    check_input_range,
    class_outputs,
    forward,
    predicted_classes,
    torch_module,
)
from art_plugins.features.outputs import check_outputs
from art_plugins.features.training import seeded
from art_plugins.parameters import check_choice, check_count, check_number, plain, shown
from art_plugins.statistics.labels import class_labels
from art_plugins.statistics.outliers import mad_index
from art_plugins.triggers.patterns import AdditiveTrigger, MaskedTrigger

logger = logging.getLogger(__name__)

KINDS = ("patch", "additive")
INVERSION_PRECISIONS = ("32-true", "bf16-mixed")
MIN_CLASSES = 3
SUCCESS = 0.99  # share of the images in a window of steps from which a pattern counts as found (Wang et al. 2019)
WINDOW = 10  # steps over which success is averaged, and after which the cost may change
CHECKED = 256  # images, at most, on which a smaller pattern is checked before it is kept
PATIENCE = 2  # windows of success (or of failure) before the cost goes up (or down)
COST_UP, COST_DOWN = 2.0, 2.0**1.5
MOST_BATCH = 100_000  # images of a step, for each class
QUIET_WINDOWS = 8  # windows without a pattern that is smaller by a hundredth, after which a search stops
SOURCE_THRESHOLD = 4.2  # index above which one source class has a pattern of its own
INDEX_RULE = (
    "The index of a class is the sum of its indices by each kind of pattern, divided by the square root of the number of "
    "kinds; a kind of which no pattern works for the class adds nothing. The class of the highest index is called a "
    "backdoor's target if that index is above the threshold."
)


class Search(NamedTuple):
    """For a pattern that sends the images in ``rows``, (n,), to class ``target``."""

    rows: Tensor
    target: int


class InvertedTriggers(NamedTuple):
    """
    One pattern for each of K classes (targets, or sources of one target), in the images' units and channel order.

    ``kind``: ``"patch"`` or ``"additive"``; ``masks`` (K, ...): 0 to 1, one value a pixel (all ones for additive
    patterns); ``patterns`` (K, ...); ``norms`` (K,): sum of the mask in pixels, or L2 norm of the
    perturbation in units of the images' range;
    ``success_rates`` (K,): share of all clean images of the other classes that the pattern sends to the class;
    ``anomaly_index`` (K,): how far the logarithm of norm / expected distance lies below the median, in robust standard
    deviations (1.4826 MAD, but at least what is usual among clean classes: .25 for patches, .1 for additive patterns);
    higher is more suspicious, NaN where no pattern succeeded; ``broke_off`` (K,) bool: searches that ended early, since the
    model gave values or gradients that are not finite: that they found no pattern does not say that there is none.
    """

    kind: str
    masks: np.ndarray
    patterns: np.ndarray
    norms: np.ndarray
    success_rates: np.ndarray
    anomaly_index: np.ndarray
    clip_values: tuple[float, float]
    broke_off: np.ndarray = np.zeros(0, dtype=bool)

    def trigger(self, label: int) -> Callable[[np.ndarray], np.ndarray]:
        """The pattern towards class ``label``, as a callable that stamps a batch of images."""
        if self.kind == "patch":
            patch: Callable[[np.ndarray], np.ndarray] = MaskedTrigger(self.masks[label], self.patterns[label])
            return patch
        additive: Callable[[np.ndarray], np.ndarray] = AdditiveTrigger(self.patterns[label], self.clip_values)
        return additive


class Inversion(NamedTuple):
    """
    ``inverted``: one :class:`InvertedTriggers` for each kind of pattern; ``expected_distances`` (K,): see
    :func:`expected_distances`; ``anomaly_index`` (K,): the indices of all kinds taken together, as ``INDEX_RULE`` says;
    ``target_class``: the class that this rule calls a backdoor's target, ``None``: none, or not decided (see
    ``undecided``); ``kind``: of the target's pattern that has the higher index by its own kind; ``success_rate``: of that
    pattern.

    Where a backdoor was found, ``by_source`` holds for each kind the patterns that send one source class alone to the
    target; their indices compare the sources' norms, relative to :func:`source_distances`. ``source_class``: the class
    from which the trigger works with a far smaller pattern than from any other, ``None``: there is none, the backdoor is
    for all. If there is one, ``kind``, ``success_rate`` and ``trigger`` are those of its own pattern.
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
    def undecided(self) -> list[int]:
        """
        Classes of which some search broke off, since the model gave values that are not finite: no pattern was found, or
        not the smallest one, and such a class may be a backdoor's target all the same.
        """
        broken = [one.broke_off for one in self.inverted if len(one.broke_off)]
        return [int(label) for label in np.flatnonzero(np.any(broken, axis=0))] if broken else []

    @property
    def trigger(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """The reverse-engineered trigger; ``None`` when no backdoor was found."""
        if self.target_class is None:
            return None
        if self.source_class is not None:
            return next(one for one in self.by_source if one.kind == self.kind).trigger(self.source_class)
        return next(one for one in self.inverted if one.kind == self.kind).trigger(self.target_class)

    def sentence(self) -> str:
        """The finding in words; each number is what it is called."""
        known = np.isfinite(self.anomaly_index).any()
        highest_index = f"the highest index is {self._index_words(int(np.nanargmax(self.anomaly_index)))}" if known else ""
        classes = ", ".join(map(str, self.undecided))
        broke_off = f"the model gave values or gradients that are not finite in the search for class {classes}"
        if self.target_class is None and self.undecided:
            return f"Not decided: {broke_off}; {highest_index or 'no class has a pattern that works'}."
        if self.target_class is None:
            return f"No backdoor found: {highest_index or 'no class has a pattern that works; give more steps'}."
        images = "the clean images" if self.source_class is None else f"the clean images of class {self.source_class} alone"
        return (
            f"A backdoor towards class {self.target_class}: its index is {self._index_words(self.target_class)}; its "
            f"{self.kind} pattern sends {self.success_rate:.3f} of {images} there."
            + (f" But {broke_off}." if self.undecided else "")
        )

    def _index_words(self, label: int) -> str:
        """The index of a class, and those that it is made of where there are several."""
        index = f"{self.anomaly_index[label]:.2f}"
        parts = [
            f"{one.kind} {one.anomaly_index[label]:.2f}" for one in self.inverted if not np.isnan(one.anomaly_index[label])
        ]
        return index if len(self.inverted) == 1 else f"{index} (from {', '.join(parts)})"


def invert_triggers(
    classifier: Any,
    x_clean: np.ndarray,
    y_clean: np.ndarray,
    *,
    kinds: Sequence[str] = KINDS,
    nb_steps: int = 400,
    batch_size: int = 32,
    threshold: float = 4.2,
    min_success: float = 0.9,
    precision: str = "32-true",
    random_state: int = 0,
    verbose: bool = True,
) -> Inversion:
    """
    Invert the triggers of all classes at once and decide whether one of them is a backdoor's.

    ``"patch"``, Neural Cleanse (Wang et al. 2019): x' = (1 - m) x + m p, cross-entropy + cost |m|_1, for local triggers.
    ``"additive"``: x' = clip(x + v), cross-entropy + cost ||v||_2, for perturbations all over the image; as PT-RED (Xiang
    et al. 2020), but with the norm as a penalty whose cost adapts, where PT-RED relies on small steps and an early stop.
    In both the cost of a class rises while its pattern succeeds and falls while it does not, by Adam, and the
    smallest pattern that succeeded is kept.

    Deviates from Neural Cleanse: images of a class itself do not count towards it. Norms are compared on a logarithmic
    scale, on which those of clean classes are closer to normal, and relative to :func:`expected_distances`. A class that is
    easy to reach by a small patch is seldom easy to reach by a small perturbation as well, while a backdoor is: the
    indices of the kinds are added and divided by the square root of their number (Stouffer et al. 1949); ``INDEX_RULE``
    says it in words.

    A backdoor may work from one source class alone (Xiang et al. 2020 search every pair of classes for it). The pattern for
    all classes is then larger than the trigger but mostly still the smallest. So pairs are searched for the target that was
    found, and a source whose pattern is far smaller than the others' gives the trigger. Without a target a small pattern
    from one source says little: ones are near to most digits by nature.

    When this breaks: triggers that no fixed pattern can stand for (warps), attacks towards every class (all-to-all), fewer
    than about five classes, and backdoors of one source class in models whose other classes lie near.

    :param classifier: ART ``PyTorchClassifier``; its preprocessing, clip values and channel order are respected.
    :param x_clean: Clean images (n, C, H, W) or (n, H, W, C), of all classes; 10 to 100 a class.
    :param y_clean: Their labels, (n,), (n, 1) or one-hot.
    :param kinds: Which patterns to try.
    :param nb_steps: Most optimisation steps; a class that no longer improves stops earlier.
    :param batch_size: Images of a step, for each class.
    :param threshold: Index above which a class is a backdoor's target.
    :param min_success: Success rate on all clean images that the target's pattern must reach.
    :param precision: ``"32-true"``, or ``"bf16-mixed"``: the model's forward and backward passes in bfloat16, which is
        faster for convolutional networks of some size where the processor has it.
    :raises InvalidInputError: For bad images, labels or parameters, before any heavy work; or if the model gives values
        that are not finite for some of the clean images.
    """
    nb_steps, batch_size, random_state = plain(nb_steps), plain(batch_size), plain(random_state)
    threshold, min_success = plain(threshold), plain(min_success)
    _check(classifier, x_clean, kinds, nb_steps, batch_size, threshold, min_success, precision)
    check_count("random_state", random_state, 0)
    nb_classes = int(classifier.nb_classes)
    labels, _ = class_labels(y_clean, len(x_clean), nb_classes)
    if nb_classes < MIN_CLASSES or len(np.unique(labels)) < 2:
        raise InvalidInputError(
            f"Trigger inversion compares classes: at least {MIN_CLASSES} classes, and clean images of at least 2 of them, "
            f"are needed; received {nb_classes} and {len(np.unique(labels))}."
        )
    check_input_range(classifier, x_clean, "x_clean")
    predicted = predicted_classes(classifier, collect_outputs(classifier, x_clean))
    doubt = accuracy_warning(int((predicted == labels).sum()), len(labels))
    if doubt is not None:
        logger.warning(doubt)
    model = DifferentiableClassifier(classifier, x_clean, precision)
    images = model.to_unit_range(torch.from_numpy(np.array(x_clean, dtype=np.float32)))
    with model.evaluating(), seeded(random_state):
        expected = expected_distances(model, images, labels, nb_classes)
        searches = [Search(torch.from_numpy(np.flatnonzero(labels != label)), label) for label in range(nb_classes)]
        inverted = tuple(
            _invert(model, kind, images, searches, expected, nb_steps, batch_size, min_success, verbose) for kind in kinds
        )
        index = combined_index([one.anomaly_index for one in inverted])
        target_class = highest(index, threshold)
        if target_class is None:
            return Inversion(inverted, expected, index, None, None, None)
        sources = [Search(torch.from_numpy(np.flatnonzero(labels == label)), target_class) for label in range(nb_classes)]
        sources[target_class] = Search(torch.empty(0, dtype=torch.int64), target_class)
        apart = source_distances(model, images, labels, target_class, nb_classes)
        by_source = tuple(
            _invert(model, kind, images, sources, apart, nb_steps, batch_size // 2 + 1, min_success, verbose)
            for kind in kinds
        )
    source_class = highest(combined_index([one.anomaly_index for one in by_source]), SOURCE_THRESHOLD)
    chosen, row = (inverted, target_class) if source_class is None else (by_source, source_class)
    best = max(chosen, key=lambda one: float(np.nan_to_num(one.anomaly_index[row], nan=-np.inf)))
    success_rate = float(best.success_rates[row])
    return Inversion(inverted, expected, index, target_class, best.kind, success_rate, by_source, source_class)


def highest(index: np.ndarray, threshold: float) -> int | None:
    """The class of the highest index, ``None`` if it is not above the threshold; NaN never is."""
    if not np.isfinite(index).any() or np.nanmax(index) <= threshold:
        return None
    return int(np.nanargmax(index))


def combined_index(indices: Sequence[np.ndarray]) -> np.ndarray:
    """
    Stouffer's sum of standardised indices of several kinds of pattern.

    :param indices: (K,) each; NaN, where no pattern succeeded, speaks neither for nor against the class.
    :return: (K,), NaN where no kind of pattern succeeded.
    """
    known = np.isfinite(indices).any(axis=0)
    return np.where(known, np.nansum(indices, axis=0) / np.sqrt(len(indices)), np.nan)


def expected_distances(
    model: DifferentiableClassifier, images: Tensor, labels: np.ndarray, nb_classes: int, batch_size: int = 128
) -> np.ndarray:
    """
    How far from each class single images of the others lie, by the median image, but at least as far as from the median
    class.

    A class that lies far from all others is expected to need a larger pattern. One that lies near is not excused by it: a
    backdoor's shortcut may bring single images near as well.

    :param images: In the unit range, (n, ...).
    :param labels: (n,).
    :return: (K,), above 0, in units of the images' range.
    """
    distances = np.zeros(nb_classes)
    for label in range(nb_classes):
        rows = np.flatnonzero(labels != label)
        rows = rows[:: max(1, len(rows) // CHECKED)]
        distances[label] = _median(distances_to_class(model, images[rows], label, nb_classes, batch_size))
    median = np.median(distances)
    return np.maximum(distances, median) if median > 0 else np.ones(nb_classes)


def source_distances(
    model: DifferentiableClassifier, images: Tensor, labels: np.ndarray, target: int, nb_classes: int
) -> np.ndarray:
    """
    How far from the target class single images of each other class lie, by the median image, but at most as far as those
    of the median class.

    Some sources lie near the target without any backdoor, sneakers near ankle boots for example: that their pattern is
    small is no sign of one. That a far one's pattern is as small as the others' is none either.

    :return: (K,), above 0; 1 for classes without images and for the target.
    """
    found = np.ones(nb_classes)
    sources = np.unique(labels[labels != target])
    for label in sources:
        found[label] = _median(distances_to_class(model, images[labels == label], target, nb_classes))
    positive = found[sources][found[sources] > 0]
    if len(positive):
        found[sources] = np.clip(found[sources], positive.min(), np.median(found[sources]))
    return found


def distances_to_class(
    model: DifferentiableClassifier, images: Tensor, label: int, nb_classes: int, batch_size: int = 128
) -> np.ndarray:
    """
    L2 norm of the perturbation that would take each image to class ``label`` if the logits were linear,
    (max_k z_k - z_c) / ||grad (max_k z_k - z_c)|| (first step of DeepFool, Moosavi-Dezfooli et al. 2016).

    :return: (n,), in units of the images' range; 0 for images that are there, or whose saturated softmax has no gradient;
        NaN where a gradient is not finite.
    :raises InvalidInputError: If the model gives values that are not finite for some of the images.
    """
    found = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size].to(model.device).requires_grad_()
        logits = model.logits(batch)
        check_outputs(logits, nb_classes)
        n_bad = int((~torch.isfinite(logits).all(dim=1)).sum())
        if n_bad:
            raise InvalidInputError(
                f"The model gives outputs that are not finite for {n_bad} of {len(batch)} clean images from number {start} "
                "on; check its weights for NaN, and how the images are scaled."
            )
        others = logits.masked_fill(torch.arange(nb_classes, device=logits.device) == label, -torch.inf)
        gaps = others.amax(dim=1) - logits[:, label]
        (gradients,) = torch.autograd.grad(gaps.sum(), batch)
        found.append((gaps.detach().clamp_min(0) / gradients.flatten(1).norm(dim=1).clamp_min(1e-12)).cpu().numpy())
    distances: np.ndarray = np.concatenate(found)
    return distances


def _median(distances: np.ndarray) -> float:
    """
    Of those that are finite.

    :raises InvalidInputError: If none is.
    """
    finite = np.isfinite(distances)
    if not finite.any():
        raise InvalidInputError(
            f"The model's gradients are not finite for any of {len(distances)} clean images, so no pattern can be sought."
        )
    return float(np.median(distances[finite]))


def norm_index(norms: np.ndarray, succeeded: np.ndarray, least_sigma: float) -> np.ndarray:
    """
    How far the logarithm of each norm lies below the median, in robust standard deviations.

    A class without a pattern that succeeds needs a larger one than was tried, and a larger one than the others': such a
    lower bound takes its norm's place among those that the others are compared with.

    :param norms: (K,), above 0.
    :param succeeded: (K,), bool.
    :return: (K,), NaN where no pattern succeeded.
    """
    if not succeeded.any():
        return np.full(len(norms), np.nan)
    bounds = np.where(succeeded, norms, np.maximum(norms, norms[succeeded].max()))
    return np.where(succeeded, mad_index(-np.log(bounds), least_sigma), np.nan)


class DifferentiableClassifier:
    """
    An ART ``PyTorchClassifier`` as a function from images, scaled to 0 to 1, to logits, through which gradients flow.

    :param x: Images, for the range when the classifier has no clip values.
    :param precision: A name in ``INVERSION_PRECISIONS``.
    :raises InvalidInputError: If a preprocessing step has no PyTorch form.
    """

    def __init__(self, classifier: Any, x: np.ndarray, precision: str = "32-true") -> None:
        if classifier.preprocessing_operations and not classifier.all_framework_preprocessing:
            raise InvalidInputError(
                "A preprocessing step of the classifier is not written in PyTorch, so no gradient flows through it; "
                "use the PyTorch form of that defence."
            )
        self._classifier, self._network = classifier, torch_module(classifier)
        self.device, self._is_mixed = classifier.device, precision == "bf16-mixed"
        self.channels_first = bool(classifier.channels_first)
        low, high = classifier.clip_values if classifier.clip_values is not None else (x.min(), x.max())
        self.low, self.range = float(np.min(low)), float(np.max(high)) - float(np.min(low))
        if not 0 < self.range < np.inf:
            raise InvalidInputError(
                f"The images' range is {self.low} to {self.low + self.range}, which is empty or endless; give the "
                "classifier their clip_values."
            )

    def to_unit_range(self, images: Tensor) -> Tensor:
        """Raw images to 0 to 1."""
        return (images - self.low) / self.range

    def logits(self, images: Tensor) -> Tensor:
        """
        :param images: In the unit range, (B, ...).
        :return: (B, K); a model that ends in a softmax gives the logarithm of its probabilities.
        """
        raw = images * self.range + self.low
        prepared, _ = self._classifier._apply_preprocessing(raw, y=None, fit=False, no_grad=False)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._is_mixed):
            outputs = class_outputs(forward(self._classifier, self._network, prepared), len(images))
        outputs = outputs.float()
        looks_normalised = bool((outputs.min() >= 0) & ((outputs.sum(dim=1) - 1).abs().max() < 1e-3))
        return outputs.clamp_min(1e-12).log() if looks_normalised else outputs

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode and no gradients of the parameters inside the block; both are given back."""
        was_training = self._network.training
        required = [parameter.requires_grad for parameter in self._network.parameters()]
        self._network.eval().requires_grad_(False)
        try:
            yield
        finally:
            self._network.train(was_training)
            for parameter, before in zip(self._network.parameters(), required, strict=True):
                parameter.requires_grad_(before)


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


def _invert(
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


def _check(
    classifier: Any,
    x: np.ndarray,
    kinds: Sequence[str],
    nb_steps: int,
    batch_size: int,
    threshold: float,
    min_success: float,
    precision: str,
) -> None:
    torch_module(classifier)
    check_samples(x)
    check_finite(x, "clean images", "remove such images first")
    if x.ndim != 4 or tuple(x.shape[1:]) != tuple(classifier.input_shape):
        raise InvalidInputError(
            f"x_clean must hold images of the classifier's shape {tuple(classifier.input_shape)}; received {x.shape[1:]}."
        )
    listed = list(kinds) if isinstance(kinds, (list, tuple)) else []
    if not listed or any(kind not in KINDS for kind in listed) or len(set(listed)) < len(listed):
        raise InvalidInputError(f"kinds must be one or more of {KINDS}, each once; received {shown(kinds)}.")
    check_count("nb_steps", nb_steps)
    check_count("batch_size", batch_size, most=MOST_BATCH)
    check_choice("precision", precision, INVERSION_PRECISIONS)
    check_number("threshold", threshold, above=0)
    check_number("min_success", min_success, above=0, most=1)
