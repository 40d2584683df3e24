"""Layer-wise feature analysis (Preetha et al. 2023) as a filter of training sets. The detector is in its own file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import norm

from art_plugins.defences.contract import PoisonFilter
from art_plugins.defences.layers.groups import CAUGHT, GroupFindings, check_known, earlier, find_poison, removed_by_class
from art_plugins.defences.layers.learning import learn_benign
from art_plugins.defences.layers.mahalanobis import MahalanobisRule
from art_plugins.defences.layers.model import LayerwiseModel, count_not_finite, listed, show_attributes
from art_plugins.defences.layers.options import OPTIONS, LayerwiseParameters, given_terms
from art_plugins.defences.layers.rules import LEAST_SAMPLES
from art_plugins.defences.layerwise_detector import LayerwiseFeatureDetector
from art_plugins.errors import InvalidInputError
from art_plugins.features.blocks import find_blocks
from art_plugins.features.input_checks import check_trusted
from art_plugins.groups.verdict import clearness_limit
from art_plugins.statistics.labels import class_labels

__all__ = ["LayerwiseFeatureDefence", "LayerwiseFeatureDetector"]


class LayerwiseFeatureDefence(LayerwiseParameters, PoisonFilter):
    """
    Find poison among training samples by what the layers of a model that was trained on them show.

    ``mode="mahalanobis"``, the default, looks for groups, with trusted samples in any number or none: samples of one or
    more classes that stand apart, at the layers of the network, from the rest of their class and from all other classes,
    see :func:`~art_plugins.groups.find.find_groups`. A trigger is something of its own. What sets a sub-population of a
    class apart is what classes differ in, so that samples of other classes lie between and beside it. A second question is
    whether the content of the group is that of many other classes, see :class:`~art_plugins.groups.content.Contents`. It
    needs no visible trigger, so that it finds some changes of whole clips of speech too. A split of a class has two sides.
    If one of them varies as a mixture of classes does, by what the samples show before any network, and the other one does
    not, the former is the group, see :func:`~art_plugins.groups.mixture.with_sides_told`; this is not asked in classes with
    trusted samples. A group is removed if its p-value is at most ``fpr``. A group that stands apart but is not removed is
    in the report as ``"look here"``. The share of poison does not matter, up to nine tenths of a class.

    Each trusted sample (``x_val``, ``y_val``) is one more piece of evidence about the groups of its class, see
    :func:`~art_plugins.groups.trusted.trusted_evidence`. If a group were a natural part of its class, trusted samples would
    lie in it as often as training samples do. Where they do, the group stays. Where none of them does, the p-value becomes
    the smaller, the more there are. So trusted samples keep sub-populations, such as two digits under one label, and find
    poison that hardly stands apart. One sample a class changes little; 5 mostly keep a sub-population of half a class; with
    20, poison of half a class is found by them alone, with 100, poison of a tenth.

    With 20 trusted samples or more in the typical class, single samples are judged too. Three questions are asked at every
    layer, by Mahalanobis distances with one shrunk covariance that the trusted samples gave. Does the sample look like
    another class, by features pooled over a grid (distance ratio: the logarithm of the distance to its class over the
    distance to the nearest other class)? Does it by the mean and the spread of each channel? Is it far from its class by
    these? To these it adds how sure the network is of the class (logit margin). All measures are in standard deviations of
    benign samples, at most 6 at a layer. The five largest layers count for each question, and the four answers have equal
    weight. Scores are shifted by how much the typical class scores above its trusted samples, since the network knows the
    samples that it was trained on better. Of the samples that are in no group that goes, those go whose scores are higher
    than those of a share ``fpr`` of benign samples, if they are too many for chance: a tenth of them is expected to be
    benign (false-discovery rate, see :func:`~art_plugins.statistics.benign_threshold.threshold_at_fdr`). So the odd samples
    of a clean set stay, but for a chance of a tenth that one goes.

    ``mode="paper"`` is the published rule. It judges single samples only, and shifts nothing.

    | Paper: S. Preetha et al., Investigation of Layer-wise Feature Analysis for Backdoor Attacks Detection in Deep Neural
      Networks, 2023; the algorithm is by N. M. Jebreel, J. Domingo-Ferrer, Y. Li, Defending against backdoor attacks by
      layer-wise feature analysis, PAKDD 2023: cosine similarity of flattened features to the centroid of the class, summed
      over the layer at which the similarity of benign samples rises most and the two layers before it. A sample is
      poisoned if the sum lies below mu - tau sigma.

    Deviates from the paper: mu and sigma are those of samples on which the centroids were not fitted (each sample is
    compared with the centroid of the others). With the same samples for both, the rule would catch several times as many
    benign samples as it promises.

    Rules for hard cases: in mode ``"paper"`` each class needs 20 trusted samples that the model classifies correctly. With
    ``mode_params={"pooled": True}`` smaller classes take the standard deviation of all classes, as every class does in the
    other mode. Single samples of a class without any get the score 0 and pass. Constant layers say nothing. Higher scores
    are more suspicious, everywhere.

    When this breaks: attacks made to look like the target class at every layer (adaptive patches and blends); fewer
    than 8 poisoned samples of a class, and mostly fewer than thirty; poison of which the model has learned nothing;
    fewer than four classes, where there is little to compare with. Trusted samples that were not drawn as the training
    samples were: a kind that only the training set has looks like poison, unless it is of near copies. Few or no
    trusted samples: faint triggers on samples of one class; one class that alone has wrong labels of all classes; two very
    different things under one label, such as the digits 0 and 1, stand apart as poison does; a class that is a collection
    of different things, with poison that is one thing and more than a third of it. With 20 and more: odd poison without a
    group that is a few samples in a large set.

    There are twelve parameters: three are the model and the data in ART's contract, two are the trusted data, and the
    others are those of the detector, whose ``fit`` takes the batch size. The old names ``quantile``, ``pooled``,
    ``n_folds`` and ``max_dims`` work until the next release.

    :param classifier: ART ``PyTorchClassifier``, trained on the suspect data.
    :param x_train: Its training samples, as it takes them, (n, ...).
    :param y_train: Labels of these samples, (n,), (n, 1) or one-hot.
    :param x_val: Trusted samples, (m, ...), any number; 100 a class are plenty. ``None``: nothing is trusted.
    :param y_val: Labels of the trusted samples.
    :param mode: Name of the rule, ``"mahalanobis"`` or ``"paper"``.
    :param mode_params: Settings that only this rule reads, by name; ``None``: the defaults. ``"mahalanobis"`` reads
        ``n_folds`` (10), with trusted data: number of folds of these, each judged by the others, at least 2; and
        ``max_dims`` (512): length of the longest vector that is kept of a sample and layer. ``"paper"`` reads ``pooled``
        (``False``): judge classes of fewer than 20 trusted samples too.
    :param layers: Names of modules in the order in which they run, at least four for ``"paper"``; ``None``: the blocks of
        the model, as :func:`~art_plugins.features.blocks.find_blocks` names them.
    :param tau: Threshold in standard deviations above the mean of benign samples' scores.
    :param fpr: False-positive rate, 0 to below 1: of single samples, the largest share of benign samples that may be
        caught; of groups, the probability that one is removed from a data set without poison. ``tau`` is turned into the
        latter by the normal distribution. Give ``tau`` or ``fpr`` or neither. The default is ``tau=2.5`` for ``"paper"``,
        as in the paper, and ``fpr=0.01`` for ``"mahalanobis"``.
    :param batch_size: Number of samples in one forward pass.
    :param random_state: Random seed of folds, projections, and the choice of 500 samples of a class where there are more
        to learn from.

    :ivar layers_: The layers that were looked at.
    :ivar threshold_: Samples with a higher score are poison. Where single samples are judged in mode ``"mahalanobis"``, it
        is at least as high as the false-discovery rate asks, also if ``tau`` is given.
    :ivar joined_: Samples that go for their group alone, though not by their score, (n,), bool.
    :ivar outlier_scores_: Scores in standard deviations of benign samples, (n,). They are 0 in classes that are not judged.
        Where only groups are sought, a half is the border of a group, and 1 is its median. They are infinite, and the
        sample is poison, where the features or outputs of a sample are not finite.
    :ivar group_members_: Members of each group in the report's ``groups``, (G, n), bool; mode ``"mahalanobis"`` only.
    :ivar layer_scores_: The score at each layer, (n, L); higher is more suspicious.
    :ivar layer_similarities_: Cosine similarities, (n, L); mode ``"paper"`` only.
    :ivar layer_of_interest_: Index into ``layers_`` for each class, (K,); mode ``"paper"`` only.
    :ivar layer_profiles_: Mean cosine similarity of benign samples, (K, L), NaN for classes without any; mode ``"paper"``
        only.
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
        mode_params: dict[str, Any] | None = None,
        layers: Sequence[str] | None = None,
        tau: float | None = None,
        fpr: float | None = None,
        batch_size: int = 128,
        random_state: int = 0,
        **old: Any,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in self.defence_params}
        super().__init__(classifier, x_train, y_train)
        self.x_val, self.y_val = x_val, y_val
        for name, value in given.items():
            setattr(self, name, value)
        self.set_params(**given, **old)

    def _detect(self, labels: np.ndarray, nb_classes: int) -> dict[str, Any]:
        y_val = None if self.x_val is None else class_labels(self.y_val, len(self.x_val), nb_classes)[0]
        if self.mode != MahalanobisRule.name:
            model = self._find_outliers(labels, nb_classes, y_val)
            return self._report(labels, nb_classes, model.rule.n_benign) | {"classes_not_judged": model.not_judged}
        present = np.bincount(labels, minlength=nb_classes) > 0
        n_typical = 0.0 if y_val is None else float(np.median(np.bincount(y_val, minlength=nb_classes)[present]))
        terms = given_terms(self.tau, self.fpr) or MahalanobisRule.terms
        fpr = terms["fpr"] if "fpr" in terms else float(norm.sf(terms["tau"]))
        if n_typical >= LEAST_SAMPLES:
            model = self._find_outliers(labels, nb_classes, y_val)
            n_benign, not_judged = model.rule.n_benign, model.not_judged
            found = self._find_groups(labels, nb_classes, y_val, fpr)
            in_group = found.scores > CAUGHT
            self._call_outliers(model, labels, in_group)
            self.joined_ = in_group & (self.is_clean_ == 1)
            self.is_clean_[self.joined_] = 0
        else:
            if self.x_val is not None and y_val is not None:
                check_known(self.classifier, self.x_val, y_val, self.batch_size)
            self.layers_ = list(find_blocks(self.classifier, self.x_train[:1]) if self.layers is None else self.layers)
            found = self._find_groups(labels, nb_classes, y_val, fpr)
            self.outlier_scores_, self.layer_scores_, self.threshold_ = found.scores, found.layer_scores, CAUGHT
            self.is_clean_ = (found.scores <= CAUGHT).astype(np.int64)
            self.joined_ = np.zeros(len(labels), dtype=bool)
            show_attributes(self, None)
            n_benign, not_judged = np.bincount(labels[self.is_clean_ == 1], minlength=nb_classes), []
        report = self._report(labels, nb_classes, n_benign) | {"classes_not_judged": not_judged}
        report["groups"], self.group_members_ = found.summaries, found.members
        report["clearness_limit"] = clearness_limit(int(present.sum()), fpr) if fpr > 0 and y_val is None else None
        for label, clearness in enumerate(found.clearest(nb_classes)):
            report[f"Class_{label}"]["clearness"] = clearness
        return report

    def _find_outliers(self, labels: np.ndarray, nb_classes: int, y_val: np.ndarray | None) -> LayerwiseModel:
        """Find single samples that do not look like their class, by what is learned from benign samples."""
        x, y = self.x_train, labels
        if self.x_val is not None and y_val is not None:
            x, y = self.x_val, y_val
        trusted, options, batch_size = y_val is not None, self.tunables(), self.batch_size
        model = learn_benign(self.classifier, x, y, nb_classes, options, batch_size, by_label=True, trusted=trusted)
        self.threshold_ = model.threshold(options["tau"], options["fpr"])
        found = model.rule.judge(self.classifier, self.x_train, batch_size, labels)
        self.outlier_scores_, self.layer_scores_ = model.of_trained_on(found.scores, labels), found.layer_scores
        self.is_clean_ = (~model.suspects(self.outlier_scores_, labels, self.threshold_)).astype(np.int64)
        self.joined_ = np.zeros(len(labels), dtype=bool)
        self.layers_ = model.rule.layers
        show_attributes(self, model.rule, found)
        return model

    def _call_outliers(self, model: LayerwiseModel, labels: np.ndarray, in_group: np.ndarray) -> None:
        """Call the single samples that are too many for chance among those that stay."""
        judged = ~in_group & np.isfinite(self.outlier_scores_) & (model.rule.n_benign[labels] > 0)
        self.threshold_ = max(self.threshold_, model.fdr_threshold(self.outlier_scores_[judged]))
        self.is_clean_ = (~model.suspects(self.outlier_scores_, labels, self.threshold_)).astype(np.int64)

    def _find_groups(self, labels: np.ndarray, nb_classes: int, y_val: np.ndarray | None, fpr: float) -> GroupFindings:
        """Find groups that stand apart at the layers of the network, with trusted samples or none."""
        return find_poison(
            self.classifier,
            self.x_train,
            labels,
            nb_classes,
            self.layers_,
            fpr,
            content_layers=earlier(self.layers_),
            x_val=self.x_val,
            y_val=y_val,
            max_dims=(self.mode_params or {}).get("max_dims", MahalanobisRule.max_dims),
            batch_size=self.batch_size,
            random_state=self.random_state,
        )

    def _report(self, labels: np.ndarray, nb_classes: int, n_benign: np.ndarray) -> dict[str, Any]:
        """:param n_benign: Samples of each class that were learned from, or that stay, (K,)."""
        trusted = self.x_val is not None
        report: dict[str, Any] = {
            "mode": self.mode,
            "layers": list(self.layers_),
            "threshold": self.threshold_,
            "trusted": trusted,
            "classes_not_judged": [],
            "n_not_finite": count_not_finite(self.outlier_scores_),
        }
        n_joined = np.bincount(labels[self.joined_], minlength=nb_classes)
        for label, counts in enumerate(removed_by_class(self.is_clean_, labels, nb_classes)):
            report[f"Class_{label}"] = counts | {"n_benign": int(n_benign[label]), "n_joined": int(n_joined[label])}
        report["parameters"] = {name: listed(value) for name, value in self.tunables().items()}
        return report

    def _check_data(self) -> None:
        super()._check_data()
        _, nb_classes = self.labels()
        if (self.x_val is None) != (self.y_val is None):
            raise InvalidInputError("Give x_val and y_val together, or neither of them.")
        if self.x_val is not None:
            check_trusted(self.x_val, self.x_train)
            class_labels(self.y_val, len(self.x_val), nb_classes)
