"""A model with its detector inside: one forward pass gives the logits, a trigger score and the corrected label."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from art_plugins.defences.in_flight import InFlightDetector
from art_plugins.defences.in_flight_corrections import ABSTAIN
from art_plugins.errors import InvalidInputError
from art_plugins.features.classifiers import forward, torch_module
from art_plugins.features.forward_pass import hooks
from art_plugins.statistics.factor_densities import FactorDensities

OUTPUTS = ("logits", "trigger_score", "corrected_label")


class GuardedModel(nn.Module):
    """
    The network of a classifier and a fitted :class:`InFlightDetector` as one module that can be exported.

    ``forward`` takes a batch of images as ``classifier.predict`` takes them, (B, ...), and gives three tensors:

    - the outputs of the network, (B, K);
    - the trigger score, (B,): the log-likelihood ratio of the detector less its margin, in nats. The image is caught if its
      score is above 0. The score is -inf for an image that the model does not send to the target class, and inf for an
      image whose outputs or features are not finite;
    - the corrected label, (B,), int64: the model's class; for a caught image the class whose density explains it best; -1
      for an image that is not finite.

    The scores are those of the detector. The label of a caught image is the one of a detector with ``removal=False``,
    because removing the pattern from an image takes further passes.

    The module keeps the network itself, not a copy, and sets it to evaluation mode.

    When this breaks: as the detector does; and a new preprocessing of the classifier has no effect on what was exported.

    :param detector: A fitted detector. The family of its densities must not be ``"mixture"``.
    :raises NotFittedError: If the detector is not fitted.
    :raises InvalidInputError: For mixtures, or for a classifier with preprocessing that is not written in PyTorch or with
        postprocessing, which no exported model can hold.
    """

    def __init__(self, detector: InFlightDetector) -> None:
        super().__init__()
        densities, layers = detector.fitted_densities()
        if not isinstance(densities, FactorDensities):
            raise InvalidInputError(
                "GuardedModel needs Gaussian densities; fit the detector with another density family than 'mixture'."
            )
        classifier = detector.classifier
        if classifier.preprocessing_operations and not classifier.all_framework_preprocessing:
            raise InvalidInputError(
                "A preprocessing step of the classifier is not written in PyTorch and cannot be exported; use the PyTorch "
                "form of that defence."
            )
        if getattr(classifier, "postprocessing_defences", None):
            raise InvalidInputError("The classifier has postprocessing defences, which cannot be exported; remove them.")
        self.network = torch_module(classifier)
        self.densities = GaussianLikelihoods(densities)
        self._classifier, self._layers, self._target = classifier, list(layers), detector._target()
        self.register_buffer("threshold", torch.tensor(float(detector.margin_), dtype=torch.float64))
        others = [0.0 if label != self._target else -np.inf for label in range(int(classifier.nb_classes))]
        self.register_buffer("others", torch.tensor(others, dtype=torch.float64))
        self.threshold: Tensor
        self.others: Tensor
        self.to(classifier.device)
        self.eval()

    def train(self, mode: bool = True) -> GuardedModel:
        """The module stays in evaluation mode, whatever ``mode`` says."""
        return super().train(False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Judge images, (B, ...); see the class for what is returned."""
        logits, features = self._logits_and_features(x)
        log_likelihoods = self.densities(features)
        ratios = (log_likelihoods + self.others).amax(dim=1) - log_likelihoods[:, self._target]
        sound = torch.isfinite(logits).all(dim=1) & torch.isfinite(features).all(dim=1) & torch.isfinite(ratios)
        predicted, source = logits.argmax(dim=1), (log_likelihoods + self.others).argmax(dim=1)
        scores = torch.where(predicted == self._target, ratios - self.threshold, -torch.inf)
        scores = torch.where(sound, scores, torch.inf)
        labels = torch.where(scores > 0, torch.where(sound, source, ABSTAIN), predicted)
        return logits, scores.to(torch.float32), labels

    def _logits_and_features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs of the network, and the inputs of the detector's layers side by side."""
        seen: dict[str, Tensor] = {}

        def keep(name: str) -> Any:
            def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                seen[name] = inputs[0]

            return hook

        modules = [(name, self.network.get_submodule(name)) for name in self._layers]
        with hooks([module.register_forward_pre_hook(keep(name)) for name, module in modules]):
            prepared, _ = self._classifier._apply_preprocessing(x, y=None, fit=False, no_grad=False)
            logits = forward(self._classifier, self.network, prepared)
        return logits.float(), torch.cat([seen[name].float() for name in self._layers], dim=1)


class GaussianLikelihoods(nn.Module):
    """
    :meth:`FactorDensities.log_likelihoods` in PyTorch, in double precision.

    :param densities: The fitted densities.
    """

    def __init__(self, densities: FactorDensities) -> None:
        super().__init__()
        used = np.flatnonzero(densities.used)
        self.power = float(densities.power)
        self.is_whole = len(used) == len(densities.used)
        noise = densities.noise
        spread = noise[densities.owners][:, None] ** 0.5
        indicator = (densities.owners[:, None] == np.arange(len(noise))).astype(np.float64)
        constants = {
            "used": used,
            "centre": densities.centre[used],
            "scale": densities.scale[used],
            "basis": densities.basis.T,
            "variances": densities.variances,
            "means": densities.means.T,
            "noise": noise,
            "factors": (densities.factors / spread).T,
            "offsets": np.einsum("qr,qr->q", densities.factors / spread, densities.means[densities.owners]),
            "indicator": indicator,
            "constants": densities.log_scales - 0.5 * (len(used) * np.log(2 * np.pi) + (densities.means**2).sum(1) / noise),
        }
        self.remainder = float(densities.remainder)
        for name, value in constants.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value)))

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) -> (B, K), in nats."""
        constant = dict(self.named_buffers())
        features = features.double()
        features = features if self.is_whole else features.index_select(1, constant["used"])
        if self.power == 0.5:  # ten times as fast as the power
            features = torch.sign(features) * features.abs().sqrt()
        elif self.power != 1:
            features = torch.sign(features) * features.abs() ** self.power
        z = (features - constant["centre"]) / constant["scale"]
        y = z @ constant["basis"]
        outside = ((z * z).sum(dim=1) - (y * y) @ constant["variances"]).clamp_min(0) / self.remainder
        squared = ((y * y).sum(dim=1) + outside)[:, None] - 2 * (y @ constant["means"])
        along = y @ constant["factors"] - constant["offsets"]
        explained = (along * along) @ constant["indicator"]
        return constant["constants"] - 0.5 * (squared / constant["noise"] - explained)
