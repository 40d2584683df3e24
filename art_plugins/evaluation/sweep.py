"""
Hundreds of attacks on one data set, judged with one autoencoder (Mehlman et al. 2023, 4.4: Fig. 4, 6 and 7).

Every clip is encoded once as it is and once with each trigger. An attacked data set is then a choice of encoded clips.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score
from tqdm.auto import tqdm

from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.encoded import EncodedData, encode_all
from art_plugins.evaluation.metrics import rank_of
from art_plugins.evaluation.running.parallel import check_backend, parallel_map
from art_plugins.evaluation.running.runs import Recording, recorded_runs, run_name
from art_plugins.evaluation.running.workers import LOCAL_WORKERS, Workers
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.views import Views
from art_plugins.reports.record_files import SWEEP
from art_plugins.statistics.latents.class_verdicts import judge_scores
from art_plugins.statistics.latents.contrast import contrast_classes
from art_plugins.statistics.latents.crowds import find_crowds, split_crowd
from art_plugins.statistics.latents.latent_classes import cluster_latent_classes
from art_plugins.statistics.latents.scoring_settings import ScoringSettings
from art_plugins.statistics.latents.scorings import split_contrasted
from art_plugins.triggers.named_sounds import sound_triggers

RESAMPLED = 0.9  # share of every class that a clean draw has, drawn without replacement
# Which windows each scoring sees; None: it sees the latents of whole samples instead.
WINDOWS = {"contrastive": "all", "steps": "steps", "frames": "frames", "latents": None, "paper": None}
FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)


def check_sweep(class_names: Sequence[str], triggers: Sequence[str], curve: Sequence[tuple[str, str]]) -> None:
    """
    Check the names of triggers and classes.

    :raises InvalidInputError: If a trigger or a class is unknown, or a curve goes from a class to itself.
    """
    unknown = [name for name in triggers if name not in sound_triggers()]
    if unknown:
        raise InvalidInputError(f"trigger must be one of {', '.join(sound_triggers())}; received {unknown[0]!r}.")
    for source, target in curve:
        for name in (source, target):
            if name not in class_names or source == target:
                raise InvalidInputError(
                    f"A curve goes from one class to another of {', '.join(class_names)}; received {source}:{target}."
                )


def judge(
    views: Views, labels: np.ndarray, nb_classes: int, known: Mapping[str, Any] | None = None, changed: Sequence[int] = ()
) -> dict[str, Any]:
    """
    Compute the class scores by every scoring.

    :param known: What this function gave for data that differ only in the classes ``changed``. The scores of the other
        classes are taken from it, but for those from the latents of whole samples, which take no time.
    :return: ``crowds``; ``contrasts`` of the latents of whole samples; for each scoring its ``class_scores`` (K,); and the
        ``suspects`` (n,) of the paper's procedure.
    """
    crowds = find_crowds(views.windows, labels, nb_classes, known=known["crowds"] if known else None, changed=changed)
    found: dict[str, Any] = {"crowds": crowds}
    for name, windows in WINDOWS.items():
        if windows is not None:
            found[name] = crowds.of_views(_chosen(views, windows)).class_scores
    found["contrasts"] = contrast_classes(views.latents, labels, nb_classes)
    found["latents"] = np.array([np.nan if one is None else one.score() for one in found["contrasts"]])
    paper, only = ScoringSettings(scoring="paper"), changed if known else None
    judged = cluster_latent_classes(views.latents, labels, nb_classes, settings=paper, only=only)
    scores = judged.class_scores
    found["paper"] = scores if known is None else np.where(np.isnan(scores), known["paper"], scores)
    found["suspects"] = judged.suspects
    return found


def judge_attack(
    data: EncodedData, clean: Mapping[str, Any], trigger: str, source: int, target: int, fraction: float, seed: int
) -> dict[str, Any]:
    """
    Poison ``int(fraction * n_source)`` clips of the source class, drawn without replacement, and judge the set.

    Only the source and the target are judged anew: the samples of the other classes are the same, and their scores are
    those of the clean set. The target is split and called as the defence does by default.

    :return: What was done, and for each scoring the target's ``score`` (NaN: too few samples to judge), its ``rank`` among
        the classes, ``found`` (called poisoned), the ``p_value``, and the ``ari`` of its two halves.
    """
    of_source = np.flatnonzero(data.labels == source)
    random = np.random.default_rng([seed, source, target])
    chosen = random.choice(of_source, size=max(1, int(fraction * len(of_source))), replace=False)
    labels = data.labels.copy()
    labels[chosen] = target
    views = _with_rows(data.clean, data.triggered[trigger], chosen)
    found = judge(views, labels, len(data.class_names), clean, (source, target))
    is_poison = np.isin(np.flatnonzero(labels == target), chosen)
    row = {
        "trigger": trigger,
        "source": data.class_names[source],
        "target": data.class_names[target],
        "fraction": fraction,
        "seed": seed,
        "n_poison": len(chosen),
        "n_target": len(is_poison),
    }
    for name, windows in WINDOWS.items():
        scores = found[name]
        contrast = found["contrasts"][target]
        if name == "paper":
            halves = found["suspects"][labels == target]
        elif windows is None:
            halves = np.zeros(len(is_poison)) if contrast is None else split_contrasted(contrast).labels
        else:
            halves = split_crowd(found["crowds"].of_views(_chosen(views, windows)), labels, target).labels
        verdicts = judge_scores(scores, _scoring(name))
        row[name] = {
            "score": float(scores[target]),
            "rank": rank_of(scores, target),
            "found": target in verdicts.poisoned_classes,
            "p_value": None if name == "paper" else float(verdicts.class_p_values[target]),
            "ari": float(adjusted_rand_score(is_poison, halves)),
        }
    return row


def judge_clean(data: EncodedData, seed: int) -> dict[str, Any]:
    """
    Judge a random draw of nine tenths of every class, without poison.

    :return: For each scoring its ``scores`` (NaN: not judged), and ``n_called``, the number of classes that are called
        poisoned.
    """
    random = np.random.default_rng(seed)
    kept = np.sort(
        np.concatenate(
            [
                random.choice(rows, size=round(RESAMPLED * len(rows)), replace=False)
                for rows in (np.flatnonzero(data.labels == label) for label in range(len(data.class_names)))
            ]
        )
    )
    views = _each(data.clean, lambda array: array[kept])
    found = judge(views, data.labels[kept], len(data.class_names))
    row: dict[str, Any] = {"seed": seed}
    for name in WINDOWS:
        called = judge_scores(found[name], _scoring(name)).poisoned_classes
        row[name] = {"scores": found[name].tolist(), "n_called": len(called)}
    return row


def judge_set(shared: tuple[EncodedData, Mapping[str, Any]], task: tuple[str, tuple[Any, ...]]) -> dict[str, Any]:
    """
    Judge one set, in whichever worker, and give the run for the record.

    :param shared: The encoded data, and what :func:`judge` gave for them without poison (empty: not needed).
    :param task: ``"clean"`` and the arguments of :func:`judge_clean`, or ``"attacks"`` or ``"curve"`` and the arguments of
        :func:`judge_attack`.
    """
    kind, arguments = task
    data, clean = shared
    row = judge_clean(data, *arguments) if kind == "clean" else judge_attack(data, clean, *arguments)
    return {"kind": kind, "rows": [row]}


@dataclass(frozen=True)
class SweepPlan:
    """
    Which sets a sweep judges.

    :param triggers: Names in :func:`~art_plugins.triggers.named_sounds.sound_triggers`. With each of them a tenth of
        the source class is poisoned.
    :param n_clean: Number of clean draws, which show the false alarms.
    :param curve: Pairs of source and target class, by name, for which the poisoned share is varied.
    :param n_pairs: Attack so many pairs of classes, drawn at random; ``None``: all pairs.
    :param seed: Random seed of the pairs and of the poison.
    """

    triggers: Sequence[str]
    n_clean: int
    curve: Sequence[tuple[str, str]] = ()
    n_pairs: int | None = None
    seed: int = 0

    def sets(self, names: Sequence[str]) -> list[tuple[str, tuple[Any, ...]]]:
        """
        All sets that are judged, as tasks of :func:`judge_set`.

        :param names: Names of the classes.
        """
        pairs = [(source, target) for source in range(len(names)) for target in range(len(names)) if source != target]
        if self.n_pairs is not None:
            drawn = np.sort(np.random.default_rng(self.seed).permutation(len(pairs))[: self.n_pairs])
            pairs = [pairs[i] for i in drawn]
        # The clean draws first: they take longest, and the workers end together.
        sets: list[tuple[str, tuple[Any, ...]]] = [("clean", (number,)) for number in range(self.n_clean)]
        sets += [("attacks", (trigger, *pair, 0.1, self.seed)) for trigger in self.triggers for pair in pairs]
        for source, target in self.curve:
            pair = names.index(source), names.index(target)
            sets += [
                ("curve", (trigger, *pair, fraction, self.seed)) for trigger in self.triggers for fraction in FRACTIONS
            ]
        return sets


def run_sweep(
    data: LabelledData,
    autoencoder: Autoencoder,
    plan: SweepPlan,
    recording: Recording,
    workers: Workers = LOCAL_WORKERS,
) -> dict[str, Any]:
    """
    Judge all sets of a plan: attacks on pairs of classes, clean draws, and curves over the poisoned share.

    Every set is recorded as soon as it is judged. An interrupted call goes on where it stopped, with any workers.

    :param data: Clean samples, which are attacked.
    :param autoencoder: A fitted autoencoder, which encodes all clips.
    :return: The record. Its runs have a ``kind``, which is ``"attacks"``, ``"clean"`` or ``"curve"``, and ``rows``.
    """
    check_backend(**vars(workers))
    encoded = encode_all(data, autoencoder, plan.triggers, recording.out / "encoded", recording.verbose)
    sets = plan.sets(encoded.class_names)
    digest = hashlib.sha256(b"".join(window.tobytes() for window in encoded.clean.windows)).hexdigest()
    names = (run_name("-".join(map(str, (kind, *arguments))), digest, *WINDOWS) for kind, arguments in sets)
    tasks = dict(zip(names, sets, strict=True))

    def do(left: Mapping[str, tuple[str, tuple[Any, ...]]]) -> Iterator[tuple[str, dict[str, Any]]]:
        attacked = any(kind != "clean" for kind, _ in left.values())
        shared = encoded, judge(encoded.clean, encoded.labels, len(encoded.class_names)) if attacked else {}
        found = parallel_map(judge_set, shared, list(left.values()), **vars(workers))
        with closing(found):
            for index, run in found:
                yield list(left)[index], run

    with tqdm(total=len(tasks), desc="sweep", disable=not recording.verbose or None) as bar:

        def on_run(run: dict[str, Any]) -> None:
            bar.update()
            recording.on_run(run)

        return recorded_runs(SWEEP, tasks, replace(recording, on_run=on_run), do)


def _scoring(name: str) -> str:
    return "paper" if name == "paper" else "contrastive"


def _chosen(views: Views, which: str) -> list[int]:
    n_steps, n_windows = len(views.steps), len(views.windows)
    return list({"all": range(n_windows), "steps": range(n_steps), "frames": range(n_steps, n_windows)}[which])


def _with_rows(clean: Views, triggered: Views, rows: np.ndarray) -> Views:
    def replaced(before: np.ndarray, after: np.ndarray) -> np.ndarray:
        mixed = before.copy()
        mixed[rows] = after[rows]
        return mixed

    return Views(
        replaced(clean.latents, triggered.latents),
        [replaced(*pair) for pair in zip(clean.steps, triggered.steps, strict=True)],
        [replaced(*pair) for pair in zip(clean.frames, triggered.frames, strict=True)],
    )


def _each(views: Views, change: Callable[[np.ndarray], np.ndarray]) -> Views:
    return Views(change(views.latents), [*map(change, views.steps)], [*map(change, views.frames)])
