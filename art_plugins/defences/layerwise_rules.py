"""The two rules of layer-wise feature analysis: what is learned of benign samples, and how others are judged by it."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import ActivationBatch, stream_activations
from art_plugins.features.layer_reduction import ClassSums, pool_activations, projection_matrix
from art_plugins.statistics import similarity
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

LEAST_SAMPLES = 20  # of a class, for a threshold of its own


class Judgement(NamedTuple):
    """
    ``predicted`` (n,): the model's classes; ``scores`` (n,): higher is more suspicious, 0 in classes that cannot be judged;
    ``by_layer`` (n, L): cosine similarities (``"paper"``) or log-distances (``"mahalanobis"``) to the class judged by;
    ``layer_scores`` (n, L): what each layer adds, higher is more suspicious.
    """

    predicted: np.ndarray
    scores: np.ndarray
    by_layer: np.ndarray
    layer_scores: np.ndarray


@dataclass
class LayerRule(abc.ABC):
    """
    Base of the rules. :meth:`learn` on benign samples, then :meth:`judge`.

    :ivar n_benign: Samples of each class that the model predicts right and that were learned from, (K,).
    """

    layers: list[str]
    nb_classes: int
    n_folds: int = 10
    max_dims: int = 512
    random_state: int = 0
    batch_size: int = 128

    @abc.abstractmethod
    def observe(self, classifier: Any, x: np.ndarray) -> None:
        """Take what :meth:`learn` needs of the samples."""

    @abc.abstractmethod
    def learn(self, labels: np.ndarray, by_label: bool, kept: np.ndarray, robust: bool) -> np.ndarray:
        """
        Learn from the observed samples that are kept and predicted right.

        :param labels: Classes, (n,).
        :param by_label: Judge samples by their label; else by the class that the model sends them to.
        :param kept: (n,), bool.
        :param robust: Take medians where poison may be among the samples.
        :return: Scores of all of them, (n,), each by what was learned without it.
        """

    @abc.abstractmethod
    def judge(self, classifier: Any, x: np.ndarray, batch_size: int, labels: np.ndarray | None = None) -> Judgement:
        """Judge samples by their labels, or by the model's classes."""

    def _stream(self, classifier: Any, x: np.ndarray, batch_size: int) -> Iterator[tuple[slice, np.ndarray, ActivationBatch]]:
        """Rows, the model's classes, and activations of each batch."""
        for batch in stream_activations(classifier, x, self.layers, batch_size):
            predicted = batch.outputs.argmax(dim=1).cpu().numpy()
            yield slice(batch.start, batch.start + len(predicted)), predicted, batch

    def _check_fits(self, fits: np.ndarray, labels: np.ndarray) -> None:
        if not fits.any():
            raise InvalidInputError(
                f"The model predicts none of the {len(labels)} benign samples as labelled: check the labels, and that the "
                "samples are scaled as the classifier takes them."
            )
        self.n_benign = np.bincount(labels[fits], minlength=self.nb_classes)


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

    def learn(self, labels: np.ndarray, by_label: bool, kept: np.ndarray, robust: bool) -> np.ndarray:
        """Centroids in a first pass; in a second, each sample's cosine to the centroid of the others."""
        classifier, x = self._benign
        self.sums = ClassSums(self.nb_classes, self.layers)
        predicted = np.empty(len(x), dtype=np.int64)
        for rows, classes, batch in self._stream(classifier, x, self.batch_size):
            predicted[rows] = classes
            right = np.flatnonzero((classes == labels[rows]) & kept[rows])
            self.sums.add(batch.activations, labels[rows], right)
        fits = (predicted == labels) & kept
        self._check_fits(fits, labels)
        judged = labels if by_label else predicted
        _, dots, lengths = self._products(classifier, x, self.batch_size, judged)
        norms = self.sums.squared_norms()[judged]
        cosines = similarity.cosine_similarities(dots, lengths, norms)
        left_out = np.where(fits[:, None], similarity.leave_one_out_cosines(dots, lengths, norms), cosines)
        self.profiles = similarity.class_profiles(cosines[fits], labels[fits], self.nb_classes)
        # Without trusted samples the trimmed ones count for the spread: that of the rest alone would be too narrow.
        typical = predicted == labels if robust else fits
        self.thresholds = similarity.fit_class_thresholds(
            self.profiles, left_out[typical], labels[typical], LEAST_SAMPLES, robust
        )
        return self._scores(left_out, judged)

    def judge(self, classifier: Any, x: np.ndarray, batch_size: int, labels: np.ndarray | None = None) -> Judgement:
        """(mu_t - S) / sigma_t of each sample."""
        predicted, dots, lengths = self._products(classifier, x, batch_size, labels)
        judged = predicted if labels is None else labels
        cosines = similarity.cosine_similarities(dots, lengths, self.sums.squared_norms()[judged])
        return Judgement(predicted, self._scores(cosines, judged), cosines, 1 - cosines)

    def _products(
        self, classifier: Any, x: np.ndarray, batch_size: int, labels: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The model's classes (n,); inner products with the sum of the class judged by, and squared lengths, (n, L)."""
        predicted = np.empty(len(x), dtype=np.int64)
        dots, lengths = np.empty((2, len(x), len(self.layers)))
        for rows, classes, batch in self._stream(classifier, x, batch_size):
            predicted[rows] = classes
            judged = classes if labels is None else labels[rows]
            dots[rows], lengths[rows] = self.sums.products(batch.activations, judged)
        return predicted, dots, lengths

    def _scores(self, cosines: np.ndarray, judged: np.ndarray) -> np.ndarray:
        sums = similarity.interest_sums(cosines, self.thresholds.layer_of_interest[judged])
        scores = similarity.deviations_below(sums, judged, self.thresholds)
        return np.where(self.n_benign[judged] > 0, scores, 0.0)


@dataclass
class MahalanobisRule(LayerRule):
    """
    Log-distance to the class at every layer, in deviations of benign samples, summed over the layers.

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

    def learn(self, labels: np.ndarray, by_label: bool, kept: np.ndarray, robust: bool) -> np.ndarray:
        """Cross-fitted distances calibrate; Gaussians of all that is kept will judge."""
        fits = (self._predicted == labels) & kept
        self._check_fits(fits, labels)
        judged = labels if by_label else self._predicted
        distances = np.stack(
            [
                cross_fitted_log_distances(
                    layer, labels, judged, fits, self.nb_classes, self.n_folds, self.random_state
                )
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
        return self._scores(sums, judged)

    def judge(self, classifier: Any, x: np.ndarray, batch_size: int, labels: np.ndarray | None = None) -> Judgement:
        """The sum over the layers, in deviations of benign sums."""
        predicted = np.empty(len(x), dtype=np.int64)
        distances = np.empty((len(x), len(self.layers)))
        for rows, classes, batch in self._stream(classifier, x, batch_size):
            predicted[rows] = classes
            judged = classes if labels is None else labels[rows]
            for index, vectors in enumerate(self._vectors(batch)):
                distances[rows, index] = self.gaussians[index].log_distances(vectors, judged)
        judged = predicted if labels is None else labels
        by_layer = self.calibration.standardise(distances, judged)
        return Judgement(predicted, self._scores(combine_layers(by_layer), judged), distances, by_layer)

    def _vectors(self, batch: ActivationBatch) -> Iterator[np.ndarray]:
        """A short vector a sample for each layer, (B, D)."""
        for index, name in enumerate(self.layers):
            pooled = pool_activations(batch.activations[name], self.max_dims)
            if index == len(self.projections):
                self.projections.append(projection_matrix(pooled.shape[1], self.max_dims, self.random_state))
            matrix = self.projections[index]
            if matrix is not None:
                pooled = pooled @ torch.as_tensor(matrix, device=pooled.device)
            yield pooled.cpu().numpy()

    def _scores(self, sums: np.ndarray, judged: np.ndarray) -> np.ndarray:
        return np.where(self.n_benign[judged] > 0, (sums - self.centre) / self.spread, 0.0)
