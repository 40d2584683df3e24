"""Applies one function to many tasks through joblib: in local processes, or by the workers of a Dask or Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from joblib import Parallel, cpu_count, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError
from threadpoolctl import threadpool_limits

from art_plugins.errors import InvalidInputError, WorkersLostError
from art_plugins.evaluation.running.clusters import CLUSTER_WORKERS, check_workers
from art_plugins.evaluation.running.task_warnings import TaskWarning, collected_warnings, give_again
from art_plugins.evaluation.running.workers import StartedWorkers, as_it_is

BACKENDS = ("local", *CLUSTER_WORKERS)
FRUITLESS_ATTEMPTS = 3  # in a row, of which each lost workers and brought no result
MAPPED_FROM_BYTES = 50_000  # larger arrays go to local processes as one file that all of them map


def check_backend(backend: str, address: str | None = None, jobs: int | None = None) -> None:
    """
    Raise, before any heavy work, what :func:`parallel_map` would raise.

    :raises InvalidInputError: If an argument is out of range, or if nothing answers at the address within five seconds.
    :raises MissingPackageError: If the package of the backend is not installed.
    """
    if backend not in BACKENDS:
        raise InvalidInputError(f"backend must be one of {', '.join(BACKENDS)}; received {backend!r}.")
    if jobs is not None and jobs < 1:
        raise InvalidInputError(f"jobs must be a whole number of at least 1; received {jobs!r}.")
    if backend != "local":
        if jobs is not None:
            raise InvalidInputError(f"jobs is a number of local processes; a {backend} cluster uses all of its workers.")
        check_workers(backend, address)
    elif address is not None:
        raise InvalidInputError(f"address is that of a cluster, for {' or '.join(CLUSTER_WORKERS)}; the backend is local.")


HOW: dict[str, Any] = {
    "return_as": "generator_unordered",
    "batch_size": 1,
    "pre_dispatch": "4 * n_jobs",
    "max_nbytes": MAPPED_FROM_BYTES,
}


def parallel_map(
    function: Callable[[Any, Any], Any],
    shared: Any,
    tasks: Sequence[Any],
    *,
    backend: str = "local",
    address: str | None = None,
    jobs: int | None = None,
) -> Generator[tuple[int, Any], None, None]:
    """
    Yield ``(i, function(shared, tasks[i]))`` for every task, each once, as soon as it is there, in any order.

    Where a worker dies, the tasks whose results it had not given back are done again. A task that kills its worker every
    time ends the call with an error, and so does an error that ``function`` raises. Whoever takes the results may stop at
    any time. Warnings of the tasks are given by this process, each once.

    When this breaks: a task may run twice, so it must not write anywhere. A cluster needs this package on every machine,
    in the same versions. Ray works from the main thread only, and joblib replaces a cluster of one Ray CPU by this
    process.

    :param function: A function that the workers can import; its BLAS and OpenMP are limited to one thread.
    :param shared: What all tasks need. It travels once: local processes map its arrays from a file, Dask scatters it, Ray
        keeps it in its object store. ``function`` must not change it; its arrays may be read-only.
    :param tasks: What differs between the tasks; each should be small, since it travels by itself.
    :param backend: Who does the work, with ``address`` and ``jobs``: see
        :class:`~art_plugins.evaluation.running.workers.Workers`.
    :raises InvalidInputError: As :func:`check_backend` does; so for ``MissingPackageError``.
    :raises WorkersLostError: If workers die and no further task is finished.
    """
    check_backend(backend, address, jobs)
    left = dict(enumerate(tasks))
    given: set[TaskWarning] = set()
    fruitless = 0
    starting = _local_workers(shared, jobs) if backend == "local" else CLUSTER_WORKERS[backend](str(address), shared)
    with starting as workers:
        while left:
            n_before = len(left)
            call = delayed(_call)
            calls = [call(function, workers.shared, workers.open_shared, index, task) for index, task in left.items()]
            error: BaseException | None = None
            try:
                # Left again at once: a configuration that lasted would catch the caller's own joblib between two results.
                with parallel_config(**workers.config()):
                    parallel = Parallel(**HOW)
                with closing(parallel(calls)) as results:
                    for index, result, found in results:
                        del left[index]
                        give_again(found, given)
                        yield index, result
            except workers.lost as lost:
                error = lost
            fruitless = fruitless + 1 if len(left) == n_before else 0
            if fruitless == FRUITLESS_ATTEMPTS:
                raise WorkersLostError(
                    f"Workers of the backend {backend} died {fruitless} times, and none of the last {len(left)} tasks was "
                    f"done ({type(error).__name__}); look at their memory and their logs."
                ) from error


@contextmanager
def _local_workers(shared: Any, jobs: int | None) -> Iterator[StartedWorkers]:
    config = {"backend": "loky", "n_jobs": jobs or cpu_count(), "inner_max_num_threads": 1}
    yield StartedWorkers(lambda: config, shared, as_it_is, (TerminatedWorkerError,))


def _call(
    function: Callable[[Any, Any], Any], shared: Any, open_shared: Callable[[Any], Any], index: int, task: Any
) -> tuple[int, Any, list[TaskWarning]]:
    with threadpool_limits(limits=1), collected_warnings() as found:
        return index, function(open_shared(shared), task), found
