"""The kinds of cluster whose workers can be used, and whether one answers."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.running.dask_cluster import dask_workers
from art_plugins.evaluation.running.ray_cluster import ray_workers
from art_plugins.evaluation.running.workers import CONNECT_S, no_cluster
from art_plugins.optional import import_optional

PACKAGES = {"dask": "distributed", "ray": "ray"}
EXAMPLES = {"dask": "tcp://127.0.0.1:8786", "ray": "127.0.0.1:6379"}
CLUSTER_WORKERS = {"dask": dask_workers, "ray": ray_workers}


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
        raise no_cluster(backend, str(address), error) from error
