"""All layers in one streamed pass against its alternatives; ``pytest -m benchmark``. Ratios count, not seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from threadpoolctl import threadpool_limits
from torch import nn

from art_plugins.attacks.datasets.images import image_data
from art_plugins.attacks.image_models import train_image_classifier
from art_plugins.attacks.networks import resnet18_cifar
from art_plugins.attacks.training_loop import ImageTraining
from art_plugins.defences.layerwise import LayerwiseFeatureDefence
from art_plugins.features.activations import stream_activations
from art_plugins.features.blocks import find_blocks
from art_plugins.features.classifiers import torch_module
from art_plugins.features.forward_pass import run_batch

pytestmark = pytest.mark.benchmark
BATCH_SIZE = 128
# Two passes and two seconds of the processor for 10,000 samples are wanted of a filter. That is 6.5 passes where one takes
# 0.45 s for 10,000 images, as on the processor for which it was said. Others take 0.6 to 1 s, and longer for all the rest.
MOST_PASSES = 6.5


def cpu_seconds(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Processor time of each call, the calls in turn, after one of each that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(-1, rounds):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if round_ >= 0:
                seconds[name].append(time.process_time() - start)
    return seconds


def report(benchmark: Any, **figures: float) -> None:
    benchmark.extra_info.update(figures)
    print({name: round(value, 4) for name, value in figures.items()})


def resnet(width: int) -> tuple[PyTorchClassifier, list[str]]:
    """ResNet-18 and 11 layers: its first convolution, the stem, the 8 blocks and the logits."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = resnet18_cifar(3, 10, width=width)
    classifier = PyTorchClassifier(model, nn.CrossEntropyLoss(), (3, 32, 32), 10)
    blocks = find_blocks(classifier, images(1))
    return classifier, ["0", *blocks]


def images(n: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(n, 3, 32, 32)).astype(np.float32)


def reduced(classifier: Any, x: np.ndarray, layers: list[str]) -> dict[str, torch.Tensor]:
    """The sum of every layer over the samples: the cheapest reduction there is."""
    sums: dict[str, torch.Tensor] = {}
    for batch in stream_activations(classifier, x, layers, BATCH_SIZE):
        for name, output in batch.activations.items():
            sums[name] = sums.get(name, 0) + output.sum(dim=0)
    return sums


def test_one_pass_over_eleven_layers_against_art_layer_by_layer(benchmark: Any) -> None:
    classifier, layers = resnet(16)
    x = images(2 * BATCH_SIZE)
    assert len(layers) == 11

    def layer_by_layer() -> None:
        for layer in layers:
            classifier.get_activations(x, layer=layer, batch_size=BATCH_SIZE).sum(axis=0)
        for module in torch_module(classifier).modules():  # ART leaves its hooks behind
            module._forward_hooks.clear()
        del classifier._features

    calls = {"art_s": layer_by_layer, "one_pass_s": lambda: reduced(classifier, x, layers)}
    seconds = {name: min(values) for name, values in cpu_seconds(calls, rounds=3).items()}
    benchmark.pedantic(calls["one_pass_s"], rounds=1)
    report(benchmark, **seconds, ratio=seconds["art_s"] / seconds["one_pass_s"])
    assert seconds["art_s"] / seconds["one_pass_s"] >= 7  # 12 measured


def test_one_pass_over_eleven_layers_costs_little_more_than_the_model_alone(benchmark: Any) -> None:
    """Processor time, each call against the one before it: others may share the caches."""
    classifier, layers = resnet(16)
    x = images(2 * BATCH_SIZE)

    def plain() -> None:
        for start in range(0, len(x), BATCH_SIZE):
            run_batch(classifier, x[start : start + BATCH_SIZE])

    def streamed() -> None:
        for _ in stream_activations(classifier, x, layers, BATCH_SIZE):
            pass

    calls = {"plain_s": plain, "streamed_s": streamed, "reduced_s": lambda: reduced(classifier, x, layers)}
    seconds = {name: np.array(values) for name, values in cpu_seconds(calls, rounds=9).items()}
    benchmark.pedantic(calls["reduced_s"], rounds=1)
    overheads = {
        name.replace("_s", "_overhead"): float(np.median(seconds[name] / seconds["plain_s"])) - 1
        for name in ("streamed_s", "reduced_s")
    }
    report(benchmark, **{name: float(np.median(values)) for name, values in seconds.items()}, **overheads)
    assert overheads["reduced_overhead"] <= 0.35  # at most .17 measured, beside other work


def test_memory_does_not_grow_with_the_number_of_images(benchmark: Any) -> None:
    """At full width, all layers of 128 images are 175 MB; held for 20,000 images they would be 27 GB."""
    classifier, layers = resnet(64)
    x = images(6 * BATCH_SIZE)
    run_batch(classifier, x[:BATCH_SIZE])
    process, peak = psutil.Process(), 0
    before = process.memory_info().rss

    def watch(*_: Any) -> None:
        nonlocal peak
        peak = max(peak, process.memory_info().rss - before)

    handles = [module.register_forward_hook(watch) for module in torch_module(classifier).modules()]
    benchmark.pedantic(reduced, args=(classifier, x, layers), rounds=1)
    for handle in handles:
        handle.remove()
    report(benchmark, peak_extra_mb=peak / 1e6)
    assert peak < 300e6


def test_the_filter_with_nothing_trusted_beside_a_forward_pass(benchmark: Any, data_root: Path) -> None:
    data = image_data("fashion_mnist", data_root)
    x, y = data.x_train[:30_000], data.y_train[:30_000]
    classifier = train_image_classifier(x, y, 10, ImageTraining(network="lenet5", nb_epochs=2))
    calls = {
        "forward_s": lambda: classifier.predict(x, batch_size=BATCH_SIZE),
        "filter_s": lambda: LayerwiseFeatureDefence(classifier, x, y).detect_poison(),
    }
    with threadpool_limits(1):
        seconds = {name: min(values) for name, values in cpu_seconds(calls, rounds=2).items()}
    benchmark.pedantic(calls["forward_s"], rounds=1)
    report(benchmark, **seconds, passes=seconds["filter_s"] / seconds["forward_s"])
    assert seconds["filter_s"] <= MOST_PASSES * seconds["forward_s"]  # 3.8 to 5.2 measured
