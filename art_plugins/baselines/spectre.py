"""SPECTRE (Hayase et al. 2021): after robust whitening, directions of large variance in one class point to the poison."""

from __future__ import annotations

from typing import Any

import numpy as np

from art_plugins.arrays import check_finite_features
from art_plugins.defences.contract import PoisonFilter
from art_plugins.features.activations import penultimate_activations
from art_plugins.parameters import check_count, check_number
from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.peers.quantum_entropy import n_removed, spectre_scores

LEAST_SAMPLES = 20  # smallest number of samples of a class that is judged, for its covariance


class SPECTRE(PoisonFilter):
    """
    SPECTRE: samples are scored by their quantum entropy scores after robust whitening of their class. The target class is
    chosen, and only there the samples with the highest scores are removed.

    | Paper: J. Hayase, W. Kong, R. Somani, S. Oh, SPECTRE: defending against backdoor attacks using robust statistics, ICML
      2021, Algorithms 1 to 3.

    The target class is the one with the highest mean score after it is whitened by the samples that the filter would keep.
    As in the paper, 1.5 times the expected number of poisoned samples is removed. The paper knows this number. Here
    ``fraction`` is an upper bound, by default that of ART's spectral signatures, so that half of one class is removed.

    Deviates: see :func:`~art_plugins.statistics.peers.quantum_entropy.spectre_scores`.

    When this breaks: several target classes, because only one is found; a clean class of several clusters, which is
    mistaken for the target; classes with fewer than 20 samples, which are not judged: their scores are 0, and their samples
    are kept.

    :param fraction: Upper bound of the poisoned share of the target class, above 0 and below 0.5.
    :param alpha: Weight of the directions of large variance in the scores, at least 0; the paper uses 4.
    :param max_dims: Largest number of principal directions; the paper uses 100.
    :param batch_size: Number of samples in one forward pass.

    :ivar outlier_scores_: Score of every sample within its class, (n,); higher is more suspicious.
    :ivar class_scores_: Mean scores by which the target is chosen, (K,); NaN for classes that are not judged.
    :ivar target_class_: The class from which samples are removed, or ``None`` if no class was judged.
    """

    needs_network = True
    defence_params = ["fraction", "alpha", "max_dims", "batch_size"]

    def __init__(
        self,
        classifier: Any,
        x_train: np.ndarray,
        y_train: np.ndarray,
        fraction: float = 0.33,
        alpha: float = 4.0,
        max_dims: int = 100,
        batch_size: int = 128,
    ) -> None:
        super().__init__(classifier, x_train, y_train)
        self.fraction, self.alpha = fraction, alpha
        self.max_dims, self.batch_size = max_dims, batch_size
        self.set_params(**self.tunables())

    def _check(self, values: dict[str, Any]) -> None:
        fraction, alpha = values["fraction"], values["alpha"]
        check_number("fraction", fraction, "a share", above=0, below=0.5)
        check_number("alpha", alpha, least=0)
        check_count("max_dims", values["max_dims"], 1)
        check_count("batch_size", values["batch_size"], 1)

    def _detect(self, labels: np.ndarray, nb_classes: int) -> dict[str, Any]:
        features = penultimate_activations(self.classifier, self.x_train, self.batch_size)
        check_finite_features(features, "penultimate layer")
        self.outlier_scores_, self.is_clean_ = np.zeros(len(labels)), np.ones(len(labels), dtype=int)
        self.class_scores_, n_dims = np.full(nb_classes, np.nan), [0] * nb_classes
        members = indices_by_class(labels, nb_classes)
        for label, rows in enumerate(members):
            if len(rows) >= LEAST_SAMPLES:
                found = spectre_scores(features[rows], self.fraction, self.alpha, self.max_dims)
                self.outlier_scores_[rows], self.class_scores_[label] = found.scores, found.strength
                n_dims[label] = found.n_dims
        self.target_class_ = None if np.isnan(self.class_scores_).all() else int(np.nanargmax(self.class_scores_))
        if self.target_class_ is not None:
            rows = members[self.target_class_]
            order = np.argsort(-self.outlier_scores_[rows], kind="stable")
            self.is_clean_[rows[order[: n_removed(len(rows), self.fraction)]]] = 0
        return {
            "target_class": self.target_class_,
            "class_scores": [None if np.isnan(score) else float(score) for score in self.class_scores_],
            "n_dims": n_dims,
            "n_removed": int((1 - self.is_clean_).sum()),
        }
