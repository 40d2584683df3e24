"""TED (Mo et al. 2024): on the way through the layers, does an image stay among those of the class that it ends in?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from art_plugins.baselines.layer_detector import LayerDetector
from art_plugins.baselines.pyod_filter import import_pyod
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import ActivationBatch
from art_plugins.features.layer_reduction import pool_activations
from art_plugins.statistics.neighbour_ranks import neighbour_ranks


class TED(LayerDetector):
    """
    Topological evolution dynamics: at every layer, how many clean images lie nearer to the judged one than the nearest of
    the class that the model sends it to. The ranks by layer are a point, and PyOD's PCA detector says how far out it lies.

    | Paper: X. Mo et al., Robust backdoor detection for deep learning via topological evolution dynamics, IEEE S&P 2024.

    Deviates: feature maps are averaged to 4 x 4 cells before distances are taken, so that a thousand clean images can be
    held; layers at which all clean images have the same rank say nothing, and principal components without variance, whose
    weight would be infinite, are left out. Clean images are ranked among the others (each left out once); the principal
    components are those of all of them, which with a few layers and hundreds of images makes no difference.

    When this breaks: few clean images of a class; a trigger that acts from the first layer on; models that are often wrong,
    whose clean images end in a class that they were far from.

    Needs PyOD: ``pip install "art-plugins[peers]"``. Scores have no unit and are 0 or above. The parameters are those of
    :class:`LayerDetector`.

    :ivar clean_ranks_: Ranks of the clean images, (m, L).
    """

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
        import_pyod("pca")
        super()._learn(x, labels, batch_size)

    def _reduce(self, batch: ActivationBatch, layer: str) -> np.ndarray:
        pooled: np.ndarray = pool_activations(batch.activations[layer]).cpu().numpy()
        return pooled

    def _fit(
        self, features: dict[str, np.ndarray], labels: np.ndarray, predicted: np.ndarray, right: np.ndarray
    ) -> np.ndarray:
        sizes = np.bincount(labels[right], minlength=int(self.classifier.nb_classes))
        self._known = sizes >= 2  # one alone has no other of its class to be ranked by
        kept = right & self._known[labels]
        self._labels, self._reference = labels[kept], {name: layer[kept] for name, layer in features.items()}
        self.clean_ranks_ = np.empty((0, len(self.layers_)), dtype=np.int64)
        if kept.any():
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
        self._pca = import_pyod("pca").PCA(n_components=int(rank), svd_solver="full")
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
        """A column for each layer, (n, L)."""
        columns = [
            neighbour_ranks(features[name], classes, self._reference[name], self._labels, own) for name in self.layers_
        ]
        return np.stack(columns, axis=1)
