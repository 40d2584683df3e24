"""Every filter on one attacked data set: what it removes, and what that does to the attack once the model is retrained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.decomposition import PCA
from tqdm.auto import tqdm

from art_plugins.attacks.tasks import Task
from art_plugins.attacks.waveform_models import train_classifier
from art_plugins.baselines.art_filters import ActivationClustering, PerfectFilter, RandomFilter, SpectralSignatures
from art_plugins.baselines.pyod_filter import PyODFilter, pyod_is_installed
from art_plugins.baselines.spectre import SPECTRE
from art_plugins.defences.contract import PoisonFilter
from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.defences.layerwise import LayerwiseFeatureDefence
from art_plugins.evaluation.metrics import attack_metrics, filter_metrics, measured
from art_plugins.reports.suspects import choose_suspects

Progress = dict[str, Any]


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


def compare(
    task: Task,
    *,
    progress: Progress | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    save_autoencoder: Path | None = None,
    verbose: bool = True,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """
    Train on the poisoned set, run every filter, retrain on what each keeps.

    :param progress: What an interrupted run had finished; its rows are taken over.
    :param on_progress: Called with all that is finished so far, after every step; JSON-safe.
    :param save_autoencoder: Where the autoencoder that was trained is kept, for ``--autoencoder`` of later runs; an
        interrupted training goes on from the checkpoint beside it.
    :return: The task's record, JSON-safe, and the arrays of Fig. 3: ``target_latents_2d`` (m, 2), ``target_clusters``
        (m,), ``target_is_poison`` (m,).
    """
    data = task.data
    clean = data.clean
    done: Progress = {"rows": {}, "kept": {}, **(progress or {})}
    in_target = data.y_train == data.target
    bar = tqdm(total=len(entries()) + 1, desc=task.name, unit="step", disable=not verbose or None)
    bar.set_postfix_str("model without a filter")
    classifier = train_classifier(
        data.x_train, data.y_train, len(clean.class_names), random_state=task.seed, **task.classifier
    )
    undefended = attack_metrics(classifier, clean.x_test, clean.y_test, data.x_triggered, data.target)
    for entry in entries():
        bar.update()
        bar.set_postfix_str(entry.title)
        if entry.name in done["rows"]:
            continue
        defence = entry.make(task, classifier)
        if isinstance(defence, VAELatentDefence) and save_autoencoder is not None:
            defence.set_params(checkpoint=f"{save_autoencoder}.checkpoint")
        with measured() as cost:
            _, verdicts = defence.detect_poison()
        is_clean = np.array(verdicts)
        row: dict[str, Any] = {"name": entry.name, "title": entry.title}
        row |= filter_metrics(is_clean, data.is_poison, in_target, getattr(defence, "outlier_scores_", None))
        row |= _retrain(task, is_clean, undefended, done)
        row |= {"seconds": cost.seconds, "peak_memory_mb": cost.peak_memory_mb, "note": entry.note}
        if isinstance(defence, VAELatentDefence):
            done |= _latent_results(task, defence)
            done["suspects"] = choose_suspects(data.y_train, is_clean, defence.outlier_scores_, data.is_poison, data.target)
            done["sample_rate_hz"] = defence.sample_rate_hz
            if save_autoencoder is not None and defence.autoencoder is None:
                defence.autoencoder_.save(save_autoencoder)
        done["rows"][entry.name] = row
        done["kept"].setdefault(_key(is_clean), entry.name)
        on_progress(done)
    bar.update()
    bar.close()
    return _record(task, undefended, done), {name: np.array(values) for name, values in done["arrays"].items()}


def _retrain(task: Task, is_clean: np.ndarray, undefended: dict[str, Any], done: Progress) -> dict[str, Any]:
    """Accuracy and attack success of a model trained on what is kept; equal kept sets are trained once."""
    data, kept = task.data, np.flatnonzero(is_clean)
    twin = done["kept"].get(_key(is_clean))
    if is_clean.all():
        trained = undefended
    elif twin:
        trained = done["rows"][twin]
    elif len(np.unique(data.y_train[kept])) < 2:
        return {"clean_accuracy": None, "attack_success": None, "retrained_as": None}
    else:
        classifier = train_classifier(
            data.x_train[kept],
            data.y_train[kept],
            len(data.clean.class_names),
            random_state=task.seed,
            **task.classifier,
        )
        trained = attack_metrics(classifier, data.clean.x_test, data.clean.y_test, data.x_triggered, data.target)
    return {
        "clean_accuracy": trained["clean_accuracy"],
        "attack_success": trained["attack_success"],
        "retrained_as": "undefended" if is_clean.all() else twin,
    }


def _key(is_clean: np.ndarray) -> str:
    return np.packbits(is_clean.astype(bool)).tobytes().hex()


def _latent_results(task: Task, defence: VAELatentDefence) -> Progress:
    """What the page shows of the autoencoder: scores by class, training losses, and the target class's latents in 2-D."""
    rows = np.flatnonzero(task.data.y_train == task.data.target)
    points = PCA(n_components=2, random_state=task.seed).fit_transform(defence.latents_[rows])
    classes = [
        {
            "name": name,
            "n_samples": int((task.data.y_train == label).sum()),
            "n_poison": int(task.data.is_poison[task.data.y_train == label].sum()),
            "class_score": defence.report_[f"Class_{label}"]["class_score"],
            "mad_index": defence.report_[f"Class_{label}"]["mad_index"],
            "p_value": defence.report_[f"Class_{label}"]["p_value"],
            "verdict": defence.report_[f"Class_{label}"]["verdict"],
        }
        for label, name in enumerate(task.data.clean.class_names)
    ]
    return {
        "classes": classes,
        "score_limit": defence.report_["score_limit"],
        "autoencoder_history": defence.autoencoder_.history_,
        "arrays": {
            "target_latents_2d": points.astype(float).tolist(),
            "target_clusters": defence.suspects_[rows].astype(int).tolist(),
            "target_is_poison": task.data.is_poison[rows].tolist(),
        },
    }


def _record(task: Task, undefended: dict[str, Any], done: Progress) -> dict[str, Any]:
    data = task.data
    in_target = data.y_train == data.target
    settings = {
        **task.attack,
        "seed": task.seed,
        **{f"classifier_{name}": value for name, value in task.classifier.items()},
        **{f"defence_{name}": value for name, value in task.defence.items()},
    }
    return {
        "name": task.name,
        "title": task.title,
        "settings": {name: value if _is_scalar(value) else str(value) for name, value in settings.items()},
        "notes": [*data.clean.notes, *([] if pyod_is_installed() else [WITHOUT_PYOD])],
        "class_names": list(data.clean.class_names),
        **{name: task.attack[name] for name in ("source", "target", "trigger", "fraction")},
        "seed": task.seed,
        "n_train": len(data.y_train),
        "n_test": len(data.clean.y_test),
        "n_poison": int(data.is_poison.sum()),
        "target_share": float(data.is_poison[in_target].mean()),
        "undefended": undefended,
        "defences": [done["rows"][entry.name] for entry in entries()],
        **{name: done[name] for name in ("classes", "score_limit", "autoencoder_history")},
        **{name: done[name] for name in ("suspects", "sample_rate_hz")},
    }


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))
