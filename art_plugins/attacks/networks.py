"""Networks to attack: small ones for CPUs, and LeNet-5, VGG-16, MobileNetV2 and the residual networks of the papers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from art_plugins.attacks.vision_transformer import vit

FRAME, STEP, FFT = 255, 128, 256  # of Armory's speech classifier, in samples


class STFTMagnitude(nn.Module):
    """
    Armory's front end: the magnitude of a short-time Fourier transform with a Hann window, without a logarithm; (B, S) ->
    (B, 1, frames, 129).
    """

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
    """
    The mean of log(1 + 100 x) over squares of 2 x 2, so that a small network can learn from loud and from quiet clips.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / 2, W / 2)."""
        return functional.avg_pool2d(torch.log1p(100 * x), 2)


def small_cnn(in_channels: int, nb_classes: int, width: int = 16, pool: int = 4) -> nn.Sequential:
    """The small classifier for CPUs: three strided convolutions, a coarse average pool and one hidden layer of 128."""
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
    stem = [nn.Conv2d(in_channels, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return _residual(stem, nb_classes, depth, width)


def resnet18_cifar(in_channels: int, nb_classes: int, width: int = 64) -> nn.Sequential:
    """
    ResNet-18 as is usual for images of 32 x 32: the first layer is a 3 x 3 convolution of stride 1, and there is no max
    pool.
    """
    stem = [nn.Conv2d(in_channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return _residual(stem, nb_classes, 18, width)


def _residual(stem: list[nn.Module], nb_classes: int, depth: int, width: int) -> nn.Sequential:
    blocks = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}[depth]
    layers = stem
    channels = width
    for stage, n_blocks in enumerate(blocks):
        for index in range(n_blocks):
            stride = 2 if stage > 0 and index == 0 else 1
            layers.append(ResidualBlock(channels, width * 2**stage, stride, depth == 50))
            channels = width * 2**stage * (4 if depth == 50 else 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, nb_classes))


def lenet5(in_channels: int, nb_classes: int) -> nn.Sequential:
    """
    LeNet-5 (LeCun et al. 1998) with ReLU and max pooling; hidden layers of 120 and 84.

    The first convolution is padded, so that 28 x 28 gives the 5 x 5 maps of the paper; so do other sizes, since the second
    pool adapts to them.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(5),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, nb_classes),
    )


def plain_cnn(in_channels: int, nb_classes: int, width: int = 16) -> nn.Sequential:
    """
    Three convolutions of 3 x 3 without any normalisation, each followed by a ReLU and a max pool, and one hidden layer of
    128.

    :param width: Channels of the first convolution; each further one has twice as many.
    """
    layers: list[nn.Module] = []
    channels = in_channels
    for index in range(3):
        out = width * 2**index
        pool = nn.MaxPool2d(2) if index < 2 else nn.AdaptiveMaxPool2d(3)
        layers += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU(), pool]
        channels = out
    layers += [nn.Flatten(), nn.Linear(channels * 9, 128), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, nb_classes))


def vgg16(in_channels: int, nb_classes: int, width: int = 64) -> nn.Sequential:
    """
    VGG-16 (Simonyan and Zisserman 2015) with batch normalisation, an average over the last maps, and hidden layers of
    8 x ``width`` instead of 4,096: for images of any size.

    :param width: Channels of the first two convolutions; 64 in the paper.
    """
    layers: list[nn.Module] = []
    channels = in_channels
    for times, n_convolutions in ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3)):
        for _ in range(n_convolutions):
            layers += [
                nn.Conv2d(channels, times * width, 3, padding=1, bias=False),
                nn.BatchNorm2d(times * width),
                nn.ReLU(),
            ]
            channels = times * width
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    for _ in range(2):
        layers += [nn.Linear(channels, channels), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(channels, nb_classes))


class InvertedResidual(nn.Module):
    """Block of Sandler et al. 2018: expand, filter each channel, project linearly; a shortcut where the shapes allow."""

    def __init__(self, into: int, out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = into * expansion
        layers = _convolution(into, hidden, 1) if expansion > 1 else []
        layers += _convolution(hidden, hidden, 3, stride, groups=hidden)
        self.body = nn.Sequential(*layers, nn.Conv2d(hidden, out, 1, bias=False), nn.BatchNorm2d(out))
        self.has_shortcut = stride == 1 and into == out

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        z: Tensor = self.body(x)
        return x + z if self.has_shortcut else z


def mobilenet_v2(in_channels: int, nb_classes: int, width: int = 32) -> nn.Sequential:
    """
    MobileNetV2 (Sandler et al. 2018, Table 2) for images of 32 x 32: of the five strides of 2 the first and the last are 1,
    so that the last maps are 4 x 4. Without dropout.

    :param width: Channels of the first convolution; 32 in the paper, whose width multiplier is ``width`` / 32. As in the
        authors' code, numbers of channels are multiples of 8, and the last convolution never has less than 1,280.
    """
    multiplier = width / 32

    def scaled(n_channels: int) -> int:
        rounded = max(8, int(n_channels * multiplier + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * n_channels * multiplier else rounded

    channels = scaled(32)
    layers: list[nn.Module] = _convolution(in_channels, channels, 3)
    for expansion, out, n_blocks, first_stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 1),
        (6, 320, 1, 1),
    ):
        for index in range(n_blocks):
            layers.append(InvertedResidual(channels, scaled(out), first_stride if index == 0 else 1, expansion))
            channels = scaled(out)
    last = max(1280, scaled(1280))
    layers += _convolution(channels, last, 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, nb_classes))


def _convolution(into: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(out), nn.ReLU6(inplace=True)]


NETWORKS: dict[str, Any] = {
    "cnn": small_cnn,
    "resnet18": lambda channels, nb_classes: resnet(channels, nb_classes, 18),
    "resnet18_narrow": lambda channels, nb_classes: resnet(channels, nb_classes, 18, width=16),
    "resnet18_tiny": lambda channels, nb_classes: resnet(channels, nb_classes, 18, width=8),
    "resnet18_cifar": resnet18_cifar,
    "resnet50": lambda channels, nb_classes: resnet(channels, nb_classes, 50),
    "lenet5": lenet5,
    "plain_cnn": plain_cnn,
    "vit": vit,
    "vgg16": vgg16,
    "mobilenet_v2": mobilenet_v2,
}
