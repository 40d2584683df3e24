"""The registry of filters: every filter of training sets that is measured, with its title and its settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from art_plugins.attacks.tasks import Task
from art_plugins.baselines.agpd import AGPD
from art_plugins.baselines.art_filters import ActivationClustering, SpectralSignatures
from art_plugins.baselines.bounds import PerfectFilter, RandomFilter
from art_plugins.baselines.confusion_training import ConfusionTraining
from art_plugins.baselines.detector_filter import DetectorFilter
from art_plugins.baselines.detectors.ibd_psc import THRESHOLD as IBD_PSC_THRESHOLD
from art_plugins.baselines.flare import FLARE, umap_is_installed
from art_plugins.baselines.label_issues import LabelIssues, cleanlab_is_installed
from art_plugins.baselines.psbd import PSBD
from art_plugins.baselines.pyod_filter import PyODFilter, pyod_is_installed
from art_plugins.baselines.spectre import SPECTRE
from art_plugins.defences.contract import PoisonFilter
from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.defences.layerwise import LayerwiseFeatureDefence
from art_plugins.evaluation.detectors import default_rule, paper_rule
from art_plugins.features.batch_norms import has_batch_norms

N_TRUSTED = 20  # samples of each class
ONE_SIGMA = 0.159  # share of a normal distribution beyond one standard deviation on one side
AGPD_TRUSTED, CONFUSION_TRUSTED = 10, 200  # as in their papers
AS_SHIPPED = "as ART ships it: on logits"
PYOD_RULE = "what lies 3.5 robust deviations above the median of its class goes"
WITHOUT_PYOD = 'PyOD is not installed, so its rows are left out: pip install "art-plugins[peers]"'
WITHOUT_UMAP = 'umap-learn is not installed, so the row of FLARE is left out: pip install "art-plugins[peers]"'
WITHOUT_CLEANLAB = 'cleanlab is not installed, so its row is left out: pip install "art-plugins[peers]"'
WITHOUT_BATCH_NORM = "The network has no batch normalisation, so the rows of FLARE and IBD-PSC are left out"
NEED_BATCH_NORM = ("flare", "ibd_psc")


class Filter(NamedTuple):
    """
    A filter of training sets.

    :param name: Name in records and in names of files.
    :param title: Title in tables.
    :param kind: Class of the filter.
    :param settings: Keyword arguments of the class.
    :param origin: Where it comes from. ``"own"``: a defence of this package; ``"art"``: the Adversarial Robustness
        Toolbox; ``"peer"``: another author; ``"bound"``: it is no defence, since it knows the truth or removes at random.
    :param of_task: Gives further keyword arguments that depend on the task, for ``art-plugins compare``.
    :param note: What a reader of the table has to know.
    :param needs_model: It looks at a model that was trained on the samples.
    :param by_name_only: It is measured only where it is asked for by its name, since it takes hours on a large set.
    """

    name: str
    title: str
    kind: type[PoisonFilter]
    settings: Mapping[str, Any]
    origin: Literal["own", "art", "peer", "bound"]
    of_task: Callable[[Task], Mapping[str, Any]] = lambda task: {}
    note: str | None = None
    needs_model: bool = True
    by_name_only: bool = False

    def make(self, classifier: Any, x: np.ndarray, y: np.ndarray, random_state: int, **further: Any) -> PoisonFilter:
        """
        Make the filter for a training set.

        :param classifier: ART classifier that was trained on the set.
        :param x: Training samples, (n, ...).
        :param y: Labels of these samples, (n,).
        :param random_state: Random seed, for filters that draw random numbers.
        :param further: Keyword arguments that are added to ``settings`` or replace them.
        """
        seed = {"random_state": random_state} if "random_state" in inspect.signature(self.kind).parameters else {}
        return self.kind(classifier, x, y, **{**seed, **self.settings, **further})

    @property
    def takes_trusted(self) -> bool:
        """Whether the filter takes trusted samples, as ``x_val`` and ``y_val``."""
        return "x_val" in inspect.signature(self.kind).parameters

    def make_for(self, task: Task, classifier: Any) -> PoisonFilter:
        """Make the filter for the training set of a task."""
        arguments = {"random_state": task.seed, **self.of_task(task)}
        return self.make(classifier, task.data.x_train, task.data.y_train, **arguments)


def trusted_samples(task: Task, n_per_class: int = N_TRUSTED) -> dict[str, np.ndarray]:
    """
    Take test samples as trusted samples: the filter sees them, the models that are trained do not.

    :param n_per_class: Number of samples of each class; at most half of a class is taken.
    :return: ``x_val`` and ``y_val``, as the filters name them.
    """
    x_test, y_test = task.data.clean.x_test, task.data.clean.y_test
    random = np.random.default_rng(task.seed)
    members = [random.permutation(np.flatnonzero(y_test == label)) for label in np.unique(y_test)]
    chosen = np.concatenate([rows[: min(n_per_class, len(rows) // 2)] for rows in members])
    return {"x_val": x_test[chosen], "y_val": y_test[chosen]}


def trusted_note(n_per_class: int = N_TRUSTED) -> str:
    """The note of a filter that has trusted samples."""
    return f"has {n_per_class} trusted test samples a class, at most half of them"


def _of_art(name: str, title: str, kind: type[PoisonFilter]) -> tuple[Filter, Filter]:
    """A filter of ART on logits, as ART ships it, and on what the head of the network sees."""
    return (
        Filter(f"{name}_logits", f"{title} (logits)", kind, {"features": "logits"}, "art", note=AS_SHIPPED),
        Filter(f"{name}_penultimate", f"{title} (penultimate)", kind, {"features": "penultimate"}, "art"),
    )


def _of_pyod(detector: str, title: str) -> Filter:
    return Filter(
        f"pyod_{detector}", f"PyOD, {title} (penultimate)", PyODFilter, {"detector": detector}, "peer", note=PYOD_RULE
    )


def _with_trusted(
    name: str, title: str, kind: type[PoisonFilter], further: str, n_trusted: int = N_TRUSTED, **settings: Any
) -> Filter:
    """
    A filter of another author that needs trusted samples.

    :param further: What else a reader of the table has to know.
    :param n_trusted: Number of trusted samples of each class.
    :param settings: Keyword arguments of the class.
    """
    of_task = partial(trusted_samples, n_per_class=n_trusted)
    return Filter(name, title, kind, settings, "peer", of_task, f"{trusted_note(n_trusted)}; {further}")


FILTERS = (
    Filter(
        "vae_latent", "VAE latent clustering", VAELatentDefence, {}, "own", lambda task: task.defence, needs_model=False
    ),
    Filter("layerwise", "Layer-wise features (none trusted)", LayerwiseFeatureDefence, {}, "own"),
    Filter(
        "layerwise_trusted",
        "Layer-wise features (trusted)",
        LayerwiseFeatureDefence,
        {},
        "own",
        trusted_samples,
        trusted_note(),
    ),
    *_of_art("activation_clustering", "Activation clustering", ActivationClustering),
    *_of_art("spectral_signatures", "Spectral signatures", SpectralSignatures),
    Filter("spectre", "SPECTRE (penultimate)", SPECTRE, {}, "peer", note="chooses one class, and half of it goes"),
    _of_pyod("ecod", "ECOD"),
    _of_pyod("iforest", "isolation forest"),
    _of_pyod("lof", "local outlier factor"),
    Filter("flare", "FLARE", FLARE, {}, "peer", note="needs batch normalisation, and more than 100 poisoned samples"),
    _with_trusted("psbd", "PSBD (trusted)", PSBD, "a quarter of what scores as the trusted samples do goes"),
    _with_trusted("agpd", "AGPD (trusted)", AGPD, "removes from the classes that it calls only", AGPD_TRUSTED),
    _with_trusted(
        "ibd_psc",
        "IBD-PSC (trusted)",
        DetectorFilter,
        "needs batch normalisation",
        detector="ibd_psc",
        detector_params={"threshold": IBD_PSC_THRESHOLD},
    ),
    _with_trusted(
        "cognitive_distillation",
        "Cognitive Distillation (trusted)",
        DetectorFilter,
        "the authors' threshold, one standard deviation, costs about a sixth of the clean samples",
        detector="cognitive_distillation",
        detector_params={"fpr": ONE_SIGMA},
    )._replace(by_name_only=True),
    _with_trusted(
        "confusion_training",
        "Confusion Training (trusted)",
        ConfusionTraining,
        "trains five networks of its own, with fewer steps than the authors",
        CONFUSION_TRUSTED,
    )._replace(by_name_only=True),
    Filter("cleanlab", "cleanlab (penultimate)", LabelIssues, {}, "peer", note="removes labels that do not fit"),
    Filter(
        "perfect_filter",
        "Perfect filter",
        PerfectFilter,
        {},
        "bound",
        lambda task: {"is_poison": task.data.is_poison},
        "upper bound: knows the truth",
        needs_model=False,
    ),
    Filter(
        "random_filter",
        "Random filter",
        RandomFilter,
        {},
        "bound",
        lambda task: {"n_removed": int(task.data.is_poison.sum())},
        "lower bound: removes as many samples as there is poison",
        needs_model=False,
    ),
)
# The rules of layer-wise feature analysis as filters; each is measured with and without trusted samples.
LAYERWISE_FILTERS = (paper_rule(2.5), default_rule(0.005), default_rule(0.01))


def installed_filters(*origins: str) -> list[Filter]:
    """
    The filters whose packages are installed, in the order of the registry, without those that are measured by name only.

    :param origins: Only filters of these origins; without an origin, all filters.
    """
    found = [one for one in FILTERS if not one.by_name_only and (not origins or one.origin in origins)]
    missing = {
        PyODFilter: not pyod_is_installed(),
        FLARE: not umap_is_installed(),
        LabelIssues: not cleanlab_is_installed(),
    }
    return [one for one in found if not missing.get(one.kind, False)]


def usable_filters(classifier: Any, *origins: str) -> list[Filter]:
    """The installed filters that can judge by this classifier; see :func:`installed_filters`."""
    found = installed_filters(*origins)
    return found if has_batch_norms(classifier) else [one for one in found if one.name not in NEED_BATCH_NORM]


def left_out(classifier: Any) -> list[str]:
    """Why rows of other authors' filters are missing, a sentence for each reason; see :func:`usable_filters`."""
    reasons = {
        WITHOUT_PYOD: not pyod_is_installed(),
        WITHOUT_UMAP: not umap_is_installed(),
        WITHOUT_CLEANLAB: not cleanlab_is_installed(),
        WITHOUT_BATCH_NORM: not has_batch_norms(classifier),
    }
    return [reason for reason, holds in reasons.items() if holds]


def filter_named(name: str) -> Filter:
    """The filter of a name; the name must be in the registry."""
    return next(one for one in FILTERS if one.name == name)
