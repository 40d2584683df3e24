"""AGPD (Yuan et al. 2025): in a target class, gradients of poisoned samples point elsewhere than those of clean ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from art_plugins.baselines.trusted_filter import TrustedFilter
from art_plugins.errors import InvalidInputError
from art_plugins.features.activation_gradients import channel_gradients, gradient_layers
from art_plugins.features.activations import collect_outputs
from art_plugins.features.classifiers import predicted_classes
from art_plugins.parameters import check_count, check_layer_names, check_number
from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.peers.gradient_dispersion import (
    class_spread,
    closeness_to_clean,
    split_target_class,
    target_classes,
)


class AGPD(TrustedFilter):
    """
    Activation Gradient based Poisoned sample Detection: target classes are found by how widely the gradients of their
    samples spread in direction, and poison by being on the far side.

    | Paper: D. Yuan, M. Zhang, S. Wei, L. Liu, B. Wu, Activation Gradient based Poisoned Sample Detection Against Backdoor
      Attacks, ICLR 2025, arXiv 2312.06230.

    1. *Gradients.* At each convolution: the gradient of the output for the given label with respect to the convolution's
       output, averaged over its places. The reference of a class is the mean over its trusted samples.
    2. *Target classes.* The spread of a class at a layer is the root of the mean squared difference between the cosines to
       the reference and to the sample that is farthest from it. Its outlier index is (spread - median) / (1.4826 MAD) over
       the classes. At the layer with the highest index, classes of at least exp(2) are targets. If there are none, the
       classes whose spread is above 0.3 at the fourth-last to the second-last layer are, at the one with most of them.
    3. *Poison.* In each target class, samples are moved from the clean to the poisoned side in rounds; see
       :func:`~art_plugins.statistics.peers.gradient_dispersion.split_target_class`.

    Defaults: exp(2), 0.3, the histograms and the ten rounds were read from the authors' published program (BackdoorBench,
    whose licence forbids commercial use; none of its code is here). The abstract and the program were at hand, the full
    text was not. ``step`` has no value in the program's settings; 0.05 is a choice of this package. The authors trust 10
    samples of each class.

    Deviates: all convolutions are looked at, also the first one and those of shortcuts, where the program names those
    within the residual blocks of a ResNet-18. Networks without convolutions take their hidden linear layers. Where
    little changes from the first round on, one sample goes (the program stops with an error), and fewer than ten rounds are
    one window (there, too, it stops).

    When this breaks: fewer than about five classes, where no index can be high; classes of different spread by nature;
    clean-label attacks on a network that hardly uses the trigger; classes without a trusted sample that the model predicts
    right, which are not judged. Their samples, and those of classes that are no target, have the score 0 and are kept. On
    small networks most classes are called, and the share of the poison that goes differs from network to network.

    There are eight parameters: three are ART's, two are the trusted samples.

    :param x_val: Trusted samples, (m, ...).
    :param y_val: Labels of these samples.
    :param layers: Names of the modules that are looked at. ``None``: all convolutions; see
        :func:`~art_plugins.features.activation_gradients.gradient_layers`.
    :param step: Share of the range of closeness that is moved in each round, above 0 and below 1.
    :param batch_size: Number of samples in one pass.

    :ivar outlier_scores_: 0 to 1, (n,): in target classes, 1 minus the closeness to the clean side, so that a half is as
        near to both sides; 0 in all others. Higher is more suspicious.
    :ivar target_classes_: The classes that were found to hold poison.
    :ivar spreads_: Spread of each class at each layer, (L, K); NaN for classes that are not judged.
    :ivar layers_: Names of the L layers.
    """

    defence_params = ["layers", "step", "batch_size"]

    def __init__(
        self,
        classifier: Any,
        x_train: np.ndarray,
        y_train: np.ndarray,
        x_val: np.ndarray | None = None,
        y_val: Any | None = None,
        *,
        layers: Sequence[str] | None = None,
        step: float = 0.05,
        batch_size: int = 128,
    ) -> None:
        super().__init__(classifier, x_train, y_train, x_val, y_val)
        self.layers, self.step, self.batch_size = layers, step, batch_size
        self.set_params(**self.tunables())

    def _check(self, values: dict[str, Any]) -> None:
        check_layer_names(values["layers"])
        check_number("step", values["step"], "a share", above=0, below=1)
        check_count("batch_size", values["batch_size"])

    def _detect(self, labels: np.ndarray, nb_classes: int) -> dict[str, Any]:
        self.layers_ = gradient_layers(self.classifier, self.x_train) if self.layers is None else list(self.layers)
        references = self._references(nb_classes)
        gradients = channel_gradients(self.classifier, self.x_train, labels, self.layers_, self.batch_size)
        members = indices_by_class(labels, nb_classes)
        judged = [label for label in references if len(members[label])]
        self.spreads_ = np.full((len(self.layers_), nb_classes), np.nan)
        for row, name in enumerate(self.layers_):
            for label in judged:
                self.spreads_[row, label] = class_spread(gradients[name][members[label]], references[label][name])
        layer, self.target_classes_ = target_classes(self.spreads_)
        self.outlier_scores_, self.is_clean_ = np.zeros(len(labels)), np.ones(len(labels), dtype=int)
        for label in self.target_classes_:
            assert layer is not None
            own, reference = gradients[self.layers_[layer]][members[label]], references[label][self.layers_[layer]]
            poison = split_target_class(own, reference, self.step)
            self.is_clean_[members[label][poison]] = 0
            self.outlier_scores_[members[label]] = 1 - closeness_to_clean(own, reference, own[poison].mean(axis=0))
        return {
            "layer": None if layer is None else self.layers_[layer],
            "target_classes": self.target_classes_,
            "classes_not_judged": [label for label in range(nb_classes) if label not in judged],
            "n_removed": self._removed(labels, nb_classes),
        }

    def _references(self, nb_classes: int) -> dict[int, dict[str, np.ndarray]]:
        """Class -> layer -> mean gradient of the trusted samples that the model predicts as labelled, (channels,)."""
        assert self.x_val is not None
        labels = self.trusted_labels(nb_classes)
        outputs = collect_outputs(self.classifier, self.x_val, self.batch_size)
        right = predicted_classes(self.classifier, outputs) == labels
        if not right.any():
            raise InvalidInputError(
                f"The model predicts none of the {len(labels)} trusted samples as labelled: check y_val, and that x_val is "
                "scaled as the classifier takes it."
            )
        gradients = channel_gradients(self.classifier, self.x_val[right], labels[right], self.layers_, self.batch_size)
        return {
            int(label): {name: values[labels[right] == label].mean(axis=0) for name, values in gradients.items()}
            for label in np.unique(labels[right])
        }
