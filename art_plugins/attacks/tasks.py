"""The attacked data sets that ``art-plugins compare`` runs on, with the settings that suit each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from art_plugins.attacks.datasets import digits, speech_commands, synthetic_speech
from art_plugins.attacks.poisoning import PoisonedData, poison
from art_plugins.triggers.patterns import white_box
from art_plugins.triggers.sounds import AudioTrigger, armory_sound, noise_burst


@dataclass(frozen=True)
class Task:
    """
    One attack on one data set.

    :param name: File-name-safe and unique within a run.
    :param attack: What was done, in words and figures, for the record.
    :param classifier: Keyword arguments of ``train_classifier``.
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
    """Images: a bright square in the corner of scikit-learn's digits."""
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
    """Waveforms: a short noise burst at the start of synthesised words."""
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


def speech_commands_task(
    root: str | Path,
    *,
    trigger: str = "clapping",
    source: str = "_unknown_",
    target: str = "left",
    fraction: float = 0.1,
    cap: int | None = 3_000,
    seed: int = 0,
    silence: bool = False,
    download: bool = False,
    classifier: str = "cnn",
    nb_epochs: int = 15,
    defence: dict[str, Any] | None = None,
) -> Task:
    """
    Armory's attack on Speech Commands; the poison is drawn from what the cap has left.

    :param nb_epochs: Of the classifier.
    :param defence: Keyword arguments of ``VAELatentDefence``.
    """
    sound = armory_sound(trigger, speech_commands.SAMPLE_RATE_HZ)
    data = speech_commands.speech_commands(root, cap=cap, silence=silence, download=download, random_state=seed)
    attack = {"trigger": trigger, "source": source, "target": target, "fraction": fraction, "cap": cap}
    return _task(
        "speech_commands",
        "Speech Commands (real recordings)",
        data,
        sound,
        attack,
        seed,
        classifier={"network": classifier, "nb_epochs": nb_epochs},
        defence=defence or {},
    )


def _task(
    name: str, title: str, data: Any, trigger: Callable[[Any], Any], attack: dict[str, Any], seed: int, **settings: Any
) -> Task:
    poisoned = poison(data, trigger, attack["source"], attack["target"], attack["fraction"], random_state=seed)
    return Task(name, title, poisoned, attack, seed, **settings)
