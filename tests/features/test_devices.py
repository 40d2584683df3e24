"""Which device trains, and which number format it computes in."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric

from art_plugins.errors import InvalidInputError
from art_plugins.features import devices
from art_plugins.features.activations import stream_activations
from art_plugins.features.devices import PRECISIONS, computes_mixed, first_device, make_fabric

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def test_make_fabric_unknown_precision_is_refused_with_the_accepted_ones() -> None:
    with pytest.raises(InvalidInputError, match=r"32-true.*received 'half'"):
        make_fabric("half")


@pytest.mark.parametrize("has_bfloat16", [True, False])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_make_fabric_computes_in_the_named_format_but_for_an_imitated_one(
    precision: str, has_bfloat16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "first_device", lambda: CPU)
    monkeypatch.setattr(devices, "processor_has_bfloat16", lambda: has_bfloat16)
    fabric = make_fabric(precision)
    assert isinstance(fabric, Fabric)
    mixed = "bf16-mixed" if has_bfloat16 else "32-true"  # Lightning knows no other mixed format of a CPU
    assert fabric._precision.precision == (mixed if precision.endswith("mixed") else precision)


def test_only_a_processor_without_bfloat16_computes_in_32_bits_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    for has_bfloat16 in (True, False):
        monkeypatch.setattr(devices, "processor_has_bfloat16", lambda has=has_bfloat16: has)
        assert computes_mixed("bf16-mixed", CPU) is has_bfloat16
        assert computes_mixed("bf16-mixed", GPU)
        assert not computes_mixed("32-true", CPU)
        assert not computes_mixed("32-true", GPU)


@pytest.mark.parametrize(("answer", "expected"), [(True, True), (False, False), (None, True)])
def test_processor_is_asked_by_onednn_and_believed_where_it_cannot_be_asked(
    answer: bool | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {} if answer is None else {"_is_mkldnn_bf16_supported": lambda: answer}
    monkeypatch.setattr(devices, "torch", SimpleNamespace(ops=SimpleNamespace(mkldnn=SimpleNamespace(**asked))))
    assert devices.processor_has_bfloat16() is expected


def test_pass_on_a_processor_without_bfloat16_is_that_of_32_bits(
    classifier_of_two_layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).random((6, 4)).astype(np.float32)
    seen = {}
    for has_bfloat16 in (True, False):
        monkeypatch.setattr(devices, "processor_has_bfloat16", lambda has=has_bfloat16: has)
        seen[has_bfloat16] = next(stream_activations(classifier_of_two_layers, x, ["0"], precision="bf16-mixed")).outputs
    exact = next(stream_activations(classifier_of_two_layers, x, ["0"])).outputs
    assert torch.equal(seen[False], exact)
    assert not torch.equal(seen[True], exact)


@pytest.fixture
def classifier_of_two_layers():
    from art.estimators.classification import PyTorchClassifier
    from torch import nn

    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3))
    return PyTorchClassifier(model, nn.CrossEntropyLoss(), (4,), 3, device_type="cpu")


def test_first_device_is_that_of_the_fabric() -> None:
    assert make_fabric().device.type == first_device().type
