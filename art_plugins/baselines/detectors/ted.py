"""TED (Mo et al. 2024): it checks at every layer whether an image lies among the images of its predicted class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from art_plugins.baselines.detectors.layer_detector import LayerDetector
from art_plugins.errors import InvalidInputError
from art_plugins.features.layer_reduction import pool_activations
from art_plugins.features.watched_modules import ActivationBatch
from art_plugins.optional import import_optional
from art_plugins.statistics.neighbour_ranks import neighbour_ranks


class TED(LayerDetector):
    """
    TED (topological evolution dynamics): at every layer, the rank of an image is the number of clean images that are nearer
    than the nearest one of the predicted class. The PCA detector of PyOD scores the vector of ranks.

    | Paper: X. Mo et al., Robust backdoor detection for deep learning via topological evolution dynamics, IEEE S&P 2024.

    Deviates: feature maps are averaged to 4 x 4 cells before distances are computed, so that a thousand clean images fit
    into memory. Layers at which all clean images have the same rank, and principal components without variance, are left
    out. A clean image is ranked among the other clean images. The principal components are computed from all of them, which
    makes no difference with a few layers and hundreds of images.

    When this breaks: few clean images of a class; a trigger that acts from the first layer on; models that are often wrong,
    because many clean images are then far from their predicted class.

    Needs PyOD: ``pip install "art-plugins[peers]"``. Scores have no unit and are 0 or above. The parameters are those of
    :class:`LayerDetector`.

    :ivar clean_ranks_: Ranks of the clean images, (m, L).
    """

    _most_components: int | None = None  # all

    def __init__(
        self,
        classifier: Any,
        target_class: int | None = None,
        *,
        layers: Sequence[str] | None = None,
        threshold: float | None = None,
        fpr: float = 0.05,
    ) -> None:
        super().__init__(classifier, target_class, layers, threshold, fpr)
        self.set_params(**self.tunables())

    def _learn(self, x: np.ndarray, labels: np.ndarray, batch_size: int) -> None:
        import_optional("pyod.models.pca")
        super()._learn(x, labels, batch_size)

    def _reduce(self, batch: ActivationBatch, layer: str) -> np.ndarray:
        pooled: np.ndarray = pool_activations(batch.activations[layer]).cpu().numpy()
        return pooled

    def _fit(
        self, features: dict[str, np.ndarray], labels: np.ndarray, predicted: np.ndarray, right: np.ndarray
    ) -> np.ndarray:
        sizes = np.bincount(labels[right], minlength=int(self.classifier.nb_classes))
        self._known = sizes >= 2  # a single image has no other image of its class to be ranked by
        kept = right & self._known[labels]
        self._labels, self._reference = labels[kept], {name: layer[kept] for name, layer in features.items()}
        self.clean_ranks_ = np.empty((0, len(self.layers_)), dtype=np.int64)
        if kept.any():
            self._learn_tubes()
            self.clean_ranks_ = self._ranks(self._reference, self._labels, own=True)
        self._telling = (self.clean_ranks_ != self.clean_ranks_[:1]).any(axis=0)
        n_telling = int(self._telling.sum())
        if len(self.clean_ranks_) <= n_telling or n_telling == 0:
            raise InvalidInputError(
                f"TED compares {len(self.clean_ranks_)} clean images that the model predicts right, in classes of at "
                f"least two, at {n_telling} layers where their ranks differ: give more clean images, or other layers."
            )
        # Directions without variance would have infinite weight.
        rank = np.linalg.matrix_rank(np.corrcoef(self.clean_ranks_[:, self._telling], rowvar=False), tol=1e-9)
        n_components = int(min(rank, self._most_components or rank))
        self._pca = import_optional("pyod.models.pca").PCA(n_components=n_components, svd_solver="full")
        self._pca.fit(self.clean_ranks_[:, self._telling])
        scores = np.zeros(len(labels))
        scores[kept] = self._pca.decision_scores_
        others = np.flatnonzero(~kept)
        scores[others] = self._batch_scores({name: layer[others] for name, layer in features.items()}, predicted[others])
        return scores

    def _batch_scores(self, features: dict[str, np.ndarray], predicted: np.ndarray) -> np.ndarray:
        scores = np.zeros(len(predicted))
        rows = np.flatnonzero(self._known[predicted])
        if len(rows):
            ranks = self._ranks({name: layer[rows] for name, layer in features.items()}, predicted[rows])
            scores[rows] = self._pca.decision_function(ranks[:, self._telling])
        return scores

    def _ranks(self, features: dict[str, np.ndarray], classes: np.ndarray, own: bool = False) -> np.ndarray:
        """Give the ranks, with a column for each layer, (n, L)."""
        return np.stack([self._layer_ranks(name, features[name], classes, own) for name in self.layers_], axis=1)

    def _layer_ranks(self, name: str, features: np.ndarray, classes: np.ndarray, own: bool) -> np.ndarray:
        """Give the ranks at a layer, (n,)."""
        return neighbour_ranks(features, classes, self._reference[name], self._labels, own)

    def _learn_tubes(self) -> None:
        """Nothing: TED ranks all images alike."""
