"""What a rule has learned of benign samples, and which samples it then finds suspicious."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from art_plugins.defences.layers.options import RULES, given_terms
from art_plugins.defences.layers.rules import Judgement, LayerRule
from art_plugins.statistics.benign_threshold import benign_threshold, threshold_at_fdr
from art_plugins.statistics.labels import indices_by_class

logger = logging.getLogger(__name__)


@dataclass
class LayerwiseModel:
    """
    A rule that has learned.

    :param rule: The rule.
    :param benign_scores: Scores of the benign samples, (n,).
    :param benign_classes: The classes that these were compared with, (n,).
    :param trusted: Whether the samples were known to be benign.
    """

    rule: LayerRule
    benign_scores: np.ndarray
    benign_classes: np.ndarray
    trusted: bool

    @property
    def not_judged(self) -> list[int]:
        """Classes without benign samples that the model classifies correctly."""
        return [int(label) for label in np.flatnonzero(self.rule.n_benign == 0)]

    def threshold(self, tau: float | None, fpr: float | None) -> float:
        """
        The threshold in the given term, or in the rule's own if none is given.

        Without trusted data it is the median over the classes of each class's threshold. Poison in a minority of the
        classes does not raise it.
        """
        terms = given_terms(tau, fpr) or self.rule.terms
        known = self._known()
        scores, classes = self.benign_scores[known], self.benign_classes[known]
        if self.trusted:
            return benign_threshold(scores, **terms)
        members = [rows for rows in indices_by_class(classes, self.rule.nb_classes) if len(rows)]
        return float(np.median([benign_threshold(scores[rows], **terms) for rows in members]))

    def fdr_threshold(self, scores: np.ndarray) -> float:
        """
        The threshold at a false-discovery rate, see :func:`~art_plugins.statistics.benign_threshold.threshold_at_fdr`.

        :param scores: Scores of samples in classes that are judged, (n,), finite.
        """
        return threshold_at_fdr(scores, self.benign_scores[self._known()])

    def _known(self) -> np.ndarray:
        """Which benign samples are of classes that are judged, (n,), bool."""
        return np.isin(self.benign_classes, self.not_judged, invert=True)

    def suspects(self, scores: np.ndarray, classes: np.ndarray, threshold: float) -> np.ndarray:
        """
        Which samples are caught, (n,), bool.

        These are the samples above the threshold in classes that are judged. In every class they are also the samples whose
        features or outputs are not finite, which have infinite scores.

        :param scores: (n,).
        :param classes: The classes that the samples were compared with, (n,).
        :param threshold: Scores above it are suspicious.
        """
        above = (self.rule.n_benign[classes] > 0) & (scores > threshold)
        found: np.ndarray = above | ~np.isfinite(scores)
        return found

    def of_trained_on(self, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """
        Scores of samples that the network was trained on, less the rule's shift (see :meth:`LayerRule.shift`).

        Scores stay as they are without trusted data and in classes that are not judged.

        :param scores: (n,).
        :param labels: The classes that the samples were compared with, (n,).
        """
        if not self.trusted:
            return scores
        judged = (self.rule.n_benign[labels] > 0) & np.isfinite(scores)
        shift = self.rule.shift(scores[judged], labels[judged], self.benign_scores, self.benign_classes)
        return np.where(judged, scores - shift, scores)


def show_attributes(owner: Any, rule: LayerRule | None, found: Judgement | None = None) -> None:
    """
    Give the filter or the detector what the rule has to show, and take away what another rule has shown before; ``None``:
    only take away.
    """
    for kind in RULES.values():
        for name in kind.attributes:
            vars(owner).pop(f"{name}_", None)
    shown = {} if rule is None else rule.learned_attributes()
    for name, value in {**shown, **({} if found is None else found.attributes)}.items():
        setattr(owner, f"{name}_", value)


def count_not_finite(scores: np.ndarray) -> int:
    """How many samples have no finite score; a warning says so."""
    n_bad = int((~np.isfinite(scores)).sum())
    if n_bad:
        logger.warning(
            "The features or outputs of %d of %d samples are not finite, or too large for single precision. These samples "
            "are caught.",
            n_bad,
            len(scores),
        )
    return n_bad


def listed(value: Any) -> Any:
    """A tuple as a list, as JSON has it."""
    return list(value) if isinstance(value, tuple) else value
