"""One result for every task, also where workers are killed: local processes, a real Dask cluster, a real Ray."""

from __future__ import annotations

import json
import operator
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from threadpoolctl import threadpool_info

from art_plugins.errors import InvalidInputError, MissingPackageError, WorkersLostError
from art_plugins.evaluation import sweep
from art_plugins.evaluation.encoded import EncodedData
from art_plugins.evaluation.running import parallel
from art_plugins.evaluation.running.parallel import check_backend, parallel_map
from art_plugins.evaluation.running.runs import Recording
from art_plugins.evaluation.running.workers import Workers
from art_plugins.features.views import Views

BACKENDS = ["local", "dask", pytest.param("ray", marks=pytest.mark.slow)]  # a Ray cluster takes its time to start


@pytest.fixture(scope="module")
def local() -> Any:
    return SimpleNamespace(arguments={"jobs": 2}, pids=lambda: _named("popen_loky_posix"))


@pytest.fixture(scope="module")
def dask(start_cluster) -> Iterator[Any]:
    with start_cluster("dask", 2) as (arguments, cluster):
        pids = lambda: [worker.pid for worker in cluster.workers.values()]  # noqa: E731
        yield SimpleNamespace(arguments=arguments, pids=pids, scheduler=cluster.scheduler)


@pytest.fixture(scope="module")
def ray(start_cluster) -> Iterator[Any]:
    with start_cluster("ray", 2) as (arguments, _):
        yield SimpleNamespace(arguments=arguments, pids=lambda: _named("ray::PoolActor"))


@pytest.fixture(params=BACKENDS)
def cluster(request: pytest.FixtureRequest) -> Any:
    """``arguments`` of :func:`parallel_map`; ``pids`` of the two workers."""
    return request.getfixturevalue(request.param)


def _named(name: str) -> list[int]:
    processes = psutil.Process().children(recursive=True)
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
    if hasattr(cluster, "scheduler"):
        monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    with pytest.raises(WorkersLostError, match="none of the last 1 tasks"):
        list(parallel_map(deadly, None, [0], **cluster.arguments))


@pytest.fixture(scope="module")
def drawn_sweep() -> Iterator[Callable[..., dict[str, Any]]]:
    """A sweep of eleven sets of drawn views; the trigger shows in one window of time."""
    labels = np.repeat(np.arange(6), 40)
    random = np.random.default_rng(3)

    def draw() -> np.ndarray:
        return random.normal(size=(len(labels), 4)).astype(np.float32)

    clean = Views(draw(), [draw()], [draw(), draw()])
    triggered = Views(clean.latents, clean.steps, [3 + 0.2 * draw(), clean.frames[1]])
    data = EncodedData(labels, tuple("abcdef"), clean, {"clapping": triggered})

    def run(out: Path, **arguments: Any) -> dict[str, Any]:
        plan = sweep.SweepPlan(["clapping"], 3, [("a", "b")], n_pairs=6)
        return sweep.run_sweep(None, None, plan, Recording(out, "sweep", verbose=False), Workers(**arguments))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "encode_all", lambda *arguments: data)
        patch.setattr(sweep, "FRACTIONS", (0.25, 0.4))
        yield run


@pytest.fixture(scope="module")
def in_one_process(drawn_sweep, tmp_path_factory) -> dict[str, Any]:
    return drawn_sweep(tmp_path_factory.mktemp("one"), jobs=1)


@pytest.mark.slow
def test_run_sweep_worker_killed_in_the_middle_the_records_are_those_of_one_process(
    cluster, drawn_sweep, in_one_process, tmp_path
):
    killed: list[int] = []

    def kill() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and len(list(tmp_path.glob("unfinished/*.json"))) < 2:
            time.sleep(0.01)
        killed.extend(cluster.pids()[:1])
        for pid in killed:
            os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    made = drawn_sweep(tmp_path, **cluster.arguments)
    thread.join()
    assert len(killed) == 1
    assert not psutil.pid_exists(killed[0]) or psutil.Process(killed[0]).status() == psutil.STATUS_ZOMBIE
    assert [run["kind"] for run in made["runs"]] == ["clean"] * 3 + ["attacks"] * 6 + ["curve"] * 2
    assert_alike(made["runs"], in_one_process["runs"])
    assert json.loads((tmp_path / "record.json").read_text(encoding="utf-8")) == made


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # joblib's advice to ask for less
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
