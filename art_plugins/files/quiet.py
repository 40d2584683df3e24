"""A block in which this process prints nothing: decoders that are written in C print past Python."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def without_output() -> Iterator[None]:
    """
    Send standard output and standard error of the process to nowhere, for as long as the block lasts.

    Other threads print nothing in this time either, so the block has to be short.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # there is none, or it is closed
            stream.flush()
    kept: dict[int, int] = {}
    try:
        with suppress(OSError):  # a program without a terminal may have closed them
            for output in (1, 2):
                kept[output] = os.dup(output)
        nothing = os.open(os.devnull, os.O_WRONLY)
        for output in kept:
            os.dup2(nothing, output)
        os.close(nothing)
        yield
    finally:
        for output, copy in kept.items():
            os.dup2(copy, output)
            os.close(copy)
