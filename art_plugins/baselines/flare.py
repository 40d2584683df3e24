"""FLARE (Hou et al. 2025): the rarest value in every batch normalisation, clustered over the whole training set."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from art_plugins.defences.contract import PoisonFilter
from art_plugins.features.batch_norms import batch_norms, lowest_log_densities
from art_plugins.optional import import_optional
from art_plugins.parameters import check_count, check_number
from art_plugins.statistics.peers.stable_clusters import Partition, outside_largest, stable_partition

DEPTH = 3  # number of splits of the density hierarchy that are looked at, the authors' value
LOWEST = -1e15  # log-density below which all are alike, so that UMAP's squared distances stay within float32


class FLARE(PoisonFilter):
    """
    FLARE: samples whose values in the batch normalisations are rare together are poison. Nothing is trusted, and the labels
    are not looked at, so the attack may have one target, many or none.

    | Paper: L. Hou, W. Luo, Z. Hua, S. Chen, L. Y. Zhang, Y. Li, FLARE: Toward Universal Dataset Purification against
      Backdoor Attacks, IEEE Transactions on Information Forensics and Security 2025, arXiv 2411.19479.

    1. *Abnormal activations.* In batch normalisation l, channel c has the Gaussian N(mean_c, variance_c) by which the layer
       normalises. A sample's number there is z_l = min over channels c and places p of log N(a_cp; mean_c, variance_c), of
       the values a_cp that enter the layer. So the values of all layers are on one scale, and z has one entry a layer.
    2. *Subspace.* UMAP maps (z_1, ..., z_L) of all samples to two dimensions, and HDBSCAN builds a hierarchy of clusters.
       The main cluster begins at the density (1 / distance) lambda_1, where the set splits, and ends at lambda_2, where it
       splits itself. If its stability, lambda_2 - lambda_1, is at most ``least_stability``, its own larger part is looked
       at, three times at most. If none is stable, the last layer is left out, and the step is repeated.
    3. *Verdict.* The hierarchy is cut where the stable cluster is still whole. The largest cluster there is clean, and all
       others are poison. Samples in no cluster are kept.

    Deviates from the paper: only its abstract was at hand, so the steps and the defaults were read from what the authors'
    published program does; none of its code is here. The abstract calls the cluster of higher stability poison; here, as
    in the program, it is every cluster but the largest. Layers are taken in the order in which they run, and a point counts
    as its own first neighbour. A main cluster that never splits lives until it loses its first point. If nothing is
    stable, nothing is removed.

    When this breaks: networks without batch normalisation are refused; poison of fewer than ``min_cluster_size`` samples is
    no cluster, and in a set of fewer than twice as many all samples are kept; if more than half of the set is poison, the
    clean samples are removed; a clean set of several clusters loses all but the largest, whatever its labels say.

    Needs UMAP: ``pip install "art-plugins[peers]"``.

    :param n_neighbors: Neighbours of each sample in UMAP, at least 2; the authors use 40. Smaller sets use all others.
    :param min_cluster_size: Smallest number of samples in a cluster, at least 2; the authors use 100.
    :param least_stability: Stability above which the main cluster is taken, in 1 / distance in UMAP's plane, at least 0;
        the authors use 0.02.
    :param batch_size: Number of samples in one forward pass.
    :param random_state: Random seed of UMAP.

    :ivar log_densities_: z of every sample, (n, L), in nats; smaller is rarer.
    :ivar layers_: Names of the L batch normalisations, in the order in which they run.
    :ivar clusters_: Cluster of every sample at the cut, (n,), -1 for none; all 0 if nothing was stable.
    """

    needs_network = True
    defence_params = ["n_neighbors", "min_cluster_size", "least_stability", "batch_size", "random_state"]

    def __init__(
        self,
        classifier: Any,
        x_train: np.ndarray,
        y_train: np.ndarray,
        n_neighbors: int = 40,
        min_cluster_size: int = 100,
        least_stability: float = 0.02,
        batch_size: int = 128,
        random_state: int = 0,
    ) -> None:
        super().__init__(classifier, x_train, y_train)
        self.n_neighbors, self.min_cluster_size, self.least_stability = n_neighbors, min_cluster_size, least_stability
        self.batch_size, self.random_state = batch_size, random_state
        self.set_params(**self.tunables())

    def _check(self, values: dict[str, Any]) -> None:
        check_count("n_neighbors", values["n_neighbors"], 2)
        check_count("min_cluster_size", values["min_cluster_size"], 2)
        check_number("least_stability", values["least_stability"], least=0)
        check_count("batch_size", values["batch_size"], 1)
        check_count("random_state", values["random_state"], 0, 2**32 - 1)  # of NumPy's legacy generator in UMAP

    def _check_data(self) -> None:
        super()._check_data()
        import_umap()

    def _detect(self, labels: np.ndarray, nb_classes: int) -> dict[str, Any]:
        self.layers_ = batch_norms(self.classifier, self.x_train)
        self.log_densities_ = lowest_log_densities(self.classifier, self.x_train, self.layers_, self.batch_size)
        partition, n_used = None, 0
        if len(labels) >= 2 * self.min_cluster_size:
            partition, n_used = self._first_stable()
        self.clusters_ = np.zeros(len(labels), dtype=int) if partition is None else partition.labels
        self.is_clean_ = 1 - outside_largest(self.clusters_).astype(int)
        return {
            "n_layers": len(self.layers_),
            "n_layers_used": n_used,
            "stability": None if partition is None or not np.isfinite(partition.stability) else partition.stability,
            "cluster_sizes": np.unique(self.clusters_[self.clusters_ >= 0], return_counts=True)[1].tolist(),
            "n_in_no_cluster": int((self.clusters_ < 0).sum()),
            "n_removed": self._removed(labels, nb_classes),
        }

    def _first_stable(self) -> tuple[Partition | None, int]:
        """The partition in the first subspace that is stable, and its number of layers; ``None`` and 0 if there is none."""
        for n_used in range(len(self.layers_), 0, -1):
            plane = to_plane(self.log_densities_[:, :n_used], self.n_neighbors, self.random_state)
            found = stable_partition(plane, self.min_cluster_size, self.least_stability, DEPTH)
            if found is not None:
                return found, n_used
        return None, 0


def to_plane(features: np.ndarray, n_neighbors: int, random_state: int) -> np.ndarray:
    """
    Map points to two dimensions by UMAP with no least distance, as FLARE does. UMAP changes the number of torch's threads
    for the whole process; here it stays.

    :param features: Shape (n, d), n at least 4.
    :param n_neighbors: Neighbours of each point, cut to n - 1.
    :return: Shape (n, 2), float64.
    """
    reducer = import_umap().UMAP(
        n_neighbors=min(n_neighbors, len(features) - 1), min_dist=0.0, random_state=random_state, n_jobs=1
    )
    n_threads = torch.get_num_threads()
    try:
        return np.asarray(reducer.fit_transform(np.maximum(features, LOWEST).astype(np.float32)), dtype=np.float64)
    finally:
        torch.set_num_threads(n_threads)


def import_umap() -> Any:
    """
    Give the package ``umap``, imported only where it is used.

    :raises MissingPackageError: If it cannot be imported.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # that its variant on TensorFlow is missing
        return import_optional("umap")


def umap_is_installed() -> bool:
    """Whether umap-learn is installed; it is not imported."""
    return find_spec("umap") is not None
