"""Measures of a filter: counts, rates, ranking, agreement of clusters, time and memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
from sklearn.metrics import adjusted_rand_score, roc_auc_score

from art_plugins.attacks.success import ratio

SAMPLE_EVERY_S = 0.02


def filter_metrics(
    is_clean: np.ndarray, is_poison: np.ndarray, in_target: np.ndarray, outlier_scores: np.ndarray | None
) -> dict[str, Any]:
    """
    Compare the verdicts of a filter with the truth. A positive is a poisoned sample.

    :param is_clean: Verdicts (n,), 1 = clean, 0 = poison.
    :param is_poison: Ground truth (n,), bool.
    :param in_target: Which samples carry the target label, (n,), bool; the adjusted Rand index is over these.
    :param outlier_scores: Scores (n,), higher = more suspicious; ``None`` where the filter has none.
    :return: Counts, and rates in [0, 1]; ``None`` where a rate has no denominator.
    """
    removed = np.asarray(is_clean) == 0
    tp, fp = int((removed & is_poison).sum()), int((removed & ~is_poison).sum())
    fn, tn = int((~removed & is_poison).sum()), int((~removed & ~is_poison).sum())
    ranked = outlier_scores is not None and is_poison.any() and not is_poison.all()
    return {
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": tn,
        "tpr": ratio(tp, tp + fn),
        "fpr": ratio(fp, fp + tn),
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "auroc": float(roc_auc_score(is_poison, outlier_scores)) if ranked else None,
        "ari_target": float(adjusted_rand_score(is_poison[in_target], removed[in_target])),
        "fraction_removed": float(removed.mean()),
    }


def rank_of(scores: np.ndarray, index: int) -> int | None:
    """Rank of one score among all, 1 for the highest; ``None`` where that score is NaN."""
    return None if np.isnan(scores[index]) else int((scores > scores[index]).sum()) + 1


@dataclass
class Cost:
    """
    What a computation took: wall-clock seconds, and the most memory above what the process held before, in 10^6 bytes.
    """

    seconds: float = 0.0
    peak_memory_mb: float = 0.0


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure the time and the memory of the block; the resident memory is sampled every 20 ms, and once at the end."""
    process, cost, done = psutil.Process(), Cost(), threading.Event()
    before = process.memory_info().rss

    def sample() -> None:
        cost.peak_memory_mb = max(cost.peak_memory_mb, (process.memory_info().rss - before) / 1e6)

    def sample_until_done() -> None:
        while not done.wait(SAMPLE_EVERY_S):
            sample()

    sampler = threading.Thread(target=sample_until_done, daemon=True)
    start = time.perf_counter()
    sampler.start()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - start
        done.set()
        sampler.join()
        sample()  # on a busy machine the thread may have had no turn for long
