"""One result for every task, also where workers are killed: local processes, a real Dask cluster, a real Ray."""

from __future__ import annotations

import json
import operator
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from threadpoolctl import threadpool_info

from art_plugins.errors import InvalidInputError, MissingPackageError, WorkersLostError
from art_plugins.evaluation import parallel, sweep
from art_plugins.evaluation.parallel import check_backend, parallel_map
from art_plugins.evaluation.sweep_tables import sweep_report

# Read when Ray is imported: no tokens in the home directory, no telephoning, loopback addresses only.
os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0")
BACKENDS = ["local", "dask", "ray"]


class Cluster:
    """``arguments`` of :func:`parallel_map`, and the processes of its two workers."""

    def __init__(self, arguments: dict[str, Any], pids: Callable[[], list[int]], scheduler: Any = None) -> None:
        self.arguments, self.pids, self.scheduler = arguments, pids, scheduler


@pytest.fixture(scope="module")
def local() -> Cluster:
    return Cluster({"jobs": 2}, lambda: _named(psutil.Process().children(), "popen_loky_posix"))


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        local_directory=str(tmp_path_factory.mktemp("dask")),
        silence_logs=50,
    ) as cluster:
        arguments = {"backend": "dask", "address": cluster.scheduler_address}
        yield Cluster(arguments, lambda: [worker.pid for worker in cluster.workers.values()], cluster.scheduler)


@pytest.fixture(scope="module")
def ray() -> Iterator[Cluster]:
    pytest.importorskip("ray")
    folder = tempfile.mkdtemp(prefix="ray")  # Ray's sockets bear no long path
    os.environ["RAY_TMPDIR"] = folder
    from ray.cluster_utils import Cluster as RayCluster

    head = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 100 * 2**20}
    cluster = RayCluster(initialize_head=True, head_node_args=head)
    try:
        yield Cluster(
            {"backend": "ray", "address": cluster.address},
            lambda: _named(psutil.Process().children(recursive=True), "ray::PoolActor"),
        )
    finally:
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=BACKENDS)
def cluster(request: pytest.FixtureRequest) -> Cluster:
    found: Cluster = request.getfixturevalue(request.param)
    return found


def _named(processes: list[psutil.Process], name: str) -> list[int]:
    return [process.pid for process in processes if any(name in word for word in process.cmdline())]


def test_parallel_map_every_task_once_with_its_own_result_and_arrays_unharmed(cluster):
    squares = np.arange(100_000.0) ** 2  # large enough to be mapped, scattered, stored
    tasks = list(range(0, 90_000, 9_000))
    found = list(parallel_map(operator.getitem, squares, tasks, **cluster.arguments))
    assert sorted(found) == [(i, float(task) ** 2) for i, task in enumerate(tasks)]


def test_parallel_map_workers_have_one_thread_and_the_tasks_are_not_done_here(cluster):
    def threads(shared: None, task: int) -> tuple[int, list[int]]:
        np.ones((20, 20)) @ np.ones((20, 20))
        return os.getpid(), [pool["num_threads"] for pool in threadpool_info()]

    for _, (pid, found) in parallel_map(threads, None, range(4), **cluster.arguments):
        assert pid != os.getpid()
        assert found
        assert set(found) == {1}


def test_parallel_map_error_of_the_function_is_raised_and_the_next_call_works(cluster):
    with pytest.raises(IndexError, match="out of range"):
        list(parallel_map(operator.getitem, [5, 6], [0, 7], **cluster.arguments))
    assert list(parallel_map(operator.getitem, [5, 6], [1], **cluster.arguments)) == [(0, 6)]


