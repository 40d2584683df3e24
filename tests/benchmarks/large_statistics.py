"""
The statistics alone on synthetic features, in time and memory: ``python tests/benchmarks/large_statistics.py --n 1000000``.

A twentieth of the first class is a crowd of its own, which has to be found. Each call adds a row to ``large_data.json``.
``--workers 2 --backend dask`` lets two workers split the classes: of a cluster of Dask or Ray, which it starts on this
machine, or processes of joblib (``loky``).
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil
from joblib import parallel_config
from large_scan import add_row, private_mb

from art_plugins.disk_room import scratch_array
from art_plugins.statistics.latents.latent_classes import cluster_latent_classes

N_CLASSES, N_DIMS = 10, 64
BLOCK = 100_000
TRIMMING = "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_"


def features(n: int, n_windows: int) -> tuple[np.ndarray, list[np.ndarray], np.ndarray, np.ndarray]:
    """Latents (n, 64), ``n_windows`` windows (n, 64), labels (n,) and which samples are poison, (n,)."""
    labels = np.arange(n) % N_CLASSES
    is_poison = (labels == 0) & (np.arange(n) // N_CLASSES % 100 < 5)
    views = [scratch_array((n, N_DIMS), np.float32, "The features need") for _ in range(1 + n_windows)]
    for index, view in enumerate(views):
        random = np.random.default_rng(index)
        centres = random.normal(size=(N_CLASSES, N_DIMS)).astype(np.float32)
        for start in range(0, n, BLOCK):
            rows = slice(start, min(n, start + BLOCK))
            view[rows] = random.standard_normal((rows.stop - start, N_DIMS), dtype=np.float32) + centres[labels[rows]]
            if index < 2:
                view[rows][is_poison[rows]] = 0.3 * view[rows][is_poison[rows]] + 4 * centres[1]
    return views[0], views[1:], labels, is_poison


@contextmanager
def working(backend: str, n_workers: int) -> Iterator[None]:
    """Inside it, whatever asks joblib is done by so many workers; 0: by this process."""
    if not n_workers:
        yield
    elif backend == "dask":
        import dask
        from distributed import Client, LocalCluster

        with dask.config.set({TRIMMING: None}):  # as docs/how_to/run_on_a_cluster.md advises
            cluster = LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0")
            with cluster, Client(cluster), parallel_config("dask"):
                yield
    elif backend == "ray":
        import ray
        from ray.util.joblib import register_ray

        ray.init(num_cpus=n_workers, include_dashboard=False)
        register_ray()
        with parallel_config("ray", n_jobs=n_workers):
            yield
        ray.shutdown()
    else:
        with parallel_config("loky", n_jobs=n_workers, inner_max_num_threads=1):
            yield


def measure(n: int, n_windows: int, backend: str = "loky", n_workers: int = 0) -> dict[str, Any]:
    """
    A row as of ``large_scan.py``: seconds, private memory beyond the features, and how many samples of the first class are
    suspected. Seconds of the processor and memory are those of this process, without its workers.
    """
    latents, windows, labels, is_poison = features(n, n_windows)
    process, peak = psutil.Process(), [0.0]
    before = private_mb(process)
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], private_mb(process) - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with working(backend, n_workers):
        start, cpu = time.perf_counter(), time.process_time()
        found = cluster_latent_classes(latents, labels, N_CLASSES, windows=windows)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    done.set()
    watcher.join()
    return {
        "what": f"{n:,} drawn latents: the statistics alone" + (f", {n_workers} of {backend}" if n_workers else ""),
        "options": f"{N_CLASSES} classes, {N_DIMS} dimensions, {n_windows} windows",
        "n_files": n,
        "cpu_s": round(cpu_seconds),
        "wall_s": round(seconds),
        "peak_extra_mb": round(peak[0]),
        "n_poison": int(is_poison.sum()),
        "n_found": int((found.suspects & is_poison).sum()) if len(found.poisoned_classes) else 0,
        "n_false": int((found.suspects & ~is_poison & (labels == 0)).sum()) if len(found.poisoned_classes) else 0,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--windows", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--backend", choices=["loky", "dask", "ray"], default="loky")
    arguments = parser.parse_args()
    add_row(measure(arguments.n, arguments.windows, arguments.backend, arguments.workers))
