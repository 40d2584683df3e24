"""Two workers against one, on a part of a sweep of the real size; ``pytest -m benchmark``. Needs two idle cores."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import pytest

from art_plugins.evaluation.encoded import EncodedData
from art_plugins.evaluation.running.parallel import parallel_map
from art_plugins.evaluation.sweep import judge_set
from art_plugins.evaluation.sweep_judges import judge
from art_plugins.features.views import Views

pytestmark = pytest.mark.benchmark
AT_LEAST = 1.2  # 1.6 and more on two idle cores
N_CLASSES, SIZE, N_STEPS, N_FRAMES, D = 11, 370, 15, 16, 64
# Alike, so that the tasks of a worker count its time.
TASKS = [("attacks", ("clapping", source, target, 0.1, 0)) for source in range(2) for target in range(4, 9)]


@pytest.fixture(scope="module")
def shared() -> tuple[EncodedData, dict[str, Any]]:
    labels = np.repeat(np.arange(N_CLASSES), SIZE)
    random = np.random.default_rng(0)
    windows = [random.normal(size=(len(labels), D)).astype(np.float32) for _ in range(N_STEPS + N_FRAMES + 1)]
    clean = Views(windows[0], windows[1 : N_STEPS + 1], windows[N_STEPS + 1 :])
    triggered = Views(windows[0], clean.steps, [windows[1] + 3, *clean.frames[1:]])
    data = EncodedData(labels, tuple("abcdefghijk"), clean, {"clapping": triggered})
    return data, judge(clean, labels, N_CLASSES)


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_sweep_two_workers_against_one(backend: str, shared: Any, start_cluster: Any, benchmark: Any) -> None:
    ratios: list[float] = []

    def seconds_a_task(n_workers: int) -> float:
        with start_cluster(backend, n_workers) as (arguments, _):
            # From the first results on: the start of the workers, some seconds of Ray's, is the same for a sweep of hours.
            ends = [time.perf_counter() for _ in parallel_map(judge_set, shared, TASKS, **arguments)]
        assert len(ends) == len(TASKS)
        return (ends[-1] - ends[n_workers - 1]) / (len(TASKS) - n_workers)

    def measure() -> None:
        # Other work on the machine makes a ratio smaller, never larger: the best of three says what two workers can do.
        while len(ratios) < 3 and max(ratios, default=0) < AT_LEAST:
            ratios.append(seconds_a_task(1) / seconds_a_task(2))

    benchmark.pedantic(measure, rounds=1)
    benchmark.extra_info.update(ratios=ratios)
    print({"backend": backend, "ratios": [round(ratio, 2) for ratio in ratios]})
    if (os.cpu_count() or 1) < 3 and os.getloadavg()[0] > 2.5:
        pytest.skip(f"the two cores have other work: {os.getloadavg()[0]:.1f} processes were waiting for them")
    assert max(ratios) >= AT_LEAST
