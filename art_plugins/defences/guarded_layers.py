"""The score of the layer-wise detector in PyTorch, for models that are exported with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from art_plugins.defences.guarded_reduction import both_views, is_precise
from art_plugins.defences.layers.mahalanobis import VIEWS, MahalanobisRule
from art_plugins.errors import InvalidInputError
from art_plugins.features.layer_reduction import projected
from art_plugins.statistics.layer_gaussian import DISTANCE_RATIO, LEAST_DISTANCE, MAHALANOBIS_DISTANCE, LayerGaussian
from art_plugins.statistics.layer_scores import MOST_DEVIATIONS, MOST_LAYERS, QUESTIONS


def register(module: nn.Module, constants: Mapping[str, np.ndarray]) -> None:
    """Keep copies of arrays as buffers of a module, under their names, so that they move and are exported with it."""
    for name, value in constants.items():
        module.register_buffer(name, torch.from_numpy(np.array(value, order="C")))


class LayerScore(nn.Module):
    """
    The score of a :class:`MahalanobisRule` less a threshold.

    Most of the time goes into reading the activations and into bringing the vectors of each layer to unit covariance. The
    latter is one product in single precision for each view of a layer. The score differs from that of the rule in the sixth
    digit; all else is in double precision. Where both views of a layer are the same vectors, as they are of a layer without
    feature maps, they are measured once.

    :param rule: The fitted rule.
    :param threshold: Samples with a higher score stand out.
    :raises InvalidInputError: For another rule.
    """

    def __init__(self, rule: Any, threshold: float) -> None:
        super().__init__()
        if not isinstance(rule, MahalanobisRule):
            raise InvalidInputError("Only a layer-wise detector of mode 'mahalanobis' can be exported; fit one.")
        self.layers = list(rule.layers)
        (self._grid, self._channels), keys = VIEWS, range(len(self.layers))
        self._same = {index for index in keys if _equal(rule, index, self._grid, self._channels)}
        self._short = {index for index in keys if _is_short(rule, index, self._channels)}
        self.distances = nn.ModuleDict(
            {
                f"{view}_{index}": ClassDistances(one, rule.projections[view, index])
                for (view, index), one in rule.gaussians.items()
                if view == self._grid or index not in self._same
            }
        )
        varies = rule.calibration.deviations > 1e-9  # as Calibration.standardise
        constants = {
            "means": rule.calibration.means,
            "factors": np.where(varies, 1 / np.where(varies, rule.calibration.deviations, 1), 0.0),
            "centre": rule.centre,
            "spread": rule.spread,
            "is_judged": (rule.n_benign > 0).astype(np.float64),
            "unknown": np.where(rule.n_benign > 0, 0.0, np.inf).astype(np.float32),
            "asked": self._asked(),
            "threshold": np.array(threshold, dtype=np.float64),
        }
        register(self, constants)

    def _asked(self) -> np.ndarray:
        """The place of each measure of the questions among the distances of all views, then the ratios of all, (Q L,)."""
        places = {key: place for place, key in enumerate(self.distances)}
        for index in self._same:
            places[f"{self._channels}_{index}"] = places[f"{self._grid}_{index}"]
        first = {MAHALANOBIS_DISTANCE: 0, DISTANCE_RATIO: len(self.distances)}
        columns = [
            first[measure] + places[f"{view}_{index}"] for view, measure in QUESTIONS for index in range(len(self.layers))
        ]
        return np.array(columns, dtype=np.int64)

    def look(self, name: str, activation: Tensor) -> dict[str, Tensor]:
        """
        Squared distances of a layer's vectors to all classes, (B, K) for each view that is measured.

        :param name: Name of the layer.
        :param activation: Its output, (B, ...). A later module may overwrite it.
        """
        index = self.layers.index(name)
        if index in self._same:
            found = {self._grid: VIEWS[self._grid](activation)}
        else:
            found = dict(zip((self._grid, self._channels), both_views(activation, index in self._short), strict=True))
        return {f"{view}_{index}": self.distances[f"{view}_{index}"](vectors) for view, vectors in found.items()}

    def forward(self, logits: Tensor, squared: Mapping[str, Tensor]) -> Tensor:
        """
        Score samples.

        :param logits: Outputs of the network, (B, K).
        :param squared: What :meth:`look` gives, of all layers.
        :return: (B,), above 0 for samples that stand out; infinite for those that are not finite.
        """
        constant = dict(self.named_buffers(recurse=False))
        predicted = logits.argmax(dim=1, keepdim=True)
        every = torch.stack([squared[key] for key in self.distances], dim=1)  # (B, V, K)
        sound = torch.isfinite(logits).all(dim=1) & torch.isfinite(every).flatten(1).all(dim=1)
        measured = _measures(every, predicted, constant["unknown"]).index_select(1, constant["asked"])
        standardised = (measured - constant["means"]) * constant["factors"]
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
    is_projected = [rule.projections[view, index] is not None for view in (first, second)]
    return is_projected[0] == is_projected[1] and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def _is_short(rule: MahalanobisRule, index: int, view: str) -> bool:
    """Whether the deviations of a layer's channels may be taken the short way; of projected ones that is not known."""
    gaussian = rule.gaussians[view, index]
    return rule.projections[view, index] is None and len(gaussian.centre) % 2 == 0 and is_precise(gaussian)


