"""Checks of single parameters: each names the parameter, what it may be, and what it was."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError

MOST = 2**31 - 1  # the largest count and the largest seed that NumPy, scikit-learn and PyTorch all take
SHOWN = 100  # characters of a value in a message


def check_count(name: str, value: Any, least: int = 1, most: int = MOST) -> None:
    """
    :raises InvalidInputError: If it is no whole number from ``least`` to ``most``; ``True`` and ``False`` are none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        upper = "" if isinstance(value, bool) or not isinstance(value, int) or value <= most else f" and at most {most}"
        raise InvalidInputError(f"{name} must be a whole number of at least {least}{upper}; received {shown(value)}.")


def check_counts(name: str, values: Any, least: int, most: int = MOST) -> None:
    """
    :raises InvalidInputError: If it is no list of different whole numbers from ``least`` to ``most``.
    """
    whole = isinstance(values, (list, tuple)) and all(
        isinstance(value, int) and not isinstance(value, bool) and least <= value <= most for value in values
    )
    if not whole or not len(set(values)) == len(values) > 0:
        raise InvalidInputError(
            f"{name} must be a list of different whole numbers from {least} to {most}; received {shown(values)}."
        )


def check_number(name: str, value: Any, holds: bool, words: str) -> None:
    """
    :param holds: Whether the number is in its range; reckoned by :func:`is_number` and comparisons.
    :param words: The range.
    :raises InvalidInputError: If it is not.
    """
    if not holds:
        raise InvalidInputError(f"{name} must be {words}; received {shown(value)}.")


def is_number(value: Any) -> bool:
    """Whether it is a finite number of Python's; ``True`` and ``False`` are none, and neither is ``10**400``."""
    return not isinstance(value, bool) and isinstance(value, (int, float)) and abs(value) <= sys.float_info.max


def check_flag(name: str, value: Any) -> None:
    """
    :raises InvalidInputError: If it is neither ``True`` nor ``False``.
    """
    if not isinstance(value, bool):
        raise InvalidInputError(f"{name} must be True or False; received {shown(value)}.")


def check_choice(name: str, value: Any, choices: Collection[str]) -> None:
    """
    :raises InvalidInputError: If it is none of the names; what cannot be hashed, such as a list, is none.
    """
    if not isinstance(value, str) or value not in choices:
        raise InvalidInputError(f"{name} must be one of {', '.join(choices)}; received {shown(value)}.")


def shown(value: Any) -> str:
    """A value in a message: at most 100 characters; Python refuses to write out numbers of thousands of digits."""
    try:
        text = repr(value)
    except ValueError:
        text = f"a {type(value).__name__} that is too long to show"
    return text if len(text) <= SHOWN else text[:SHOWN] + " ..."


def plain(value: Any) -> Any:
    """A NumPy scalar, as sweeps over ``np.arange`` give them, as Python's own number."""
    return value.item() if isinstance(value, np.generic) else value
