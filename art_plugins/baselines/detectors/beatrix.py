"""Beatrix (Ma et al. 2023): it compares the correlations between feature channels with those of the predicted class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from art_plugins.baselines.detectors.layer_detector import LayerDetector
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import stream_activations
from art_plugins.features.blocks import find_blocks
from art_plugins.features.gram_matrices import gram_features
from art_plugins.features.watched_modules import ActivationBatch
from art_plugins.parameters import check_count, check_number
from art_plugins.statistics.deviations import Band, band_deviations, median_band

N_FOLDS = 5  # number of folds, as in the authors' code
DEPTH = 2 / 3  # relative depth of the default layer; in ResNet-18 the end of the third stage, as in the paper


class Beatrix(LayerDetector):
    """
    Beatrix: Gram matrices of the feature channels, of orders 1 to 8, are compared with those of the predicted class. An
    entry is normal if it lies within ten median absolute deviations of the median of the class. The score is the mean
    distance of the entries from this band.

    | Paper: W. Ma et al., The "Beatrix" resurrections: robust backdoor detection via Gram matrices, NDSS 2023, sections
      IV-A and IV-B. The second part of the method, which tests classes by kernel mean discrepancy, is not implemented.

    Deviates: one threshold is used for all classes. It is set on cross-fitted scores of clean images of all classes. (The
    authors' code sets one threshold for each class, with the same five folds.)

    When this breaks: features that are mostly 0, as after a ReLU, because a bound is then 0 and any other value has a very
    large relative distance; networks of few layers, where no layer of feature maps shows both the trigger and the class;
    few clean images of a class, because their median deviations are too small; layers of vectors, where all orders give
    nearly the same. Layers with many channels C need much memory: C (C + 1) / 2 numbers for each class and order.

    :param orders: Orders of the Gram matrices, different whole numbers from 1.
    :param width: Half the width of the band, in median absolute deviations, above 0.
    :param layers: Names of the layers, over which the distances are averaged. ``None`` chooses the layer with feature maps
        (or vectors, if there are none) that is closest to two thirds of the model's depth.
    :param random_state: Random seed of the folds.

    Scores are 0 or above. A score of 0.1 means that entries exceed their bound by 10 % of it on average. The other
    parameters are those of :class:`LayerDetector`.
    """

    defence_params = [*LayerDetector.defence_params, "orders", "width", "random_state"]

    def __init__(
        self,
        classifier: Any,
        target_class: int | None = None,
        *,
        orders: Sequence[int] = (1, 2, 3, 4, 5, 6, 7, 8),
        width: float = 10.0,
        layers: Sequence[str] | None = None,
        threshold: float | None = None,
        fpr: float = 0.05,
        random_state: int = 0,
    ) -> None:
        super().__init__(classifier, target_class, layers, threshold, fpr)
        self.orders, self.width, self.random_state = orders, width, random_state
        self.set_params(**self.tunables())

    def _default_layers(self, x: np.ndarray) -> list[str]:
        names = find_blocks(self.classifier, x)
        first = next(iter(stream_activations(self.classifier, x, names)))
        maps = [index for index, name in enumerate(names) if first.activations[name].ndim == 4]
        wanted = DEPTH * (len(names) - 1)
        return [names[min(maps or range(len(names)), key=lambda index: abs(index - wanted))]]

    def _reduce(self, batch: ActivationBatch, layer: str) -> np.ndarray:
        kept: np.ndarray = batch.activations[layer].cpu().numpy()
        return kept

    def _fit(
        self, features: dict[str, np.ndarray], labels: np.ndarray, predicted: np.ndarray, right: np.ndarray
    ) -> np.ndarray:
        self._fitted_orders, self._fitted_width = list(self.orders), float(self.width)
        folds = np.random.default_rng(self.random_state).permutation(len(labels)) % N_FOLDS
        scores = np.zeros(len(labels))
        for fold in range(N_FOLDS):
            rows = np.flatnonzero(folds == fold)
            self._take(features, labels, right & (folds != fold))
            scores[rows] = self._batch_scores({name: layer[rows] for name, layer in features.items()}, predicted[rows])
        self._take(features, labels, right)
        return scores

    def _take(self, features: dict[str, np.ndarray], labels: np.ndarray, kept: np.ndarray) -> None:
        """Learn the bands of each class, layer and order."""
        self._bands: dict[int, list[Band]] = {}
        for label in np.unique(labels[kept]):
            rows = np.flatnonzero(kept & (labels == label))
            self._bands[int(label)] = [
                median_band(gram, self._fitted_width)
                for name in self.layers_
                for gram in gram_features(features[name][rows], self._fitted_orders)
            ]

    def _batch_scores(self, features: dict[str, np.ndarray], predicted: np.ndarray) -> np.ndarray:
        scores = np.zeros(len(predicted))
        for label in np.unique(predicted):
            bands = self._bands.get(int(label))
            if bands is None:
                continue
            rows = np.flatnonzero(predicted == label)
            grams = (gram for name in self.layers_ for gram in gram_features(features[name][rows], self._fitted_orders))
            scores[rows] = sum(band_deviations(gram, band) for gram, band in zip(grams, bands, strict=True)) / len(bands)
        return scores

    def _check(self, values: dict[str, Any]) -> None:
        super()._check(values)
        orders, width = values["orders"], values["width"]
        whole = isinstance(orders, (list, tuple)) and all(type(order) is int and order >= 1 for order in orders)
        if not whole or not len(set(orders)) == len(orders) > 0:
            raise InvalidInputError(f"orders must be a list of different whole numbers from 1; received {orders!r}.")
        check_number("width", width, above=0, most=1e6)  # a band wider than that has everything in it
        check_count("random_state", values["random_state"], 0)
