"""
What every layer of a network shows of samples, as short vectors of equal standing, in which groups are sought; and what the
samples show by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from art_plugins.arrays import is_sound
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import stream_activations
from art_plugins.features.layer_reduction import (
    folding_signs,
    pool_activations,
    projected,
    projection_matrix,
    shortened,
)
from art_plugins.features.views import MAX_DIMS, principal_axes, project
from art_plugins.features.watched_modules import ActivationBatch
from art_plugins.statistics.labels import indices_by_class

N_REFERENCE = 2_000  # samples on which the axes of the views are learned
MOST_DIMS, LEAST_DIMS = 32, 8  # principal components of one view
LEAST_VARIANCE = 1e-3  # of the largest within the classes: a direction with less is left out, so that noise is not blown up
SOFTENING = 0.01  # of the largest variance, that is added before a direction is brought to unit variance
SAMPLES_PER_DIM = 10  # at least, of all views together: a discriminant of more dimensions learns little from the samples
# Of samples before any network:
CELLS = 16  # along each side, to which an image is averaged: they keep what it shows, not its texture
MOST_VALUES = 1_024  # of a sample; longer vectors are shortened at random
MOST_AT_ONCE = 2**22  # values that are shortened together: 16 MB
MOST_TIMES = 1e6  # as large as the typical sample's values: such a sample would be an axis by itself


class LayerViews(NamedTuple):
    """
    ``views``: name, which is the layer's with a kind after it -> (n, d), float32. ``sound``: samples whose summaries and
    outputs are finite, and their squares too, (n,), bool; the others have zeros.
    """

    views: dict[str, np.ndarray]
    sound: np.ndarray


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
        return {"max": torch.cat([shortened(one) for one in largest], dim=1), "mean": pool_activations(activation)}
    return {"all": activation.flatten(1)}


def layer_views(
    classifier: Any,
    x: np.ndarray,
    labels: np.ndarray,
    nb_classes: int,
    layers: Sequence[str],
    max_dims: int = 512,
    batch_size: int = 128,
    random_state: int = 0,
) -> LayerViews:
    """
    Give the views of all samples, in one forward pass and one of at most 2,000 samples before it.

    Each view is reduced to principal components and whitened by its covariance within the classes, so that all views have
    equal standing. It has eight parameters: four say what is looked at, and four how.

    :param classifier: ART ``PyTorchClassifier``.
    :param x: Samples, (n, ...), n at least 1.
    :param labels: Classes of these samples, (n,).
    :param nb_classes: Number of classes, K.
    :param layers: Names of modules.
    :param max_dims: Length of the longest summary; a longer one is projected at random before it is reduced.
    :param batch_size: Number of samples in one forward pass.
    :param random_state: Random seed of the samples on which the axes are learned, and of projections.
    """

    def summarised(rows: np.ndarray) -> Iterator[tuple[slice, LayerViews]]:
        for batch in stream_activations(classifier, rows, list(layers), batch_size):
            place = slice(batch.start, batch.start + len(batch.outputs))
            yield place, _summarised(batch, max_dims, random_state)

    chosen = np.sort(np.random.default_rng(random_state).permutation(len(x))[:N_REFERENCE])
    parts = [part for _, part in summarised(x[chosen])]
    kept = np.concatenate([part.sound for part in parts])
    sound = np.ones(len(x), dtype=bool)
    reductions: dict[str, Reduction] = {}
    if kept.any():
        n_dims = int(np.clip(len(x) // (SAMPLES_PER_DIM * len(parts[0].views)), LEAST_DIMS, MOST_DIMS))
        for name in parts[0].views:
            raw = np.concatenate([part.views[name] for part in parts])[kept]
            reductions[name] = Reduction(raw, labels[chosen][kept], nb_classes, n_dims)
    views = {name: np.zeros((len(x), one.n_dims), np.float32) for name, one in reductions.items() if one.n_dims}
    for place, part in summarised(x):
        sound[place] = part.sound
        for name, view in views.items():
            view[place][part.sound] = reductions[name].apply(part.views[name][part.sound])
    return LayerViews(views, sound)


def _summarised(batch: ActivationBatch, max_dims: int, random_state: int) -> LayerViews:
    """The summaries of one batch, not yet reduced."""
    views: dict[str, np.ndarray] = {}
    sound = is_sound(batch.outputs.cpu().numpy())
    for layer, activation in batch.activations.items():
        for kind, vectors in summaries(activation).items():
            values = vectors.cpu().numpy()
            if len(values) != len(sound):
                raise InvalidInputError(
                    f"The layer {layer} gives {len(values)} rows for {len(sound)} samples; name other layers, whose first "
                    "axis is that of the samples."
                )
            sound &= is_sound(values)
            matrix = projection_matrix(values.shape[1], max_dims, random_state)
            views[f"{layer} {kind}"] = values if matrix is None else values @ matrix
    return LayerViews(views, sound)


class Reduction:
    """
    Principal components of a view, whitened by the covariance within the classes.

    :param x: Reference samples, (m, D), finite, m at least 1.
    :param labels: Classes of these samples, (m,).
    :param nb_classes: Number of classes.
    :param n_dims: Largest number of components.
    """

    def __init__(self, x: np.ndarray, labels: np.ndarray, nb_classes: int, n_dims: int) -> None:
        self.mean, axes = principal_axes(x.astype(np.float64), n_dims)
        z = project(x, self.mean, axes)
        for rows in indices_by_class(labels, nb_classes):
            if len(rows):
                z[rows] -= np.median(z[rows], axis=0)
        variances, turned = np.linalg.eigh(z.T @ z / len(z))
        kept = variances > LEAST_VARIANCE * max(variances[-1], 1e-300)
        self.axes = axes @ (turned[:, kept] / np.sqrt(variances[kept] + SOFTENING * variances[-1]))

    @property
    def n_dims(self) -> int:
        """Number of components; 0 if the samples do not vary within their classes."""
        return int(self.axes.shape[1])

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Give the components of samples, (n, D) -> (n, d), float32."""
        return project(x, self.mean, self.axes).astype(np.float32)


