"""What workers of every kind have in common: their settings, what joblib needs of them, and waiting for an answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from art_plugins.errors import InvalidInputError

CONNECT_S, CLOSE_S = 5.0, 30.0
ANSWER_S = 10.0  # for a cluster that took the connection; Dask itself goes on asking a silent one for minutes


class NoAnswerError(Exception):
    """The workers have not answered within their time."""


def within(seconds: float, call: Callable[[], Any], undo: Callable[[Any], Any] = lambda late: None) -> Any:
    """
    Wait so many seconds for the result of ``call``. A call that is late goes on in a thread of its own.

    :param seconds: How long to wait.
    :param undo: Called with a result that comes too late.
    :raises NoAnswerError: If there is no result after so many seconds.
    """
    found: list[Any] = []
    errors: list[BaseException] = []
    lock, over = threading.Lock(), threading.Event()

    def run() -> None:
        try:
            result = call()
        except BaseException as error:
            errors.append(error)
            return
        with lock:
            found.append(result)
            late = over.is_set()
        if late:
            undo(result)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    with lock:
        if not found and not errors:
            over.set()
            raise NoAnswerError(f"it took the connection and said nothing for {seconds:g} seconds")
    if errors:
        raise errors[0]
    return found[0]


@dataclass(frozen=True)
class Workers:
    """
    Who does the work of :func:`~art_plugins.evaluation.running.parallel.parallel_map`.

    :param backend: ``"local"``: processes of this machine; ``"dask"`` or ``"ray"``: the workers of such a cluster.
    :param address: Address of the cluster: ``tcp://host:port`` of Dask's scheduler, ``host:port`` of Ray's head.
    :param jobs: Number of local processes; ``None``: as many as cores; 1: this process alone.
    """

    backend: str = "local"
    address: str | None = None
    jobs: int | None = None


LOCAL_WORKERS = Workers()


class StartedWorkers(NamedTuple):
    """
    What joblib needs of workers that have been started.

    ``config``: makes the arguments of :func:`joblib.parallel_config`. ``shared``: the shared value in the form in which a
    task carries it. ``open_shared``: gives the value back in the worker. ``lost``: errors that are raised where workers
    die.
    """

    config: Callable[[], dict[str, Any]]
    shared: Any
    open_shared: Callable[[Any], Any]
    lost: tuple[type[BaseException], ...]


def as_it_is(value: Any) -> Any:
    """Give the value back, for backends that bring the value to the worker themselves."""
    return value


def no_cluster(backend: str, address: str, error: BaseException) -> InvalidInputError:
    """Give the error for an address at which no cluster answers."""
    return InvalidInputError(f"No {backend} cluster answers at {address} ({error}); start it, or give its address.")
