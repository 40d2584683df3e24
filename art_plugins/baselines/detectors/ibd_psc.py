"""IBD-PSC (Hou et al. 2024): a triggered image keeps its prediction when batch normalisations are amplified."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import softmax
from torch import Tensor

from art_plugins.defences.detector_classifier import ForDetectorClassifier
from art_plugins.defences.threshold_detector import ThresholdDetector
from art_plugins.features.activations import collect_outputs
from art_plugins.features.altered_layers import altering
from art_plugins.features.batch_norms import batch_norms
from art_plugins.parameters import check_count, check_number

THRESHOLD = 0.9  # above which the authors call a sample poisoned


class IBDPSC(ForDetectorClassifier, ThresholdDetector):
    """
    IBD-PSC: the score is the parameter-oriented scaling consistency (PSC), the mean probability of the predicted class over
    copies of the model whose last batch normalisations are amplified.

    | Paper: L. Hou, R. Feng, Z. Hua, W. Luo, L. Y. Zhang, Y. Li, IBD-PSC: Input-level Backdoor Detection via
      Parameter-oriented Scaling Consistency, ICML 2024, arXiv 2405.09786.

    1. *Start.* k is the smallest number of batch normalisations, counted from the last, whose amplification makes the model
       wrong about more than ``least_error`` of the clean images.
    2. *Copies.* In the ``n_copies`` copies, the last k + 1, k + 2, ... of them are amplified: weights and biases are
       multiplied by ``factor``, which is the same as multiplying their outputs, and that is what is done here.
    3. *Score.* The mean over the copies of the probability of the class that the model itself predicts.

    Defaults: 5 copies, 0.6, 1.5 and the threshold 0.9 were read from the authors' published program (BackdoorBox, GPL; none
    of its code is here); the abstract and the program were at hand, the full text was not.

    Deviates: the threshold is set on clean images by their false-positive rate, as for the other detectors here;
    ``threshold=0.9`` is the authors'. Layers are counted in the order in which they run. If no number of amplified layers
    makes the model wrong enough (the program stops with an error), all are amplified. Where fewer than ``n_copies`` numbers
    are left, copies with all layers amplified count several times, as in the program.

    When this breaks: networks without batch normalisation are refused; triggers of which the model is not surer than of
    clean images; networks that amplification sends to the target class, since clean images then keep it too. On an issue of
    the authors' repository (BackdoorBox, 89), a user reports an AUROC of .7 on CIFAR-10 with BadNets.

    :param n_copies: Number of copies.
    :param factor: Factor of the amplification, above 1.
    :param least_error: Error on clean images that k must exceed, 0 to below 1.

    Scores are 0 to 1. The other parameters are those of :class:`ThresholdDetector`.

    :ivar layers_: Names of the batch normalisations, the last first.
    :ivar start_: k.
    """

    defence_params = [*ThresholdDetector.defence_params, "n_copies", "factor", "least_error"]

    def __init__(
        self,
        classifier: Any,
        target_class: int | None = None,
        *,
        n_copies: int = 5,
        factor: float = 1.5,
        least_error: float = 0.6,
        threshold: float | None = None,
        fpr: float = 0.05,
    ) -> None:
        super().__init__(classifier, target_class, threshold, fpr)
        self.n_copies, self.factor, self.least_error = n_copies, factor, least_error
        self.set_params(**self.tunables())

    def _check(self, values: dict[str, Any]) -> None:
        super()._check(values)
        check_count("n_copies", values["n_copies"])
        check_number("factor", values["factor"], above=1)
        check_number("least_error", values["least_error"], "a share", least=0, below=1)

    def _learn(self, x: np.ndarray, labels: np.ndarray, batch_size: int) -> None:
        self._fitted_copies, self._fitted_factor = self.n_copies, float(self.factor)
        self.layers_ = batch_norms(self.classifier, x)[::-1]
        self.start_ = len(self.layers_)
        for n_amplified in range(1, len(self.layers_)):
            predicted = self._amplified(x, n_amplified, batch_size).argmax(axis=1)
            if (predicted != labels).mean() > self.least_error:
                self.start_ = n_amplified
                return

    def _scores(self, x: np.ndarray, batch_size: int) -> np.ndarray:
        predicted = self._predicted(x, batch_size)
        scores, most, known = np.zeros(len(x)), len(self.layers_), {}
        for number in range(self.start_ + 1, self.start_ + 1 + self._fitted_copies):
            n_amplified = min(number, most)
            if n_amplified not in known:
                probabilities = softmax(self._amplified(x, n_amplified, batch_size), axis=1)
                known[n_amplified] = probabilities[np.arange(len(x)), predicted]
            scores += known[n_amplified]
        return scores / self._fitted_copies

    def _amplified(self, x: np.ndarray, n_amplified: int, batch_size: int) -> np.ndarray:
        """The logits of the copy with so many amplified layers, (n, K), float64."""

        def amplify(output: Tensor) -> Tensor:
            return output * self._fitted_factor

        with altering(self.classifier, self.layers_[:n_amplified], amplify):
            return collect_outputs(self.classifier, x, batch_size).astype(np.float64)
