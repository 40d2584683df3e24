"""The default rule: does a sample look like another class early on, and foreign to its own class later?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from art_plugins.defences.layerwise_rules import LEAST_SAMPLES, Judgement, LayerRule
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import ActivationBatch
from art_plugins.features.layer_reduction import pool_activations, projection_matrix
from art_plugins.statistics.layer_scores import (
    Calibration,
    LayerGaussian,
    answers,
    cross_fitted_measures,
    fit_calibration,
    fit_layer_gaussian,
    left_out_deviations,
    questions,
)
from art_plugins.statistics.moments import centre_and_spread


@dataclass
class MahalanobisRule(LayerRule):
    """
    Shrunk Mahalanobis distances at every layer, in deviations of benign samples; the answers to all questions, added.

    :ivar questions: What is asked of which layers.

    :ivar gaussians: One for each layer.
    :ivar projections: Random directions of layers that are still long after pooling, else ``None``.
    :ivar calibration: Mean and deviation of benign measures for each class.
    :ivar centre, spread: Mean and deviation of benign samples' answers to each question, and of their sum, (Q + 1,).
    """

    def observe(self, classifier: Any, x: np.ndarray) -> None:
        """One pass; a short vector is held for each benign sample and layer, at most ``max_dims`` floats."""
        self.projections: list[np.ndarray | None] = []
        self._features: list[np.ndarray] = []
        self._predicted = np.empty(len(x), dtype=np.int64)
        for rows, classes, batch in self._stream(classifier, x, self.batch_size):
            self._predicted[rows] = classes
            for index, vectors in enumerate(self._vectors(batch)):
                if index == len(self._features):
                    self._features.append(np.empty((len(x), vectors.shape[1]), dtype=np.float32))
                self._features[index][rows] = vectors

    def learn(self, labels: np.ndarray, by_label: bool, kept: np.ndarray, robust: bool) -> tuple[np.ndarray, np.ndarray]:
        """Cross-fitted distances calibrate; Gaussians of all that is kept will judge."""
        self.questions = questions(len(self.layers), trusted=not robust)
        fits = (self._predicted == labels) & kept
        self._note_fits(fits, labels)
        judged = labels if by_label else self._predicted
        found = [
            cross_fitted_measures(
                layer, labels, judged, fits, self.nb_classes, self._measures(index), self.n_folds, self.random_state
            )
            for index, layer in enumerate(self._features)
        ]
        measured = self._in_order(found)
        self.gaussians = [fit_layer_gaussian(layer[fits], labels[fits], self.nb_classes) for layer in self._features]
        self.calibration = fit_calibration(measured, judged, self.nb_classes, LEAST_SAMPLES, robust)
        # Medians do not notice one sample more or less.
        standardised = (
            self.calibration.standardise(measured, judged)
            if robust
            else left_out_deviations(measured, judged, self.calibration, LEAST_SAMPLES)
        )
        parts = answers(standardised, self.questions)
        centre, spread = centre_and_spread(parts, robust)
        spread = np.where(spread > 0, spread, 1.0)
        of_sum, of_sum_spread = centre_and_spread(((parts - centre) / spread).sum(axis=1), robust)
        self.centre, self.spread = np.append(centre, of_sum), np.append(spread, of_sum_spread or 1.0)
        return self._scores(standardised, judged), judged

    def judge(self, classifier: Any, x: np.ndarray, batch_size: int, labels: np.ndarray | None = None) -> Judgement:
        """The answers together, in deviations of benign samples."""
        predicted, top_output = np.empty(len(x), dtype=np.int64), np.empty(len(x))
        columns: list[np.ndarray] = [np.empty((len(x), len(self._measures(index)))) for index in range(len(self.layers))]
        for rows, classes, batch in self._stream(classifier, x, batch_size):
            predicted[rows], top_output[rows] = classes, batch.outputs.amax(dim=1).cpu().numpy()
            judged = classes if labels is None else labels[rows]
            for index, vectors in enumerate(self._vectors(batch)):
                for column, measure in enumerate(self._measures(index)):
                    columns[index][rows, column] = getattr(self.gaussians[index], measure)(vectors, judged)
        judged = predicted if labels is None else labels
        standardised = self.calibration.standardise(self._in_order(columns), judged)
        by_layer = self._by_layer(standardised)
        return Judgement(predicted, top_output, self._scores(standardised, judged), by_layer, by_layer)

    def _measures(self, index: int) -> list[str]:
        """What is measured at a layer."""
        return [question.measure for question in self.questions if index in question.layers]

    def _in_order(self, by_layer: list[np.ndarray]) -> np.ndarray:
        """A column for each layer of each question, (n, M)."""
        columns = [
            by_layer[index][:, self._measures(index).index(question.measure)]
            for question in self.questions
            for index in question.layers
        ]
        return np.stack(columns, axis=1)

    def _by_layer(self, standardised: np.ndarray) -> np.ndarray:
        """What each layer says, (n, L); one that is asked twice the larger of both."""
        found = np.full((len(standardised), len(self.layers)), -np.inf)
        for column, index in enumerate(index for question in self.questions for index in question.layers):
            found[:, index] = np.maximum(found[:, index], standardised[:, column])
        return found

    def _vectors(self, batch: ActivationBatch) -> Iterator[np.ndarray]:
        """A short vector a sample for each layer, (B, D)."""
        for index, name in enumerate(self.layers):
            pooled = pool_activations(batch.activations[name])
            if index == len(self.projections):
                self.projections.append(projection_matrix(pooled.shape[1], self.max_dims, self.random_state))
            matrix = self.projections[index]
            if matrix is not None:
                pooled = pooled @ torch.as_tensor(matrix, device=pooled.device)
            yield pooled.cpu().numpy()

    def _scores(self, standardised: np.ndarray, judged: np.ndarray) -> np.ndarray:
        parts = answers(standardised, self.questions)
        total = ((parts - self.centre[:-1]) / self.spread[:-1]).sum(axis=1)
        return np.where(self.n_benign[judged] > 0, (total - self.centre[-1]) / self.spread[-1], 0.0)

    def arrays(self) -> dict[str, np.ndarray]:
        """The Gaussians and the projections, and what benign samples look like."""
        found = {"n_benign": self.n_benign, **self.calibration._asdict(), "centre": self.centre, "spread": self.spread}
        for index, (gaussian, matrix) in enumerate(zip(self.gaussians, self.projections, strict=True)):
            found |= {f"{name}_{index}": value for name, value in gaussian._asdict().items()}
            if matrix is not None:
                found[f"projection_{index}"] = matrix
        return found

    def take_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """See the base class."""
        self.n_benign = arrays["n_benign"]
        self.calibration = Calibration(*(arrays[name] for name in Calibration._fields))
        self.centre, self.spread = arrays["centre"], arrays["spread"]
        indices = range(len(self.layers))
        self.gaussians = [
            LayerGaussian(*(arrays[f"{name}_{index}"] for name in LayerGaussian._fields)) for index in indices
        ]
        self.projections = [arrays.get(f"projection_{index}") for index in indices]
        trusted = len(self.centre) == len(questions(len(self.layers), trusted=True)) + 1
        self.questions = questions(len(self.layers), trusted)
        n_measures = sum(len(question.layers) for question in self.questions)
        if self.calibration.means.shape != (self.nb_classes, n_measures):
            raise InvalidInputError(f"the calibration has the shape {self.calibration.means.shape}")
