"""What is kept of a layer's activations: a short vector a sample, or inner products with centroids."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

GRID = 4  # side of the coarsest picture that a feature map is averaged to
LONGEST = 1_024  # mean over an axis of a sequence


def pool_activations(activation: Tensor) -> Tensor:
    """
    A shorter vector of each sample's activation; its length depends on the layer alone.

    Maps (B, C, H, W) are averaged over a grid of 4 x 4 cells: a trigger in a corner stays in a corner. Sequences (B, A, T)
    of channels or tokens give their averages over either axis, whichever is the channels; axes longer than 1,024 are
    averaged to that. All else is flattened.

    :param activation: (B, ...).
    :return: (B, D), float32.
    """
    if activation.ndim == 4:
        height, width = activation.shape[2:]
        activation = functional.adaptive_avg_pool2d(activation, (min(GRID, height), min(GRID, width)))
    elif activation.ndim == 3:
        activation = torch.cat([_shortened(activation.mean(dim=axis)) for axis in (1, 2)], dim=1)
    return activation.flatten(1).float()


def channel_statistics(activation: Tensor) -> Tensor:
    """
    Mean and standard deviation of each channel of each sample, wherever in the picture; the length depends on the layer
    alone.

    Of maps (B, C, H, W) over H and W: (B, 2 C). Of sequences over either axis, as :func:`pool_activations` has their means.
    All else is flattened.

    :param activation: (B, ...).
    :return: (B, D), float32.
    """
    if activation.ndim == 4:
        return torch.cat(_mean_and_deviation(activation.flatten(2).float(), 2), dim=1)
    if activation.ndim == 3:
        moments = [one for axis in (1, 2) for one in _mean_and_deviation(activation.float(), axis)]
        return torch.cat([_shortened(one) for one in moments], dim=1)
    return activation.flatten(1).float()


def _mean_and_deviation(values: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """As ``torch.var_mean`` has them, in a half to a tenth of its time on CPUs."""
    means = values.mean(dim=axis, keepdim=True)
    lengths = torch.linalg.vector_norm(values - means, dim=axis)
    return means.squeeze(axis), lengths / values.shape[axis] ** 0.5


def _shortened(vectors: Tensor) -> Tensor:
    """At most 1,024 long, (B, D)."""
    return functional.adaptive_avg_pool1d(vectors, min(vectors.shape[1], LONGEST))


def projection_matrix(n_dims: int, max_dims: int, random_state: int) -> np.ndarray | None:
    """
    Random directions for vectors that are still longer than ``max_dims``: distances survive them (Johnson and
    Lindenstrauss 1984), and unlike principal components they do not drop what benign samples do not show.

    :return: (n_dims, max_dims), float32, normal; ``None`` if no projection is needed.
    """
    if n_dims <= max_dims:
        return None
    normal = np.random.default_rng([random_state, n_dims]).standard_normal((n_dims, max_dims), dtype=np.float32)
    matrix: np.ndarray = normal / np.float32(np.sqrt(max_dims))
    return matrix


class ClassSums:
    """
    Sums of the flattened activations of each class at each layer, (K, D) in double precision on the model's device; and
    inner products with them.

    Not pooled, so that K times a sample's activations are held; of the samples, none is.

    :param nb_classes: K.
    :param layers: Names, in order.
    """

    def __init__(self, nb_classes: int, layers: list[str]) -> None:
        self.nb_classes, self.layers = nb_classes, layers
        self.sums: dict[str, Tensor] = {}

    def add(self, activations: dict[str, Tensor], labels: np.ndarray, rows: np.ndarray) -> None:
        """Add the given rows of a batch to the sums of their classes."""
        for name in self.layers:
            flat = activations[name].flatten(1)
            if name not in self.sums:
                self.sums[name] = torch.zeros((self.nb_classes, flat.shape[1]), dtype=torch.float64, device=flat.device)
            # A class at a time: all in double precision at once would be a second and a third copy of the batch.
            for label in np.unique(labels[rows]):
                members = torch.as_tensor(rows[labels[rows] == label], device=flat.device)
                self.sums[name][int(label)] += flat[members].sum(dim=0, dtype=torch.float64)

    def products(self, activations: dict[str, Tensor], labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        :param labels: The class of each sample of the batch, (B,).
        :return: Inner products with the own class's sum, and squared lengths, both (B, L), float64.
        """
        own = torch.as_tensor(labels)
        dots, lengths = [], []
        for name in self.layers:
            flat = activations[name].flatten(1)
            every = flat @ self.sums[name].to(flat.device, flat.dtype).T
            dots.append(every.gather(1, own.to(flat.device)[:, None])[:, 0].double())
            lengths.append((flat * flat).sum(dim=1, dtype=torch.float64))
        return tuple(torch.stack(part, dim=1).cpu().numpy() for part in (dots, lengths))  # type: ignore[return-value]

    def squared_norms(self) -> np.ndarray:
        """Of the sums, (K, L), float64."""
        columns = [(self.sums[name] ** 2).sum(dim=1).cpu().numpy() for name in self.layers]
        norms: np.ndarray = np.stack(columns, axis=1)
        return norms