def _measures(squared: Tensor, predicted: Tensor, unknown: Tensor) -> Tensor:
    """
    Both measures of :meth:`LayerGaussian.measure` of V views: the distances, then the ratios, (B, 2 V).

    :param squared: Squared distances to all classes, (B, V, K).
    :param predicted: (B, 1).
    :param unknown: Infinite for classes that had no samples, else 0, (K,).
    """
    distances = squared.clamp_min(LEAST_DISTANCE).float().log()  # faster; the logarithm of a rounded value is precise
    label = predicted[:, :, None].expand(-1, distances.shape[1], -1)
    own = distances.gather(2, label)[:, :, 0]
    others = (distances + unknown).scatter(2, label, torch.inf).amin(dim=2)
    return torch.cat([own, torch.where(torch.isfinite(others), own - others, 0.0)], dim=1)


class ClassDistances(nn.Module):
    """
    Squared Mahalanobis distances of :class:`LayerGaussian` in PyTorch, by two products.

    The scales and the whitening are one matrix. A centre in single precision is subtracted first, so that vectors far from
    zero lose nothing; what it lacks of the exact centre is in the means of the classes. A feature that does not vary has a
    row of zeros.

    :param gaussian: The Gaussians of a view of a layer.
    :param projection: How long vectors are shortened, see :func:`~art_plugins.features.layer_reduction.projected`, or
        ``None``.
    """

    def __init__(self, gaussian: LayerGaussian, projection: np.ndarray | None) -> None:
        super().__init__()
        whitening = np.zeros((len(gaussian.used), len(gaussian.whitening)))
        whitening[gaussian.used] = gaussian.whitening.T / gaussian.scale[gaussian.used][:, None]
        exact = np.where(gaussian.used, gaussian.centre, 0.0)
        centre = exact.astype(np.float32)
        means = gaussian.means + (exact - centre) @ whitening
        self.is_projected, self.n_dims = projection is not None, len(centre)
        constants = {
            "centre": centre,
            "whitening": whitening.astype(np.float32),
            "minus_twice_means": -2 * means.T,
            "lengths": (means**2).sum(axis=1),
        }
        register(self, constants if projection is None else constants | {"projection": projection})

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors, (B, D), to (B, K), in double precision."""
        constant = dict(self.named_buffers())
        if self.is_projected:
            vectors = projected(vectors, constant["projection"], self.n_dims)
        white = ((vectors - constant["centre"]) @ constant["whitening"]).double()
        # The squared differences, multiplied out: a product of matrices, and nothing of size B x K x D.
        lengths = torch.linalg.vector_norm(white, dim=1, keepdim=True) ** 2
        squared: Tensor = torch.addmm(constant["lengths"], white, constant["minus_twice_means"]) + lengths
        return squared


def _margin(logits: Tensor, predicted: Tensor) -> Tensor:
    """``logit_margin`` of the predicted class, (B, 1)."""
    outputs = logits.double()
    others = outputs.scatter(1, predicted, -torch.inf).amax(dim=1, keepdim=True)
    margin = (outputs.gather(1, predicted) - others).clamp_min(0)
    return torch.where(torch.isfinite(margin), margin, 0.0).sqrt()
