"""What the layer-wise filter costs beside a forward pass of the training set; ``pytest -m benchmark``."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_limits

from art_plugins.attacks.datasets.images import image_data
from art_plugins.attacks.image_models import train_image_classifier
from art_plugins.attacks.training_loop import ImageTraining
from art_plugins.defences.layerwise import LayerwiseFeatureDefence

pytestmark = pytest.mark.benchmark
N_IMAGES, BATCH_SIZE = 30_000, 128
PASSES, SECONDS_PER_SAMPLE = 2, 2e-4  # wanted: two passes and two seconds of the processor for 10,000 samples


def cpu_seconds(call: Callable[[], Any], rounds: int) -> float:
    """The least processor time of a call."""
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return min(seconds)


def test_the_filter_with_nothing_trusted_beside_a_forward_pass(benchmark: Any, data_root: Path) -> None:
    data = image_data("fashion_mnist", data_root, False)
    x, y = data.x_train[:N_IMAGES], data.y_train[:N_IMAGES]
    training = ImageTraining(network="lenet5", nb_epochs=2)
    classifier = train_image_classifier(x, y, 10, training, verbose=False)
    with threadpool_limits(1):
        passed = cpu_seconds(lambda: classifier.predict(x, batch_size=BATCH_SIZE), rounds=3)
        judged = cpu_seconds(lambda: LayerwiseFeatureDefence(classifier, x, y).detect_poison(), rounds=2)
    benchmark.pedantic(classifier.predict, args=(x,), rounds=1)
    figures = {"forward_s": passed, "filter_s": judged, "passes": judged / passed}
    benchmark.extra_info.update(figures)
    print({name: round(value, 2) for name, value in figures.items()})
    assert judged <= PASSES * passed + SECONDS_PER_SAMPLE * len(x)
