"""PSBD (Li et al. 2025): under dropout the prediction of a clean sample shifts, and that of a poisoned one stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import softmax

from art_plugins.arrays import check_finite_features
from art_plugins.baselines.trusted_filter import TrustedFilter
from art_plugins.features.activations import collect_outputs
from art_plugins.features.altered_layers import dropout_layers, dropping_out
from art_plugins.parameters import check_count, check_layer_names, check_number
from art_plugins.statistics.peers.prediction_shift import best_rate, shift_ratio, shift_uncertainty

RATES = tuple(step / 10 for step in range(1, 10))  # dropout rates that are tried, as the authors do


class PSBD(TrustedFilter):
    """
    Prediction Shift Backdoor Detection: with dropout at inference, the predictions of a poisoned model for clean samples
    shift to other classes, while poisoned samples keep theirs. Samples that keep the most are removed.

    | Paper: W. Li, P.-Y. Chen, S. Liu, R. Wang, PSBD: Prediction Shift Uncertainty Unlocks Backdoor Detection, CVPR 2025,
      arXiv 2406.05826.

    1. *Uncertainty.* The prediction shift uncertainty of a sample is p(c) minus the mean of p(c) over passes with dropout,
       where c is the class that the model predicts without dropout.
    2. *Rate.* The rates 0.1 to 0.9 are tried. Taken is the one at which the share of shifted predictions among trusted
       samples exceeds that among training samples most, of those rates at which it is at least 0.8 (of all, if there are
       none).
    3. *Verdict.* A training sample goes if its uncertainty lies below a quantile of the trusted samples' uncertainties.

    The labels are not looked at, neither of the training samples nor of the trusted ones.

    The network needs no dropout of its own: hooks put it behind every block (behind every stage, where there are no
    blocks), as the authors put it behind the residual blocks of ResNet-18. They put it before the last ReLU of a block,
    which gives the same as behind it.

    Defaults: 3 passes, the rates, 0.8 and the quantile 0.25 were read from the authors' published program; the abstract and
    the program were at hand, the full text was not. None of its code is here. The authors trust 5 % as many samples as the
    training set has.

    Deviates: the masks come from a generator of this filter's own, not from the global one.

    When this breaks: a quarter of the clean samples goes if they score as the trusted ones do, since the quantile is 0.25;
    the training samples, which the model has learned, often score lower than that. Networks with few layers, where dropout
    shifts poisoned samples as well; triggers that the model is not sure of; few trusted samples, because the quantile is
    then of few numbers. The network runs 27 times on each sample.

    There are eleven parameters: three are ART's, two are the trusted samples.

    :param x_val: Trusted samples, (m, ...).
    :param y_val: Not used; other filters have it.
    :param layers: Names of modules behind which dropout is put. ``None``: see
        :func:`~art_plugins.features.altered_layers.dropout_layers`.
    :param rate: Dropout rate, above 0 and below 1; ``None``: it is chosen by step 2.
    :param n_passes: Number of passes with dropout at each rate.
    :param quantile: Quantile of the trusted samples' uncertainties below which a sample goes, 0 to 1.
    :param batch_size: Number of samples in one forward pass.
    :param random_state: Random seed of the dropout masks.

    :ivar outlier_scores_: Minus the uncertainty, (n,), -1 to 1; higher is more suspicious.
    :ivar rate_: The dropout rate that was taken.
    :ivar layers_: The layers behind which dropout was put.
    """

    needs_labels = False
    defence_params = ["layers", "rate", "n_passes", "quantile", "batch_size", "random_state"]

    def __init__(
        self,
        classifier: Any,
        x_train: np.ndarray,
        y_train: np.ndarray,
        x_val: np.ndarray | None = None,
        y_val: Any | None = None,
        *,
        layers: Sequence[str] | None = None,
        rate: float | None = None,
        n_passes: int = 3,
        quantile: float = 0.25,
        batch_size: int = 128,
        random_state: int = 0,
    ) -> None:
        super().__init__(classifier, x_train, y_train, x_val, y_val)
        self.layers, self.rate, self.n_passes, self.quantile = layers, rate, n_passes, quantile
        self.batch_size, self.random_state = batch_size, random_state
        self.set_params(**self.tunables())

    def _check(self, values: dict[str, Any]) -> None:
        check_layer_names(values["layers"])
        if values["rate"] is not None:
            check_number("rate", values["rate"], "None or a share", above=0, below=1)
        check_number("quantile", values["quantile"], "a share", least=0, most=1)
        check_count("n_passes", values["n_passes"])
        check_count("batch_size", values["batch_size"])
        check_count("random_state", values["random_state"], 0)

    def _detect(self, labels: np.ndarray, nb_classes: int) -> dict[str, Any]:
        self.layers_ = dropout_layers(self.classifier, self.x_train) if self.layers is None else list(self.layers)
        rates = RATES if self.rate is None else (float(self.rate),)
        (trusted, trusted_ratios), (lost, ratios) = (self._shifts(x, rates) for x in (self.x_val, self.x_train))
        chosen = best_rate(trusted_ratios, ratios)
        self.rate_, self.outlier_scores_ = rates[chosen], -lost[chosen]
        limit = float(np.quantile(trusted[chosen], self.quantile))
        self.is_clean_ = (lost[chosen] >= limit).astype(int)
        return {
            "layers": self.layers_,
            "rate": self.rate_,
            "shift_ratio": float(ratios[chosen]),
            "shift_ratio_trusted": float(trusted_ratios[chosen]),
            "limit": limit,
            "n_removed": self._removed(labels, nb_classes),
        }

    def _shifts(self, x: Any, rates: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """The uncertainty of every sample at every rate, (R, n), and the shift ratios, (R,)."""
        probabilities = self._probabilities(x)
        lost, ratios = np.empty((len(rates), len(x))), np.empty(len(rates))
        for row, rate in enumerate(rates):
            with dropping_out(self.classifier, self.layers_, rate, self.random_state):
                dropped = np.stack([self._probabilities(x) for _ in range(self.n_passes)])
            lost[row], ratios[row] = shift_uncertainty(probabilities, dropped), shift_ratio(probabilities, dropped)
        return lost, ratios

    def _probabilities(self, x: np.ndarray) -> np.ndarray:
        """Class probabilities, (n, K)."""
        outputs = collect_outputs(self.classifier, x, self.batch_size)
        check_finite_features(outputs, "outputs")
        return np.asarray(softmax(outputs.astype(np.float64), axis=1))
