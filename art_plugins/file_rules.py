"""Rules for saved arrays and settings. A forged file may hold any values and still have a correct checksum."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from art_plugins.errors import ArtPluginsError, FileFormatError

TINY = sys.float_info.min  # smallest normal number above 0


class ArrayRule(NamedTuple):
    """
    The rule that a saved array must meet.

    ``kind``: NumPy's letters of the types allowed, such as ``"f"`` or ``"iu"``; ``shape``: sizes, or names of sizes, where
    a name stands for the same size wherever it occurs; ``low`` and ``high``: range of the values; ``also``: infinities or
    NaN that are allowed too. All other values must be finite.
    """

    kind: str
    shape: tuple[int | str, ...]
    low: float = -math.inf
    high: float = math.inf
    also: tuple[float, ...] = ()


class SettingRule(NamedTuple):
    """
    The rule that a saved setting must meet.

    ``kind``: ``str``, ``bool``, ``int``, ``float`` (whole numbers count), ``dict``, or ``list`` of ``items``; ``low`` and
    ``high``: range of a number, or of the length of a list; ``items``: rule of the items of a list.
    """

    kind: type
    low: float = -sys.float_info.max
    high: float = sys.float_info.max
    items: SettingRule | None = None


def check_arrays(arrays: Mapping[str, np.ndarray], rules: Mapping[str, ArrayRule], sizes: dict[str, int]) -> None:
    """
    Check saved arrays.

    :param arrays: Arrays by name.
    :param rules: Rules by name. An array without a rule is not allowed, and neither is a rule without an array.
    :param sizes: Known sizes by name; new ones are added.
    :raises FileFormatError: If an array is missing, unknown, or breaks its rule. The message names the first one.
    """
    check_names("array", arrays, rules)
    for name, rule in rules.items():
        array = arrays[name]
        if array.dtype.kind not in rule.kind:
            raise FileFormatError(f"the array {name!r} has the dtype {array.dtype}")
        expected = tuple(sizes.get(size, size) if isinstance(size, str) else size for size in rule.shape)
        if len(expected) != array.ndim or any(
            not isinstance(size, str) and size != found for size, found in zip(expected, array.shape, strict=True)
        ):
            raise FileFormatError(f"the array {name!r} has the shape {array.shape} in place of {expected}")
        sizes |= {size: found for size, found in zip(expected, array.shape, strict=True) if isinstance(size, str)}
        array = array.astype(np.float32) if array.dtype == np.float16 else array  # whose range is not that of the rule
        good = (array >= rule.low) & (array <= rule.high)
        if array.dtype.kind == "f":
            good &= np.isfinite(array)
            for value in rule.also:
                good |= np.isnan(array) if math.isnan(value) else array == value
        if not good.all():
            raise FileFormatError(
                f"the array {name!r} holds values that are not from {rule.low} to {rule.high}, or not finite"
            )


def check_settings(settings: Any, rules: Mapping[str, SettingRule]) -> None:
    """
    Check saved settings.

    :param settings: Settings by name.
    :param rules: Rules by name. A setting without a rule is not allowed, and neither is a rule without a setting.
    :raises FileFormatError: If a setting is missing, unknown, or breaks its rule. The message names the first one.
    """
    if not isinstance(settings, dict):
        raise FileFormatError(f"settings are a {type(settings).__name__}")
    check_names("setting", settings, rules)
    for name, rule in rules.items():
        _check_setting(name, settings[name], rule)


def check_names(what: str, found: Collection[str], expected: Collection[str]) -> None:
    """
    Check that the names are those expected.

    :raises FileFormatError: If a name is missing or unknown.
    """
    odd = sorted(set(found) ^ set(expected))
    if odd:
        raise FileFormatError(f"the {what} {odd[0]!r} is {'missing' if odd[0] in expected else 'unknown'}")


@contextmanager
def reading(what: str) -> Iterator[None]:
    """
    Turn errors about the values of a file, raised inside the block, into errors about the file.

    :param what: Description of the expected file, with its path.
    :raises FileFormatError: Instead of the error about a value, which is its cause.
    """
    try:
        yield
    except (ArtPluginsError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise FileFormatError(f"{what} of this release: {error}") from error


def _check_setting(name: str, value: Any, rule: SettingRule) -> None:
    is_number = rule.kind in (int, float)
    fits = (
        isinstance(value, (int, rule.kind)) and not isinstance(value, bool) if is_number else isinstance(value, rule.kind)
    )
    if not fits:
        raise FileFormatError(f"the setting {name!r} is a {type(value).__name__}")
    if (is_number or rule.kind is list) and not rule.low <= (value if is_number else len(value)) <= rule.high:
        raise FileFormatError(f"the setting {name!r}, or its length, is not from {rule.low} to {rule.high}")
    if rule.items is not None:
        for index, item in enumerate(value):
            _check_setting(f"{name}[{index}]", item, rule.items)
