"""Measures how well clips that share a sound or a filter are found: attacks on pairs of classes, and clean draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.attacks.datasets.speech_commands import SAMPLE_RATE_HZ
from art_plugins.attacks.poisoning import poison_classes, share_of
from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.metrics import rank_of
from art_plugins.evaluation.running.runs import Recording, recorded_runs, run_name
from art_plugins.features.encodings import FRAME_FLOOR, FRAME_HOP_S, FRAME_WINDOW_S
from art_plugins.features.vae.spectrogram import LogMelSpectrogram
from art_plugins.groups.sounds.shared_filter import cepstra, find_shared_filters
from art_plugins.groups.sounds.shared_sound import Sounds
from art_plugins.groups.sounds.sound_search import SharedSounds, find_shared_sounds
from art_plugins.reports.record_files import SOUNDS
from art_plugins.statistics.latents.scoring_settings import FALSE_ALARM_RATE
from art_plugins.triggers.named_sounds import named_sound

N_MELS = 40
N_SEARCHES = 2  # sounds and filters: each has half of the false-alarm rate
RESAMPLED = 0.7  # share of every class that a clean draw has


@dataclass(frozen=True)
class SoundPlan:
    """
    Which sets are judged.

    :param triggers: Names in :func:`~art_plugins.triggers.named_sounds.sound_triggers`.
    :param fractions: Shares of the source class that are poisoned, each above 0 and at most 1.
    :param n_pairs: Number of pairs of classes, drawn at random, that each trigger attacks.
    :param n_clean: Number of draws without poison, of seven tenths of every class.
    :param seed: Random seed of the pairs, of the poison and of the draws.
    """

    triggers: Sequence[str]
    fractions: Sequence[float] = (0.1, 0.33)
    n_pairs: int = 10
    n_clean: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        for trigger in self.triggers:
            named_sound(trigger)
        if not self.fractions or not all(0 < fraction <= 1 for fraction in self.fractions):
            raise InvalidInputError(f"fractions must be above 0 and at most 1; received {[*self.fractions]}.")

    def sets(self, nb_classes: int) -> list[tuple[str, tuple[Any, ...]]]:
        """All sets, as kind and arguments: the trigger, source, target and share of an attack; the number of a draw."""
        random = np.random.default_rng(self.seed)
        pairs = [(source, target) for source in range(nb_classes) for target in range(nb_classes) if source != target]
        chosen = [pairs[index] for index in np.sort(random.permutation(len(pairs))[: self.n_pairs])]
        attacks = [(trigger, *pair, share) for trigger in self.triggers for share in self.fractions for pair in chosen]
        return [("attacks", attack) for attack in attacks] + [("clean", (number,)) for number in range(self.n_clean)]


def search_all(
    x: np.ndarray, labels: np.ndarray, nb_classes: int, known: Mapping[str, SharedSounds] | None = None, changed: Any = ()
) -> dict[str, SharedSounds]:
    """
    Search waveforms (n, S) at 16 kHz for sounds and for filters that a class shares.

    :param known: What this function gave for data that differ in the classes ``changed`` only.
    """
    front_end = LogMelSpectrogram(SAMPLE_RATE_HZ, N_MELS, FRAME_WINDOW_S, FRAME_HOP_S, FRAME_FLOOR)

    def frames_of(rows: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            frames: np.ndarray = front_end(torch.from_numpy(np.ascontiguousarray(x[rows]))).numpy()
        return frames

    rate = FALSE_ALARM_RATE / N_SEARCHES
    sounds = Sounds(lambda rows: x[rows], SAMPLE_RATE_HZ)
    before = known["sound"] if known else None
    return {
        "sound": find_shared_sounds(sounds, frames_of, labels, nb_classes, rate, known=before, changed=changed),
        "filter": find_shared_filters(
            lambda rows: cepstra(x[rows], SAMPLE_RATE_HZ), labels, nb_classes, rate, are_one=sounds.are_one
        ),
    }


def judge_attack(
    data: LabelledData, clean: Mapping[str, SharedSounds], attack: tuple[str, int, int, float], seed: int
) -> dict[str, Any]:
    """
    Poison a share of the source class, and judge the set; only the target is judged anew for sounds.

    :return: What was done; ``called``: whether the target is; ``rank`` of its score among the classes, the better one of
        the two searches, ``None`` where neither judged it; ``n_false``: other classes called; ``tpr`` and ``fpr`` within
        the target, 0 if it is not called; ``auc`` of its clips, ``None`` if it is not called.
    """
    trigger, source, target, fraction = attack
    n_poison = share_of(fraction, int((data.y_train == source).sum()))
    poisoned = poison_classes(data, named_sound(trigger), {source: target}, n_poison, random_state=seed)
    found = search_all(poisoned.x_train, poisoned.y_train, len(data.class_names), clean, (target,))
    called = {label for one in found.values() for label in one.called}
    own = poisoned.y_train == target
    is_poison = poisoned.is_poison[own]
    ranks = [rank for one in found.values() if (rank := rank_of(one.scores, target)) is not None]
    matches = np.max([np.nan_to_num(one.matches[own]) for one in found.values()], axis=0)
    return {
        "trigger": trigger,
        "source": data.class_names[source],
        "target": data.class_names[target],
        "fraction": fraction,
        "n_poison": n_poison,
        "n_target": int(own.sum()),
        "called": target in called,
        "rank": min(ranks) if ranks else None,
        "n_false": len(called - {target}),
        "tpr": float((matches > 1)[is_poison].mean()),
        "fpr": float((matches > 1)[~is_poison].mean()),
        "auc": float(roc_auc_score(is_poison, matches)) if target in called else None,
    }


def judge_clean(data: LabelledData, number: int) -> dict[str, Any]:
    """Judge a random draw of seven tenths of every class, without poison; ``n_called``: classes called."""
    random = np.random.default_rng(number)
    kept = np.sort(
        np.concatenate(
            [
                random.permutation(rows)[: round(RESAMPLED * len(rows))]
                for rows in (np.flatnonzero(data.y_train == label) for label in range(len(data.class_names)))
            ]
        )
    )
    found = search_all(data.x_train[kept], data.y_train[kept], len(data.class_names))
    p_values = {name: float(np.nanmin(one.p_values)) for name, one in found.items()}
    return {
        "seed": number,
        "n_called": len({label for one in found.values() for label in one.called}),
        "p_values": p_values,
    }


def run_shared_sounds(data: LabelledData, plan: SoundPlan, recording: Recording) -> dict[str, Any]:
    """
    Judge all sets of a plan. Every set is recorded as soon as it is judged; an interrupted call goes on where it stopped.

    :param data: Clean waveforms at 16 kHz, which are attacked.
    :return: The record. Its runs have a ``kind``, which is ``"attacks"`` or ``"clean"``, and ``rows``.
    """

    @cache
    def clean() -> dict[str, SharedSounds]:
        return search_all(data.x_train, data.y_train, len(data.class_names))

    def one(kind: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
        row = judge_clean(data, *arguments) if kind == "clean" else judge_attack(data, clean(), arguments, plan.seed)
        return {"kind": kind, "rows": [row]}

    jobs: dict[str, Callable[[], dict[str, Any]]] = {
        run_name("-".join(map(str, (kind, *arguments))), plan.seed, data.x_train.shape): partial(one, kind, arguments)
        for kind, arguments in plan.sets(len(data.class_names))
    }
    return recorded_runs(SOUNDS, jobs, recording)
