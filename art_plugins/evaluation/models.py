"""Classifiers to attack: small networks for CPUs and residual networks, wrapped for ART and trained by a seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn
from torch.nn import functional

from art_plugins.errors import InvalidInputError
from art_plugins.features.training import seeded

FRAME, STEP, FFT = 255, 128, 256  # of Armory's speech classifier, in samples


class STFTMagnitude(nn.Module):
    """Armory's front end: |STFT| with a Hann window, no logarithm; (B, S) -> (B, 1, frames, 129)."""

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(FRAME), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """One second at 16 kHz gives 124 frames."""
        spectrum = torch.stft(
            waveforms,
            FFT,
            STEP,
            FRAME,
            window=self.window,
            center=False,
            return_complex=True,  # type: ignore[arg-type]
        )
        return spectrum.abs().transpose(1, 2)[:, None]


class Compression(nn.Module):
    """log(1 + 100 x), averaged over 2 x 2: what a small network can learn from loud and quiet clips alike."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / 2, W / 2)."""
        return functional.avg_pool2d(torch.log1p(100 * x), 2)


def small_cnn(in_channels: int, nb_classes: int, width: int = 16, pool: int = 4) -> nn.Sequential:
    """Three strided convolutions, a coarse average pool and one hidden layer of 128: the classifier for CPUs."""
    layers: list[nn.Module] = [nn.BatchNorm2d(in_channels)]
    channels = in_channels
    for index in range(3):
        out = width * 2**index
        layers += [nn.Conv2d(channels, out, 3, 2, 1), nn.BatchNorm2d(out), nn.ReLU()]
        channels = out
    layers += [nn.AdaptiveAvgPool2d(pool), nn.Flatten(), nn.Linear(channels * pool**2, 128), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, nb_classes))


class ResidualBlock(nn.Module):
    """Basic or bottleneck block of He et al. 2016."""

    def __init__(self, into: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        out = 4 * width if bottleneck else width

        def convolution(a: int, b: int, kernel: int, step: int = 1) -> list[nn.Module]:
            return [nn.Conv2d(a, b, kernel, step, kernel // 2, bias=False), nn.BatchNorm2d(b)]

        if bottleneck:
            body = [*convolution(into, width, 1), nn.ReLU(), *convolution(width, width, 3, stride), nn.ReLU()]
            body += convolution(width, out, 1)
        else:
            body = [*convolution(into, width, 3, stride), nn.ReLU(), *convolution(width, width, 3)]
        self.body = nn.Sequential(*body)
        self.shortcut = nn.Sequential(*convolution(into, out, 1, stride)) if stride > 1 or into != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        return functional.relu(self.body(x) + self.shortcut(x))


def resnet(in_channels: int, nb_classes: int, depth: int = 18, width: int = 64) -> nn.Sequential:
    """
    ResNet-18 or ResNet-50 (He et al. 2016).

    :param depth: 18 or 50.
    :param width: Channels of the first stage; 64 in the paper, less for CPUs.
    """
    blocks = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}[depth]
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, width, 7, 2, 3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    channels = width
    for stage, n_blocks in enumerate(blocks):
        for index in range(n_blocks):
            stride = 2 if stage > 0 and index == 0 else 1
            layers.append(ResidualBlock(channels, width * 2**stage, stride, depth == 50))
            channels = width * 2**stage * (4 if depth == 50 else 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, nb_classes))


NETWORKS: dict[str, Any] = {
    "cnn": small_cnn,
    "resnet18": lambda channels, nb_classes: resnet(channels, nb_classes, 18),
    "resnet18_narrow": lambda channels, nb_classes: resnet(channels, nb_classes, 18, width=16),
    "resnet50": lambda channels, nb_classes: resnet(channels, nb_classes, 50),
}


def train_classifier(
    x: np.ndarray,
    y: np.ndarray,
    nb_classes: int,
    *,
    network: str = "cnn",
    nb_epochs: int = 15,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    random_state: int = 0,
    verbose: bool = False,
) -> PyTorchClassifier:
    """
    A classifier for waveforms (n, S), through Armory's front end, or images (n, C, H, W), trained with Adam by ART.

    :param y: Labels, shape (n,).
    :param network: ``"cnn"``, ``"resnet18"``, ``"resnet18_narrow"`` (16 channels at first) or ``"resnet50"``.
    :param random_state: Seed of the weights and of the order of the samples; global generators are not touched.
    :raises InvalidInputError: For an unknown network.
    """
    if network not in NETWORKS:
        raise InvalidInputError(f"classifier must be one of {', '.join(NETWORKS)}; received {network!r}.")
    with seeded(random_state):
        is_audio = x.ndim == 2
        body = NETWORKS[network](1 if is_audio else x.shape[1], nb_classes)
        front_end = [STFTMagnitude(), *([Compression()] if network == "cnn" else [])] if is_audio else []
        model = nn.Sequential(*front_end, *body)
        classifier = PyTorchClassifier(
            model=model,
            loss=nn.CrossEntropyLoss(),
            optimizer=torch.optim.Adam(model.parameters(), lr=learning_rate),
            input_shape=x.shape[1:],
            nb_classes=nb_classes,
            clip_values=(-1.0, 1.0) if is_audio else (0.0, 1.0),
        )
        # A last batch of one sample has no variance for batch normalisation.
        drop_last = len(x) % batch_size == 1
        classifier.fit(x, y, batch_size=batch_size, nb_epochs=nb_epochs, drop_last=drop_last, verbose=verbose)
    return classifier
