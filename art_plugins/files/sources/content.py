"""The SHA-256 of the content of a sample, by which it is known again under another name."""

from __future__ import annotations

import hashlib
from pathlib import Path

BLOCK_BYTES = 2**20
MOST_BYTES = 4 * 2**30  # a larger file is a recording of many hours, or a sparse file that would be read for hours


def content_hash(path: Path) -> str:
    """
    As the command ``sha256sum`` gives it; empty for a file that is too large or has become unreadable.

    :param path: A file.
    """
    digest = hashlib.sha256()
    try:
        if path.stat().st_size > MOST_BYTES:
            return ""
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()