def test_parallel_map_task_that_kills_every_worker_ends_in_an_error(cluster, monkeypatch):
    def deadly(shared: None, task: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(parallel, "FRUITLESS_ATTEMPTS", 1)
    if cluster.scheduler is not None:
        monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    with pytest.raises(WorkersLostError, match="none of the last 1 tasks"):
        list(parallel_map(deadly, None, [0], **cluster.arguments))


def test_run_sweep_worker_killed_in_the_middle_the_records_are_those_of_one_process(cluster, tmp_path, monkeypatch):
    labels = np.repeat(np.arange(6), 60)
    random = np.random.default_rng(3)

    def draw() -> np.ndarray:
        return random.normal(size=(len(labels), 4)).astype(np.float32)

    clean = sweep.Views(draw(), [draw()], [draw(), draw()])
    triggered = sweep.Views(clean.latents, clean.steps, [3 + 0.2 * draw(), clean.frames[1]])
    data = sweep.EncodedData(labels, tuple("abcdef"), clean, {"clapping": triggered})
    monkeypatch.setattr(sweep, "encode_all", lambda *arguments: data)

    def run(out: Path, **arguments: Any) -> dict[str, Any]:
        return sweep.run_sweep(
            None, None, ["clapping"], 4, [("a", "b")], out, "sweep", sweep_report, n_pairs=12, verbose=False, **arguments
        )

    killed: list[int] = []

    def kill() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and len(list((tmp_path / "many/unfinished").glob("*.json"))) < 3:
            time.sleep(0.01)
        killed.extend(cluster.pids()[:1])
        for pid in killed:
            os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    made = run(tmp_path / "many", **cluster.arguments)
    thread.join()
    expected = run(tmp_path / "one", jobs=1)
    assert len(killed) == 1
    assert not psutil.pid_exists(killed[0]) or psutil.Process(killed[0]).status() == psutil.STATUS_ZOMBIE
    assert len(made["runs"]) == 4 + 12 + len(sweep.FRACTIONS)
    assert_alike(made["runs"], expected["runs"])
    assert json.loads((tmp_path / "many/record.json").read_text(encoding="utf-8")) == made


def assert_alike(found: Any, expected: Any) -> None:
    """Equal but for the last digits: workers' arrays may lie otherwise in memory."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        assert_alike(list(found.values()), list(expected.values()))
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)
    else:
        assert found == expected


def test_parallel_map_stopped_by_the_caller_leaves_the_cluster_usable(cluster):
    found = parallel_map(operator.getitem, [5] * 50, range(50), **cluster.arguments)
    next(found)
    found.close()
    assert len(list(parallel_map(operator.getitem, [5] * 50, range(50), **cluster.arguments))) == 50


@pytest.mark.parametrize(("backend", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_check_backend_without_the_package_names_the_extra(backend, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"art-plugins\[{backend}\]"):
        check_backend(backend, "127.0.0.1:1")


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_check_backend_address_that_does_not_answer_is_refused_soon(backend):
    pytest.importorskip({"dask": "distributed"}.get(backend, backend))
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port = closed_soon.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(InvalidInputError, match=f"No {backend} cluster answers at 127.0.0.1:{port}"):
        check_backend(backend, f"127.0.0.1:{port}")
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("slurm",), "backend must be one of local, dask, ray; received 'slurm'"),
        (("local", None, 0), "jobs must be a whole number of at least 1; received 0"),
        (("local", "127.0.0.1:1"), "the backend is local"),
        (("dask", "127.0.0.1:1", 2), "a dask cluster uses all of its workers"),
        (("dask", None), "needs an address such as tcp://127.0.0.1:8786; received None"),
        (("dask", "host"), "needs an address such as"),
        (("dask", "tcp://host:port"), "needs an address such as"),
        (("ray", "ray://127.0.0.1:10001"), "needs an address such as 127.0.0.1:6379"),
    ],
)
def test_check_backend_refuses_by_name(arguments, message):
    if arguments[0] in ("dask", "ray"):
        pytest.importorskip({"dask": "distributed"}.get(arguments[0], arguments[0]))
    with pytest.raises(InvalidInputError, match=message):
        check_backend(*arguments)
