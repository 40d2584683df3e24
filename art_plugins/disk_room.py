"""Room on the disk for temporary arrays, taken before anything is written."""

from __future__ import annotations

import errno
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError

ZEROS_BYTES = 2**20
IN_MEMORY_BYTES = 16 * 2**20  # an array that is not larger is held in memory


@contextmanager
def temporary_file(n_bytes: int, what: str) -> Iterator[Any]:
    """A file without a name and with room on the disk, which is gone when the block ends or the process is killed."""
    with tempfile.TemporaryFile() as file:
        take_room(file.fileno(), n_bytes, what)
        yield file


def scratch_array(shape: tuple[int, ...], dtype: Any, what: str) -> np.ndarray:
    """
    Give an array of zeros; a large one lies in a temporary file without a name, which is gone when nothing uses the array.

    :param shape: Shape of the array.
    :param dtype: Type of its values.
    :param what: What needs the room, as for :func:`take_room`.
    :raises InvalidInputError: If the disk is too full.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes <= IN_MEMORY_BYTES:
        return np.zeros(shape, dtype)
    with temporary_file(n_bytes, what) as file:
        return np.asarray(np.memmap(file, dtype, "r+", shape=shape))  # the map outlives the file


def take_room(descriptor: int, n_bytes: int, what: str) -> None:
    """
    Reserve the room on the disk. Without this, a full disk would end the process while it writes to a memory map.

    :param descriptor: A temporary file that is empty.
    :param what: What needs the room, with the verb, such as ``"The 120 decoded files need"``.
    :raises InvalidInputError: If there is too little room.
    """
    try:
        if not _fallocate(descriptor, n_bytes):
            for start in range(0, n_bytes, ZEROS_BYTES):
                os.write(descriptor, bytes(min(ZEROS_BYTES, n_bytes - start)))
            os.lseek(descriptor, 0, os.SEEK_SET)
    except (OSError, OverflowError) as error:
        size = f"{math.ceil(n_bytes / 1e6):,} MB"
        raise InvalidInputError(
            f"{what} {size} in {tempfile.gettempdir()}, but there is not enough space "
            f"({getattr(error, 'strerror', None) or error}); choose shorter clips or smaller images, or set another "
            "folder in TMPDIR."
        ) from error


def _fallocate(descriptor: int, n_bytes: int) -> bool:
    """Whether the operating system and the file system could reserve the room at once."""
    if not hasattr(os, "posix_fallocate"):
        return False
    try:
        os.posix_fallocate(descriptor, 0, n_bytes)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        return False
    return True
