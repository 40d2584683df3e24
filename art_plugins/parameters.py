"""Checks of single parameters. Each error names the parameter, the values allowed, and the value received."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from art_plugins.errors import InvalidInputError

MOST = 2**31 - 1  # the largest count and the largest seed that NumPy, scikit-learn and PyTorch all take
LARGEST_INT = 2**63 - 1  # of 64 bits; PyTorch refuses a larger one beside a tensor, whatever the tensor's type
FASTEST = 1e3  # a thousand times the learning rates in use; torch's optimisers overflow from about 1e37 on
SHOWN = 100  # largest number of characters of a value in a message


def check_count(name: str, value: Any, least: int = 1, most: int = MOST) -> None:
    """
    Check a whole number.

    :raises InvalidInputError: If it is no whole number from ``least`` to ``most``. ``True`` and ``False`` are not numbers.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        upper = "" if isinstance(value, bool) or not isinstance(value, int) or value <= most else f" and at most {most}"
        raise InvalidInputError(f"{name} must be a whole number of at least {least}{upper}; received {shown(value)}.")


def check_number(
    name: str,
    value: Any,
    what: str = "a number",
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> None:
    """
    Check a number. It has seven parameters, because each bound may or may not include its value.

    :param what: Description of the number for the message, such as "a share".
    :param above: Lower bound that is not allowed itself; ``least``: lower bound that is allowed.
    :param below: Upper bound that is not allowed itself; ``most``: upper bound that is allowed.
    :raises InvalidInputError: If it is no finite number, out of bounds, or a whole number that does not fit into 64 bits.
        ``True`` and ``False`` are not numbers.
    """
    bounds = {"above": above, "at least": least, "below": below, "at most": most}
    holds = is_number(value) and not (
        (above is not None and value <= above)
        or (least is not None and value < least)
        or (below is not None and value >= below)
        or (most is not None and value > most)
    )
    if not holds:
        words = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
        raise InvalidInputError(f"{name} must be {what}{' ' if words else ''}{words}; received {shown(value)}.")
    if isinstance(value, int) and abs(value) > LARGEST_INT:
        raise InvalidInputError(f"{name} must be a float, or a whole number of 64 bits; received {shown(value)}.")


def check_learning_rate(value: Any, name: str = "learning_rate") -> None:
    """
    Check the learning rate of an optimiser.

    :raises InvalidInputError: If it is no number above 0 and at most ``FASTEST``.
    """
    check_number(name, value, above=0, most=FASTEST)


def is_number(value: Any) -> bool:
    """Whether it is a finite ``int`` or ``float`` in the range of ``float``; ``True`` and ``False`` are not numbers."""
    return not isinstance(value, bool) and isinstance(value, (int, float)) and abs(value) <= sys.float_info.max


def checked_path(name: str, value: Any) -> Path:
    """
    The path of a file or folder.

    :raises InvalidInputError: If it is neither text nor a path.
    """
    if not isinstance(value, (str, Path)):
        raise InvalidInputError(f"{name} must be a path; received {shown(value)}.")
    return Path(value)


def check_flag(name: str, value: Any) -> None:
    """
    Check a flag.

    :raises InvalidInputError: If it is neither ``True`` nor ``False``.
    """
    if not isinstance(value, bool):
        raise InvalidInputError(f"{name} must be True or False; received {shown(value)}.")


def check_choice(name: str, value: Any, choices: Collection[str]) -> None:
    """
    Check a name against the names allowed.

    :raises InvalidInputError: If it is none of them.
    """
    if not isinstance(value, str) or value not in choices:
        raise InvalidInputError(f"{name} must be one of {', '.join(choices)}; received {shown(value)}.")


def shown(value: Any) -> str:
    """Give a value as text for a message, of at most 100 characters. (Python refuses to print very long numbers.)"""
    try:
        text = repr(value)
    except ValueError:
        text = f"a {type(value).__name__} that is too long to show"
    return text if len(text) <= SHOWN else text[:SHOWN] + " ..."


def plain(value: Any) -> Any:
    """Turn a NumPy scalar, such as an entry of ``np.arange``, into a Python number; so too in a dict, which is copied."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return value.item() if isinstance(value, np.generic) else value


class Renamed(NamedTuple):
    """
    What has taken the place of an old parameter.

    ``new``: the name of the present parameter. ``key``: the setting inside it, where the present parameter is a dict of
    settings. ``convert``: the old value in the terms of the new parameter; ``None`` where both are the same.
    """

    new: str
    key: str | None = None
    convert: Callable[[Any], Any] | None = None


def renamed(given: Mapping[str, Any], old: Mapping[str, Renamed], current: Mapping[str, Any]) -> dict[str, Any]:
    """
    Parameters by their present names. An old name still works for one release, with a ``FutureWarning`` that names the new
    form.

    :param given: Parameters by name, as the caller gave them; ``None`` means that a parameter is not set.
    :param old: What has taken the place of each old name.
    :param current: Present values; a setting inside a dict of settings is changed there, the others stay.
    :return: ``given`` without old names.
    :raises InvalidInputError: If an old name and the parameter in its place are both set.
    """
    found = {name: value for name, value in given.items() if name not in old}
    for name in [name for name in given if name in old]:
        new, key, convert = old[name]
        value = plain(given[name])
        value = convert(value) if convert is not None and value is not None else value
        if key is None:
            if value is not None and found.get(new) is not None:
                raise InvalidInputError(f"Give either {new} or its old name {name}, not both.")
            said = f"{new}={shown(value)}"
            found[new] = value if found.get(new) is None else found[new]
        else:
            said = f"{new}={shown({key: value})}"
            group = found.get(new) if found.get(new) is not None else current.get(new)
            if group is not None and not isinstance(group, dict):
                raise InvalidInputError(f"{new} must be a dict of settings or None; received {shown(group)}.")
            found[new] = {**(group or {}), key: value}
        warnings.warn(
            f"The parameter {name} goes with the next release: write {said} in place of {name}={shown(given[name])}.",
            FutureWarning,
            stacklevel=3,
        )
    return found


@contextmanager
def old_names_allowed() -> Iterator[None]:
    """Take old names of parameters without a warning, since whoever loads a saved file cannot change what it holds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def check_settings_dict(name: str, value: Any, known: Collection[str]) -> None:
    """
    :param known: The settings that the dict may hold.
    :raises InvalidInputError: If it is neither a dict of such settings nor ``None``.
    """
    if value is not None and not (isinstance(value, dict) and all(isinstance(key, str) for key in value)):
        raise InvalidInputError(f"{name} must be a dict of settings or None; received {shown(value)}.")
    if not set(value or {}) <= set(known):
        raise InvalidInputError(f"{name} must hold only {', '.join(known)}; received {shown(value)}.")


def check_layer_names(layers: Any) -> None:
    """
    Check the names of layers.

    :raises InvalidInputError: If they are neither a list of different names nor ``None``.
    """
    names = isinstance(layers, (list, tuple)) and all(isinstance(name, str) for name in layers)
    if layers is not None and not (names and len(set(layers)) == len(layers) > 0):
        raise InvalidInputError(
            f"layers must be a list of different names of the model's modules, or None; received {shown(layers)}."
        )
