"""Base of the detectors that learn from the activations of clean images at several layers."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import numpy as np

from art_plugins.arrays import check_finite_features
from art_plugins.defences.detector_classifier import ForDetectorClassifier
from art_plugins.defences.threshold_detector import ThresholdDetector
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import stream_activations
from art_plugins.features.blocks import find_blocks
from art_plugins.features.outputs import check_outputs
from art_plugins.features.watched_modules import ActivationBatch
from art_plugins.parameters import check_layer_names


class LayerDetector(ForDetectorClassifier, ThresholdDetector):
    """
    Base of detectors that use the activations of layers. They learn from the clean images that the model classifies
    correctly. An image is compared with the class that the model predicts. If this class was not learned, the score is 0.

    A subclass implements :meth:`_fit`, which scores each clean image without having learned from it, and
    :meth:`_batch_scores`.

    :param layers: Names of modules in the order in which they run. ``None`` lets :meth:`_default_layers` choose among the
        model's blocks, see :func:`~art_plugins.features.blocks.find_blocks`.

    The other parameters are those of :class:`ThresholdDetector`.

    :ivar layers_: Names of the layers that are used.
    """

    defence_params = [*ThresholdDetector.defence_params, "layers"]
    layers_: list[str]

    def __init__(
        self,
        classifier: Any,
        target_class: int | None,
        layers: Sequence[str] | None,
        threshold: float | None,
        fpr: float,
    ) -> None:
        super().__init__(classifier, target_class, threshold, fpr)
        self.layers = layers

    def _learn(self, x: np.ndarray, labels: np.ndarray, batch_size: int) -> None:
        self.layers_ = self._default_layers(x[:1]) if self.layers is None else list(self.layers)
        predicted = np.empty(len(x), dtype=np.int64)
        held: dict[str, np.ndarray] = {}
        for batch in stream_activations(self.classifier, x, self.layers_, batch_size):
            check_outputs(batch.outputs, int(self.classifier.nb_classes))
            rows = slice(batch.start, batch.start + len(batch.outputs))
            predicted[rows] = batch.predicted
            for name in self.layers_:
                kept = self._reduce(batch, name)
                check_finite_features(kept.reshape(len(kept), -1), f"layer {name!r} (rows {rows.start} on)")
                held.setdefault(name, np.empty((len(x), *kept.shape[1:]), dtype=np.float32))[rows] = kept
        right = predicted == labels
        if not right.any():
            raise InvalidInputError(
                f"The model predicts none of the {len(x)} clean images as labelled: check the labels, and that the images "
                "are scaled as the classifier takes them."
            )
        self._scores_of_clean = self._fit(held, labels, predicted, right)

    def _clean_scores(self, x: np.ndarray, rows: np.ndarray, batch_size: int) -> np.ndarray:
        scores: np.ndarray = self._scores_of_clean[rows]
        return scores

    def _scores(self, x: np.ndarray, batch_size: int) -> np.ndarray:
        scores = np.empty(len(x))
        for batch in stream_activations(self.classifier, x, self.layers_, batch_size):
            predicted = self._compared_with(batch)
            features = {name: self._reduce(batch, name) for name in self.layers_}
            found = np.full(len(predicted), np.inf)  # an image whose activations are not finite is never called clean
            sound = np.all([np.isfinite(layer.reshape(len(layer), -1)).all(axis=1) for layer in features.values()], axis=0)
            if sound.any():
                kept = {name: layer[sound] for name, layer in features.items()}
                found[sound] = self._batch_scores(kept, predicted[sound])
            scores[batch.start : batch.start + len(predicted)] = found
        return scores

    def _compared_with(self, batch: ActivationBatch) -> np.ndarray:
        """Give the class that each image of a batch is compared with, (B,)."""
        return batch.predicted

    def _default_layers(self, x: np.ndarray) -> list[str]:
        return find_blocks(self.classifier, x)

    @abc.abstractmethod
    def _reduce(self, batch: ActivationBatch, layer: str) -> np.ndarray:
        """Reduce the activations of a batch at a layer to features, (B, ...), float32."""

    @abc.abstractmethod
    def _fit(
        self, features: dict[str, np.ndarray], labels: np.ndarray, predicted: np.ndarray, right: np.ndarray
    ) -> np.ndarray:
        """
        Learn from the images that are classified correctly.

        :param features: Layer -> features of the clean images, (n, ...).
        :param labels: Classes of the images, (n,).
        :param predicted: Classes that the model predicts, (n,).
        :param right: Whether the prediction is correct, (n,), bool.
        :return: Score of every clean image by a model that was learned without it, (n,).
        """

    @abc.abstractmethod
    def _batch_scores(self, features: dict[str, np.ndarray], predicted: np.ndarray) -> np.ndarray:
        """Score a batch, (B,), by its features and predicted classes."""

    def _check(self, values: dict[str, Any]) -> None:
        super()._check(values)
        check_layer_names(values["layers"])
