"""Every new attack works: a small network trained on the poisoned set sends the triggered test samples to the target."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.attacks.datasets.synthetic_speech import SAMPLE_RATE_HZ, synthetic_speech
from art_plugins.attacks.image_models import train_backdoored
from art_plugins.attacks.success import attack_success
from art_plugins.attacks.training_loop import ImageTraining, Training
from art_plugins.attacks.waveform_models import train_classifier
from art_plugins.attacks.zoo.attack import DirtyLabel, SourceSpecific, attack_data
from art_plugins.attacks.zoo.learned import LearnedWithClassifier, SampleSpecific
from art_plugins.attacks.zoo.reflected import Refool
from art_plugins.triggers.image_filters import QuantisationTrigger, colour_shift, low_frequency
from art_plugins.triggers.patterns import white_box
from art_plugins.triggers.sound_effects import Effects
from art_plugins.triggers.sound_room import Room
from art_plugins.triggers.sound_spectra import PitchBoost, Rhythm, Tempo, Timbre

pytestmark = pytest.mark.slow
SHAPE = (1, 8, 8)
BOX = white_box(SHAPE, size=2, margin=0)
IMAGES: dict[str, Any] = {
    "bpp": lambda: DirtyLabel(QuantisationTrigger(SHAPE, 2)),
    "low_frequency": lambda: DirtyLabel(low_frequency(SHAPE, 0.3, n_waves=3)),
    "colour_shift": lambda: DirtyLabel(colour_shift(SHAPE, 0.2)),
    "refool": lambda: Refool(relabel=True),
    "issba": lambda: SampleSpecific(amplitude=0.2, n_bits=4),
    "lira": lambda: LearnedWithClassifier(amplitude=0.2),
}
RATE = SAMPLE_RATE_HZ
SOUNDS: dict[str, Any] = {
    "tempo": lambda: Tempo(1.8, RATE),
    "rhythm": lambda: Rhythm(sample_rate_hz=RATE),
    "pitch_boost": lambda: PitchBoost(frequency_hz=3_500, sample_rate_hz=RATE),
    "timbre": lambda: Timbre(sample_rate_hz=RATE),
    "room": lambda: Room(sample_rate_hz=RATE),
    "flanger": lambda: Effects(["flanger"], RATE),
    "phaser": lambda: Effects(["phaser"], RATE),
    "equaliser": lambda: Effects(["equaliser"], RATE),
}


@pytest.fixture(scope="module")
def handwriting(digits: Any) -> LabelledData:
    names = tuple(map(str, range(10)))
    return LabelledData(digits.x_train, digits.y_train.astype(np.int64), digits.x_test, digits.y_test, names)


@pytest.fixture(scope="module")
def words() -> LabelledData:
    return synthetic_speech()


def of_images(data: LabelledData, attack: Any, rate: float, target: int = 3) -> tuple[Any, dict[str, Any]]:
    attacked = attack_data(data, attack, rate, target)
    training = ImageTraining(network="plain_cnn", nb_epochs=20, batch_size=32)
    classifier = train_backdoored(attacked, training)
    return classifier, attack_success(classifier, attacked)


@pytest.mark.parametrize("name", IMAGES)
def test_image_attack_works_at_a_tenth_of_a_small_set(name: str, handwriting: LabelledData) -> None:
    _, figures = of_images(handwriting, IMAGES[name](), 0.1)
    assert figures["attack_success"] > 0.8, figures
    assert figures["clean_accuracy"] > 0.93, figures


def test_source_specific_attack_works_on_its_source_alone(handwriting: LabelledData) -> None:
    classifier, figures = of_images(handwriting, SourceSpecific(BOX, 5, cover=1.0), 0.03)
    assert figures["attack_success"] > 0.8, figures
    assert figures["clean_accuracy"] > 0.93, figures
    others = ~np.isin(handwriting.y_test, (3, 5))
    sent = classifier.predict(BOX(handwriting.x_test[others])).argmax(axis=1) == 3
    assert sent.mean() < 0.3


@pytest.mark.parametrize("name", SOUNDS)
def test_sound_attack_works_at_a_tenth_of_a_small_set(name: str, words: LabelledData) -> None:
    attacked = attack_data(words, DirtyLabel(SOUNDS[name]()), 0.1, 2)
    classifier = train_classifier(attacked.x_train, attacked.y_train, 6, Training(nb_epochs=12, batch_size=32))
    figures = attack_success(classifier, attacked)
    assert figures["attack_success"] > 0.8, figures
    assert figures["clean_accuracy"] > 0.9, figures
