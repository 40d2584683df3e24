"""Workers for joblib: local processes, and the workers of a Dask or Ray cluster that runs already."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from art_plugins.errors import InvalidInputError
from art_plugins.optional import import_optional

PACKAGES = {"dask": "distributed", "ray": "ray"}
EXAMPLES = {"dask": "tcp://127.0.0.1:8786", "ray": "127.0.0.1:6379"}
CONNECT_S, CLOSE_S = 5.0, 30.0
ANSWER_S = 10.0  # for a cluster that took the connection; Dask itself goes on asking a silent one for minutes
RAY_ANSWER_S = 15.0  # with the import of Ray
SCATTER_S = 120.0  # a gigabyte over a network of 100 Mbit/s takes 80


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


def check_workers(backend: str, address: str | None) -> None:
    """
    Check that workers can be reached, before any heavy work.

    :param backend: ``"dask"`` or ``"ray"``.
    :param address: ``tcp://host:port`` of Dask's scheduler; ``host:port`` of Ray's head, from a machine of its cluster.
    :raises InvalidInputError: If the address has another form, or nothing answers there within five seconds.
    :raises MissingPackageError: If the package of the backend is not installed.
    """
    import_optional(PACKAGES[backend])
    try:
        parts = urlsplit(address if "://" in str(address) else f"//{address or ''}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or (backend == "ray" and parts.scheme):
        raise InvalidInputError(
            f"The backend {backend} needs an address such as {EXAMPLES[backend]}; received {address!r}."
        )
    try:
        socket.create_connection((str(host), port), timeout=CONNECT_S).close()
    except OSError as error:
        raise _no_cluster(backend, str(address), error) from error


@contextmanager
def dask_workers(address: str, shared: Any) -> Iterator[StartedWorkers]:
    """Connect to all workers of a Dask cluster."""
    distributed = import_optional("distributed")
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):  # type: ignore[misc, no-any-unimported, unused-ignore]
        def submit(self, func: Any, callback: Any = None) -> Any:
            # joblib 1.6 waits without end for a task that Dask has given up, since its callback is never called.
            future = super().submit(func, callback)
            future.add_done_callback(lambda done: callback(done.exception()) if done.exception() else None)
            return future

    def connect() -> Any:
        return distributed.Client(address, timeout=CONNECT_S, set_as_default=False)

    try:
        client = within(ANSWER_S, connect, lambda late: late.close())
    except (OSError, ValueError, RuntimeError, NoAnswerError) as error:
        raise _no_cluster("dask", address, error) from error

    def config() -> dict[str, Any]:  # scatters anew for every attempt: what lay with dead workers only is lost
        return {"backend": within(SCATTER_S, lambda: Backend(client=client, scatter=[shared]))}

    try:
        _check_dask_packages(client, address)
        yield StartedWorkers(config, shared, as_it_is, (distributed.KilledWorker, CancelledError, NoAnswerError))
    finally:
        client.close(timeout=CLOSE_S)


def _check_dask_packages(client: Any, address: str) -> None:
    """
    Check that all machines of the cluster have the package in the version of this machine.

    :raises InvalidInputError: If the scheduler or a worker lacks this package, or has another version of it or of Python.
    """

    def installed() -> tuple[bool, str | None, tuple[int, int]]:  # local, so that its code travels, not its name
        import sys
        from importlib import metadata, util

        try:
            version = metadata.version("art-plugins")
        except metadata.PackageNotFoundError:
            version = None
        return util.find_spec("art_plugins") is not None, version, (sys.version_info[0], sys.version_info[1])

    try:
        found = within(ANSWER_S, lambda: {"its scheduler": client.run_on_scheduler(installed), **client.run(installed)})
    except (OSError, ValueError, RuntimeError, TypeError, ImportError, NoAnswerError) as error:  # of other versions
        raise InvalidInputError(
            f"The dask cluster at {address} cannot run this Python's functions ({error}); give its scheduler and workers "
            "the versions of Python, dask and cloudpickle that are here."
        ) from error
    here = installed()
    wrong = [name for name, there in found.items() if there != here]
    if wrong:
        has_package, version, python = found[wrong[0]]
        has = f"Python {python[0]}.{python[1]} and " + (f"art-plugins {version}" if has_package else "no art_plugins")
        raise InvalidInputError(
            f"The dask cluster at {address} must have Python {here[2][0]}.{here[2][1]} and art-plugins {here[1]} on every "
            f"machine, as here; {wrong[0]} has {has}. Install the same there."
        )


def _check_ray_health(address: str) -> None:
    """
    Run Ray's own check in a process of its own, since Ray ends a process that waits for a silent address.

    :raises NoAnswerError: If no head answers there, if it has another version of Ray or Python, or if it takes too long.
    """
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RAY_ANSWER_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise NoAnswerError(f"it took the connection and said nothing for {RAY_ANSWER_S:g} seconds") from error
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or ["it does not answer as Ray does"]
        raise NoAnswerError(words[-1])


@contextmanager
def ray_workers(address: str, shared: Any) -> Iterator[StartedWorkers]:
    """Connect to all CPUs of a Ray cluster. A connection that is there already is used and stays open."""
    ray = import_optional("ray")
    from ray.util.joblib.ray_backend import RayBackend
    from ray.util.multiprocessing.pool import ResultThread

    class Backend(RayBackend):  # type: ignore[misc, no-any-unimported, unused-ignore]
        # Ray inherits "no" from multiprocessing, whose pool can deadlock; its own pool of actors gives results one by one.
        supports_return_generator = True

    logging.getLogger("ray.util.multiprocessing").setLevel(logging.ERROR)  # of an argument that joblib hands over
    connected_here = not ray.is_initialized()
    if connected_here:
        try:
            _check_ray_health(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError, NoAnswerError) as error:
            raise _no_cluster("ray", address, error) from error
    errors = ray.exceptions
    try:
        yield StartedWorkers(
            lambda: {"backend": Backend(ray_remote_args={"num_cpus": 1}), "n_jobs": -1},
            ray.put(shared),
            ray.get,
            (errors.RayActorError, errors.WorkerCrashedError, errors.ObjectLostError),
        )
    finally:
        if connected_here:
            # A thread that still waited for a result would connect anew, or start a Ray of its own.
            for thread in threading.enumerate():
                if isinstance(thread, ResultThread):
                    thread.join(CLOSE_S)
            ray.shutdown()


CLUSTER_WORKERS = {"dask": dask_workers, "ray": ray_workers}


def _no_cluster(backend: str, address: str, error: BaseException) -> InvalidInputError:
    return InvalidInputError(f"No {backend} cluster answers at {address} ({error}); start it, or give its address.")
