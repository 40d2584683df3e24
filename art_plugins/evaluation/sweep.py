"""
Hundreds of attacks on one data set, judged with one autoencoder (Mehlman et al. 2023, 4.4: Fig. 4, 6 and 7).

Every clip is encoded once as it is and once with each trigger. An attacked data set is then a choice of encoded clips.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.encoded import EncodedData, encode_all
from art_plugins.evaluation.running.parallel import check_backend, parallel_map
from art_plugins.evaluation.running.runs import Recording, recorded_runs, run_name
from art_plugins.evaluation.running.workers import LOCAL_WORKERS, Workers
from art_plugins.evaluation.sweep_judges import WINDOWS, judge, judge_attack, judge_clean
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.reports.record_files import SWEEP
from art_plugins.triggers.named_sounds import sound_triggers

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
