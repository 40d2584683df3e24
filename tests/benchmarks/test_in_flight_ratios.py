"""The in-flight baselines against ART's; ``pytest -m benchmark``. Ratios count, seconds are this machine's."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from art.defences.transformer.poisoning import STRIP as ArtSTRIP
from art.estimators.classification import PyTorchClassifier
from torch import nn

from art_plugins.defences.in_flight_baselines import STRIP
from art_plugins.evaluation.networks import lenet5

pytestmark = pytest.mark.benchmark
N_BLENDS, N_CLASSES = 100, 10


def best_seconds(calls: dict[str, Callable[[], Any]], rounds: int = 5) -> dict[str, float]:
    """Alternating, so that other work on the machine slows all of them."""
    seconds = {name: float("inf") for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def classifier() -> PyTorchClassifier:
    torch.manual_seed(0)
    return PyTorchClassifier(lenet5(1, N_CLASSES), nn.CrossEntropyLoss(), (1, 28, 28), N_CLASSES)


def test_strip_against_arts_with_the_same_number_of_blends(benchmark: Any) -> None:
    """
    Both run the model on 100 blends of every image, and on a CPU that is most of the time: the ratio is bounded by the
    share of it. ``model_s`` is those runs alone, in batches of 100.

    A detector that knows the target class does not blend the images of the others: ``stream_ratio``, for one image in ten
    sent to the target.
    """
    random = np.random.default_rng(0)
    x = random.uniform(size=(50, 1, 28, 28)).astype(np.float32)
    x_clean = random.uniform(size=(1_000, 1, 28, 28)).astype(np.float32)
    y_clean = np.arange(len(x_clean)) % N_CLASSES

    art = ArtSTRIP(classifier())(num_samples=N_BLENDS)
    art.validation_data, art.entropy_threshold = x_clean, 0.0
    ours = STRIP(classifier(), N_BLENDS, threshold=0.0)
    ours.fit(x_clean, y_clean)
    network, blends = lenet5(1, N_CLASSES).eval(), torch.rand(N_BLENDS, 1, 28, 28)

    def model_alone() -> None:
        with torch.inference_mode():
            for _ in x:
                network(blends)

    seconds = best_seconds(
        {
            "art_s": lambda: art.predict(x),
            "ours_s": lambda: ours.detect(x),
            "ours_tenth_s": lambda: (ours.outlier_scores(x[::10]), ours.classifier.predict(x)),
            "model_s": model_alone,
        }
    )
    benchmark.pedantic(ours.detect, args=(x,), rounds=3)
    figures = {
        **seconds,
        "ratio": seconds["art_s"] / seconds["ours_s"],
        "stream_ratio": seconds["art_s"] / seconds["ours_tenth_s"],
        "bound": seconds["art_s"] / seconds["model_s"],
    }
    benchmark.extra_info.update(figures)
    print({name: round(value, 4) for name, value in figures.items()})
    assert figures["ratio"] > 1
