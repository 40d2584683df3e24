"""What a damaged or hostile file says: refused if it would fill the disk, and quoted in one line."""

from __future__ import annotations

from pathlib import Path

from art_plugins.errors import InvalidInputError

ALWAYS_ALLOWED = 2**30  # bytes
# Pictures and sounds become at most some ten times smaller when they are compressed; a file of zeros a thousand times.
MOST_EXPANSION = 100


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


def one_line(error: BaseException) -> str:
    """The message of an error of another package, which may have several lines."""
    return " ".join(str(error).split()) or type(error).__name__
