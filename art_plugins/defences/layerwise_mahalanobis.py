"""The default rule: does a sample look like another class, or foreign to its own, though the network is sure of it?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from art_plugins.defences.layerwise_rules import Judgement, LayerRule
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import ActivationBatch
from art_plugins.features.layer_reduction import channel_statistics, pool_activations, projection_matrix
from art_plugins.statistics.layer_scores import (
    Calibration,
    LayerGaussian,
    answers,
    certainty,
    cross_fitted_measures,
    fit_calibration,
    fit_layer_gaussian,
    questions,
)
from art_plugins.statistics.moments import centre_and_spread

VIEWS: dict[str, Callable[[Tensor], Tensor]] = {"grid": pool_activations, "channels": channel_statistics}
Key = tuple[str, int]  # a view, and the index of a layer


@dataclass
class MahalanobisRule(LayerRule):
    """
    Shrunk Mahalanobis distances at every layer, in deviations of benign samples; the answers to all questions, and how
    sure the network is, added with equal weight.

    :ivar questions: What is asked of every layer.

    :ivar gaussians: One for each view of each layer.
    :ivar projections: Random directions of views that are still long, else ``None``.
    :ivar calibration: Mean and deviation of each benign measure.
    :ivar centre, spread: Mean and deviation of benign samples' answers to each question, of their certainty (with trusted
        samples), and of the sum, (Q + 2,) or (2,).
    """

    def observe(self, classifier: Any, x: np.ndarray) -> None:
        """One pass; what :meth:`features` gives is held for each benign sample."""
        self.projections: dict[Key, np.ndarray | None] = {}
        self._outputs, self._features = self._collect(classifier, x, self.batch_size)

    def features(self, classifier: Any, x: np.ndarray, batch_size: int) -> list[np.ndarray]:
        """In one pass, a short vector of each sample for every view and layer, (n, at most ``max_dims``) each, float32."""
        return list(self._collect(classifier, x, batch_size)[1].values())

    def learn(self, labels: np.ndarray, by_label: bool, kept: np.ndarray, robust: bool) -> tuple[np.ndarray, np.ndarray]:
        """Cross-fitted distances calibrate; Gaussians of all that is kept will judge."""
        self.questions = questions(trusted=not robust)
        predicted = self._outputs.argmax(axis=1)
        fits = (predicted == labels) & kept
        self._note_fits(fits, labels)
        judged = labels if by_label else predicted
        found, self.gaussians = {}, {}
        for key in self._keys():
            features = self._features[key]
            found[key] = cross_fitted_measures(
                features, labels, judged, fits, self.nb_classes, self._measures(key[0]), self.n_folds, self.random_state
            )
            self.gaussians[key] = fit_layer_gaussian(features[fits], labels[fits], self.nb_classes)
        measured = self._in_order(found)
        self.calibration = fit_calibration(measured, robust)
        standardised = self.calibration.standardise(measured)
        parts = self._parts(standardised, self._outputs, judged)
        centre, spread = centre_and_spread(parts, robust)
        spread = np.where(spread > 0, spread, 1.0)
        of_sum, of_sum_spread = centre_and_spread(((parts - centre) / spread).sum(axis=1), robust)
        self.centre, self.spread = np.append(centre, of_sum), np.append(spread, of_sum_spread or 1.0)
        return self._scores(parts, judged), judged

    def judge(self, classifier: Any, x: np.ndarray, batch_size: int, labels: np.ndarray | None = None) -> Judgement:
        """The answers together, in deviations of benign samples."""
        outputs = np.empty((len(x), self.nb_classes))
        found = {key: np.empty((len(x), len(self._measures(key[0])))) for key in self._keys()}
        for rows, classes, batch in self._stream(classifier, x, batch_size):
            outputs[rows] = batch.outputs.cpu().numpy()
            judged = classes if labels is None else labels[rows]
            for key, vectors in self._vectors(batch, self._views()):
                found[key][rows] = self.gaussians[key].measure(vectors, judged, self._measures(key[0]))
        predicted = outputs.argmax(axis=1)
        judged = predicted if labels is None else labels
        standardised = self.calibration.standardise(self._in_order(found))
        scores = self._scores(self._parts(standardised, outputs, judged), judged)
        by_layer = standardised.reshape(len(x), len(self.questions), -1).max(axis=1)
        return Judgement(predicted, outputs.max(axis=1), scores, by_layer, by_layer)

    def _collect(self, classifier: Any, x: np.ndarray, batch_size: int) -> tuple[np.ndarray, dict[Key, np.ndarray]]:
        """The network's outputs, (n, K), and the vectors of all views and layers."""
        outputs = np.empty((len(x), self.nb_classes))
        features: dict[Key, np.ndarray] = {}
        for rows, _, batch in self._stream(classifier, x, batch_size):
            outputs[rows] = batch.outputs.cpu().numpy()
            for key, vectors in self._vectors(batch, list(VIEWS)):
                if key not in features:
                    features[key] = np.empty((len(x), vectors.shape[1]), dtype=np.float32)
                features[key][rows] = vectors
        return outputs, features

    @property
    def _trusted(self) -> bool:
        return self.questions == questions(trusted=True)

    def _views(self) -> list[str]:
        """Those that something is asked of."""
        return [view for view in VIEWS if self._measures(view)]

    def _keys(self) -> list[Key]:
        return [(view, index) for view in self._views() for index in range(len(self.layers))]

    def _measures(self, view: str) -> list[str]:
        """What is measured of a view."""
        return [question.measure for question in self.questions if question.view == view]

    def _in_order(self, found: Mapping[Key, np.ndarray]) -> np.ndarray:
        """A column for each layer of each question, (n, Q L)."""
        columns = [
            found[view, index][:, self._measures(view).index(measure)]
            for view, measure in self.questions
            for index in range(len(self.layers))
        ]
        return np.stack(columns, axis=1)

    def _parts(self, standardised: np.ndarray, outputs: np.ndarray, judged: np.ndarray) -> np.ndarray:
        """Answers to the questions, and of trusted samples how sure the network is, (n, Q + 1) or (n, 1)."""
        found = answers(standardised, len(self.questions))
        return np.column_stack([found, certainty(outputs, judged)]) if self._trusted else found

    def _vectors(self, batch: ActivationBatch, views: list[str]) -> Iterator[tuple[Key, np.ndarray]]:
        """A short vector a sample for each view of each layer, (B, D)."""
        for view in views:
            for index, name in enumerate(self.layers):
                short = VIEWS[view](batch.activations[name])
                if (view, index) not in self.projections:
                    self.projections[view, index] = projection_matrix(short.shape[1], self.max_dims, self.random_state)
                matrix = self.projections[view, index]
                if matrix is not None:
                    short = short @ torch.as_tensor(matrix, device=short.device)
                yield (view, index), short.cpu().numpy()

    def _scores(self, parts: np.ndarray, judged: np.ndarray) -> np.ndarray:
        total = ((parts - self.centre[:-1]) / self.spread[:-1]).sum(axis=1)
        return np.where(self.n_benign[judged] > 0, (total - self.centre[-1]) / self.spread[-1], 0.0)

    def arrays(self) -> dict[str, np.ndarray]:
        """The Gaussians and the projections, and what benign samples look like."""
        found = {"n_benign": self.n_benign, **self.calibration._asdict(), "centre": self.centre, "spread": self.spread}
        for (view, index), gaussian in self.gaussians.items():
            found |= {f"{view}_{name}_{index}": value for name, value in gaussian._asdict().items()}
            matrix = self.projections[view, index]
            if matrix is not None:
                found[f"{view}_projection_{index}"] = matrix
        return found

    def take_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """See the base class."""
        self.n_benign = arrays["n_benign"]
        self.calibration = Calibration(*(arrays[name] for name in Calibration._fields))
        self.centre, self.spread = arrays["centre"], arrays["spread"]
        self.questions = questions(trusted=len(self.centre) == len(questions(trusted=True)) + 2)
        self.gaussians, self.projections = {}, {}
        for view, index in self._keys():
            fields = (arrays[f"{view}_{name}_{index}"] for name in LayerGaussian._fields)
            self.gaussians[view, index] = LayerGaussian(*fields)
            self.projections[view, index] = arrays.get(f"{view}_projection_{index}")
        if self.calibration.means.shape != (len(self.questions) * len(self.layers),):
            raise InvalidInputError(f"the calibration has the shape {self.calibration.means.shape}")
