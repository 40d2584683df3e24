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
    The score of a :class:`MahalanobisRule` less a threshold.

    Most of the time goes into bringing the vectors of each layer to unit covariance. This product is made in single
    precision, from which the score differs in the sixth digit; all else is in double precision. Where both views of a layer
    are the same vectors, as they are of a layer without feature maps, they are measured once.

    :param rule: The fitted rule.
    :param threshold: Samples with a higher score stand out.
    :raises InvalidInputError: For another rule.
    """

    def __init__(self, rule: Any, threshold: float) -> None:
        super().__init__()
        if not isinstance(rule, MahalanobisRule):
            raise InvalidInputError("Only a layer-wise detector of mode 'mahalanobis' can be exported; fit one.")
        self.layers = list(rule.layers)
        self._first, *others = VIEWS
        keys = [(view, index) for view in others for index in range(len(self.layers))]
        self._same = {(view, index) for view, index in keys if _equal(rule, index, self._first, view)}
        self.distances = nn.ModuleDict(
            {
                f"{view}_{index}": ClassDistances(one, rule.projections[view, index])
                for (view, index), one in rule.gaussians.items()
                if (view, index) not in self._same
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

    def short(self, name: str, activation: Tensor) -> dict[str, Tensor]:
        """
        The vectors of a layer that are measured, by their views, (B, D) each. They share no memory with the activation,
        which a later module may overwrite.

        :param name: Name of the layer.
        :param activation: Its output, (B, ...).
        """
        index = self.layers.index(name)
        kept = activation if activation.ndim in (3, 4) else activation.clone()
        return {view: short(kept) for view, short in VIEWS.items() if (view, index) not in self._same}

    def forward(self, logits: Tensor, vectors: Mapping[str, Mapping[str, Tensor]]) -> Tensor:
        """
        Score samples.

        :param logits: Outputs of the network, (B, K).
        :param vectors: What :meth:`short` gives for each layer.
        :return: (B,), above 0 for samples that stand out; infinite for those that are not finite.
        """
        constant = dict(self.named_buffers(recurse=False))
        predicted = logits.argmax(dim=1, keepdim=True)
        found, sound = {}, torch.isfinite(logits).all(dim=1)
        for index, name in enumerate(self.layers):
            for view, one in vectors[name].items():
                sound = sound & torch.isfinite(one.sum(dim=1, dtype=torch.float64))  # finite if all values are
                found[view, index] = self.distances[f"{view}_{index}"](one, predicted)
        found |= {(view, index): found[self._first, index] for view, index in self._same}
        columns = [found[view, index][measure] for view, measure in QUESTIONS for index in range(len(self.layers))]
        standardised = (torch.stack(columns, dim=1) - constant["means"]) * constant["factors"]
        bounded = standardised.clamp_max(MOST_DEVIATIONS).reshape(-1, len(QUESTIONS), len(self.layers))
        answers = bounded.topk(min(MOST_LAYERS, len(self.layers)), dim=2).values.sum(dim=2)
        parts = torch.cat([answers, _margin(logits, predicted)], dim=1)
        total = ((parts - constant["centre"][:-1]) / constant["spread"][:-1]).sum(dim=1)
        scores = (total - constant["centre"][-1]) / constant["spread"][-1]
        scores = torch.where(constant["is_judged"][predicted[:, 0]] > 0, scores, 0.0)
        return torch.where(sound & torch.isfinite(scores), scores - constant["threshold"], torch.inf)


def _equal(rule: MahalanobisRule, index: int, first: str, second: str) -> bool:
    """Whether two views of a layer have the same Gaussians."""
    one, other = (rule.gaussians[view, index] for view in (first, second))
    projected = [rule.projections[view, index] is not None for view in (first, second)]
    return projected[0] == projected[1] and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


class ClassDistances(nn.Module):
    """
    :meth:`LayerGaussian.measure` in PyTorch. The centre is kept as a number in single precision and the rest of it, so that
    subtracting both from a vector loses nothing.

    :param gaussian: The Gaussians of a view of a layer.
    :param projection: Random directions for long vectors, or ``None``.
    """

    def __init__(self, gaussian: LayerGaussian, projection: np.ndarray | None) -> None:
        super().__init__()
        used = np.flatnonzero(gaussian.used)
        centre = gaussian.centre[used].astype(np.float32)
        constants = {
            "used": used,
            "centre": centre,
            "rest_of_centre": (gaussian.centre[used] - centre).astype(np.float32),
            "whitening": (gaussian.whitening.T / gaussian.scale[used][:, None]).astype(np.float32),
            "class_means": gaussian.means.T,
            "lengths": (gaussian.means**2).sum(axis=1),
            "unknown": np.where(gaussian.known, 0.0, np.inf),
        }
        self.is_projected, self.is_whole = projection is not None, len(used) == len(gaussian.used)
        register(self, constants if projection is None else constants | {"projection": projection})

    def forward(self, vectors: Tensor, predicted: Tensor) -> dict[str, Tensor]:
        """Both measures of vectors, (B, D), against the predicted classes, (B, 1); each (B,)."""
        constant = dict(self.named_buffers())
        if self.is_projected:
            vectors = vectors @ constant["projection"].to(vectors.dtype)
        if not self.is_whole:
            vectors = vectors.index_select(1, constant["used"])
        white = (((vectors - constant["centre"]) - constant["rest_of_centre"]) @ constant["whitening"]).double()
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
