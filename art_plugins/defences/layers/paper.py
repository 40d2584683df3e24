"""The published rule: cosine similarity to the centroids of the classes around the layer of interest."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from art_plugins.arrays import is_sound
from art_plugins.defences.layers.rules import LEAST_SAMPLES, Judgement, LayerRule, other_length
from art_plugins.errors import InvalidInputError
from art_plugins.features.layer_reduction import ClassSums
from art_plugins.features.watched_modules import ActivationBatch
from art_plugins.file_rules import ArrayRule
from art_plugins.parameters import check_flag
from art_plugins.statistics import similarity

MOST_SUM = 1e100  # of finite activations in single precision; its square is finite


@dataclass
class PaperRule(LayerRule):
    """
    Cosine similarities to the centroids of the classes, summed over the layer of interest and the two layers before it
    (Preetha et al., section V). A sample is poisoned if this sum lies below mu - tau sigma of its class.

    :param pooled: Judge classes of fewer than 20 benign samples too; they take the standard deviation of all classes.

    :ivar profiles: Mean cosine similarity of each class at each layer, (K, L).
    :ivar thresholds: Layer of interest, mean and standard deviation of the sum for each class.
    """

    name: ClassVar[str] = "paper"
    terms: ClassVar[Mapping[str, float]] = {"tau": 2.5}
    settings: ClassVar[tuple[str, ...]] = ("pooled",)
    attributes: ClassVar[tuple[str, ...]] = ("layer_of_interest", "layer_profiles", "layer_similarities")

    pooled: bool = False

    @classmethod
    def check_settings(cls, values: Mapping[str, Any]) -> None:
        """See the base class."""
        check_flag("pooled", values.get("pooled", False))

    def check_layers(self) -> None:
        """At least four; see :func:`~art_plugins.statistics.similarity.check_layers`."""
        similarity.check_layers(len(self.layers))

    def check_class_sizes(self, sizes: np.ndarray, what: str) -> None:
        """At least 20 samples of every class, unless ``pooled``."""
        few = {int(label): int(sizes[label]) for label in np.flatnonzero(sizes < LEAST_SAMPLES)}
        if few and not self.pooled:
            said = ", ".join(f"{n} of class {label}" for label, n in few.items())
            raise InvalidInputError(
                f'mode="paper" needs at least {LEAST_SAMPLES} {what} of every class; received {said}. Give more, or '
                'mode_params={"pooled": True}.'
            )

    def learned_attributes(self) -> dict[str, np.ndarray]:
        """See the base class."""
        return {"layer_of_interest": self.thresholds.layer_of_interest, "layer_profiles": self.profiles}

    def observe(self, classifier: Any, x: np.ndarray) -> None:
        """One pass finds the samples that are sound. Later steps stream them again, so that none is held in memory."""
        finite = np.ones((len(x), len(self.layers) + 1), dtype=bool)
        for rows, _, batch in self._stream(classifier, x, self.batch_size):
            lengths = [torch.linalg.vector_norm(batch.activations[name].flatten(1), dim=1) ** 2 for name in self.layers]
            finite[rows] = torch.isfinite(torch.stack([*lengths, batch.outputs.square().amax(dim=1)], dim=1)).cpu().numpy()
        self._note_sound(finite)
        self._benign = (classifier, x if self.sound.all() else x[self.sound])

    def learn(self, labels: np.ndarray, by_label: bool, kept: np.ndarray, robust: bool) -> tuple[np.ndarray, np.ndarray]:
        """A first pass takes the centroids, a second one each sample's cosine similarity to the centroid of the others."""
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
        _, sound, dots, lengths = self._products(classifier, x, self.batch_size, judged)
        norms = self.sums.squared_norms()[judged]
        cosines = similarity.cosine_similarities(dots, lengths, norms)
        left_out = np.where(fits[:, None], similarity.leave_one_out_cosines(dots, lengths, norms), cosines)
        self.profiles = similarity.class_profiles(cosines[fits], labels[fits], self.nb_classes)
        # Without trusted samples, those left out of the centroids count for the standard deviation: that of the rest alone
        # would be too small.
        typical = predicted == labels if robust else fits
        self.thresholds = similarity.fit_class_thresholds(
            self.profiles, left_out[typical], labels[typical], LEAST_SAMPLES, robust
        )
        return self._scores(left_out, judged, sound), judged

    def judge(self, classifier: Any, x: np.ndarray, batch_size: int, labels: np.ndarray | None = None) -> Judgement:
        """The score of a sample is (mu - S) / sigma, with S the sum of its similarities."""
        predicted, sound, dots, lengths = self._products(classifier, x, batch_size, labels)
        judged = predicted if labels is None else labels
        cosines = similarity.cosine_similarities(dots, lengths, self.sums.squared_norms()[judged])
        shown = {"layer_similarities": cosines, "layer_of_interest": self.thresholds.layer_of_interest}
        return Judgement(predicted, self._scores(cosines, judged, sound), 1 - cosines, shown)

    def _products(
        self, classifier: Any, x: np.ndarray, batch_size: int, labels: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """
        The model's classes, and whether all values are finite, (n,); the products with the sum of the class and the squared
        lengths, (n, L), which are 0 where they are not finite.
        """
        predicted, sound = np.empty(len(x), dtype=np.int64), np.empty(len(x), dtype=bool)
        dots, lengths = np.empty((2, len(x), len(self.layers)))
        for rows, classes, batch in self._stream(classifier, x, batch_size):
            predicted[rows] = classes
            sound[rows] = is_sound(batch.outputs.cpu().numpy())
            judged = classes if labels is None else labels[rows]
            self._check_lengths(batch)
            dots[rows], lengths[rows] = self.sums.products(batch.activations, judged)
        finite = np.isfinite(dots) & np.isfinite(lengths)
        dots[~finite] = lengths[~finite] = 0
        return predicted, sound & finite.all(axis=1), dots, lengths

    def _check_lengths(self, batch: ActivationBatch) -> None:
        """
        :raises InvalidInputError: If activations have another length than those that were learned from.
        """
        for name in self.layers:
            length, learned = batch.activations[name].flatten(1).shape[1], self.sums.sums[name].shape[1]
            if length != learned:
                raise InvalidInputError(other_length(name, length, learned))

    def _scores(self, cosines: np.ndarray, judged: np.ndarray, sound: np.ndarray) -> np.ndarray:
        sums = similarity.interest_sums(cosines, self.thresholds.layer_of_interest[judged])
        return self._of_judged(similarity.deviations_below(sums, judged, self.thresholds), judged, sound)

    def arrays(self) -> dict[str, np.ndarray]:
        """See the base class; the sums of the classes at each layer take nearly all the space."""
        sums = {f"sums_{index}": self.sums.sums[name].cpu().numpy() for index, name in enumerate(self.layers)}
        return {"n_benign": self.n_benign, "profiles": self.profiles, **self.thresholds._asdict(), **sums}

    def array_rules(self, names: Collection[str], trusted: bool) -> dict[str, ArrayRule]:
        """See the base class."""
        n_layers = len(self.layers)
        self.check_layers()
        rules = {
            "n_benign": ArrayRule("iu", ("K",), low=0),
            "profiles": ArrayRule("f", ("K", "L"), low=-1, high=1, also=(math.nan,)),
            "layer_of_interest": ArrayRule("iu", ("K",), low=n_layers // 2, high=n_layers - 1),
            "means": ArrayRule("f", ("K",), low=-3, high=3),
            "deviations": ArrayRule("f", ("K",), low=0),
        }
        return rules | {
            f"sums_{index}": ArrayRule("f", ("K", f"features of {index}"), low=-MOST_SUM, high=MOST_SUM)
            for index in range(n_layers)
        }

    def take_arrays(self, arrays: Mapping[str, np.ndarray], trusted: bool) -> None:
        """See the base class."""
        self.n_benign, self.profiles = arrays["n_benign"], arrays["profiles"]
        if (np.isnan(self.profiles) != (self.n_benign == 0)[:, None]).any():
            raise InvalidInputError("profiles and n_benign contradict each other")
        self.thresholds = similarity.ClassThresholds(*(arrays[name] for name in similarity.ClassThresholds._fields))
        self.sums = ClassSums(self.nb_classes, self.layers)
        for index, name in enumerate(self.layers):
            self.sums.sums[name] = torch.from_numpy(arrays[f"sums_{index}"])
