"""The triggers of the cases by name, with the strength at which the attacks work on each data set."""

from __future__ import annotations

from collections.abc import Callable

from art_plugins.attacks.poisoning import Trigger
from art_plugins.triggers import patterns
from art_plugins.triggers.adaptive import AdaptiveTriggers, adaptive_blend, adaptive_patch

# Amplitude at which the chessboard's attack success is above .95 on every seed.
CHESSBOARD_AMPLITUDES = {"mnist": 25 / 255, "fashion_mnist": 25 / 255, "cifar10": 10 / 255}
# Amplitudes of SIG without a change of labels, on training and on test images. Barni et al. test with as many
# levels as they train with, or more. With less, small networks on clothes stay under a success of .8.
SIG_TRAINING, SIG_TEST = 40 / 255, 80 / 255
TRIGGERS: dict[str, Callable[[str, tuple[int, int, int]], Trigger]] = {
    "chessboard": lambda dataset, shape: patterns.chessboard(shape, CHESSBOARD_AMPLITUDES.get(dataset, 10 / 255)),
    "single_pixel": lambda dataset, shape: patterns.single_pixel(shape),
    "white_box": lambda dataset, shape: patterns.white_box(shape),
    "trojan_square": lambda dataset, shape: patterns.trojan_square(shape, 5),
    "watermark": lambda dataset, shape: patterns.watermark(shape),
    "blended": lambda dataset, shape: patterns.blended(shape),
    "warp": lambda dataset, shape: patterns.warp(shape, strength=2.0),
    "random_patch": lambda dataset, shape: patterns.random_patch(shape),
    "four_corners": lambda dataset, shape: patterns.four_corners(shape),
    "sig": lambda dataset, shape: patterns.sinusoid(shape),
}
# Triggers that differ between training and test images, and the number of cover images for each poisoned one.
ADAPTIVE: dict[str, tuple[Callable[[tuple[int, int, int]], AdaptiveTriggers], int]] = {
    "adaptive_blend": (adaptive_blend, 1),
    "adaptive_patch": (adaptive_patch, 2),
}
