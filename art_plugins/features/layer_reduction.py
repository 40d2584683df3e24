"""Reduction of a layer's activations to a short vector for each sample, or to inner products with class sums."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

GRID = 4  # number of cells along each side to which a feature map is averaged
LONGEST = 1_024  # largest length of the mean over an axis of a sequence


def pool_activations(activation: Tensor) -> Tensor:
    """
    Reduce the activation of each sample to a shorter vector, whose length depends only on the layer.

    Feature maps (B, C, H, W) are averaged over a grid of 4 x 4 cells, so a trigger in a corner stays in that corner.
    Sequences (B, A, T) give their averages over both axes, because either may be the channels; longer averages are reduced
    to 1,024 values. Other activations are flattened.

    :param activation: Activation, (B, ...).
    :return: Vectors, (B, D), float32.
    """
    if activation.ndim == 4:
        height, width = activation.shape[2:]
        activation = functional.adaptive_avg_pool2d(activation, (min(GRID, height), min(GRID, width)))
    elif activation.ndim == 3:
        activation = torch.cat([shortened(activation.mean(dim=axis)) for axis in (1, 2)], dim=1)
    return activation.flatten(1).float()


def channel_statistics(activation: Tensor) -> Tensor:
    """
    Give the mean and standard deviation of each channel, which do not depend on the place in the image.

    For feature maps (B, C, H, W) they are taken over H and W, and give (B, 2 C). For sequences they are taken over both
    axes, as in :func:`pool_activations`. Other activations are flattened.

    :param activation: Activation, (B, ...).
    :return: Vectors, (B, D), float32; D depends only on the layer.
    """
    if activation.ndim == 4:
        return torch.cat(_mean_and_deviation(activation.flatten(2).float(), 2), dim=1)
    if activation.ndim == 3:
        moments = [one for axis in (1, 2) for one in _mean_and_deviation(activation.float(), axis)]
        return torch.cat([shortened(one) for one in moments], dim=1)
    return activation.flatten(1).float()


def _mean_and_deviation(values: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Give the same as ``torch.var_mean``, two to ten times as fast on CPUs."""
    means = values.mean(dim=axis, keepdim=True)
    lengths = torch.linalg.vector_norm(values - means, dim=axis)
    return means.squeeze(axis), lengths / values.shape[axis] ** 0.5


def shortened(vectors: Tensor) -> Tensor:
    """Average vectors, (B, D), to at most 1,024 values: sequences may have any length."""
    return functional.adaptive_avg_pool1d(vectors, min(vectors.shape[1], LONGEST))


def projection_matrix(n_dims: int, max_dims: int, random_state: int) -> np.ndarray | None:
    """
    Draw a random projection for vectors that are longer than ``max_dims``. It nearly preserves distances (Johnson and
    Lindenstrauss 1984). Principal components would drop directions in which benign samples do not vary.

    :return: (n_dims, max_dims), float32, normal; ``None`` if no projection is needed.
    """
    if n_dims <= max_dims:
        return None
    normal = np.random.default_rng([random_state, n_dims]).standard_normal((n_dims, max_dims), dtype=np.float32)
    matrix: np.ndarray = normal / np.float32(np.sqrt(max_dims))
    return matrix


def folding_signs(n_dims: int, max_dims: int, random_state: int) -> np.ndarray | None:
    """
    Draw the signs of :func:`projected` for vectors that are longer than ``max_dims``.

    :return: (n_dims,), float32, each 1 or -1; ``None`` if nothing has to be shortened.
    """
    if n_dims <= max_dims:
        return None
    return np.random.default_rng([random_state, n_dims]).choice(np.array([-1, 1], dtype=np.float32), n_dims)


def projected(vectors: Tensor, directions: Tensor, max_dims: int) -> Tensor:
    """
    Shorten vectors at random. Value j is multiplied by sign j and added to place j modulo ``max_dims``.

    Lengths and products are kept on average, as by normal directions (the count sketch of Charikar et al. 2002; Weinberger
    et al., Feature hashing for large scale multitask learning, 2009). One sum of each value takes the place of
    ``max_dims``.

    :param vectors: (B, D).
    :param directions: Signs, (D,), or a matrix, (D, max_dims), as an older release has drawn it.
    :return: (B, max_dims).
    """
    if directions.ndim == 2:
        return vectors @ directions.to(vectors.dtype)
    missing = -int(directions.shape[0]) % max_dims  # an int also where TorchScript traces it
    signed = functional.pad(vectors * directions.to(vectors.dtype), (0, missing))
    return signed.reshape(signed.shape[0], -1, max_dims).sum(dim=1)


class ClassSums:
    """
    Sums of the flattened activations of each class at each layer, (K, D), in double precision on the model's device, and
    inner products with them. The memory needed is that of the activations of K samples.

    :param nb_classes: Number of classes, K.
    :param layers: Names of the layers, in order.
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
            # One class after the other, because the whole batch in double precision would need three times the memory.
            for label in np.unique(labels[rows]):
                members = torch.as_tensor(rows[labels[rows] == label], device=flat.device)
                self.sums[name][int(label)] += flat[members].sum(dim=0, dtype=torch.float64)

    def products(self, activations: dict[str, Tensor], labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Give inner products with the sums of the samples' classes.

        :param activations: Layer -> activations of the batch, (B, ...).
        :param labels: Class of each sample, (B,).
        :return: Inner products with the sum of the own class, and squared lengths, both (B, L), float64.
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
        """Give the squared norms of the sums, (K, L), float64."""
        columns = [(self.sums[name] ** 2).sum(dim=1).cpu().numpy() for name in self.layers]
        norms: np.ndarray = np.stack(columns, axis=1)
        return norms
