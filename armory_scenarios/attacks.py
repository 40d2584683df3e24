"""The image triggers of the configs. Sounds are stamped by Armory's own ``poison_loader_audio``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from art.attacks.poisoning import PoisoningAttackBackdoor

from armory_scenarios.checks import bind
from art_plugins.errors import InvalidInputError
from art_plugins.triggers import patterns

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
