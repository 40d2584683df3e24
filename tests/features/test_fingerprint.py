"""The checksum of a model's weights: what changes it and what does not."""

from __future__ import annotations

import copy

import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn

from art_plugins.errors import InvalidInputError
from art_plugins.features.fingerprint import model_fingerprint
from art_plugins.features.vae.training import seeded


def wrapped(network: nn.Module) -> PyTorchClassifier:
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), (3,), 2, device_type="cpu")


@pytest.fixture
def network() -> nn.Module:
    with seeded(0):
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_model_fingerprint_copy_in_another_mode_is_the_same_model(network):
    expected = model_fingerprint(wrapped(network))
    assert len(expected) == 64
    assert model_fingerprint(wrapped(copy.deepcopy(network).train())) == expected


@pytest.mark.parametrize("name", ["0.weight", "1.running_mean", "1.num_batches_tracked", "2.bias"])
def test_model_fingerprint_one_changed_number_is_another_model(network, name):
    expected = model_fingerprint(wrapped(network))
    with torch.no_grad():
        network.state_dict()[name].view(-1)[0] += 1
    assert model_fingerprint(wrapped(network)) != expected


def test_model_fingerprint_equal_numbers_under_other_names_or_shapes_are_another_model():
    with seeded(0):
        first, second = nn.Linear(2, 3, bias=False), nn.Linear(3, 2, bias=False)
    second.weight.data = first.weight.data.reshape(2, 3)
    named = nn.Sequential(first)
    assert len({model_fingerprint(wrapped(one)) for one in (first, second, named)}) == 3


def test_model_fingerprint_what_is_no_pytorch_classifier_is_refused():
    with pytest.raises(InvalidInputError, match="PyTorchClassifier"):
        model_fingerprint(object())
