"""Checks of a saved autoencoder's settings, before any object of the size that they claim is created."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from art_plugins.errors import InvalidInputError
from art_plugins.file_rules import TINY, ArrayRule, SettingRule, check_names, check_settings

MOST = 2**31 - 1
MOST_FILTER_VALUES = 2**26  # largest number of bands times samples of a window: 256 MB, 3,000 times the usual size
FLOAT_MAX = float(np.finfo(np.float32).max)
STATE = {
    "settings": SettingRule(dict),
    "sample_shape": SettingRule(list, low=1, high=3, items=SettingRule(int, low=1, high=MOST)),
    "mean": SettingRule(float),
    "scale": SettingRule(float, low=TINY),
    "history": SettingRule(list, low=1, items=SettingRule(dict)),
}


def check_state(state: Any) -> None:
    """
    Check what is saved beside the weights.

    :param state: The saved values, from JSON.
    :raises InvalidInputError: If a value is missing or invalid. The message names it.
    """
    check_names("setting", STATE.keys() & state, STATE)
    check_settings({name: state[name] for name in STATE}, STATE)
    steps = {name: value for name, value in state.items() if name == "steps_per_epoch"}  # not in all files
    check_settings(steps, dict.fromkeys(steps, SettingRule(int, low=1, high=MOST)))
    for losses in state["history"]:
        check_settings(losses, dict.fromkeys(losses, SettingRule(float)))
    settings = state["settings"]
    rules: dict[str, SettingRule] = {}
    for name, value in settings.items():
        if isinstance(value, bool) or name == "video_like":
            rules[name] = SettingRule(bool)
        elif isinstance(value, int):
            rules[name] = SettingRule(int, low=1, high=MOST)
        elif isinstance(value, float):
            rules[name] = SettingRule(float, low=TINY, high=sys.float_info.max)
    check_settings({name: settings[name] for name in rules}, rules)
    flags = {name for name, value in settings.items() if isinstance(value, bool)} - {"video_like", "channels_first"}
    if flags:
        raise InvalidInputError(f"the setting {min(flags)!r} is a bool")


def check_front_end(sample_rate_hz: int, window_s: float, n_mels: int) -> None:
    """
    Check the size of the spectrogram's filters.

    :raises InvalidInputError: If they would fill the memory.
    """
    if n_mels * window_s * sample_rate_hz > MOST_FILTER_VALUES:
        raise InvalidInputError(f"{n_mels} bands over windows of {window_s} s at {sample_rate_hz} Hz are too many")


def weight_rules(expected: Mapping[str, Tensor]) -> dict[str, ArrayRule]:
    """
    Give the rules for the arrays of a network's saved state.

    :param expected: State of the network, which may have no values (device ``"meta"``).
    :return: Rules by name.
    """
    rules = {}
    for name, tensor in expected.items():
        is_float = tensor.dtype.is_floating_point
        low = 0.0 if not is_float or name.endswith("running_var") else -FLOAT_MAX
        high = FLOAT_MAX if is_float else float(torch.iinfo(tensor.dtype).max)
        rules[name] = ArrayRule("f" if is_float else "iu", tuple(tensor.shape), low=low, high=high)
    return rules
