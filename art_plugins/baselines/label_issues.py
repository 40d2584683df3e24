"""cleanlab's confident learning as a filter of training sets: samples whose label a cross-validated model doubts."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from art_plugins.arrays import check_finite_features
from art_plugins.baselines.art_filters import seeded_numpy
from art_plugins.defences.contract import PoisonFilter
from art_plugins.features.activations import penultimate_activations
from art_plugins.optional import import_optional
from art_plugins.parameters import check_choice, check_count
from art_plugins.statistics.labels import indices_by_class

RULES = (
    "prune_by_noise_rate",
    "prune_by_class",
    "both",
    "confident_learning",
    "predicted_neq_given",
    "low_normalized_margin",
    "low_self_confidence",
)
MOST_ITERATIONS = 1_000  # of the logistic regression; scikit-learn's 100 do not suffice for wide features


class LabelIssues(PoisonFilter):
    """
    Removes what ``find_label_issues`` of cleanlab finds, with its defaults: labels that do not fit.

    | C. G. Northcutt, L. Jiang, I. L. Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 2021.

    cleanlab asks for the probabilities that a model gives to samples that it was not trained on. As its tutorials do, they
    come from a logistic regression over the penultimate features, by cross-validation.

    When this breaks: the network was trained on the poisoned labels, so that its features hold the trigger, and the
    logistic regression gives poison its label; clean-label attacks. Plain errors among the labels are found too, and are no
    poison. Classes with fewer samples than folds are not judged: their scores are 0, and their samples are kept.

    Needs cleanlab: ``pip install "art-plugins[peers]"``.

    :param filter_by: Rule by which labels are removed, as cleanlab names them.
    :param n_folds: Number of folds of the cross-validation, at least 2.
    :param batch_size: Number of samples in one forward pass.
    :param random_state: Random seed of the folds.

    :ivar outlier_scores_: 1 minus the cross-validated probability of the given label, (n,), 0 to 1; higher is more
        suspicious.
    """

    needs_network = True
    defence_params = ["filter_by", "n_folds", "batch_size", "random_state"]

    def __init__(
        self,
        classifier: Any,
        x_train: np.ndarray,
        y_train: np.ndarray,
        filter_by: str = "prune_by_noise_rate",
        n_folds: int = 5,
        batch_size: int = 128,
        random_state: int = 0,
    ) -> None:
        super().__init__(classifier, x_train, y_train)
        self.filter_by, self.n_folds = filter_by, n_folds
        self.batch_size, self.random_state = batch_size, random_state
        self.set_params(**self.tunables())

    def _check(self, values: dict[str, Any]) -> None:
        check_choice("filter_by", values["filter_by"], RULES)
        check_count("n_folds", values["n_folds"], 2)
        check_count("batch_size", values["batch_size"])
        check_count("random_state", values["random_state"], 0)

    def _check_data(self) -> None:
        super()._check_data()
        import_optional("cleanlab.filter")

    def _detect(self, labels: np.ndarray, nb_classes: int) -> dict[str, Any]:
        features = penultimate_activations(self.classifier, self.x_train, self.batch_size).astype(np.float64)
        check_finite_features(features, "penultimate layer")
        members = indices_by_class(labels, nb_classes)
        judged = [label for label, rows in enumerate(members) if len(rows) >= self.n_folds]
        self.outlier_scores_, self.is_clean_ = np.zeros(len(labels)), np.ones(len(labels), dtype=int)
        if len(judged) > 1:
            rows = np.flatnonzero(np.isin(labels, judged))
            given = np.searchsorted(judged, labels[rows])  # cleanlab asks for classes 0, 1, ...
            probabilities = self._probabilities(features[rows], given)
            self.outlier_scores_[rows] = 1 - probabilities[np.arange(len(rows)), given]
            with seeded_numpy(self.random_state):
                wrong = import_optional("cleanlab.filter").find_label_issues(
                    given, probabilities, filter_by=self.filter_by, n_jobs=1
                )
            self.is_clean_[rows[wrong]] = 0
        return {
            "n_removed": {f"Class_{label}": int((1 - self.is_clean_[own]).sum()) for label, own in enumerate(members)},
            "classes_not_judged": [label for label in range(nb_classes) if label not in judged]
            if len(judged) > 1
            else list(range(nb_classes)),
        }

    def _probabilities(self, features: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Probabilities of every sample by a model that was fitted without it, (n, K)."""
        folds = StratifiedKFold(self.n_folds, shuffle=True, random_state=self.random_state)
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MOST_ITERATIONS))
        return np.asarray(cross_val_predict(model, features, labels, cv=folds, method="predict_proba"))


def cleanlab_is_installed() -> bool:
    """Whether cleanlab is installed; it is not imported."""
    return find_spec("cleanlab") is not None
