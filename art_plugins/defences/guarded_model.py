"""A model with its detectors inside: one forward pass gives the logits, their scores and the corrected label."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from art_plugins.defences.flight.corrections import ABSTAIN
from art_plugins.defences.guarded_layers import LayerScore, register
from art_plugins.defences.in_flight import InFlightDetector
from art_plugins.defences.layerwise_detector import LayerwiseFeatureDetector
from art_plugins.errors import InvalidInputError
from art_plugins.features.classifiers import forward, torch_module
from art_plugins.features.forward_pass import first_tensor, hooks
from art_plugins.parameters import shown
from art_plugins.statistics.factor_densities import FactorDensities

OUTPUTS = ("logits", "trigger_score", "corrected_label")
LAYER_SCORE = "layer_score"


class GuardedModel(nn.Module):
    """
    The network of a classifier and its fitted detectors as one module that can be exported.

    ``forward`` takes a batch of images as ``classifier.predict`` takes them, (B, ...), and gives these tensors, whose names
    are in ``outputs``:

    - ``logits``: the outputs of the network, (B, K);
    - ``trigger_score``, (B,): the log-likelihood ratio of the in-flight detector less its margin, in nats. The image is
      caught if its score is above 0. The score is -inf for an image that the model does not send to the target class, and
      inf for an image whose outputs or features are not finite;
    - ``corrected_label``, (B,), int64: the model's class; for a caught image the class whose density explains it best; -1
      for an image that is not finite;
    - ``layer_score``, (B,), with a layer-wise detector: its score less its threshold, in standard deviations of benign
      samples. The image stands out if the score is above 0. It is inf for an image that is not finite.

    Without an in-flight detector, there are the first and the last of these. The scores are those of the detectors. The
    label of a caught image is the one of a detector with ``removal=False``, because removing the pattern from an image
    takes further passes.

    The module keeps the network itself, not a copy, and sets it to evaluation mode.

    When this breaks: as the detectors do; and a new preprocessing of the classifier has no effect on what was exported.

    :param detector: A fitted detector, or ``None``. The family of its densities must not be ``"mixture"``.
    :param layers: A fitted layer-wise detector of the same classifier, or ``None``.
    :ivar detector: The in-flight detector, or ``None``.
    :ivar outputs: Names of the outputs.
    :raises NotFittedError: If a detector is not fitted.
    :raises InvalidInputError: For no detector, detectors of two classifiers, mixtures, another mode of the layer-wise
        detector than ``"mahalanobis"``, or a classifier with preprocessing that is not written in PyTorch or with
        postprocessing, which no exported model can hold.
    """

    def __init__(self, detector: InFlightDetector | None, layers: LayerwiseFeatureDetector | None = None) -> None:
        super().__init__()
        for one, kind in ((detector, InFlightDetector), (layers, LayerwiseFeatureDetector)):
            if one is not None and not isinstance(one, kind):
                raise InvalidInputError(f"A {kind.__name__} is needed, or None; received {shown(one)}.")
        given = [one for one in (detector, layers) if one is not None]
        if not given or any(one.classifier is not given[0].classifier for one in given):
            raise InvalidInputError("Give an in-flight detector, a layer-wise one, or both for the same classifier.")
        self._classifier, self.detector = given[0].classifier, detector
        _check_exportable(self._classifier)
        self.network = torch_module(self._classifier)
        self.in_flight = None if detector is None else InFlightScore(detector)
        self.layer_score = None if layers is None else LayerScore(layers.fitted_rule(), layers.threshold_)
        self.outputs = (OUTPUTS[:1] if detector is None else OUTPUTS) + (() if layers is None else (LAYER_SCORE,))
        self.register_buffer("place", torch.zeros(0))  # tells the device
        self.place: Tensor
        self.to(self._classifier.device)
        self.eval()

    def train(self, mode: bool = True) -> GuardedModel:
        """The module stays in evaluation mode, whatever ``mode`` says."""
        return super().train(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Judge images, (B, ...); see the class for what is returned."""
        inputs: dict[str, Tensor] = {}
        squared: dict[str, Tensor] = {}

        def keep_input(name: str) -> Any:
            def hook(module: nn.Module, given: tuple[Tensor, ...]) -> None:
                inputs[name] = given[0]

            return hook

        def keep_output(name: str, score: LayerScore) -> Any:
            def hook(module: nn.Module, given: tuple[Tensor, ...], gave: Any) -> None:
                squared.update(score.look(name, first_tensor(gave)))

            return hook

        before = [] if self.in_flight is None else self.in_flight.layers
        find = self.network.get_submodule
        handles = [find(name).register_forward_pre_hook(keep_input(name)) for name in before]
        if (score := self.layer_score) is not None:
            handles += [find(name).register_forward_hook(keep_output(name, score)) for name in score.layers]
        with hooks(handles):
            prepared, _ = self._classifier._apply_preprocessing(x, y=None, fit=False, no_grad=False)
            logits = forward(self._classifier, self.network, prepared).float()
        found = [logits]
        if self.in_flight is not None:
            found += self.in_flight(logits, torch.cat([inputs[name].float() for name in before], dim=1))
        if self.layer_score is not None:
            found.append(self.layer_score(logits, squared).to(torch.float32))
        return tuple(found)


