"""Layers found by structure: small replicas of public architectures, and those of torchvision and timm where installed."""

from __future__ import annotations

import importlib
import logging
from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn
from torch.nn import functional

from art_plugins.attacks.networks import lenet5, mobilenet_v2, resnet, resnet18_cifar, vgg16
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import collect_activations
from art_plugins.features.blocks import find_blocks
from art_plugins.features.classifiers import torch_module
from art_plugins.features.layer_views import layer_views
from art_plugins.features.vae.training import seeded

SHAPE = (3, 32, 32)


def classifier_of(make: Any, shape: tuple[int, ...] = SHAPE) -> Any:
    with seeded(0):
        model = make()
    return PyTorchClassifier(model, nn.CrossEntropyLoss(), shape, 5)


def blocks_of(make: Any, shape: tuple[int, ...] = SHAPE) -> list[str]:
    x = np.random.default_rng(0).uniform(size=(1, *shape)).astype(np.float32)
    return find_blocks(classifier_of(make, shape), x)


class Basic(nn.Module):
    """torchvision's BasicBlock: the sum overwrites what the last normalisation gave; one rectifier runs twice."""

    def __init__(self, into: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.downsample = nn.Sequential(nn.Conv2d(into, out, 1, stride), nn.BatchNorm2d(out)) if into != out else None

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        rectified: Tensor = self.relu(out)
        return rectified


class TorchvisionResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu = nn.Conv2d(3, 4, 7, 2, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for stage, (into, out) in enumerate(((4, 4), (4, 6), (6, 8), (8, 10)), 1):
            setattr(self, f"layer{stage}", nn.Sequential(Basic(into, out, 1 + (stage > 1)), Basic(out, out)))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        logits: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits


class Stage(nn.Module):
    """WideResNet's NetworkBlock: a wrapper around blocks, itself repeated."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(Basic(into, out), Basic(out, out))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out


class WideResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, 1, 1)
        self.block1, self.block2, self.block3 = Stage(4, 6), Stage(6, 8), Stage(8, 10)
        self.bn1, self.fc = nn.BatchNorm2d(10), nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.block3(self.block2(self.block1(self.conv1(x))))))
        logits: Tensor = self.fc(functional.avg_pool2d(x, 32).flatten(1))
        return logits


class ConvNormActivation(nn.Sequential):
    """torchvision's: a subclass of Sequential that is repeated everywhere, and no block."""

    def __init__(self, into: int, out: int, kernel: int, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(into, out, kernel, 1, kernel // 2, groups=groups), nn.BatchNorm2d(out), nn.ReLU6(inplace=True)
        )


class Inverted(nn.Module):
    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.shortcut = into == out
        self.conv = nn.Sequential(
            ConvNormActivation(into, 2 * into, 1),
            ConvNormActivation(2 * into, 2 * into, 3, 2 * into),
            nn.Conv2d(2 * into, out, 1),
            nn.BatchNorm2d(out),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv(x) if self.shortcut else self.conv(x)
        return out


class Depthwise(nn.Module):
    """timm's first block of MobileNetV2: a class of its own, which occurs once."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.conv_dw, self.bn1 = nn.Conv2d(into, into, 3, 1, 1, groups=into), nn.Sequential(nn.BatchNorm2d(into), nn.ReLU())
        self.conv_pw, self.bn2 = nn.Conv2d(into, out, 1), nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn2(self.conv_pw(self.bn1(self.conv_dw(x))))
        return out


class TorchvisionMobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        blocks = [Inverted(4, 3), Inverted(3, 4), Inverted(4, 4), Inverted(4, 6), Inverted(6, 6)]
        self.features = nn.Sequential(ConvNormActivation(3, 4, 3), *blocks, ConvNormActivation(6, 12, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(12, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        logits: Tensor = self.classifier(torch.flatten(x, 1))
        return logits


class TimmMobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_stem, self.bn1 = nn.Conv2d(3, 4, 3, 1, 1), nn.BatchNorm2d(4)
        stages = [[Depthwise(4, 3)], [Inverted(3, 4), Inverted(4, 4)], [Inverted(4, 6), Inverted(6, 6)]]
        self.blocks = nn.Sequential(*(nn.Sequential(*stage) for stage in stages))
        self.conv_head, self.global_pool, self.classifier = nn.Conv2d(6, 12, 1), nn.AdaptiveAvgPool2d(1), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv_head(self.blocks(self.bn1(self.conv_stem(x)))))
        logits: Tensor = self.classifier(self.global_pool(x).flatten(1))
        return logits


class DenseLayer(nn.Module):
    def __init__(self, into: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(into, 4, 1), nn.Conv2d(4, 2, 3, 1, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        new: Tensor = self.conv2(functional.relu(self.conv1(torch.cat(maps, 1))))
        return new


class DenseBlock(nn.ModuleDict):
    def __init__(self, into: int) -> None:
        super().__init__({f"denselayer{index}": DenseLayer(into + 2 * index) for index in range(3)})

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for layer in self.values():
            maps.append(layer(maps))
        return torch.cat(maps, 1)


class DenseNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("conv0", nn.Conv2d(3, 4, 3, 1, 1))
        self.features.add_module("pool0", nn.MaxPool2d(2))
        self.features.add_module("denseblock1", DenseBlock(4))
        self.features.add_module("transition1", nn.Sequential(nn.BatchNorm2d(10), nn.Conv2d(10, 5, 1), nn.AvgPool2d(2)))
        self.features.add_module("denseblock2", DenseBlock(5))
        self.features.add_module("norm5", nn.BatchNorm2d(11))
        self.classifier = nn.Linear(11, 5)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(functional.relu(self.features(x)).mean(dim=(2, 3)))
        return logits


class EncoderBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.norm1(tokens)
        tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
        out: Tensor = tokens + self.mlp(self.norm2(tokens))
        return out


class Encoder(nn.Module):
    """torchvision's: it holds the embedding of the positions, which are weights of its own, and runs over all blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.zeros(1, 17, 8))
        self.dropout, self.ln = nn.Dropout(0.0), nn.LayerNorm(8)
        self.layers = nn.ModuleList(EncoderBlock() for _ in range(3))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.dropout(tokens + self.pos_embedding)
        for layer in self.layers:
            tokens = layer(tokens)
        out: Tensor = self.ln(tokens)
        return out


class VisionTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_proj, self.encoder, self.head = nn.Conv2d(3, 8, 8, 8), Encoder(), nn.Linear(8, 5)
        self.class_token = nn.Parameter(torch.zeros(1, 1, 8))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.conv_proj(x).flatten(2).transpose(1, 2)
        tokens = self.encoder(torch.cat([self.class_token.expand(len(x), -1, -1), tokens], 1))
        logits: Tensor = self.head(tokens[:, 0])
        return logits


class Normalised(nn.Module):
    """A wrapper that rescales its inputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model((x - 0.5) / 0.25)
        return logits


class FunctionalLeNet(nn.Module):
    """Activations, pools and the final logarithm are functions; the layers are not defined in the order they run in."""

    def __init__(self) -> None:
        super().__init__()
        self.fc2, self.fc1 = nn.Linear(9, 5), nn.Linear(6 * 8 * 8, 9)
        self.conv2, self.conv1 = nn.Conv2d(4, 6, 3, 1, 1), nn.Conv2d(3, 4, 3, 1, 1)
        self.unused = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2).flatten(1)
        return functional.log_softmax(self.fc2(functional.relu(self.fc1(x))), dim=1)


class SharedRectifier(nn.Module):
    """One rectifier for all layers: only its last output can be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.pool = nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2)
        self.hidden, self.head, self.softmax = nn.Linear(16, 6), nn.Linear(6, 5), nn.Softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.softmax(self.head(self.relu(self.hidden(self.pool(self.relu(self.conv(x))).flatten(1)))))
        return out


def dense_stages() -> nn.Sequential:
    """VGG's style with dropout, which does nothing in evaluation mode: the stage ends with the rectifier."""
    convolutions = [nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(4)]
    hidden = [nn.Linear(196, 6), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(6, 5)]
    return nn.Sequential(nn.BatchNorm2d(3), nn.Sequential(*convolutions), nn.Flatten(), nn.Sequential(*hidden))


RESNET = ["maxpool", *(f"layer{stage}.{block}" for stage in range(1, 5) for block in range(2)), "fc"]
REPLICAS = {
    "resnet": (TorchvisionResNet, RESNET),
    "wrapped_resnet": (lambda: Normalised(TorchvisionResNet()), [f"model.{name}" for name in RESNET]),
    "wide_resnet": (
        WideResNet,
        ["conv1", *(f"block{stage}.layer.{block}" for stage in range(1, 4) for block in range(2)), "fc"],
    ),
    "torchvision_mobilenet": (
        TorchvisionMobileNet,
        [*(f"features.{index}" for index in range(1, 6)), "classifier.0", "classifier.1"],
    ),
    "timm_mobilenet": (
        TimmMobileNet,
        ["blocks.0.0", "blocks.1.0", "blocks.1.1", "blocks.2.0", "blocks.2.1", "global_pool", "classifier"],
    ),
    "densenet": (
        DenseNet,
        ["features.pool0", "features.denseblock1", "features.transition1.2", "features.denseblock2", "classifier"],
    ),
    "vision_transformer": (
        VisionTransformer,
        ["encoder.dropout", *(f"encoder.layers.{index}" for index in range(3)), "head"],
    ),
    "functional_lenet": (FunctionalLeNet, ["conv1", "conv2", "fc1", "fc2"]),
    "shared_rectifier": (SharedRectifier, ["pool", "relu", "softmax"]),
    "dense_stages": (dense_stages, ["1.1", "1.4", "3.1", "3.3"]),
}


@pytest.mark.parametrize("name", REPLICAS)
def test_find_blocks_of_a_replica_gives_its_natural_layers(name: str) -> None:
    make, expected = REPLICAS[name]
    assert blocks_of(make) == expected


@pytest.mark.parametrize(
    ("make", "shape", "n_layers", "first", "last"),
    [
        (lambda: resnet18_cifar(3, 5, width=4), SHAPE, 10, "2", "13"),
        (lambda: resnet(3, 5, 50, width=4), SHAPE, 18, "3", "22"),
        (lambda: mobilenet_v2(3, 5, width=16), SHAPE, 19, "3", "25"),
        (lambda: lenet5(1, 5), (1, 28, 28), 5, "2", "11"),
        (lambda: vgg16(3, 5, width=4), SHAPE, 16, "2", "50"),
    ],
    ids=["resnet18_cifar", "resnet50", "mobilenet_v2", "lenet5", "vgg16"],
)
def test_find_blocks_of_our_networks_has_the_papers_number_of_layers(
    make: Any, shape: tuple[int, ...], n_layers: int, first: str, last: str
) -> None:
    names = blocks_of(make, shape)
    assert (len(names), names[0], names[-1]) == (n_layers, first, last)


def test_find_blocks_mobilenet_v2_penultimate_is_the_pooled_features() -> None:
    x = np.random.default_rng(0).uniform(size=(2, *SHAPE)).astype(np.float32)
    classifier = classifier_of(lambda: mobilenet_v2(3, 5, width=8))
    names = find_blocks(classifier, x)[-2:]
    features = collect_activations(classifier, x, names)
    head = torch_module(classifier)[-1]  # type: ignore[index]
    logits = features[names[0]] @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    np.testing.assert_allclose(features[names[1]], logits, atol=1e-5)


@pytest.mark.parametrize("name", REPLICAS)
def test_find_blocks_gives_layers_that_can_be_captured_and_ends_in_the_logits(name: str) -> None:
    x = np.random.default_rng(0).uniform(size=(3, *SHAPE)).astype(np.float32)
    classifier = classifier_of(REPLICAS[name][0])
    names = find_blocks(classifier, x)
    last = collect_activations(classifier, x, names)[names[-1]]
    predicted = classifier.predict(x)
    if name == "functional_lenet":  # the logarithm of a softmax of it
        last = torch.log_softmax(torch.from_numpy(last), dim=1).numpy()
    np.testing.assert_allclose(last, predicted, atol=1e-5)


def test_find_blocks_says_what_it_chose(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "art_plugins"):
        blocks_of(TimmMobileNet)
        blocks_of(FunctionalLeNet)
    assert "7 layers, by 5 blocks (Depthwise, Inverted): 'blocks.0.0', " in caplog.messages[0]
    assert caplog.messages[1] == "4 layers, by stages: 'conv1', 'conv2', 'fc1', 'fc2'."


def test_find_blocks_leaves_the_model_as_it_was() -> None:
    classifier = classifier_of(TorchvisionResNet)
    network = torch_module(classifier).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    find_blocks(classifier, np.zeros((2, *SHAPE), dtype=np.float32))
    assert all(module.training for module in network.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class TimeFirst(nn.Module):
    """A recurrent layer whose rows are the moments and not the samples."""

    def __init__(self) -> None:
        super().__init__()
        self.frames, self.recurrent, self.head = nn.Linear(96, 8), nn.LSTM(8, 8), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        moments = self.frames(x.movedim(2, 1).flatten(2))  # (n, T, 8)
        states, _ = self.recurrent(moments.movedim(1, 0))
        logits: torch.Tensor = self.head(states[-1])
        return logits


def test_layers_whose_rows_are_no_samples_are_left_out_and_refused_by_name() -> None:
    classifier = classifier_of(TimeFirst)
    names = find_blocks(classifier, np.zeros((2, *SHAPE), dtype=np.float32))
    assert names == ["frames", "head"]
    x = np.random.default_rng(0).random((40, *SHAPE), dtype=np.float32)
    with pytest.raises(InvalidInputError, match=r"The layer recurrent gives 32 rows for 40 samples; name other layers"):
        layer_views(classifier, x, np.arange(40) % 5, 5, ["recurrent", "head"], batch_size=40)


def test_find_blocks_without_an_input_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="At least one input"):
        find_blocks(classifier_of(lambda: lenet5(3, 5)), np.zeros((0, *SHAPE), dtype=np.float32))


def test_find_blocks_of_a_model_without_weights_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="No module with weights"):
        blocks_of(lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))


VIT = {"image_size": 32, "patch_size": 8, "num_layers": 3, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
PUBLIC = [
    ("torchvision.models", "resnet18", {}, 10, "layer1.0"),
    ("torchvision.models", "wide_resnet50_2", {}, 18, "layer1.0"),
    ("torchvision.models", "vgg11_bn", {"init_weights": False}, 11, "features.7"),
    ("torchvision.models", "mobilenet_v2", {}, 19, "features.2"),
    ("torchvision.models", "densenet121", {}, 9, "features.denseblock1"),
    ("torchvision.models", "VisionTransformer", VIT, 5, "encoder.layers.encoder_layer_0"),
    ("timm.models", "resnet18", {}, 10, "layer1.0"),
    ("timm.models", "mobilenetv2_050", {}, 19, "blocks.1.0"),
    ("timm.models", "densenet121", {}, 9, "features.denseblock1"),
    ("timm.models", "vit_tiny_patch16_224", {"img_size": 32, "patch_size": 8}, 14, "blocks.0"),
]


@pytest.mark.parametrize(("package", "name", "settings", "n_layers", "second"), PUBLIC)
def test_find_blocks_of_public_models(
    package: str, name: str, settings: dict[str, Any], n_layers: int, second: str
) -> None:
    pytest.importorskip(package.split(".")[0])
    make = getattr(importlib.import_module(package), name)
    names = blocks_of(lambda: make(**settings))
    assert (len(names), names[1]) == (n_layers, second)
