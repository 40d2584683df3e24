"""Warnings of tasks: collected in the worker that runs the task, and given again by the process that started it."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class TaskWarning(NamedTuple):
    """A warning in a form that travels between processes, with the place where it was raised."""

    text: str
    category: type[Warning]
    filename: str
    line: int


class _Thread(threading.local):
    """What the task of this thread collects. ``None``: this thread runs no task."""

    found: list[TaskWarning] | None = None


_thread = _Thread()
_lock = threading.Lock()
_n_tasks = 0
_show: Callable[..., None] = warnings.showwarning


@contextmanager
def collected_warnings() -> Iterator[list[TaskWarning]]:
    """
    Collect the warnings of this thread in place of showing them.

    Python's own ``catch_warnings`` would not do, because a worker of Dask runs several tasks in threads of one process.
    """
    global _n_tasks, _show
    with _lock:
        if not _n_tasks:
            _show, warnings.showwarning = warnings.showwarning, _collect
        _n_tasks += 1
    _thread.found = []
    try:
        yield _thread.found
    finally:
        _thread.found = None
        with _lock:
            _n_tasks -= 1
            if not _n_tasks:
                warnings.showwarning = _show


def give_again(found: list[TaskWarning], given: set[TaskWarning]) -> None:
    """
    Give the warnings of a task again, each once.

    :param found: Warnings of the task.
    :param given: Those that were given before; the new ones are added.
    """
    for one in found:
        if one not in given:
            given.add(one)
            warnings.warn_explicit(one.text, one.category, one.filename, one.line)


def _collect(message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: Any, **more: Any) -> None:
    if _thread.found is None:
        _show(message, category, filename, lineno, *rest, **more)
    else:
        _thread.found.append(TaskWarning(str(message), category, filename, lineno))
