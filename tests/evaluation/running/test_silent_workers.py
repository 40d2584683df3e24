"""Workers that take a connection and say nothing, lack the package, or hang: a named error in bounded time."""

from __future__ import annotations

import operator
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from art_plugins.errors import InvalidInputError, WorkersLostError
from art_plugins.evaluation.running import dask_cluster, ray_cluster
from art_plugins.evaluation.running.parallel import parallel_map
from art_plugins.evaluation.running.workers import NoAnswerError, within

BOUND_S = 18  # 3 and the imports, on a machine that does other things as well


@pytest.fixture
def silent_address() -> Iterator[str]:
    """Takes every connection, reads, and never answers."""
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        for connection in taken:
            connection.close()


@pytest.mark.parametrize(("backend", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_parallel_map_silent_address_is_refused_within_seconds(backend, package, silent_address, monkeypatch):
    pytest.importorskip(package)
    monkeypatch.setattr(dask_cluster, "ANSWER_S", 3)
    monkeypatch.setattr(ray_cluster, "RAY_ANSWER_S", 3)
    start = time.monotonic()
    with pytest.raises(InvalidInputError, match=f"No {backend} cluster answers at {silent_address}"):
        list(parallel_map(operator.getitem, [5], [0], backend=backend, address=silent_address))
    assert time.monotonic() - start < BOUND_S


def test_within_gives_results_and_errors_and_undoes_what_is_late():
    assert within(5, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 / 0)
    undone = threading.Event()
    with pytest.raises(NoAnswerError):
        within(0.05, lambda: time.sleep(0.3), lambda late: undone.set())
    assert undone.wait(5)


def test_dask_without_the_package_or_with_a_hanging_scatter_is_a_named_error(start_cluster, monkeypatch):
    pytest.importorskip("distributed")
    with start_cluster("dask", 1) as (arguments, _):
        assert list(parallel_map(operator.getitem, [5, 6], [1], **arguments)) == [(0, 6)]
        with monkeypatch.context() as patch:
            patch.setattr("distributed.Client.run", lambda self, function: {"tcp://worker": (False, None, (3, 9))})
            with pytest.raises(InvalidInputError, match=r"tcp://worker has Python 3\.9 and no art_plugins"):
                list(parallel_map(operator.getitem, [5, 6], [1], **arguments))
        with monkeypatch.context() as patch:
            patch.setattr("distributed.Client.run_on_scheduler", lambda self, function: _raise())
            with pytest.raises(InvalidInputError, match="cannot run this Python's functions"):
                list(parallel_map(operator.getitem, [5, 6], [1], **arguments))
        monkeypatch.setattr(dask_cluster, "SCATTER_S", 0.1)
        monkeypatch.setattr("distributed.Client.scatter", lambda *args, **kwargs: time.sleep(2))
        with pytest.raises(WorkersLostError, match="none of the last 1 tasks was done"):
            list(parallel_map(operator.getitem, [5, 6], [1], **arguments))


def _raise() -> None:
    raise RuntimeError("Error during deserialization of the task graph")
