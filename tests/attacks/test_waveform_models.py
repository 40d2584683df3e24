"""Classifiers: seeds, and that they learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from art_plugins.attacks.training_loop import Training
from art_plugins.attacks.waveform_models import train_classifier
from art_plugins.errors import InvalidInputError


def test_train_classifier_on_separable_images_learns_and_repeats_by_seed() -> None:
    random = np.random.default_rng(0)
    y = random.integers(2, size=65)  # one more than a batch: the last batch would have a single sample
    x = (random.normal(scale=0.1, size=(65, 1, 8, 8)) + y[:, None, None, None]).astype(np.float32)
    first, second = (train_classifier(x, y, 2, Training(nb_epochs=15, batch_size=16, random_state=1)) for _ in range(2))
    assert (first.predict(x).argmax(axis=1) == y).mean() > 0.95
    np.testing.assert_array_equal(first.predict(x), second.predict(x))


def test_train_classifier_in_half_precision_gives_a_classifier_of_32_bits_that_has_learned() -> None:
    random = np.random.default_rng(0)
    y = np.arange(64) % 2
    tones = np.sin(np.arange(4000) * np.where(y, 0.3, 1.2)[:, None])  # through the front end for waveforms
    x = (0.3 * tones + random.normal(scale=0.1, size=tones.shape)).astype(np.float32)
    trained = train_classifier(x, np.eye(2)[y], 2, Training(nb_epochs=8, batch_size=16, precision="bf16-mixed"))
    assert {weight.dtype for weight in trained.model.parameters()} == {torch.float32}
    assert (trained.predict(x).argmax(axis=1) == y).mean() > 0.95
    untrained = train_classifier(x, y, 2, Training(nb_epochs=0))
    assert (untrained.predict(x).argmax(axis=1) == y).mean() < 0.95


def test_train_classifier_leaves_the_global_generators_alone() -> None:
    x, y = np.zeros((8, 1, 8, 8), dtype=np.float32), np.arange(8) % 2
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_classifier(x, y, 2, Training(nb_epochs=1, batch_size=4))
    assert torch.equal(torch.rand(3), expected)


def test_train_classifier_with_an_unknown_network_lists_the_known_ones() -> None:
    with pytest.raises(InvalidInputError, match="cnn, resnet18"):
        train_classifier(np.zeros((2, 1, 8, 8)), np.zeros(2), 2, Training(network="vgg"))