def _check_exportable(classifier: Any) -> None:
    """
    :raises InvalidInputError: For a classifier with steps that no exported model can hold.
    """
    if classifier.preprocessing_operations and not classifier.all_framework_preprocessing:
        raise InvalidInputError(
            "A preprocessing step of the classifier is not written in PyTorch and cannot be exported; use the PyTorch form "
            "of that defence."
        )
    if getattr(classifier, "postprocessing_defences", None):
        raise InvalidInputError("The classifier has postprocessing defences, which cannot be exported; remove them.")


class InFlightScore(nn.Module):
    """
    The score and the corrected label of an in-flight detector in PyTorch.

    :param detector: The fitted detector.
    """

    def __init__(self, detector: InFlightDetector) -> None:
        super().__init__()
        densities, layers = detector.fitted_densities()
        if not isinstance(densities, FactorDensities):
            raise InvalidInputError(
                "GuardedModel needs Gaussian densities; fit the detector with another density family than 'mixture'."
            )
        self.densities = GaussianLikelihoods(densities)
        self.layers, self._target = list(layers), detector._target()
        others = [0.0 if label != self._target else -np.inf for label in range(int(detector.classifier.nb_classes))]
        register(self, {"threshold": np.array(float(detector.margin_)), "others": np.array(others)})
        self.threshold: Tensor
        self.others: Tensor

    def forward(self, logits: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K) and (B, D) -> the trigger score and the corrected label, (B,)."""
        log_likelihoods = self.densities(features)
        ratios = (log_likelihoods + self.others).amax(dim=1) - log_likelihoods[:, self._target]
        sound = torch.isfinite(logits).all(dim=1) & torch.isfinite(features).all(dim=1) & torch.isfinite(ratios)
        predicted, source = logits.argmax(dim=1), (log_likelihoods + self.others).argmax(dim=1)
        scores = torch.where(predicted == self._target, ratios - self.threshold, -torch.inf)
        scores = torch.where(sound, scores, torch.inf)
        labels = torch.where(scores > 0, torch.where(sound, source, ABSTAIN), predicted)
        return scores.to(torch.float32), labels


class GaussianLikelihoods(nn.Module):
    """
    :meth:`FactorDensities.log_likelihoods` in PyTorch. The two large products, with the basis and with the factors, are in
    single precision, and all else is in double precision. The log-likelihoods differ in the sixth digit.

    :param densities: The fitted densities.
    """

    def __init__(self, densities: FactorDensities) -> None:
        super().__init__()
        used = np.flatnonzero(densities.used)
        self.power = float(densities.power)
        self.is_whole = len(used) == len(densities.used)
        noise = densities.noise
        spread = noise[densities.owners][:, None] ** 0.5
        factors = densities.factors / spread
        indicator = (densities.owners[:, None] == np.arange(len(noise))).astype(np.float32)
        constants = {
            "used": used,
            "centre": densities.centre[used],
            "scale": densities.scale[used],
            "basis": densities.basis.T.astype(np.float32),
            "variances": densities.variances,
            "means": densities.means.T,
            "noise": noise,
            "factors": factors.T.astype(np.float32),
            "minus_offsets": -np.einsum("qr,qr->q", factors, densities.means[densities.owners]).astype(np.float32),
            "indicator": indicator,
            "constants": densities.log_scales - 0.5 * (len(used) * np.log(2 * np.pi) + (densities.means**2).sum(1) / noise),
        }
        self.remainder = float(densities.remainder)
        register(self, constants)

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
        along_basis = z.float() @ constant["basis"]
        along = torch.addmm(constant["minus_offsets"], along_basis, constant["factors"])
        explained = (along * along) @ constant["indicator"]
        y = along_basis.double()
        y_squared = y * y
        outside = ((z * z).sum(dim=1) - y_squared @ constant["variances"]).clamp_min(0) / self.remainder
        squared = (y_squared.sum(dim=1) + outside)[:, None] - 2 * (y @ constant["means"])
        return constant["constants"] - 0.5 * (squared / constant["noise"] - explained)
