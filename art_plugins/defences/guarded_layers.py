"""The score of the layer-wise detector in PyTorch, for models that are exported with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from art_plugins.defences.layers.mahalanobis import VIEWS, MahalanobisRule
from art_plugins.errors import InvalidInputError
from art_plugins.statistics.layer_gaussian import DISTANCE_RATIO, LEAST_DISTANCE, MAHALANOBIS_DISTANCE, LayerGaussian
from art_plugins.statistics.layer_scores import MOST_DEVIATIONS, MOST_LAYERS, QUESTIONS


def register(module: nn.Module, constants: Mapping[str, np.ndarray]) -> None:
    """Keep copies of arrays as buffers of a module, under their names, so that they move and are exported with it."""
    for name, value in constants.items():
        module.register_buffer(name, torch.from_numpy(np.array(value, order="C")))


class LayerScore(nn.Module):
    """
    The score of a :class:`MahalanobisRule` less a threshold, in double precision.

    :param rule: The fitted rule.
    :param threshold: Samples with a higher score stand out.
    :raises InvalidInputError: For another rule.
    """

    def __init__(self, rule: Any, threshold: float) -> None:
        super().__init__()
        if not isinstance(rule, MahalanobisRule):
            raise InvalidInputError("Only a layer-wise detector of mode 'mahalanobis' can be exported; fit one.")
        self.layers = list(rule.layers)
        self.distances = nn.ModuleDict(
            {
                f"{view}_{index}": ClassDistances(one, rule.projections[view, index])
                for (view, index), one in rule.gaussians.items()
            }
        )
        varies = rule.calibration.deviations > 1e-9  # as Calibration.standardise
        constants = {
            "means": rule.calibration.means,
            "factors": np.where(varies, 1 / np.where(varies, rule.calibration.deviations, 1), 0.0),
            "centre": rule.centre,
            "spread": rule.spread,
            "is_judged": (rule.n_benign > 0).astype(np.float64),
            "threshold": np.array(threshold, dtype=np.float64),
        }
        register(self, constants)

    def forward(self, logits: Tensor, activations: Mapping[str, Tensor]) -> Tensor:
        """
        Score samples.

        :param logits: Outputs of the network, (B, K).
        :param activations: Output of each layer, (B, ...).
        :return: (B,), above 0 for samples that stand out; infinite for those that are not finite.
        """
        constant = dict(self.named_buffers(recurse=False))
        predicted = logits.argmax(dim=1, keepdim=True)
        found, sound = {}, torch.isfinite(logits).all(dim=1)
        for view, short in VIEWS.items():
            for index, name in enumerate(self.layers):
                vectors = short(activations[name])
                sound = sound & torch.isfinite(vectors).all(dim=1)
                found[view, index] = self.distances[f"{view}_{index}"](vectors, predicted)
        columns = [found[view, index][measure] for view, measure in QUESTIONS for index in range(len(self.layers))]
        standardised = (torch.stack(columns, dim=1) - constant["means"]) * constant["factors"]
        bounded = standardised.clamp_max(MOST_DEVIATIONS).reshape(-1, len(QUESTIONS), len(self.layers))
        answers = bounded.topk(min(MOST_LAYERS, len(self.layers)), dim=2).values.sum(dim=2)
        parts = torch.cat([answers, _margin(logits, predicted)], dim=1)
        total = ((parts - constant["centre"][:-1]) / constant["spread"][:-1]).sum(dim=1)
        scores = (total - constant["centre"][-1]) / constant["spread"][-1]
        scores = torch.where(constant["is_judged"][predicted[:, 0]] > 0, scores, 0.0)
        return torch.where(sound & torch.isfinite(scores), scores - constant["threshold"], torch.inf)


class ClassDistances(nn.Module):
    """
    :meth:`LayerGaussian.measure` in PyTorch.

    :param gaussian: The Gaussians of a view of a layer.
    :param projection: Random directions for long vectors, or ``None``.
    """

    def __init__(self, gaussian: LayerGaussian, projection: np.ndarray | None) -> None:
        super().__init__()
        used = np.flatnonzero(gaussian.used)
        constants = {
            "used": used,
            "centre": gaussian.centre[used],
            "whitening": gaussian.whitening.T / gaussian.scale[used][:, None],
            "class_means": gaussian.means.T,
            "lengths": (gaussian.means**2).sum(axis=1),
            "unknown": np.where(gaussian.known, 0.0, np.inf),
        }
        self.is_projected = projection is not None
        register(self, constants if projection is None else constants | {"projection": projection})

    def forward(self, vectors: Tensor, predicted: Tensor) -> dict[str, Tensor]:
        """Both measures of vectors, (B, D), against the predicted classes, (B, 1); each (B,)."""
        constant = dict(self.named_buffers())
        if self.is_projected:
            vectors = vectors @ constant["projection"].to(vectors.dtype)
        white = (vectors.double().index_select(1, constant["used"]) - constant["centre"]) @ constant["whitening"]
        # The squared differences, multiplied out: a product of matrices, and nothing of size B x K x D.
        squared = (white * white).sum(dim=1, keepdim=True) - 2 * (white @ constant["class_means"]) + constant["lengths"]
        distances = squared.clamp_min(LEAST_DISTANCE).log()
        own = distances.gather(1, predicted)[:, 0]
        others = (distances + constant["unknown"]).scatter(1, predicted, torch.inf).amin(dim=1)
        ratio = torch.where(torch.isfinite(others), own - others, 0.0)
        return {MAHALANOBIS_DISTANCE: own, DISTANCE_RATIO: ratio}


def _margin(logits: Tensor, predicted: Tensor) -> Tensor:
    """``logit_margin`` of the predicted class, (B, 1)."""
    outputs = logits.double()
    others = outputs.scatter(1, predicted, -torch.inf).amax(dim=1, keepdim=True)
    margin = (outputs.gather(1, predicted) - others).clamp_min(0)
    return torch.where(torch.isfinite(margin), margin, 0.0).sqrt()
