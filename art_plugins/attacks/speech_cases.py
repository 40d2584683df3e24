"""The attacked classifiers of speech that defences are tested on. Each is trained once and kept."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from art_plugins.attacks.cases import AttackedModel, Folders
from art_plugins.attacks.datasets.labelled import LabelledData, raised
from art_plugins.attacks.datasets.speech_commands import SAMPLE_RATE_HZ, speech_commands
from art_plugins.attacks.model_cache import load_or_train
from art_plugins.attacks.training_loop import Training
from art_plugins.attacks.waveform_models import train_classifier
from art_plugins.attacks.zoo.attack import Attack, attack_data
from art_plugins.attacks.zoo.registry import SOUND_ATTACKS, Published
from art_plugins.errors import InvalidInputError

SPEECH = "speech_commands"
TITLE = "Speech Commands"
TARGET = "left"  # Armory's
NETWORK = "cnn"
CLEAN = "none"
WIDE_BAND_HZ = 44_100  # rate to which speech is raised for the ultrasonic tone, that of the authors


@dataclass(frozen=True)
class SpeechCase:
    """
    One classifier of Speech Commands to test defences on; ``ModelCase`` is its like for images.

    :param trigger: A name in ``SOUND_ATTACKS``; ``"none"``: a clean model.
    :param share: Share of the whole training set that is poison; ``None``: that of the attack.
    :param n_clips: Most training clips of each class; ``None``: all.
    :param nb_epochs: Number of training epochs; ``None``: that of the default training.
    :param seed: Random seed of the clips, the poison and the training.
    """

    trigger: str
    share: float | None = None
    n_clips: int | None = None
    nb_epochs: int | None = None
    seed: int = 0
    dataset: str = SPEECH
    sources: str = "multi"
    network: str = NETWORK

    @property
    def title(self) -> str:
        """Title of the case in tables; cases that differ only in their seed have the same title."""
        return f"{TITLE}, {NETWORK}, {'no attack' if self.trigger == CLEAN else SOUND_ATTACKS[self.trigger].title}"

    def training(self) -> Training:
        """Give the training of the classifier."""
        training = Training(random_state=self.seed)
        return training if self.nb_epochs is None else replace(training, nb_epochs=self.nb_epochs)

    def recipe(self) -> dict[str, Any]:
        """Settings of the training, by their names in :class:`~art_plugins.attacks.training_loop.Training`."""
        training = self.training()
        return {"nb_epochs": training.nb_epochs, "learning_rate": training.learning_rate}


def speech_data(root: str | Path, n_clips: int | None, random_state: int = 0) -> LabelledData:
    """
    Read Speech Commands, at most so many training clips of each class.

    :raises InvalidInputError: If the data set is missing, or has too few clips of the target.
    """
    data = speech_commands(root, cap=n_clips, random_state=random_state)
    if TARGET not in data.class_names:
        raise InvalidInputError(f"The target {TARGET!r} has too few clips in {root}; unpack the whole set.")
    return data


def speech_attack(name: str, data: LabelledData) -> tuple[LabelledData, Attack]:
    """Make an attack on speech by its name, and bring the clips to the sample rate that it needs."""
    published: Published = SOUND_ATTACKS[name]
    if name != "ultrasonic":
        return data, published.make(SAMPLE_RATE_HZ)
    return raised(data, SAMPLE_RATE_HZ, WIDE_BAND_HZ), published.make(WIDE_BAND_HZ)


def attacked_speech(case: SpeechCase, folders: Folders, verbose: bool = True) -> AttackedModel:
    """
    Train the classifier of a case, or read it from the folder of models if it was trained before.

    :raises InvalidInputError: If the data set is missing, or has too few clips for the attack.
    """
    data, attack = speech_data(folders.root, case.n_clips, case.seed), None
    samples = data.x_train, data.y_train
    if case.trigger != CLEAN:
        data, made = speech_attack(case.trigger, data)
        share = SOUND_ATTACKS[case.trigger].rate if case.share is None else case.share
        attack = attack_data(data, made, share, data.class_names.index(TARGET), case.seed)
        samples = attack.x_train, attack.y_train
    start = time.perf_counter()
    arguments: dict[str, Any] = {"x": samples[0], "y": samples[1], "nb_classes": len(data.class_names)}
    classifier = load_or_train(folders.models, train_classifier, **arguments, training=case.training(), verbose=verbose)
    return AttackedModel(classifier, data, attack, time.perf_counter() - start)
