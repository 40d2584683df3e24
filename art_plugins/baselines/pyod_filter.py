"""Filters of training sets that use the outlier detectors of PyOD on the penultimate features of each class."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

from art_plugins.arrays import check_finite_features
from art_plugins.defences.contract import PoisonFilter
from art_plugins.features.activations import penultimate_activations
from art_plugins.optional import import_optional
from art_plugins.parameters import check_choice, check_count, check_number
from art_plugins.statistics.copies import first_of_copies
from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.outliers import mad_index

DETECTORS = ("ecod", "iforest", "lof")
LEAST_SAMPLES = 10  # smallest number of different samples of a class that is judged
NEIGHBOURS = 20  # number of neighbours of LOF, the default of PyOD; fewer in smaller classes


class PyODFilter(PoisonFilter):
    """
    Removes the outliers of each class, found by a general outlier detector.

    PyOD scores the penultimate features. A sample is removed if its score lies more than ``cutoff`` robust standard
    deviations (1.4826 times the median absolute deviation) above the median of its class (Iglewicz and Hoaglin 1993).
    Copies of a sample count once, and all of them get its score. Otherwise, the density at a sample with more copies than
    LOF has neighbours would be infinite, and every other sample would be an outlier.

    | Y. Zhao et al., PyOD: a Python toolbox for scalable outlier detection, JMLR 2019. ``"ecod"``: Z. Li et al. 2022;
      ``"iforest"``: F. T. Liu et al. 2008; ``"lof"``: M. Breunig et al. 2000.

    When this breaks: poisoned samples that lie close together are no outliers; more than half of a class is poisoned.
    Classes with fewer than ten different samples are not judged: their scores are 0, and their samples are kept.

    Needs PyOD: ``pip install "art-plugins[peers]"``.

    :param detector: ``"ecod"``, ``"iforest"`` or ``"lof"``.
    :param cutoff: Score above which a sample is removed, in robust standard deviations, above 0.
    :param batch_size: Number of samples in one forward pass.
    :param random_state: Random seed of the isolation forest.

    :ivar outlier_scores_: Scores in robust standard deviations above the median of the class, (n,); higher is more
        suspicious.
    """

    needs_network = True
    defence_params = ["detector", "cutoff", "batch_size", "random_state"]

    def __init__(
        self,
        classifier: Any,
        x_train: np.ndarray,
        y_train: np.ndarray,
        detector: str = "ecod",
        cutoff: float = 3.5,
        batch_size: int = 128,
        random_state: int = 0,
    ) -> None:
        super().__init__(classifier, x_train, y_train)
        self.detector, self.cutoff = detector, cutoff
        self.batch_size, self.random_state = batch_size, random_state
        self.set_params(**self.tunables())

    def _check(self, values: dict[str, Any]) -> None:
        check_choice("detector", values["detector"], DETECTORS)
        check_number("cutoff", values["cutoff"], above=0)
        check_count("batch_size", values["batch_size"], 1)
        check_count("random_state", values["random_state"], 0)

    def _check_data(self) -> None:
        super()._check_data()
        import_optional(f"pyod.models.{self.detector}")

    def _detect(self, labels: np.ndarray, nb_classes: int) -> dict[str, Any]:
        features = penultimate_activations(self.classifier, self.x_train, self.batch_size).astype(np.float64)
        check_finite_features(features, "penultimate layer")
        self.outlier_scores_, not_judged = np.zeros(len(labels)), []
        members = indices_by_class(labels, nb_classes)
        for label, rows in enumerate(members):
            # Samples are compared first, because the features of copies may differ in the last digit between batches.
            first = first_of_copies(self.x_train[rows])
            first = first[first_of_copies(features[rows[first]])]
            points, copy_of = np.unique(first, return_inverse=True)
            if len(points) < LEAST_SAMPLES:
                not_judged.append(label)
                continue
            scores = mad_index(self._make(len(points)).fit(features[rows[points]]).decision_scores_)
            self.outlier_scores_[rows] = scores[copy_of]
        self.is_clean_ = (self.outlier_scores_ <= self.cutoff).astype(int)
        return {
            "detector": self.detector,
            "n_removed": {f"Class_{label}": int((1 - self.is_clean_[rows]).sum()) for label, rows in enumerate(members)},
            "classes_not_judged": not_judged,
        }

    def _make(self, n_samples: int) -> Any:
        module = import_optional(f"pyod.models.{self.detector}")
        if self.detector == "iforest":
            return module.IForest(random_state=self.random_state)
        if self.detector == "lof":
            return module.LOF(n_neighbors=min(NEIGHBOURS, n_samples - 1))
        return module.ECOD()


def pyod_is_installed() -> bool:
    """Whether PyOD is installed; it is not imported."""
    return find_spec("pyod") is not None
