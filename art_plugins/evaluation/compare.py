"""
Compares all filters on one attacked data set: what each removes, and how the attack works on a model that is trained
again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import cpu_count
from sklearn.decomposition import PCA
from tqdm.auto import tqdm

from art_plugins.attacks.success import attack_metrics
from art_plugins.attacks.tasks import Task
from art_plugins.attacks.training_loop import Training
from art_plugins.attacks.waveform_models import train_classifier
from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.evaluation.filters import left_out, usable_filters
from art_plugins.evaluation.metrics import filter_metrics, measured
from art_plugins.evaluation.running.parallel import parallel_map
from art_plugins.reports.suspects import choose_suspects

Progress = dict[str, Any]


def compare(
    task: Task,
    *,
    progress: Progress | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    save_autoencoder: Path | None = None,
    jobs: int | None = 1,
    verbose: bool = True,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """
    Train a model on the poisoned set, run every filter, and train the model again on what each filter keeps.

    :param progress: What an interrupted run had finished; its rows are not computed again.
    :param on_progress: Called with everything that is finished so far, after every step; JSON-safe.
    :param save_autoencoder: File for the trained autoencoder, for ``--autoencoder`` of later runs; an interrupted training
        goes on from the checkpoint beside it.
    :param jobs: Number of local processes that train again; ``None``: as many as there are cores, or one if there is a GPU.
    :return: The task's record, JSON-safe, and the arrays of Fig. 3: ``target_latents_2d`` (m, 2), ``target_clusters``
        (m,), ``target_is_poison`` (m,).
    """
    data, clean = task.data, task.data.clean
    done: Progress = {"rows": {}, "kept": {}, "trained": {}, **(progress or {})}
    in_target = data.y_train == data.target
    bar = tqdm(desc=task.name, unit="step", disable=not verbose or None)
    bar.set_postfix_str("model without a filter")
    classifier = train_classifier(data.x_train, data.y_train, len(clean.class_names), _training(task))
    undefended = attack_metrics(classifier, clean.x_test, clean.y_test, data.x_triggered, data.target)
    done["trained"][_key(np.ones(len(data.y_train)))] = undefended
    filters = usable_filters(classifier)
    bar.total = len(filters) + 1
    for entry in filters:
        bar.update()
        bar.set_postfix_str(entry.title)
        if entry.name in done["rows"]:
            continue
        defence = entry.make_for(task, classifier)
        if isinstance(defence, VAELatentDefence) and save_autoencoder is not None:
            defence.set_params(checkpoint=f"{save_autoencoder}.checkpoint")
        with measured() as cost:
            _, verdicts = defence.detect_poison()
        is_clean = np.array(verdicts)
        row: dict[str, Any] = {"name": entry.name, "title": entry.title}
        row |= filter_metrics(is_clean, data.is_poison, in_target, getattr(defence, "outlier_scores_", None))
        row |= {"seconds": cost.seconds, "peak_memory_mb": cost.peak_memory_mb, "note": entry.note}
        if isinstance(defence, VAELatentDefence):
            done |= _latent_results(task, defence)
            done["suspects"] = choose_suspects(data.y_train, is_clean, defence.outlier_scores_, data.is_poison, data.target)
            done["sample_rate_hz"] = defence.sample_rate_hz
            if save_autoencoder is not None and defence.autoencoder is None:
                defence.autoencoder_.save(save_autoencoder)
        done["rows"][entry.name], done["kept"][entry.name] = row, _key(is_clean)
        on_progress(done)
    bar.set_postfix_str("models trained again")
    for key, trained in _train_again(task, [key for key in done["kept"].values() if key not in done["trained"]], jobs):
        done["trained"][key] = trained
        on_progress(done)
    bar.update()
    bar.close()
    record = _record(task, undefended, done, [entry.name for entry in filters], left_out(classifier))
    return record, {name: np.array(values) for name, values in done["arrays"].items()}


def _train_again(task: Task, keys: Sequence[str], jobs: int | None) -> Iterator[tuple[str, Progress]]:
    """
    Train a model on each of several sets, several at a time; equal sets are trained on once.

    :param keys: What is kept, see :func:`_key`.
    :return: Each key, and the accuracy and the attack success of its model; ``None`` where less than two classes are left.
    """
    distinct = list(dict.fromkeys(keys))
    if jobs is None:
        jobs = 1 if torch.cuda.is_available() else max(1, min(cpu_count(), len(distinct)))
    if jobs == 1:  # here, with all threads
        yield from ((key, _trained_on(task, key)) for key in distinct)
    else:
        yield from ((distinct[index], trained) for index, trained in parallel_map(_trained_on, task, distinct, jobs=jobs))


def _trained_on(task: Task, key: str) -> Progress:
    data, kept = task.data, _kept(key, len(task.data.y_train))
    if len(np.unique(data.y_train[kept])) < 2:
        return {"clean_accuracy": None, "attack_success": None}
    classifier = train_classifier(data.x_train[kept], data.y_train[kept], len(data.clean.class_names), _training(task))
    return attack_metrics(classifier, data.clean.x_test, data.clean.y_test, data.x_triggered, data.target)


def _retrained(name: str, done: Progress) -> Progress:
    """What a row says of the model that was trained again; ``retrained_as`` names the first filter that kept the same."""
    key = done["kept"][name]
    first = next(other for other in done["kept"] if done["kept"][other] == key)
    everything_stays = done["rows"][name]["fraction_removed"] == 0
    trained = done["trained"][key]
    return {
        "clean_accuracy": trained["clean_accuracy"],
        "attack_success": trained["attack_success"],
        "retrained_as": "undefended" if everything_stays else first if first != name else None,
    }


def _training(task: Task) -> Training:
    return Training(random_state=task.seed, **task.classifier)


def _key(is_clean: np.ndarray) -> str:
    """What is kept, as a text."""
    return np.packbits(is_clean.astype(bool)).tobytes().hex()


def _kept(key: str, n: int) -> np.ndarray:
    """The rows that are kept, of n."""
    return np.flatnonzero(np.unpackbits(np.frombuffer(bytes.fromhex(key), dtype=np.uint8), count=n))


def _latent_results(task: Task, defence: VAELatentDefence) -> Progress:
    """
    What the page shows of latent clustering: class scores, training losses, and the target class's latents in two
    dimensions.
    """
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


def _record(
    task: Task, undefended: dict[str, Any], done: Progress, filters: list[str], left_out: list[str]
) -> dict[str, Any]:
    """
    :param filters: Names of the filters, in the order of the rows.
    :param left_out: Why rows are missing.
    """
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
        "notes": [*data.clean.notes, *left_out],
        "class_names": list(data.clean.class_names),
        **{name: task.attack[name] for name in ("source", "target", "trigger", "fraction")},
        "seed": task.seed,
        "n_train": len(data.y_train),
        "n_test": len(data.clean.y_test),
        "n_poison": int(data.is_poison.sum()),
        "target_share": float(data.is_poison[in_target].mean()),
        "undefended": undefended,
        "defences": [done["rows"][name] | _retrained(name, done) for name in filters],
        **{name: done[name] for name in ("classes", "score_limit", "autoencoder_history")},
        **{name: done[name] for name in ("suspects", "sample_rate_hz")},
    }


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))
