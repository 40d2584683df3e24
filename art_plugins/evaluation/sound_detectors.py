"""Measures detectors of triggers at test time on classifiers of sounds: waveforms or spectrograms, named triggers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.attacks.model_cache import load_or_train
from art_plugins.attacks.poisoning import poison_classes
from art_plugins.attacks.success import attack_metrics, too_weak
from art_plugins.attacks.training_loop import Training
from art_plugins.attacks.waveform_models import train_classifier
from art_plugins.defences.layerwise_detector import LayerwiseFeatureDetector
from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.detectors import Backdoor
from art_plugins.evaluation.held_out import HeldOut, split_test_set
from art_plugins.evaluation.peers import PEER_FPR, detector_row, peer_rows
from art_plugins.evaluation.running.runs import Recording, recorded_runs, run_name
from art_plugins.features.vae.spectrogram import LogMelSpectrogram
from art_plugins.reports.record_files import SOUND_DETECTORS
from art_plugins.triggers.named_sounds import named_sound, sound_triggers

VIEWS = ("waveform", "spectrogram")
N_MELS = 40  # of the spectrograms that a classifier of spectrograms takes
DARKEST, BRIGHTEST = -7.0, 5.0  # logarithm of power that becomes 0 and 1 there; the floor of the spectrogram is at -6.9
SEVEN = ("clapping", "whistle_anywhere", "tone", "chord", "echo", "reverb", "pitch")
TITLE = f"Layer-wise features, target FPR {PEER_FPR:g}"
Clips = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class SoundCase:
    """
    One attacked classifier of sounds. All classes but the target are poisoned.

    :param trigger: A name in :func:`~art_plugins.triggers.named_sounds.sound_triggers`.
    :param view: What the classifier takes: ``"waveform"``, through Armory's front end, or ``"spectrogram"``, log-mel
        pictures of 0 to 1, (1, 40, frames).
    :param target: Target class.
    :param share: Share of the whole training set that is poisoned, above 0 and below 1.
    :param nb_epochs: Number of training epochs.
    :param seed: Random seed of the poison, of the training and of the detectors.
    """

    trigger: str
    view: str = "waveform"
    target: int = 0
    share: float = 0.05
    nb_epochs: int = 15
    seed: int = 0

    @property
    def title(self) -> str:
        """Title of the case in tables, without its seed."""
        return f"{self.trigger.replace('_', ' ')}, {self.view}, {100 * self.share:g} %"


def cases_of(
    triggers: Sequence[str], views: Sequence[str], seeds: Sequence[int], nb_classes: int, **settings: Any
) -> list[SoundCase]:
    """
    Combine triggers, views and seeds.

    :param nb_classes: Number of classes of the data.
    :param settings: Further fields of :class:`SoundCase`.
    :raises InvalidInputError: For an unknown name, a class that the data do not have, or a share out of range.
    """
    found = [SoundCase(trigger, view, seed=seed, **settings) for seed in seeds for view in views for trigger in triggers]
    for case in found:
        for what, value, known in (("trigger", case.trigger, tuple(sound_triggers())), ("view", case.view, VIEWS)):
            if value not in known:
                raise InvalidInputError(f"{what} must be one of {', '.join(known)}; received {value!r}.")
        if not 0 < case.share < 1:
            raise InvalidInputError(f"share must be above 0 and below 1, such as .05; received {case.share}.")
        if not 0 <= case.target < nb_classes:
            raise InvalidInputError(f"target must be a class from 0 to {nb_classes - 1}; received {case.target}.")
    return found


def run_sound_detectors(
    data: LabelledData,
    sample_rate_hz: int,
    cases: Sequence[SoundCase],
    recording: Recording,
    n_trusted: int = 20,
    models: Path | None = None,
) -> dict[str, Any]:
    """
    Measure every detector on every attacked classifier, and write ``record.json`` and ``table.md``; the same call goes on
    where it stopped.

    :param data: Clean waveforms, (n, S).
    :param n_trusted: Test clips of each class that the detectors learn from, at most half of the smallest class.
    :param models: Folder of trained models; ``None``: none is kept.
    :return: The record.
    """
    jobs = {
        run_name(f"{case.trigger}-{case.view}-{case.seed}", asdict(case), data.x_train.shape, sample_rate_hz, n_trusted): (
            partial(judge_case, case, data, sample_rate_hz, n_trusted, models)
        )
        for case in cases
    }
    return recorded_runs(SOUND_DETECTORS, jobs, recording)


def padded(data: LabelledData, sample_rate_hz: int) -> LabelledData:
    """Pad shorter clips with silence to a second, for which the named sounds that fill a clip are made."""
    missing = max(0, sample_rate_hz - data.x_train.shape[1])
    x_train, x_test = (np.pad(x, ((0, 0), (0, missing))) for x in (data.x_train, data.x_test))
    return data._replace(x_train=x_train, x_test=x_test)


def judge_case(
    case: SoundCase, data: LabelledData, sample_rate_hz: int, n_trusted: int = 20, models: Path | None = None
) -> dict[str, Any]:
    """
    Attack the data, train a classifier, and measure all detectors on its test clips.

    :return: JSON-safe. ``note`` says why there are no rows: the attack works on too few clips. ``model``: see
        :func:`~art_plugins.attacks.success.attack_metrics`; ``rows``: of each detector, see
        :func:`~art_plugins.evaluation.peers.detector_row`.
    """
    nb_classes, seen = len(data.class_names), view_of(case.view, sample_rate_hz)
    trigger = named_sound(case.trigger, sample_rate_hz)
    sources = [label for label in range(nb_classes) if label != case.target]
    n_per_source = max(1, round(case.share * len(data.y_train) / len(sources)))
    attack = poison_classes(data, trigger, dict.fromkeys(sources, case.target), n_per_source, case.seed)
    training = Training(nb_epochs=case.nb_epochs, random_state=case.seed)
    arguments = {"x": seen(attack.x_train), "y": attack.y_train, "nb_classes": nb_classes, "training": training}
    classifier = load_or_train(models, train_classifier, **arguments)
    figures = attack_metrics(classifier, seen(data.x_test), data.y_test, seen(attack.x_triggered), case.target)
    run: dict[str, Any] = {"title": case.title, "seed": case.seed, "case": asdict(case), "model": figures}
    run |= {"n_train": len(attack.y_train), "n_poison": int(attack.is_poison.sum()), "data_notes": data.notes}
    if note := too_weak(figures, "clips"):
        return run | {"note": note, "n_trusted": None, "rows": []}
    n_trusted = int(min(n_trusted, np.bincount(data.y_test).min() // 2))
    split = split_test_set(data.x_test, data.y_test, trigger, sources, n_trusted, case.seed)
    split = HeldOut(*(seen(one) if one.ndim > 1 else one for one in split))
    backdoor = Backdoor(trigger, case.target) if case.view == "waveform" else None
    own = LayerwiseFeatureDetector(classifier, random_state=case.seed)
    rows = [detector_row(TITLE, own, split, case.target)]
    rows += peer_rows(classifier, split, case.target, case.seed, SOUND_DETECTORS, backdoor)
    return run | {"note": None, "n_trusted": len(split.y_defence), "rows": rows}


def view_of(view: str, sample_rate_hz: int) -> Clips:
    """
    Give what a classifier takes, from waveforms (n, S).

    :param view: ``"waveform"``: the waveforms; ``"spectrogram"``: log-mel pictures, 0 to 1, (n, 1, 40, frames).
    """
    if view == "waveform":
        return lambda x: x
    front_end = LogMelSpectrogram(sample_rate_hz, N_MELS)

    def pictures(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            frames = front_end(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)))
            scaled = ((frames - DARKEST) / (BRIGHTEST - DARKEST)).clamp(0, 1)
        found: np.ndarray = scaled.transpose(1, 2)[:, None].numpy()
        return found

    return pictures
