"""The core that the filter and the detector share: options, learning from benign samples, thresholds."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from art_plugins.defences.layerwise_mahalanobis import MahalanobisRule
from art_plugins.defences.layerwise_paper import PaperRule
from art_plugins.defences.layerwise_rules import LEAST_SAMPLES, Judgement, LayerRule
from art_plugins.errors import InvalidInputError
from art_plugins.features.blocks import find_blocks
from art_plugins.features.classifiers import accuracy_warning
from art_plugins.parameters import check_choice, check_count, check_flag, check_layer_names
from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.layer_scores import benign_threshold, check_terms, typical_shift
from art_plugins.statistics.self_training import LEAST_SUSPECTS, group_of_suspects, random_parts
from art_plugins.statistics.similarity import check_layers

logger = logging.getLogger(__name__)

RULES: dict[str, type[LayerRule]] = {"paper": PaperRule, "mahalanobis": MahalanobisRule}
DEFAULT_TERMS = {"paper": {"tau": 2.5}, "mahalanobis": {"fpr": 0.01}}
MOST_PER_CLASS = 500  # samples that are learned from
MOST_AT_ONCE = 8_000  # samples of a class that are looked at together
N_TRIMMINGS, TRIMMED = 3, 0.2  # rounds, and share of each class, without trusted data
RULE_OPTIONS = ("n_folds", "max_dims", "random_state")
OPTIONS = ("mode", "layers", "tau", "quantile", "fpr", "pooled", *RULE_OPTIONS)


@dataclass
class LayerwiseModel:
    """
    A rule that has learned, with the scores of its benign samples, (n,), and the classes that they were judged by, (n,).

    :param trusted: Whether the samples were known to be benign.
    """

    rule: LayerRule
    benign_scores: np.ndarray
    benign_classes: np.ndarray
    trusted: bool

    @property
    def not_judged(self) -> list[int]:
        """Classes without benign samples that the model predicts right."""
        return [int(label) for label in np.flatnonzero(self.rule.n_benign == 0)]

    def threshold(self, tau: float | None, quantile: float | None, fpr: float | None) -> float:
        """
        In the given terms, or the rule's own. Without trusted data, the median over the classes of each class's threshold:
        poison in a minority of the classes does not raise it.
        """
        terms = given_terms(tau, quantile, fpr) or DEFAULT_TERMS[mode_of(self.rule)]
        known = np.isin(self.benign_classes, self.not_judged, invert=True)
        scores, classes = self.benign_scores[known], self.benign_classes[known]
        if self.trusted:
            return benign_threshold(scores, **terms)
        members = [rows for rows in indices_by_class(classes, self.rule.nb_classes) if len(rows)]
        return float(np.median([benign_threshold(scores[rows], **terms) for rows in members]))

    def suspects(self, scores: np.ndarray, classes: np.ndarray, threshold: float) -> np.ndarray:
        """
        Which samples are caught, (n,), bool: those above the threshold in classes that are judged, whatever the threshold;
        and everywhere those whose features or outputs are not finite, which have infinite scores.

        :param scores: (n,).
        :param classes: That they were judged by, (n,).
        """
        above = (self.rule.n_benign[classes] > 0) & (scores > threshold)
        found: np.ndarray = above | ~np.isfinite(scores)
        return found

    def of_trained_on(self, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """
        Scores of samples that the network was trained on, less how far those of the typical class lie off its trusted
        samples'; unmoved by the paper's rule, without trusted data, and in classes that are not judged.

        :param scores: (n,).
        :param labels: That they were judged by, (n,).
        """
        if not self.trusted or isinstance(self.rule, PaperRule):
            return scores
        judged = (self.rule.n_benign[labels] > 0) & np.isfinite(scores)
        shift = typical_shift(scores[judged], labels[judged], self.benign_scores, self.benign_classes)
        return np.where(judged, scores - shift, scores)

    def second_look(
        self, classifier: Any, x: np.ndarray, labels: np.ndarray, scores: np.ndarray, suspects: np.ndarray, batch_size: int
    ) -> np.ndarray:
        """
        The groups that the suspects of a class make up, (n,), bool, by what every layer shows of them; none by the paper's
        rule. One more pass over classes of at least 20 suspects. A class is looked at in parts of at most 8,000 samples,
        so that memory does not grow with it.

        :param x: All samples that were judged, (n, ...).
        :param labels: That they were judged by, (n,).
        :param scores: (n,); samples without a finite one have no features to compare and take no part.
        :param suspects: (n,), bool.
        """
        found = np.zeros(len(x), dtype=bool)
        if isinstance(self.rule, MahalanobisRule):
            seed = self.rule.random_state
            for of_class in indices_by_class(labels, self.rule.nb_classes):
                members = of_class[np.isfinite(scores[of_class])]
                for part in random_parts(len(members), max(1, math.ceil(len(members) / MOST_AT_ONCE)), seed):
                    rows = members[part]
                    if suspects[rows].sum() >= LEAST_SUSPECTS:
                        features = self.rule.features(classifier, x[rows], batch_size)
                        group = group_of_suspects(features, suspects[rows], seed)
                        found[rows] = False if group is None else group
        return found


def learn_benign(
    classifier: Any,
    x: np.ndarray,
    labels: np.ndarray,
    nb_classes: int,
    options: dict[str, Any],
    batch_size: int,
    **how: bool,
) -> LayerwiseModel:
    """
    Learn what benign samples look like at every layer.

    Of each class at most 500 samples are used. Without trusted samples, the fifth of each class that scores highest is left
    out of centroids, Gaussians and their moments, three times over; the thresholds look at all samples, by medians.

    :param options: By the names in ``OPTIONS``.
    :param how: ``by_label``: judge samples by their labels, not by the model's classes; ``trusted``: they are benign.
    :raises InvalidInputError: For too few samples or layers.
    """
    chosen = _at_most(labels, nb_classes, MOST_PER_CLASS, options["random_state"])
    x, labels = x[chosen], labels[chosen]
    if options["mode"] == "paper" and not options["pooled"]:
        _check_sizes(np.bincount(labels, minlength=nb_classes), "trusted samples" if how["trusted"] else "samples")
    layers = find_layers(classifier, x, options["layers"], options["mode"])
    shared = {name: options[name] for name in RULE_OPTIONS}
    rule = RULES[options["mode"]](layers, nb_classes, batch_size=batch_size, **shared)
    rule.observe(classifier, x)
    if how["trusted"]:
        _check_sound(len(x) - int(rule.sound.sum()), len(x), rule.unsound)
    labels = labels[rule.sound]
    if not len(labels):
        _check_sound(len(x), len(x), rule.unsound)
    kept = np.ones(len(labels), dtype=bool)
    for _ in range(0 if how["trusted"] else N_TRIMMINGS):
        scores, _ = rule.learn(labels, how["by_label"], kept, robust=True)
        kept = _lowest(scores, labels, nb_classes, 1 - TRIMMED)
    scores, judged = rule.learn(labels, how["by_label"], kept, robust=not how["trusted"])
    if options["mode"] == "paper" and not options["pooled"]:
        _check_sizes(rule.n_benign, "samples that the model predicts right")
    doubt = accuracy_warning(int(rule.n_benign.sum()), len(labels)) if how["trusted"] else None
    if doubt is not None:
        logger.warning(doubt)
    few = [str(label) for label in np.flatnonzero((rule.n_benign > 0) & (rule.n_benign < LEAST_SAMPLES))]
    if few:
        logger.warning(
            "The model classifies fewer than %d %s samples of class %s correctly, so verdicts there are less reliable.",
            LEAST_SAMPLES,
            "trusted" if how["trusted"] else "training",
            ", ".join(few),
        )
    finite = np.isfinite(scores)
    if how["trusted"] or not finite.any():
        _check_sound(int((~finite).sum()), len(finite), rule.unsound)
    model = LayerwiseModel(rule, scores[finite], judged[finite], how["trusted"])
    if model.not_judged:
        logger.warning("No benign sample of class %s is predicted right: what is sent there passes.", model.not_judged)
    return model


def find_layers(classifier: Any, x: np.ndarray, layers: list[str] | None, mode: str) -> list[str]:
    """
    :raises InvalidInputError: If the paper's rule has fewer than four.
    """
    found = list(find_blocks(classifier, x[:1]) if layers is None else layers)
    logger.info("Layers: %s.", ", ".join(found))
    if mode == "paper":
        check_layers(len(found))
    return found


def check_options(values: dict[str, Any]) -> None:
    """
    :raises InvalidInputError: If an option cannot be used; see ``OPTIONS``.
    """
    check_choice("mode", values["mode"], RULES)
    check_layer_names(values["layers"])
    if given_terms(values["tau"], values["quantile"], values["fpr"]):
        check_terms(values["tau"], values["quantile"], values["fpr"])
    check_flag("pooled", values["pooled"])
    for name, least in (("n_folds", 2), ("max_dims", 1), ("random_state", 0), ("batch_size", 1)):
        check_count(name, values.get(name, least), least)


def given_terms(tau: float | None, quantile: float | None, fpr: float | None) -> dict[str, float]:
    """Those that are not ``None``."""
    return {name: v for name, v in (("tau", tau), ("quantile", quantile), ("fpr", fpr)) if v is not None}


def mode_of(rule: LayerRule) -> str:
    """The rule's name."""
    return next(name for name, kind in RULES.items() if type(rule) is kind)


