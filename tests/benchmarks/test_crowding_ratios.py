"""CPU time of the crowding against exact neighbours in the same run, and its growth with the size of the classes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from art_plugins.statistics.latents import crowding
from art_plugins.statistics.latents.crowds import find_crowds

pytestmark = pytest.mark.benchmark
K = 4


def cpu_seconds(n: int, rounds: int = 2) -> float:
    """Least CPU seconds that one view of four classes of ``n`` samples take, on one thread."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(K), n)
    view = random.standard_normal((len(labels), 32), dtype=np.float32)
    seconds = []
    with threadpool_limits(1):
        for _ in range(rounds):
            start = time.process_time()
            find_crowds([view], labels, K)
            seconds.append(time.process_time() - start)
    return min(seconds)


def test_crowding_with_a_drawn_part_of_the_class_against_exact_neighbours(
    benchmark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn_s, larger_s = cpu_seconds(10_000), cpu_seconds(20_000)
    benchmark.pedantic(cpu_seconds, args=(10_000, 1), rounds=1)
    with monkeypatch.context() as patch:
        patch.setattr(crowding, "MAX_OWN_REFERENCE", 10_000)
        exact_s = cpu_seconds(10_000, rounds=1)
    figures = {"exact_s": exact_s, "drawn_s": drawn_s, "ratio": exact_s / drawn_s}
    figures["growth_exponent"] = float(np.log2(larger_s / drawn_s))
    benchmark.extra_info.update(figures)
    print(figures)
    assert exact_s / drawn_s >= 1.8  # 3.1 measured with ten views of ten classes of 10,000
    assert figures["growth_exponent"] <= 1.3  # 2 for exact neighbours
