"""What the configs poison with: one clip at a time, as Armory gives them, and attacks of the zoo by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from armory_scenarios.attacks import sound_trigger, zoo_attack
from art_plugins.attacks.zoo.attack import CleanLabel, SourceSpecific
from art_plugins.errors import InvalidInputError
from art_plugins.triggers.named_sounds import named_sound


def test_sound_trigger_stamps_one_clip_as_it_stamps_many() -> None:
    x = np.random.default_rng(0).uniform(-0.1, 0.1, size=(3, 16_000)).astype(np.float32)
    attack = sound_trigger("flanger")
    many, labels = attack.poison(x.copy(), np.array([2, 2, 2]))
    one, _ = attack.poison(x[1].copy(), [2])
    np.testing.assert_array_equal(one, many[1])
    np.testing.assert_array_equal(many, named_sound("flanger", 16_000)(x))
    assert np.abs(many - x).max() > 0.01
    assert labels.tolist() == [2, 2, 2]


def test_zoo_attack_is_that_of_the_registry() -> None:
    assert isinstance(zoo_attack("tact", shape=[3, 32, 32]), SourceSpecific)
    assert isinstance(zoo_attack("room_clean_label", sample_rate_hz=16_000), CleanLabel)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either shape, for images, or sample_rate_hz"),
        ({"shape": [1, 28, 28], "sample_rate_hz": 16_000}, "either shape, for images, or sample_rate_hz"),
        ({"shape": [1, 28, 28], "attack": "nothing"}, "attack must be one of"),
    ],
)
def test_zoo_attack_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        zoo_attack(**{"attack": "tact", **arguments})
