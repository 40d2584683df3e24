"""What every layer of a network shows of samples, as short vectors of equal standing, in which groups are sought."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from art_plugins.features.activations import stream_activations
from art_plugins.features.layer_reduction import pool_activations, projection_matrix
from art_plugins.statistics.labels import indices_by_class

N_REFERENCE = 2_000  # samples on which the axes of the views are learned
LARGEST = float(np.sqrt(np.finfo(np.float32).max))  # the square of a larger number is infinite in single precision
LONGEST = 512  # a longer vector is projected to this length first
MOST_DIMS, LEAST_DIMS = 32, 8  # principal components of one view
SAMPLES_PER_DIM = 10  # at least, of all views together: a discriminant of more dimensions learns little from the samples


class LayerViews(NamedTuple):
    """
    ``views``: name -> (n, d), float32; ``finite``: samples whose activations and outputs are finite, (n,), bool, the others
    have zeros. ``not_finite``: layer -> number of samples.
    """

    views: dict[str, np.ndarray]
    finite: np.ndarray
    not_finite: dict[str, int]


def summaries(activation: Tensor) -> dict[str, Tensor]:
    """
    Reduce a layer's activations to vectors that show a trigger wherever it is.

    Feature maps (B, C, H, W) give the largest value of each channel (``max``: a small trigger at any place), the mean over
    a grid of 4 x 4 cells (``grid``: a trigger at one place) and the mean of each channel (``mean``: a trigger all over).
    Sequences (B, A, T) give the largest value and the mean over either axis, since either may be the channels. Other
    activations are flattened.

    :param activation: (B, ...).
    :return: Name -> (B, D), float32.
    """
    activation = activation.float()
    if activation.ndim == 4:
        return {
            "max": activation.amax(dim=(2, 3)),
            "grid": pool_activations(activation),
            "mean": activation.mean(dim=(2, 3)),
        }
    if activation.ndim == 3:
        largest = [activation.amax(dim=axis) for axis in (1, 2)]
        return {"max": torch.cat([_shortened(one) for one in largest], dim=1), "mean": pool_activations(activation)}
    return {"all": activation.flatten(1)}


def layer_views(
    classifier: Any,
    x: np.ndarray,
    labels: np.ndarray,
    nb_classes: int,
    layers: Sequence[str],
    batch_size: int = 128,
    random_state: int = 0,
) -> LayerViews:
    """
    Give the views of all samples, in one forward pass and one of at most 2,000 samples before it.

    Each view is reduced to principal components and whitened by its covariance within the classes, so that all views have
    equal standing.

    :param classifier: ART ``PyTorchClassifier``.
    :param x: Samples, (n, ...).
    :param labels: Their classes, (n,).
    :param nb_classes: Number of classes, K.
    :param layers: Names of modules.
    :param random_state: Random seed of the samples on which the axes are learned, and of projections.
    """
    rows = np.sort(np.random.default_rng(random_state).permutation(len(x))[:N_REFERENCE])
    raw: dict[str, list[np.ndarray]] = {}
    sound = []
    for batch in stream_activations(classifier, x[rows], list(layers), batch_size):
        found = _summarised(batch.activations, batch.outputs, random_state)
        sound.append(found.finite)
        for name, values in found.views.items():
            raw.setdefault(name, []).append(values)
    kept = np.concatenate(sound)
    n_dims = int(np.clip(len(x) // (SAMPLES_PER_DIM * max(1, len(raw))), LEAST_DIMS, MOST_DIMS))
    reduced = (
        {
            name: Reduction(np.concatenate(parts)[kept], labels[rows][kept], nb_classes, n_dims)
            for name, parts in raw.items()
        }
        if kept.any()
        else {}
    )
    views = {name: np.zeros((len(x), one.n_dims), dtype=np.float32) for name, one in reduced.items()}
    finite, not_finite = np.ones(len(x), dtype=bool), dict[str, int]()
    for batch in stream_activations(classifier, x, list(layers), batch_size):
        found = _summarised(batch.activations, batch.outputs, random_state)
        part = slice(batch.start, batch.start + len(batch.outputs))
        finite[part] = found.finite
        for name, number in found.not_finite.items():
            not_finite[name] = not_finite.get(name, 0) + number
        for name, one in reduced.items():
            views[name][part][found.finite] = one.apply(found.views[name][found.finite])
    return LayerViews({name: view for name, view in views.items() if view.shape[1]}, finite, not_finite)


def _summarised(activations: dict[str, Tensor], outputs: Tensor, random_state: int) -> LayerViews:
    """The summaries of one batch."""
    views: dict[str, np.ndarray] = {}
    finite, not_finite = outputs.isfinite().flatten(1).all(dim=1).cpu().numpy(), dict[str, int]()
    if not finite.all():
        not_finite["outputs"] = int((~finite).sum())
    for layer, activation in activations.items():
        for kind, vectors in summaries(activation).items():
            values = vectors.cpu().numpy()
            good = (np.abs(values) <= LARGEST).all(axis=1)  # not so for NaN
            if not good.all():
                not_finite[layer] = max(not_finite.get(layer, 0), int((~good).sum()))
            finite = finite & good
            matrix = projection_matrix(values.shape[1], LONGEST, random_state)
            views[f"{layer} {kind}"] = values if matrix is None else values @ matrix
    return LayerViews(views, finite, not_finite)


class Reduction:
    """
    Principal components of a view, whitened by the covariance within the classes.

    :param x: Reference samples, (m, D), finite.
    :param labels: Their classes, (m,).
    :param nb_classes: Number of classes.
    :param n_dims: Largest number of components.
    """

    def __init__(self, x: np.ndarray, labels: np.ndarray, nb_classes: int, n_dims: int) -> None:
        values = x.astype(np.float64)
        self.mean = values.mean(axis=0)
        self.scale = float(np.abs(values - self.mean).max(initial=0)) or 1.0  # squares stay in range
        z = (values - self.mean) / self.scale
        variances, axes = np.linalg.eigh(z.T @ z / len(z))
        used = np.flatnonzero(variances > 1e-6 * max(variances[-1], 1e-300))[::-1][:n_dims]
        z = z @ axes[:, used]
        for rows in indices_by_class(labels, nb_classes):
            z[rows] -= np.median(z[rows], axis=0) if len(rows) else 0
        within, turned = np.linalg.eigh(z.T @ z / len(z))
        kept = np.flatnonzero(within > 1e-3 * max(within[-1] if len(within) else 0.0, 1e-300))[::-1]
        largest = within[-1] if len(within) else 1.0
        self.axes = axes[:, used] @ (turned[:, kept] / np.sqrt(within[kept] + 0.01 * largest))

    @property
    def n_dims(self) -> int:
        """Number of components."""
        return int(self.axes.shape[1])

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Give the components of samples, (n, D) -> (n, d), float32."""
        components: np.ndarray = (((x - self.mean) / self.scale) @ self.axes).astype(np.float32)
        return components


def _shortened(vectors: Tensor) -> Tensor:
    """Average vectors to at most 512 values, (B, D): sequences of any length."""
    return functional.adaptive_avg_pool1d(vectors, min(vectors.shape[1], LONGEST))
