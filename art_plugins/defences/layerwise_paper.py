"""The published rule: cosine similarity to class centroids around the layer of interest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from art_plugins.defences.layerwise_rules import LEAST_SAMPLES, Judgement, LayerRule
from art_plugins.errors import InvalidInputError
from art_plugins.features.layer_reduction import ClassSums
from art_plugins.statistics import similarity


@dataclass
class PaperRule(LayerRule):
    """
    Preetha et al., section V: cosine similarities to class centroids, summed at the layer of interest and the two before.

    :ivar profiles: Mean cosine of each class at each layer, (K, L).
    :ivar thresholds: Layer of interest, mean and deviation of S for each class.
    """

    def observe(self, classifier: Any, x: np.ndarray) -> None:
        """Samples are streamed again for every step, so that none is held."""
        self._benign = (classifier, x)

    def learn(self, labels: np.ndarray, by_label: bool, kept: np.ndarray, robust: bool) -> tuple[np.ndarray, np.ndarray]:
        """Centroids in a first pass; in a second, each sample's cosine to the centroid of the others."""
        classifier, x = self._benign
        self.sums = ClassSums(self.nb_classes, self.layers)
        predicted = np.empty(len(x), dtype=np.int64)
        for rows, classes, batch in self._stream(classifier, x, self.batch_size):
            predicted[rows] = classes
            right = np.flatnonzero((classes == labels[rows]) & kept[rows])
            self.sums.add(batch.activations, labels[rows], right)
        fits = (predicted == labels) & kept
        self._note_fits(fits, labels)
        judged = labels if by_label else predicted
        _, _, dots, lengths = self._products(classifier, x, self.batch_size, judged)
        norms = self.sums.squared_norms()[judged]
        cosines = similarity.cosine_similarities(dots, lengths, norms)
        left_out = np.where(fits[:, None], similarity.leave_one_out_cosines(dots, lengths, norms), cosines)
        self.profiles = similarity.class_profiles(cosines[fits], labels[fits], self.nb_classes)
        # Without trusted samples the trimmed ones count for the spread: that of the rest alone would be too narrow.
        typical = predicted == labels if robust else fits
        self.thresholds = similarity.fit_class_thresholds(
            self.profiles, left_out[typical], labels[typical], LEAST_SAMPLES, robust
        )
        return self._scores(left_out, judged), judged

    def judge(self, classifier: Any, x: np.ndarray, batch_size: int, labels: np.ndarray | None = None) -> Judgement:
        """(mu_t - S) / sigma_t of each sample."""
        predicted, top_output, dots, lengths = self._products(classifier, x, batch_size, labels)
        judged = predicted if labels is None else labels
        cosines = similarity.cosine_similarities(dots, lengths, self.sums.squared_norms()[judged])
        return Judgement(predicted, top_output, self._scores(cosines, judged), cosines, 1 - cosines)

    def _products(
        self, classifier: Any, x: np.ndarray, batch_size: int, labels: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The model's classes and largest outputs (n,); products with the class's sum, and squared lengths, (n, L)."""
        predicted, top_output = np.empty(len(x), dtype=np.int64), np.empty(len(x))
        dots, lengths = np.empty((2, len(x), len(self.layers)))
        for rows, classes, batch in self._stream(classifier, x, batch_size):
            predicted[rows], top_output[rows] = classes, batch.outputs.amax(dim=1).cpu().numpy()
            judged = classes if labels is None else labels[rows]
            dots[rows], lengths[rows] = self.sums.products(batch.activations, judged)
        return predicted, top_output, dots, lengths

    def _scores(self, cosines: np.ndarray, judged: np.ndarray) -> np.ndarray:
        sums = similarity.interest_sums(cosines, self.thresholds.layer_of_interest[judged])
        scores = similarity.deviations_below(sums, judged, self.thresholds)
        return np.where(self.n_benign[judged] > 0, scores, 0.0)

    def arrays(self) -> dict[str, np.ndarray]:
        """The classes' sums at each layer are all but all of it."""
        sums = {f"sums_{index}": self.sums.sums[name].cpu().numpy() for index, name in enumerate(self.layers)}
        return {"n_benign": self.n_benign, "profiles": self.profiles, **self.thresholds._asdict(), **sums}

    def take_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """See the base class."""
        self.n_benign, self.profiles = arrays["n_benign"], arrays["profiles"]
        self.thresholds = similarity.ClassThresholds(*(arrays[name] for name in similarity.ClassThresholds._fields))
        self.sums = ClassSums(self.nb_classes, self.layers)
        for index, name in enumerate(self.layers):
            self.sums.sums[name] = torch.from_numpy(arrays[f"sums_{index}"])
        if self.profiles.shape != (self.nb_classes, len(self.layers)):
            raise InvalidInputError(f"profiles have the shape {self.profiles.shape}")
