"""TED++ (Le et al. 2025): TED, where images outside the tube around their class have the worst rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from art_plugins.baselines.detectors.ted import TED
from art_plugins.features.watched_modules import ActivationBatch
from art_plugins.parameters import check_number
from art_plugins.statistics.neighbour_ranks import tube_radii, tube_ranks


class TEDPlusPlus(TED):
    """
    TED++: at every layer, an image has the rank of :class:`~art_plugins.baselines.detectors.ted.TED` if it lies in a tube
    around its predicted class, and the worst rank if it lies outside (locally adaptive ranking).

    | Paper: N. Le, L. Y. Zhang, K. Liao, S. Pan, W. Luo, TED++: Submanifold-Aware Backdoor Detection via Layerwise
      Tubular-Neighbourhood Screening, IEEE ICDM 2025, arXiv 2510.14299.

    1. *Rank.* The m clean images are sorted by their Euclidean distance from the image. The rank is the number of those
       that come before z, the first one of the predicted class.
    2. *Tube.* The radius at z is its distance to the ceil(``share`` n)-th nearest of the n clean images of its class. If
       the image is farther from z than that, its rank is m - 1.
    3. *Score.* The PCA detector of PyOD scores the vectors of ranks, by their first two principal components.
    4. *Absent classes.* The predicted class is the most probable one among the classes that have clean images.

    Defaults: the share of 0.5, the radius and the two components were read from the authors' published program
    (github.com/namle-w/TEDpp, without a licence); none of its code is here. The authors' poster, slides and program were at
    hand, the full text was not. They take 20 clean images a class.

    Deviates: the same as TED. Feature maps are averaged to 4 x 4 cells. Layers are the model's blocks; the program takes
    every convolution, ReLU and linear layer. The threshold is set on clean images by their false-positive rate; the program
    calls the highest tenth of the clean images outliers.

    When this breaks: the same as TED. With less than ten clean images a class the radii are rough. A tube that is worse
    than the order of neighbours: where clean images of a class lie far from each other, many of them have the worst rank.

    Needs PyOD: ``pip install "art-plugins[peers]"``. Scores have no unit and are 0 or above.

    :param share: Share of a class that lies within the radius of each of its images, above 0 to 1 (the program's alpha).

    The other parameters are those of :class:`LayerDetector`.

    :ivar clean_ranks_: Ranks of the clean images, (m, L).
    :ivar radii_: Layer -> radius at each clean image that is classified right, (m,).
    """

    defence_params = [*TED.defence_params, "share"]
    _most_components = 2

    def __init__(
        self,
        classifier: Any,
        target_class: int | None = None,
        *,
        layers: Sequence[str] | None = None,
        share: float = 0.5,
        threshold: float | None = None,
        fpr: float = 0.05,
    ) -> None:
        self.share = share
        super().__init__(classifier, target_class, layers=layers, threshold=threshold, fpr=fpr)

    def _check(self, values: dict[str, Any]) -> None:
        super()._check(values)
        check_number("share", values["share"], "a share", above=0, most=1)

    def _learn_tubes(self) -> None:
        share = float(self.share)
        self.radii_ = {name: tube_radii(self._reference[name], self._labels, share) for name in self.layers_}

    def _layer_ranks(self, name: str, features: np.ndarray, classes: np.ndarray, own: bool) -> np.ndarray:
        return tube_ranks(features, classes, self._reference[name], self._labels, self.radii_[name], own)

    def _fit(
        self, features: dict[str, np.ndarray], labels: np.ndarray, predicted: np.ndarray, right: np.ndarray
    ) -> np.ndarray:
        scores = super()._fit(features, labels, predicted, right)
        self._absent = ~self._known[predicted]
        return scores

    def _clean_scores(self, x: np.ndarray, rows: np.ndarray, batch_size: int) -> np.ndarray:
        scores = super()._clean_scores(x, rows, batch_size)
        absent = self._absent[rows]
        if absent.any():  # they are compared with another class than the one that was predicted
            scores[absent] = self._scores(x[rows[absent]], batch_size)
        return scores

    def _compared_with(self, batch: ActivationBatch) -> np.ndarray:
        classes = np.flatnonzero(self._known)
        likely = classes[batch.outputs.cpu().numpy()[:, classes].argmax(axis=1)]
        return np.where(self._known[batch.predicted], batch.predicted, likely)
