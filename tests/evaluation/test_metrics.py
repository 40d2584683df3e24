"""Counts and rates of a filter, by hand; time and memory of a block."""

from __future__ import annotations

import numpy as np
import pytest

from art_plugins.attacks.success import ratio
from art_plugins.evaluation.metrics import filter_metrics, measured


def test_filter_metrics_on_six_samples_are_those_counted_by_hand() -> None:
    is_poison = np.array([True, True, True, False, False, False])
    is_clean = np.array([0, 0, 1, 0, 1, 1])
    in_target = np.array([True, True, True, True, True, False])
    metrics = filter_metrics(is_clean, is_poison, in_target, np.array([0.9, 0.8, 0.1, 0.5, 0.2, 0.0]))
    assert (metrics["tp"], metrics["fp"], metrics["fn"], metrics["tn"]) == (2, 1, 1, 2)
    assert metrics["tpr"] == pytest.approx(2 / 3)
    assert metrics["fpr"] == pytest.approx(1 / 3)
    assert metrics["f1"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    # Of nine pairs (poison, clean), poison ranks higher in all but (.1, .5) and (.1, .2).
    assert metrics["auroc"] == pytest.approx(7 / 9)
    assert metrics["fraction_removed"] == pytest.approx(0.5)


def test_filter_metrics_of_a_perfect_split_have_a_rand_index_of_one() -> None:
    is_poison = np.array([True, False, True, False, False])
    metrics = filter_metrics(1 - is_poison.astype(int), is_poison, np.ones(5, dtype=bool), None)
    assert metrics["ari_target"] == 1.0
    assert metrics["auroc"] is None


def test_filter_metrics_without_poison_have_no_true_positive_rate() -> None:
    metrics = filter_metrics(np.ones(4), np.zeros(4, dtype=bool), np.ones(4, dtype=bool), np.zeros(4))
    assert metrics["tpr"] is None
    assert metrics["auroc"] is None
    assert metrics["fpr"] == 0.0


def test_ratio_with_denominator_zero_is_none() -> None:
    assert ratio(0, 0) is None
    assert ratio(1, 4) == 0.25


@pytest.mark.parametrize("sample_every_s", [0.02, 60.0], ids=["sampled", "sampler_without_a_turn"])
def test_measured_block_reports_the_memory_that_it_held(sample_every_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("art_plugins.evaluation.metrics.SAMPLE_EVERY_S", sample_every_s)
    with measured() as cost:
        held = [np.ones(8_000_000) for _ in range(4)]  # 256 MB
        for _ in range(20):
            held[0].sum()
    assert cost.seconds > 0
    assert 150 < cost.peak_memory_mb < 600
