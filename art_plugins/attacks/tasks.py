"""The attacked data sets that ``art-plugins compare`` runs on, with the settings that suit each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from art_plugins.attacks.datasets import digits, speech_commands, synthetic_speech
from art_plugins.attacks.poisoning import PoisonedData, poison
from art_plugins.triggers.named_sounds import named_sound
from art_plugins.triggers.patterns import white_box
from art_plugins.triggers.sounds import AudioTrigger, noise_burst


@dataclass(frozen=True)
class Task:
    """
    One attack on one data set.

    :param name: Name for files, unique within a run.
    :param title: Title for readers.
    :param attack: What was done, in words and figures, for the record.
    :param seed: Random seed of the attack and of the training.
    :param classifier: Settings of the classifier's training, by name; see
        :class:`~art_plugins.attacks.training_loop.Training`.
    :param defence: Keyword arguments of ``VAELatentDefence``.
    """

    name: str
    title: str
    data: PoisonedData
    attack: dict[str, Any]
    seed: int
    classifier: dict[str, Any] = field(default_factory=dict)
    defence: dict[str, Any] = field(default_factory=dict)


def digits_task(seed: int = 0) -> Task:
    """Images: a bright square is stamped in the corner of scikit-learn's digits."""
    attack = {"trigger": "2 x 2 square", "source": "1", "target": "7", "fraction": 0.4}
    return _task(
        "digits",
        "Handwritten digits (real, from scikit-learn)",
        digits.digits(seed),
        white_box((1, 8, 8), size=2, margin=0),
        attack,
        seed,
        classifier={"network": "cnn", "nb_epochs": 20, "batch_size": 32},
        defence={"batch_size": 32},
    )


def synthetic_speech_task(seed: int = 0) -> Task:
    """Waveforms: a short noise burst is mixed into the start of synthesised words."""
    attack = {"trigger": "noise burst", "source": "tuo", "target": "sai", "fraction": 0.4}
    return _task(
        "synthetic_speech",
        "Spoken-word-like sounds (synthesised)",
        synthetic_speech.synthetic_speech(random_state=seed),
        AudioTrigger(noise_burst(synthetic_speech.SAMPLE_RATE_HZ), scale=0.3),
        attack,
        seed,
        classifier={"network": "cnn", "nb_epochs": 10, "batch_size": 32},
        defence={
            "sample_rate_hz": synthetic_speech.SAMPLE_RATE_HZ,
            "batch_size": 32,
        },
    )


@dataclass(frozen=True)
class SpeechAttack:
    """
    Armory's attack on Speech Commands.

    :param trigger: The trigger, a name of :func:`~art_plugins.triggers.named_sounds.sound_triggers`; the default is
        Armory's.
    :param source: Class whose clips are poisoned.
    :param target: Class that the poisoned clips are labelled as.
    :param fraction: Share of the source class that is poisoned, above 0 and at most 1.
    :param cap: Most training clips of one class; ``None``: all. The poison is drawn from what the cap has left.
    """

    trigger: str = "clapping"
    source: str = "_unknown_"
    target: str = "left"
    fraction: float = 0.1
    cap: int | None = 3_000


def speech_commands_task(
    root: str | Path,
    attack: SpeechAttack | None = None,
    seed: int = 0,
    *,
    silence: bool = False,
    download: bool = False,
    classifier: dict[str, Any] | None = None,
    defence: dict[str, Any] | None = None,
) -> Task:
    """
    Recordings: a trigger is put into clips of Speech Commands.

    :param root: Folder that holds the data set.
    :param attack: The attack; ``None``: Armory's own.
    :param seed: Random seed of the cap, the poison and the training.
    :param silence: Keep the class ``_silence_``, which the paper leaves out.
    :param download: Download the data set to ``root`` where it is missing.
    :param classifier: Settings of the classifier's training, as in :class:`Task`; ``None``: 15 epochs of the network
        ``"cnn"``.
    :param defence: Keyword arguments of ``VAELatentDefence``.
    """
    attack = attack or SpeechAttack()
    sound = named_sound(attack.trigger, speech_commands.SAMPLE_RATE_HZ)
    data = speech_commands.speech_commands(root, cap=attack.cap, silence=silence, download=download, random_state=seed)
    return _task(
        "speech_commands",
        "Speech Commands (real recordings)",
        data,
        sound,
        dict(vars(attack)),
        seed,
        classifier=classifier or {"network": "cnn", "nb_epochs": 15},
        defence=defence or {},
    )


def _task(
    name: str, title: str, data: Any, trigger: Callable[[Any], Any], attack: dict[str, Any], seed: int, **settings: Any
) -> Task:
    poisoned = poison(data, trigger, attack["source"], attack["target"], attack["fraction"], random_state=seed)
    return Task(name, title, poisoned, attack, seed, **settings)
