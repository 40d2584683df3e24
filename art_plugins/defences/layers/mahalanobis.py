"""The default rule: at some layers a sample looks like another class, or unlike its own, though the model is sure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from art_plugins.arrays import is_sound
from art_plugins.defences.layers.likely_class import SHARPEST, UNKNOWN, LikelyClass, fit_likely_class
from art_plugins.defences.layers.rules import MOST_SCORE, Judgement, LayerRule, other_length
from art_plugins.errors import InvalidInputError
from art_plugins.features.layer_reduction import channel_statistics, folding_signs, pool_activations, projected
from art_plugins.features.watched_modules import ActivationBatch
from art_plugins.file_rules import TINY, ArrayRule
from art_plugins.parameters import check_count
from art_plugins.statistics.benign_threshold import typical_shift
from art_plugins.statistics.layer_gaussian import LayerGaussian, cross_fitted, fit_layer_gaussian
from art_plugins.statistics.layer_scores import (
    QUESTIONS,
    Calibration,
    Contradiction,
    answers,
    fit_calibration,
    fit_contradiction,
    logit_margin,
)
from art_plugins.statistics.moments import centre_and_spread

VIEWS: dict[str, Callable[[Tensor], Tensor]] = {"grid": pool_activations, "channels": channel_statistics}
Key = tuple[str, int]  # a view, and the index of a layer
OF_CONTENT = "grid"  # the view that tells where things are in an image, and so what it shows


@dataclass
class MahalanobisRule(LayerRule):
    """
    Mahalanobis distances and distance ratios at every layer, in standard deviations of benign samples. The score adds the
    answers to all questions and the logit margin, with equal weight. It learns from trusted samples only.

    :param n_folds: Number of folds; the benign samples of a fold are measured by Gaussians that were fitted on the others.
    :param max_dims: Length of the longest vector that is kept of a sample and layer; longer ones are projected at random.

    :ivar gaussians: The Gaussians of each view of each layer.
    :ivar projections: The random signs for views that are longer than ``max_dims``, else ``None``; random directions in a
        detector that an older release has saved. See :func:`~art_plugins.features.layer_reduction.projected`.
    :ivar calibration: Mean and standard deviation of each measure over benign samples.
    :ivar centre, spread: Mean and standard deviation, over benign samples, of the answers to each question, of the logit
        margin, and of the sum, (Q + 2,).
    :ivar contradiction: When a sample contradicts itself; ``None`` for a detector that an older release has saved.
    :ivar likely_class: What a sample shows at the early layers, which are the first half; ``None`` as before.
    """

    name: ClassVar[str] = "mahalanobis"
    terms: ClassVar[Mapping[str, float]] = {"fpr": 0.01}
    settings: ClassVar[tuple[str, ...]] = ("n_folds", "max_dims")
    attributes: ClassVar[tuple[str, ...]] = ("contradicts", "likely_class", "likely_probability")

    n_folds: int = 10
    max_dims: int = 512

    @classmethod
    def check_settings(cls, values: Mapping[str, Any]) -> None:
        """See the base class."""
        for name, least in (("n_folds", 2), ("max_dims", 1)):
            check_count(name, values.get(name, least), least)

    def shift(self, scores: np.ndarray, labels: np.ndarray, benign_scores: np.ndarray, benign_labels: np.ndarray) -> float:
        """See the base class and :func:`~art_plugins.statistics.benign_threshold.typical_shift`."""
        return typical_shift(scores, labels, benign_scores, benign_labels)

    def observe(self, classifier: Any, x: np.ndarray) -> None:
        """One pass; a short vector of each view and layer is held for each sound sample."""
        self.projections: dict[Key, np.ndarray | None] = {}
        outputs, predicted, features = self._collect(classifier, x, self.batch_size)
        finite = {key: is_sound(vectors) for key, vectors in features.items()}
        by_layer = [np.all([finite[view, index] for view in VIEWS], axis=0) for index in range(len(self.layers))]
        self._note_sound(np.stack([*by_layer, is_sound(outputs)], axis=1))
        self._predicted = predicted[self.sound]
        self._outputs = outputs if self.sound.all() else outputs[self.sound]
        self._features = {key: one if self.sound.all() else one[self.sound] for key, one in features.items()}

    def learn(self, labels: np.ndarray, by_label: bool, kept: np.ndarray, robust: bool) -> tuple[np.ndarray, np.ndarray]:
        """Distances by the other folds set means and deviations; Gaussians of all samples that are kept judge later."""
        predicted = self._predicted
        fits = (predicted == labels) & kept
        self._note_fits(fits, labels)
        judged = labels if by_label else predicted
        found, self.gaussians = {}, {}
        early = np.zeros((len(labels), self.nb_classes))
        for key in self._keys():
            features, ask = self._features[key], self._asked_of(key, judged)
            crossed = cross_fitted(features, labels, fits, self.nb_classes, ask, self.n_folds, self.random_state)
            found[key], distances = np.split(crossed, [len(self._measures(key[0]))], axis=1)
            if key in self._early():
                early += distances / len(self._early())
            self.gaussians[key] = fit_layer_gaussian(features[fits], labels[fits], self.nb_classes)
        self.likely_class: LikelyClass | None = fit_likely_class(early, labels)
        measured = self._in_order(found)
        self.calibration = fit_calibration(measured)
        standardised = self.calibration.standardise(measured)
        parts = self._parts(standardised, self._outputs, judged)
        self.contradiction: Contradiction | None = fit_contradiction(parts)
        centre, spread = centre_and_spread(parts)
        spread = np.where(spread > 0, spread, 1.0)
        of_sum, of_sum_spread = centre_and_spread(((parts - centre) / spread).sum(axis=1))
        self.centre, self.spread = np.append(centre, of_sum), np.append(spread, of_sum_spread or 1.0)
        return self._scores(parts, judged), judged

    def judge(self, classifier: Any, x: np.ndarray, batch_size: int, labels: np.ndarray | None = None) -> Judgement:
        """See the base class; scores are in standard deviations of benign samples."""
        outputs, sound = np.empty((len(x), self.nb_classes)), np.ones(len(x), dtype=bool)
        predicted = np.empty(len(x), dtype=np.int64)
        found = {key: np.zeros((len(x), len(self._measures(key[0])))) for key in self._keys()}
        likely, probability = np.full(len(x), UNKNOWN), np.zeros(len(x))
        for rows, classes, batch in self._stream(classifier, x, batch_size):
            outputs[rows], predicted[rows] = batch.outputs.cpu().numpy(), classes
            judged = classes if labels is None else labels[rows]
            early = np.zeros((len(classes), self.nb_classes))
            for key, vectors in self._vectors(batch):
                self._check_length(key, vectors.shape[1])
                finite = is_sound(vectors)
                sound[rows] &= finite
                found[key][rows][finite] = self.gaussians[key].measure(
                    vectors[finite], judged[finite], self._measures(key[0])
                )
                if key in self._early():
                    early[finite] += self.gaussians[key].known_distances(vectors[finite]) / len(self._early())
            if self.likely_class is not None:
                likely[rows], probability[rows] = self.likely_class.of(early, judged)
        sound &= is_sound(outputs)
        outputs[~sound] = 0
        judged = predicted if labels is None else labels
        standardised = self.calibration.standardise(self._in_order(found))
        parts = self._parts(standardised, outputs, judged)
        scores = self._scores(parts, judged, sound)
        by_layer = standardised.reshape(len(x), len(QUESTIONS), -1).max(axis=1)
        more: dict[str, np.ndarray] = {}
        if self.contradiction is not None:
            more["contradicts"] = self.contradiction.of(parts) & sound & (self.n_benign[judged] > 0)
        if self.likely_class is not None:
            more["likely_class"] = np.where(sound, likely, UNKNOWN)
            more["likely_probability"] = np.where(sound, probability, 0.0)
        return Judgement(predicted, scores, by_layer, more)

    def _collect(
        self, classifier: Any, x: np.ndarray, batch_size: int
    ) -> tuple[np.ndarray, np.ndarray, dict[Key, np.ndarray]]:
        """The outputs, (n, K), the classifier's classes, (n,), and the vectors of all views and layers."""
        outputs, predicted = np.empty((len(x), self.nb_classes)), np.empty(len(x), dtype=np.int64)
        features: dict[Key, np.ndarray] = {}
        for rows, classes, batch in self._stream(classifier, x, batch_size):
            outputs[rows], predicted[rows] = batch.outputs.cpu().numpy(), classes
            for key, vectors in self._vectors(batch):
                if key not in features:
                    features[key] = np.empty((len(x), vectors.shape[1]), dtype=np.float32)
                features[key][rows] = vectors
        return outputs, predicted, features

    def _keys(self) -> list[Key]:
        return [(view, index) for view in VIEWS for index in range(len(self.layers))]

    def _measures(self, view: str) -> list[str]:
        """The measures that the questions take of a view."""
        return [question.measure for question in QUESTIONS if question.view == view]

    def _early(self) -> list[Key]:
        """Where samples are asked what they show: at the first half of the layers, at least at one."""
        return [(OF_CONTENT, index) for index in range(max(1, len(self.layers) // 2))]

    def _asked_of(self, key: Key, judged: np.ndarray) -> Callable[[LayerGaussian, np.ndarray], np.ndarray]:
        """
        What is asked of benign samples at a layer: the measures, and, at an early layer, the distances to all classes.

        :param judged: Classes that the samples are measured against, (n,).
        """

        def ask(gaussian: LayerGaussian, rows: np.ndarray) -> np.ndarray:
            features = self._features[key][rows]
            parts = [gaussian.measure(features, judged[rows], self._measures(key[0]))]
            if key in self._early():
                parts.append(gaussian.known_distances(features))
            return np.hstack(parts)

        return ask

    def _in_order(self, found: Mapping[Key, np.ndarray]) -> np.ndarray:
        """A column for each layer of each question, (n, Q L)."""
        columns = [
            found[view, index][:, self._measures(view).index(measure)]
            for view, measure in QUESTIONS
            for index in range(len(self.layers))
        ]
        return np.stack(columns, axis=1)

    def _parts(self, standardised: np.ndarray, outputs: np.ndarray, judged: np.ndarray) -> np.ndarray:
        """The answers to the questions and the logit margin, (n, Q + 1)."""
        return np.column_stack([answers(standardised, len(QUESTIONS)), logit_margin(outputs, judged)])

    def _vectors(self, batch: ActivationBatch) -> Iterator[tuple[Key, np.ndarray]]:
        """A short vector of each sample for each view of each layer, (B, D)."""
        for view in VIEWS:
            for index, name in enumerate(self.layers):
                short = VIEWS[view](batch.activations[name])
                if (view, index) not in self.projections:
                    self.projections[view, index] = folding_signs(short.shape[1], self.max_dims, self.random_state)
                directions = self.projections[view, index]
                if directions is not None:
                    if len(directions) != short.shape[1]:
                        raise InvalidInputError(other_length(name, short.shape[1], len(directions)))
                    short = projected(short, torch.as_tensor(directions, device=short.device), self.max_dims)
                yield (view, index), short.cpu().numpy()

    def _check_length(self, key: Key, length: int) -> None:
        """
        :raises InvalidInputError: If vectors have another length than those that were learned from.
        """
        if length != len(self.gaussians[key].centre):
            raise InvalidInputError(other_length(self.layers[key[1]], length, len(self.gaussians[key].centre)))

    def _scores(self, parts: np.ndarray, judged: np.ndarray, sound: np.ndarray | bool = True) -> np.ndarray:
        total = ((parts - self.centre[:-1]) / self.spread[:-1]).sum(axis=1)
        return self._of_judged((total - self.centre[-1]) / self.spread[-1], judged, sound)

    def arrays(self) -> dict[str, np.ndarray]:
        """See the base class."""
        found = {"n_benign": self.n_benign, **self.calibration._asdict(), "centre": self.centre, "spread": self.spread}
        if self.contradiction is not None:
            found["contradiction"] = np.hstack(self.contradiction)
        if self.likely_class is not None:
            found["sharpness"] = np.array(self.likely_class, dtype=np.float64)
        for (view, index), gaussian in self.gaussians.items():
            found |= {f"{view}_{name}_{index}": value for name, value in gaussian._asdict().items()}
            directions = self.projections[view, index]
            if directions is not None:
                found[f"{view}_{'signs' if directions.ndim == 1 else 'projection'}_{index}"] = directions
        return found

    def array_rules(self, names: Collection[str], trusted: bool) -> dict[str, ArrayRule]:
        """See the base class."""
        n_measures, n_parts = len(QUESTIONS) * len(self.layers), len(QUESTIONS) + 1
        rules = {
            "n_benign": ArrayRule("iu", ("K",), low=0),
            "means": ArrayRule("f", (n_measures,), low=-MOST_SCORE, high=MOST_SCORE),
            "deviations": ArrayRule("f", (n_measures,), low=0, high=MOST_SCORE),
            "centre": ArrayRule("f", (n_parts + 1,), low=-MOST_SCORE, high=MOST_SCORE),
            "spread": ArrayRule("f", (n_parts + 1,), low=TINY, high=MOST_SCORE),
        }
        if "contradiction" in names:  # the release before did not save it
            rules["contradiction"] = ArrayRule("f", (5,), low=-MOST_SCORE, high=MOST_SCORE)
        if "sharpness" in names:
            rules["sharpness"] = ArrayRule("f", (1,), low=0, high=SHARPEST)
        for view in VIEWS:
            for index in range(len(self.layers)):
                features, varying = f"features of {view} {index}", f"varying features of {view} {index}"
                shapes: list[ArrayRule] = [
                    ArrayRule("f", (features,)),
                    ArrayRule("f", (features,), low=TINY),
                    ArrayRule("b", (features,)),
                    ArrayRule("f", ("K", varying)),
                    ArrayRule("f", (varying, varying)),
                    ArrayRule("b", ("K",)),
                ]
                fields = LayerGaussian._fields
                rules |= {f"{view}_{name}_{index}": rule for name, rule in zip(fields, shapes, strict=True)}
                if f"{view}_signs_{index}" in names:
                    rules[f"{view}_signs_{index}"] = ArrayRule("f", (f"length of {view} {index}",), low=-1, high=1)
                elif f"{view}_projection_{index}" in names:  # the release before had directions
                    rules[f"{view}_projection_{index}"] = ArrayRule("f", (f"length of {view} {index}", features))
        return rules

    def take_arrays(self, arrays: Mapping[str, np.ndarray], trusted: bool) -> None:
        """See the base class."""
        self.n_benign = arrays["n_benign"]
        self.calibration = Calibration(*(arrays[name] for name in Calibration._fields))
        self.centre, self.spread = arrays["centre"], arrays["spread"]
        saved = arrays.get("contradiction")
        self.contradiction = None if saved is None else Contradiction(saved[:2], saved[2:4], float(saved[4]))
        if saved is not None and (saved[2:4] <= 0).any():
            raise InvalidInputError("the array contradiction holds a spread that is not above 0")
        self.likely_class = LikelyClass(float(arrays["sharpness"][0])) if "sharpness" in arrays else None
        self.gaussians, self.projections = {}, {}
        for view, index in self._keys():
            gaussian = LayerGaussian(*(arrays[f"{view}_{name}_{index}"] for name in LayerGaussian._fields))
            if int(gaussian.used.sum()) != len(gaussian.whitening) or (gaussian.known != (self.n_benign > 0)).any():
                raise InvalidInputError(f"the arrays of {view} {index} contradict each other")
            self.gaussians[view, index] = gaussian
            self.projections[view, index] = arrays.get(f"{view}_signs_{index}", arrays.get(f"{view}_projection_{index}"))
