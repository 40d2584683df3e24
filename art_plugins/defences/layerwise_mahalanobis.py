"""The default rule: how odd a sample is for its class, by a shrunk Mahalanobis distance at every layer."""

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
    combine_layers,
    cross_fitted_log_distances,
    fit_calibration,
    fit_layer_gaussian,
    left_out_deviations,
)
from art_plugins.statistics.moments import centre_and_spread


@dataclass
class MahalanobisRule(LayerRule):
    """
    Log-distance to the class at every layer, in deviations of benign samples, summed over the five oddest layers.

    :ivar gaussians: One for each layer.
    :ivar projections: Random directions of layers that are still long after pooling, else ``None``.
    :ivar calibration: Mean and deviation of benign log-distances for each class and layer.
    :ivar centre, spread: Mean and deviation of the benign sums.
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
        fits = (self._predicted == labels) & kept
        self._note_fits(fits, labels)
        judged = labels if by_label else self._predicted
        distances = np.stack(
            [
                cross_fitted_log_distances(layer, labels, judged, fits, self.nb_classes, self.n_folds, self.random_state)
                for layer in self._features
            ],
            axis=1,
        )
        self.gaussians = [fit_layer_gaussian(layer[fits], labels[fits], self.nb_classes) for layer in self._features]
        self.calibration = fit_calibration(distances, judged, self.nb_classes, LEAST_SAMPLES, robust)
        # Medians do not notice one sample more or less.
        by_layer = (
            self.calibration.standardise(distances, judged)
            if robust
            else left_out_deviations(distances, judged, self.calibration, LEAST_SAMPLES)
        )
        sums = combine_layers(by_layer)
        centre, spread = centre_and_spread(sums, robust)
        self.centre, self.spread = float(centre), float(spread) or 1.0
        return self._scores(sums, judged), judged

    def judge(self, classifier: Any, x: np.ndarray, batch_size: int, labels: np.ndarray | None = None) -> Judgement:
        """The sum over the layers, in deviations of benign sums."""
        predicted, top_output = np.empty(len(x), dtype=np.int64), np.empty(len(x))
        distances = np.empty((len(x), len(self.layers)))
        for rows, classes, batch in self._stream(classifier, x, batch_size):
            predicted[rows], top_output[rows] = classes, batch.outputs.amax(dim=1).cpu().numpy()
            judged = classes if labels is None else labels[rows]
            for index, vectors in enumerate(self._vectors(batch)):
                distances[rows, index] = self.gaussians[index].log_distances(vectors, judged)
        judged = predicted if labels is None else labels
        by_layer = self.calibration.standardise(distances, judged)
        return Judgement(predicted, top_output, self._scores(combine_layers(by_layer), judged), distances, by_layer)

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

    def _scores(self, sums: np.ndarray, judged: np.ndarray) -> np.ndarray:
        return np.where(self.n_benign[judged] > 0, (sums - self.centre) / self.spread, 0.0)

    def arrays(self) -> dict[str, np.ndarray]:
        """The Gaussians and the projections, and what benign samples look like."""
        found = {"n_benign": self.n_benign, **self.calibration._asdict(), "sums": np.array([self.centre, self.spread])}
        for index, (gaussian, matrix) in enumerate(zip(self.gaussians, self.projections, strict=True)):
            found |= {f"{name}_{index}": value for name, value in gaussian._asdict().items()}
            if matrix is not None:
                found[f"projection_{index}"] = matrix
        return found

    def take_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """See the base class."""
        self.n_benign = arrays["n_benign"]
        self.calibration = Calibration(*(arrays[name] for name in Calibration._fields))
        self.centre, self.spread = (float(value) for value in arrays["sums"])
        indices = range(len(self.layers))
        self.gaussians = [
            LayerGaussian(*(arrays[f"{name}_{index}"] for name in LayerGaussian._fields)) for index in indices
        ]
        self.projections = [arrays.get(f"projection_{index}") for index in indices]
        if self.calibration.means.shape != (self.nb_classes, len(self.layers)):
            raise InvalidInputError(f"the calibration has the shape {self.calibration.means.shape}")