def input_view(x: np.ndarray, rows: np.ndarray, random_state: int = 0) -> np.ndarray:
    """
    Give up to 64 principal components of the samples. No label has shaped them, as labels shape a network's layers.

    Of samples with three axes, such as images, the last two are averaged to 16 cells before. The principal axes are those
    of at most 2,000 samples. The samples may lie on the disk; a part of them is read at a time. Samples whose values are a
    million times those of the typical sample, or are not finite, are put in the middle.

    :param x: Samples, (n, C, H, W) or (n, ...).
    :param rows: Which of them are looked at, (m,), m at least 1.
    :param random_state: Random seed of the samples on which the axes are learned, and of the signs by which long vectors
        are shortened.
    :return: (m, d), float32, d at most 64.
    """
    n_at_once = max(1, MOST_AT_ONCE // max(1, int(np.prod(x.shape[1:]))))

    def shortened_rows(chosen: np.ndarray) -> np.ndarray:
        starts = range(0, len(chosen), n_at_once)
        return np.concatenate([_shortened(x[chosen[start : start + n_at_once]], random_state) for start in starts])

    def bounded(short: np.ndarray) -> np.ndarray:
        fits = np.abs(short).max(axis=1, initial=0).astype(np.float64) <= most
        return np.where(fits[:, None], short, middle)

    reference = shortened_rows(rows[np.sort(np.random.default_rng(random_state).permutation(len(rows))[:N_REFERENCE])])
    finite = reference[np.isfinite(reference).all(axis=1)].astype(np.float64)
    middle = np.median(finite, axis=0) if len(finite) else np.zeros(reference.shape[1])
    most = MOST_TIMES * float(np.median(np.abs(finite).max(axis=1, initial=0))) if len(finite) else 0.0
    mean, axes = principal_axes(bounded(reference).astype(np.float64), MAX_DIMS)
    view = np.empty((len(rows), axes.shape[1]), dtype=np.float32)
    for start in range(0, len(rows), n_at_once):
        part = slice(start, start + n_at_once)
        view[part] = project(bounded(shortened_rows(rows[part])), mean, axes)
    return view


def _shortened(x: np.ndarray, random_state: int) -> np.ndarray:
    """A part of the samples as vectors of at most 1,024 values, (b, D)."""
    with np.errstate(over="ignore"):
        values = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
    if values.ndim == 4:
        height, width = values.shape[2:]
        values = functional.adaptive_avg_pool2d(values, (min(CELLS, height), min(CELLS, width)))
    values = values.flatten(1)
    signs = folding_signs(values.shape[1], MOST_VALUES, random_state)
    return (values if signs is None else projected(values, torch.from_numpy(signs), MOST_VALUES)).numpy()
