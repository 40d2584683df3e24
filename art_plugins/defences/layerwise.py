"""Layer-wise feature analysis (Preetha et al. 2023) as a filter of training sets; the detector is beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from art_plugins.arrays import check_finite, check_samples
from art_plugins.defences.contract import PoisonFilter
from art_plugins.defences.layerwise_detector import LayerwiseFeatureDetector
from art_plugins.defences.layerwise_model import (
    OPTIONS,
    LayerwiseModel,
    check_options,
    count_not_finite,
    learn_benign,
    listed,
    take_paper,
)
from art_plugins.errors import InvalidInputError
from art_plugins.features.classifiers import check_same_unit
from art_plugins.statistics.labels import class_labels, indices_by_class

__all__ = ["LayerwiseFeatureDefence", "LayerwiseFeatureDetector"]


class LayerwiseFeatureDefence(PoisonFilter):
    """
    Find training samples that do not look like their class on their way through a model that was trained on them.

    What benign samples of each class look like at every layer is learned from a few trusted ones. A poisoned sample comes
    to its class another way: at some layers it looks like none of them.

    ``mode="mahalanobis"``, the default: at every layer, by Mahalanobis distances with one shrunk covariance: does the
    sample look like another class, by features pooled over a grid? Does it by the mean and the spread of each channel? (The
    log-ratio of the distances to its class and to the nearest other.) Is it foreign to its class by these? (The
    log-distance to it.) And how sure is the network of the class? A triggered image starts as what it is and ends where
    the attacker wants it, by features of no class; benign samples that look like another class leave the network unsure. In
    standard deviations of benign samples, at most 6 at a layer; the five layers of each question that say most count, and
    the four answers with equal weight. ``mode="paper"``: the published rule, below.

    | Paper: S. Preetha et al., Investigation of Layer-wise Feature Analysis for Backdoor Attacks Detection in Deep Neural
      Networks, 2023; the algorithm is by N. M. Jebreel, J. Domingo-Ferrer, Y. Li, Defending against backdoor attacks by
      layer-wise feature analysis, PAKDD 2023: cosine similarity of flattened features to the class's centroid, summed over
      the layer at which benign samples' similarity rises most and the two before it; poisoned if below mu - tau sigma.

    Deviates from the paper: mu and sigma are those of samples that the centroids were not fitted on (each sample against
    the centroid of the others); from the same samples the rule would catch several times the benign samples that it says.

    The network knows the samples that it was trained on better than the trusted ones. So the scores of the training set are
    moved by how far those of the typical class lie off its trusted samples' (medians; a class with much poison is not
    typical). In mode ``"paper"`` they are not.

    Then a second look: what is caught of a poison has the trigger in common, what is caught of clean samples has nothing.
    In each class of at least 20 suspects a linear discriminant learns to tell them from the rest, and is trained anew on
    whom it finds (self-training; Scudder 1965), each sample being judged by the others. Suspects that settle as a group
    that lies apart bring in their like, at most twice as many; else nothing is added. Scores and threshold are those of the
    first look. In mode ``"paper"`` there is none.

    Without trusted data (``x_val=None``) it is only asked whether a sample is foreign to its class, by the grid, and all is
    learned from the training set, less the fifth of each class that looks least like it, by medians. That is weaker: the
    first look catches less, and all fails when poison is more than about a fifth of a class, or when most classes are
    poisoned. One threshold then holds for all classes: the median of the classes' own.

    Rules for hard cases: in mode ``"paper"`` each class needs 20 trusted samples that the model predicts right, unless
    ``pooled``: smaller classes then take the spread of all, as every class does in the other mode. Samples of a class
    without any get the score 0 and pass. Constant layers say nothing. Higher scores are more suspicious, everywhere.

    When this breaks: attacks made to look like the target class at every layer (adaptive patches and blends); faint warps;
    clean-label and all-to-all attacks where nothing is trusted; trusted data unlike the training data; a sub-population of
    a class that many of its suspects happen to be of is taken for poison as a whole.

    :param classifier: ART ``PyTorchClassifier``, trained on the suspect data.
    :param x_train: Its training samples, as it takes them, (n, ...).
    :param y_train: Their labels, (n,), (n, 1) or one-hot.
    :param x_val: Trusted samples, (m, ...); 100 a class are plenty. ``None``: learn from ``x_train``.
    :param y_val: Their labels.
    :param mode: ``"mahalanobis"`` or ``"paper"``.
    :param layers: Names of modules in the order in which they run, for ``"paper"`` at least four; ``None``: the model's
        blocks, as :func:`~art_plugins.features.blocks.find_blocks` names them.
    :param tau: Threshold in standard deviations above the mean of benign samples' scores.
    :param quantile: Threshold as the share of benign samples that pass, above 0, at most 1.
    :param fpr: Threshold as the share of benign samples that are caught, 0 to below 1. At most one of the three is given;
        none: tau 2.5 for ``"paper"``, as its authors have it; a false-positive rate of .01 for ``"mahalanobis"``.
    :param pooled: Let mode ``"paper"`` judge classes of fewer than 20 trusted samples.
    :param n_folds: Parts that benign samples are cut into, each judged by the others; at least 2. ``"mahalanobis"`` only.
    :param max_dims: Longest vector that is kept of a sample and layer. ``"mahalanobis"`` only.
    :param batch_size: Of the forward passes.
    :param random_state: Seed of folds, projections, and the choice of 500 samples a class where there are more to learn
        from.

    :ivar layers_: The layers that were looked at.
    :ivar threshold_: Scores above it are poison.
    :ivar joined_: What the second look alone has found to be poison, (n,), bool.
    :ivar outlier_scores_: (n,), in standard deviations of benign samples; 0 in classes that are not judged; infinite, and
        so poison, where the features or outputs of a sample are not finite.
    :ivar layer_scores_: (n, L), what each layer says; higher is more suspicious.
    :ivar layer_similarities_: Cosines, (n, L); mode ``"paper"``.
    :ivar layer_of_interest_: Index into ``layers_`` for each class, (K,); mode ``"paper"``.
    :ivar layer_profiles_: Mean cosine of benign samples, (K, L), NaN for classes without any; mode ``"paper"``.
    :ivar is_clean_: (n,), 1 = clean, 0 = poison.
    """

    needs_network = True
    defence_params = [*OPTIONS, "batch_size"]

    def __init__(
        self,
        classifier: Any,
        x_train: np.ndarray,
        y_train: np.ndarray,
        x_val: np.ndarray | None = None,
        y_val: np.ndarray | None = None,
        *,
        mode: str = "mahalanobis",
        layers: Sequence[str] | None = None,
        tau: float | None = None,
        quantile: float | None = None,
        fpr: float | None = None,
        pooled: bool = False,
        n_folds: int = 10,
        max_dims: int = 512,
        batch_size: int = 128,
        random_state: int = 0,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in self.defence_params}
        super().__init__(classifier, x_train, y_train)
        self.x_val, self.y_val = x_val, y_val
        for name, value in given.items():
            setattr(self, name, value)
        self.set_params(**given)

    def _detect(self, labels: np.ndarray, nb_classes: int) -> dict[str, Any]:
        x, y, trusted = self.x_train, labels, self.x_val is not None
        if self.x_val is not None:
            x, y = self.x_val, class_labels(self.y_val, len(self.x_val), nb_classes)[0]
        options, batch_size = self.tunables(), self.batch_size
        model = learn_benign(self.classifier, x, y, nb_classes, options, batch_size, by_label=True, trusted=trusted)
        self.threshold_ = model.threshold(options["tau"], options["quantile"], options["fpr"])
        found = model.rule.judge(self.classifier, self.x_train, batch_size, labels)
        self.outlier_scores_, self.layer_scores_ = model.of_trained_on(found.scores, labels), found.layer_scores
        suspects = model.suspects(self.outlier_scores_, labels, self.threshold_)
        group = model.second_look(self.classifier, self.x_train, labels, self.outlier_scores_, suspects, batch_size)
        self.joined_ = group & ~suspects
        self.is_clean_ = (~(suspects | group)).astype(np.int64)
        self.layers_ = model.rule.layers
        take_paper(self, model, found)
        return self._report(labels, nb_classes, model)

    def _report(self, labels: np.ndarray, nb_classes: int, model: LayerwiseModel) -> dict[str, Any]:
        report: dict[str, Any] = {
            "mode": self.mode,
            "layers": list(self.layers_),
            "threshold": self.threshold_,
            "trusted": model.trusted,
            "classes_not_judged": model.not_judged,
            "n_not_finite": count_not_finite(self.outlier_scores_),
        }
        for label, rows in enumerate(indices_by_class(labels, nb_classes)):
            n_removed = int((self.is_clean_[rows] == 0).sum())
            report[f"Class_{label}"] = {
                "n_samples": len(rows),
                "n_benign": int(model.rule.n_benign[label]),
                "n_removed": n_removed,
                "n_joined": int(self.joined_[rows].sum()),
                "fraction_removed": n_removed / len(rows) if len(rows) else 0.0,
            }
        report["parameters"] = {name: listed(value) for name, value in self.tunables().items()}
        return report

    def _check_data(self) -> None:
        super()._check_data()
        _, nb_classes = self.labels()
        if (self.x_val is None) != (self.y_val is None):
            raise InvalidInputError("Give x_val and y_val together, or neither of them.")
        if self.x_val is not None:
            check_samples(self.x_val, "x_val")
            if self.x_val.shape[1:] != self.x_train.shape[1:]:
                raise InvalidInputError(
                    f"x_val must hold samples of the shape {self.x_train.shape[1:]}; received {self.x_val.shape[1:]}."
                )
            class_labels(self.y_val, len(self.x_val), nb_classes)
            check_finite(self.x_val, "trusted data", "remove such samples first")
            check_same_unit(self.x_train, self.x_val, "x_train")

    def _check(self, values: dict[str, Any]) -> None:
        check_options(values)