def take_paper(owner: Any, model: LayerwiseModel, found: Judgement | None = None) -> None:
    """What Preetha et al. show; gone when the mode is another."""
    for name in ("layer_of_interest_", "layer_profiles_", "layer_similarities_"):
        vars(owner).pop(name, None)
    if isinstance(model.rule, PaperRule):
        owner.layer_of_interest_, owner.layer_profiles_ = model.rule.thresholds.layer_of_interest, model.rule.profiles
        if found is not None:
            owner.layer_similarities_ = found.by_layer


def count_not_finite(scores: np.ndarray) -> int:
    """How many samples have no finite score; a warning says so."""
    n_bad = int((~np.isfinite(scores)).sum())
    if n_bad:
        logger.warning(
            "Features or outputs of %d of %d samples are not finite, or too large for single precision: these are caught.",
            n_bad,
            len(scores),
        )
    return n_bad


def listed(value: Any) -> Any:
    """A tuple as a list, as JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def _check_sizes(sizes: np.ndarray, what: str) -> None:
    few = {int(label): int(sizes[label]) for label in np.flatnonzero(sizes < LEAST_SAMPLES)}
    if few:
        said = ", ".join(f"{n} of class {label}" for label, n in few.items())
        raise InvalidInputError(
            f'mode="paper" needs {LEAST_SAMPLES} {what} of every class; there are {said}. Give more, or pooled=True.'
        )


def _check_sound(n_bad: int, n_samples: int, by_layer: dict[str, int]) -> None:
    """
    :raises InvalidInputError: If there are any whose features or outputs are not finite.
    """
    if n_bad:
        said = ", ".join(f"{name}: {n}" for name, n in by_layer.items())
        raise InvalidInputError(
            f"{n_bad} of the {n_samples} benign samples give features or outputs that are not finite, or too large for "
            f"single precision{f' (samples by layer: {said})' if said else ''}. Remove such samples, check how the samples "
            "are scaled, and whether the model's weights hold NaN."
        )


def _at_most(labels: np.ndarray, nb_classes: int, most: int, random_state: int) -> np.ndarray:
    """Rows of at most so many samples of each class, drawn without replacement, in order."""
    random = np.random.default_rng(random_state)
    members = indices_by_class(labels, nb_classes)
    rows: np.ndarray = np.sort(np.concatenate([random.permutation(indices)[:most] for indices in members]))
    return rows


def _lowest(scores: np.ndarray, labels: np.ndarray, nb_classes: int, share: float) -> np.ndarray:
    """Which samples are among the given share of their class that scores lowest, (n,), bool."""
    kept = np.zeros(len(scores), dtype=bool)
    for indices in indices_by_class(labels, nb_classes):
        order = indices[np.argsort(scores[indices], kind="stable")]
        kept[order[: int(np.ceil(share * len(order)))]] = True
    return kept
