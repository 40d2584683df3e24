"""
What the configs poison with, beside Armory's own ``poison_loader_audio``: triggers as ART's ``PoisoningAttackBackdoor``,
and the attacks of ``art_plugins.attacks.zoo``, which poison a whole set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from art.attacks.poisoning import PoisoningAttackBackdoor

from armory_scenarios.checks import bind
from art_plugins.attacks.zoo.attack import Attack
from art_plugins.attacks.zoo.registry import image_attack, sound_attack
from art_plugins.errors import InvalidInputError
from art_plugins.triggers import patterns
from art_plugins.triggers.named_sounds import named_sound
from art_plugins.triggers.trigger import apply_trigger

TRIGGERS = ("chessboard", "single_pixel", "white_box", "trojan_square", "watermark", "blended", "warp")


def image_trigger(trigger: str, shape: Sequence[int], **parameters: Any) -> PoisoningAttackBackdoor:
    """
    :param trigger: A function of ``art_plugins.triggers.patterns``: one of ``TRIGGERS``.
    :param shape: (C, H, W).
    :param parameters: Its parameters.
    :raises InvalidInputError: For another name, or a parameter that the trigger does not have.
    """
    if trigger not in TRIGGERS:
        raise InvalidInputError(f"trigger must be one of {', '.join(TRIGGERS)}; received {trigger!r}.")
    return PoisoningAttackBackdoor(bind(getattr(patterns, trigger), {"shape": tuple(shape), **parameters}, trigger))


def sound_trigger(trigger: str, sample_rate_hz: int = 16_000) -> PoisoningAttackBackdoor:
    """
    :param trigger: A name of :func:`art_plugins.triggers.named_sounds.sound_triggers`.
    :raises InvalidInputError: For another name.
    """
    stamp = named_sound(trigger, sample_rate_hz)

    def stamped(x: np.ndarray) -> np.ndarray:
        """Armory gives one clip, (S,)."""
        return apply_trigger(stamp, x[None])[0] if x.ndim == 1 else apply_trigger(stamp, x)

    return PoisoningAttackBackdoor(stamped)


def zoo_attack(
    attack: str, shape: Sequence[int] | None = None, dataset: str = "", sample_rate_hz: int | None = None
) -> Attack:
    """
    An attack that poisons a whole training set, because it trains its trigger, changes no label or stamps cover samples.

    :param attack: A name in ``IMAGE_ATTACKS``, or for sounds in ``SOUND_ATTACKS``, of ``art_plugins.attacks.zoo.registry``.
    :param shape: Shape of an image, (C, H, W).
    :param dataset: Name of the data set, by which some attacks choose their strength.
    :param sample_rate_hz: For sounds, in place of ``shape``.
    :raises InvalidInputError: For another name, or unless exactly one of ``shape`` and ``sample_rate_hz`` is given.
    """
    if (shape is None) == (sample_rate_hz is None):
        raise InvalidInputError("zoo_attack needs either shape, for images, or sample_rate_hz, for sounds.")
    if shape is not None:
        channels, height, width = shape
        return image_attack(attack, (channels, height, width), dataset)
    assert sample_rate_hz is not None
    return sound_attack(attack, sample_rate_hz)
