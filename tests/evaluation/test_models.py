"""Classifiers: Armory's front end, shapes, seeds, and that they learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import stft

from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.models import NETWORKS, STFTMagnitude, resnet, train_classifier


def test_stft_magnitude_of_a_second_has_armorys_shape_and_scipys_values() -> None:
    waveform = np.random.default_rng(0).normal(size=16_000).astype(np.float32)
    ours = STFTMagnitude()(torch.from_numpy(waveform)[None]).numpy()
    assert ours.shape == (1, 1, 124, 129)
    window = torch.hann_window(255).numpy()
    _, _, theirs = stft(waveform, window=np.append(window, 0), nperseg=256, noverlap=128, boundary=None, padded=False)
    theirs = np.abs(theirs).T * window.sum()
    # Like TensorFlow's, SciPy's window begins at a frame's first sample.
    np.testing.assert_allclose(ours[0, 0], theirs, atol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_give_one_logit_a_class(name: str) -> None:
    network = NETWORKS[name](1, 5).eval()
    assert network(torch.zeros(2, 1, 33, 31)).shape == (2, 5)
    assert list(network.named_children())[-1][1].out_features == 5


def test_resnet18_at_full_width_has_the_papers_number_of_parameters() -> None:
    # He et al. 2016 with three colours and 1,000 classes: 11.69 million; here 1 colour and 1,000 classes.
    n_parameters = sum(value.numel() for value in resnet(3, 1_000, 18).parameters())
    assert n_parameters == 11_689_512


def test_resnet50_at_full_width_has_the_papers_number_of_parameters() -> None:
    assert sum(value.numel() for value in resnet(3, 1_000, 50).parameters()) == 25_557_032


def test_train_classifier_on_separable_images_learns_and_repeats_by_seed() -> None:
    random = np.random.default_rng(0)
    y = random.integers(2, size=65)  # one more than a batch: the last batch would have a single sample
    x = (random.normal(scale=0.1, size=(65, 1, 8, 8)) + y[:, None, None, None]).astype(np.float32)
    first, second = (train_classifier(x, y, 2, nb_epochs=15, batch_size=16, random_state=1) for _ in range(2))
    assert (first.predict(x).argmax(axis=1) == y).mean() > 0.95
    np.testing.assert_array_equal(first.predict(x), second.predict(x))


def test_train_classifier_leaves_the_global_generators_alone() -> None:
    x, y = np.zeros((8, 1, 8, 8), dtype=np.float32), np.arange(8) % 2
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_classifier(x, y, 2, nb_epochs=1, batch_size=4)
    assert torch.equal(torch.rand(3), expected)


def test_train_classifier_with_an_unknown_network_lists_the_known_ones() -> None:
    with pytest.raises(InvalidInputError, match="cnn, resnet18"):
        train_classifier(np.zeros((2, 1, 8, 8)), np.zeros(2), 2, network="vgg")
