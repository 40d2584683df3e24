"""The workers of a Dask cluster that runs already."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.running.workers import (
    ANSWER_S,
    CLOSE_S,
    CONNECT_S,
    NoAnswerError,
    StartedWorkers,
    as_it_is,
    no_cluster,
    within,
)
from art_plugins.optional import import_optional

SCATTER_S = 120.0  # a gigabyte over a network of 100 Mbit/s takes 80


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
        raise no_cluster("dask", address, error) from error

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
