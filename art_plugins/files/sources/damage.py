"""What a damaged or hostile file says: refused if it would fill the disk, and quoted in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.files.file_walk import printable

ALWAYS_ALLOWED = 2**30  # bytes
# Pictures and sounds become at most some ten times smaller when they are compressed; a file of zeros a thousand times.
MOST_EXPANSION = 100
MOST_QUOTED = 300  # letters


def check_expansion(path: Path, n_bytes: int) -> None:
    """
    :param n_bytes: Size of what the file holds.
    :raises InvalidInputError: If it is a decompression bomb.
    """
    packed = path.stat().st_size
    if n_bytes > ALWAYS_ALLOWED and n_bytes > MOST_EXPANSION * packed:
        raise InvalidInputError(
            f"{path} looks like a decompression bomb: {packed:,} bytes would become {n_bytes:,}. If you trust it, save its "
            "content without compression."
        )


def values_of(array: np.ndarray, what: str) -> list[Any]:
    """
    The entries of an array as plain Python values.

    :param what: What the array is, for the message.
    :raises InvalidInputError: If it holds letters that do not exist.
    """
    try:
        values: list[Any] = array.tolist()
    except Exception as error:  # of its own type for each kind of damage
        raise InvalidInputError(f"{what} are damaged ({one_line(error)}).") from error
    return values


def one_line(error: BaseException) -> str:
    """The message of an error of another package, which may have several lines, and may quote bytes of the file."""
    words = printable(" ".join(str(error).split())) or type(error).__name__
    return words if len(words) <= MOST_QUOTED else f"{words[:MOST_QUOTED]} ..."
