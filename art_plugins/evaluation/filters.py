"""The filters that are compared, with the settings in which they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from art_plugins.attacks.tasks import Task
from art_plugins.baselines.art_filters import ActivationClustering, SpectralSignatures
from art_plugins.baselines.bounds import PerfectFilter, RandomFilter
from art_plugins.baselines.pyod_filter import PyODFilter, pyod_is_installed
from art_plugins.baselines.spectre import SPECTRE
from art_plugins.defences.contract import PoisonFilter
from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.defences.layerwise import LayerwiseFeatureDefence


class Entry(NamedTuple):
    """
    A filter of the comparison: its name in files, its title for readers, and how it is made for a task; ``needs_pyod``: it
    is left out where PyOD is not installed.
    """

    name: str
    title: str
    make: Callable[[Task, Any], PoisonFilter]
    note: str | None = None
    needs_pyod: bool = False


def _art(kind: type[PoisonFilter], features: str) -> Callable[[Task, Any], PoisonFilter]:
    def make(task: Task, classifier: Any) -> PoisonFilter:
        return kind(classifier, task.data.x_train, task.data.y_train, features=features, random_state=task.seed)  # type: ignore[call-arg]

    return make


def _vae(task: Task, classifier: Any) -> PoisonFilter:
    return VAELatentDefence(classifier, task.data.x_train, task.data.y_train, **{"random_state": task.seed, **task.defence})


def _layerwise(task: Task, classifier: Any) -> PoisonFilter:
    x, y = task.data.x_train, task.data.y_train
    return LayerwiseFeatureDefence(classifier, x, y, fpr=LAYERWISE_FPR, random_state=task.seed)


def _layerwise_trusted(task: Task, classifier: Any) -> PoisonFilter:
    """Trusted samples are test samples: the filter sees them, the models that are trained do not."""
    x_test, y_test = task.data.clean.x_test, task.data.clean.y_test
    random = np.random.default_rng(task.seed)
    members = [random.permutation(np.flatnonzero(y_test == label)) for label in np.unique(y_test)]
    chosen = np.concatenate([rows[: min(N_TRUSTED, len(rows) // 2)] for rows in members])
    x, y = task.data.x_train, task.data.y_train
    options: dict[str, Any] = {"fpr": LAYERWISE_FPR, "random_state": task.seed}
    return LayerwiseFeatureDefence(classifier, x, y, x_test[chosen], y_test[chosen], **options)


def _spectre(task: Task, classifier: Any) -> PoisonFilter:
    return SPECTRE(classifier, task.data.x_train, task.data.y_train)


def _pyod(detector: str) -> Callable[[Task, Any], PoisonFilter]:
    def make(task: Task, classifier: Any) -> PoisonFilter:
        return PyODFilter(classifier, task.data.x_train, task.data.y_train, detector, random_state=task.seed)

    return make


def _perfect(task: Task, classifier: Any) -> PoisonFilter:
    return PerfectFilter(classifier, task.data.x_train, task.data.y_train, task.data.is_poison)


def _random(task: Task, classifier: Any) -> PoisonFilter:
    n_removed = int(task.data.is_poison.sum())
    return RandomFilter(classifier, task.data.x_train, task.data.y_train, n_removed, task.seed)


N_TRUSTED = 20  # samples a class


LAYERWISE_FPR = 0.03  # a filter may cost some clean samples, and with 20 trusted a class a lower rate is a few of them


AS_SHIPPED = "as ART ships it: on logits"


PYOD_TITLES = {"ecod": "PyOD, ECOD", "iforest": "PyOD, isolation forest", "lof": "PyOD, local outlier factor"}


PYOD_RULE = "what lies 3.5 robust deviations above the median of its class goes"


WITHOUT_PYOD = 'PyOD is not installed, so its rows are left out: pip install "art-plugins[peers]"'


ENTRIES = (
    Entry("vae_latent", "VAE latent clustering", _vae),
    Entry("layerwise", "Layer-wise features (none trusted)", _layerwise),
    Entry(
        "layerwise_trusted",
        "Layer-wise features (trusted)",
        _layerwise_trusted,
        f"has {N_TRUSTED} trusted test samples a class, at most half of them",
    ),
    Entry(
        "activation_clustering_logits", "Activation clustering (logits)", _art(ActivationClustering, "logits"), AS_SHIPPED
    ),
    Entry(
        "activation_clustering_penultimate",
        "Activation clustering (penultimate)",
        _art(ActivationClustering, "penultimate"),
    ),
    Entry("spectral_signatures_logits", "Spectral signatures (logits)", _art(SpectralSignatures, "logits"), AS_SHIPPED),
    Entry("spectral_signatures_penultimate", "Spectral signatures (penultimate)", _art(SpectralSignatures, "penultimate")),
    Entry("spectre", "SPECTRE (penultimate)", _spectre, "chooses one class, and half of it goes"),
    *(
        Entry(f"pyod_{detector}", f"{title} (penultimate)", _pyod(detector), PYOD_RULE, needs_pyod=True)
        for detector, title in PYOD_TITLES.items()
    ),
    Entry("perfect_filter", "Perfect filter", _perfect, "upper bound: knows the truth"),
    Entry("random_filter", "Random filter", _random, "lower bound: removes as many samples as there is poison"),
)


def entries() -> list[Entry]:
    """Those whose packages are installed."""
    return [entry for entry in ENTRIES if pyod_is_installed() or not entry.needs_pyod]
