"""
The triggers of the adaptive attacks of Qi et al. 2023: weak and partial on training images, strong on test images.
"""

from __future__ import annotations

from typing import NamedTuple

from art_plugins.triggers.drawn import AllTriggers, OneOfTriggers, RandomPiecesTrigger
from art_plugins.triggers.patterns import CORNERS, Shape, blended, trojan_square
from art_plugins.triggers.stamps import MaskedTrigger
from art_plugins.triggers.trigger import Trigger

BLEND_WEIGHTS = (0.15, 0.2)  # of training and of test images
PATCH_OPACITIES = (0.5, 0.2, 0.5, 0.3)  # of training images; the patches are opaque on test images
TEST_PATCHES = (0, 2)  # the two patches with which the authors test on CIFAR-10


class AdaptiveTriggers(NamedTuple):
    """``training``: the trigger of poisoned and of cover images. ``test``: the trigger at test time."""

    training: Trigger
    test: Trigger


def adaptive_blend(shape: Shape, random_state: int = 0) -> AdaptiveTriggers:
    """
    Adap-Blend (Qi et al. 2023, section 5): the training images get a random half of 16 pieces of a blended image with the
    weight .15, the test images get the whole one with the weight .2. The authors blend with a drawing; here it is uniform
    noise, as in :func:`~art_plugins.triggers.patterns.blended`.

    :param shape: (C, H, W).
    :param random_state: Random seed of the noise and of the pieces.
    :raises InvalidInputError: For a bad shape or seed.
    """
    weak, strong = (blended(shape, weight, random_state) for weight in BLEND_WEIGHTS)
    return AdaptiveTriggers(RandomPiecesTrigger(weak, random_state=random_state), strong)


def adaptive_patch(shape: Shape, random_state: int = 0) -> AdaptiveTriggers:
    """
    Adap-Patch (Qi et al. 2023, section 5): every training image gets one of four translucent patches, the test images get
    two of them, opaque. The opacities and the two patches are those of the authors for CIFAR-10. Their patches are logos
    and squares; here each is a square of random colours in a corner, with a side of a quarter of the image's shorter side.

    :param shape: (C, H, W).
    :param random_state: Random seed of the colours and of the choice for each image.
    :raises InvalidInputError: For a bad shape or seed.
    """
    size = max(1, min(shape[1:]) // 4)
    patches = [
        trojan_square(shape, size, margin=0, random_state=random_state + number, corner=corner)
        for number, corner in enumerate(CORNERS)
    ]
    weak = [
        MaskedTrigger(opacity * patch.mask, patch.pattern) for opacity, patch in zip(PATCH_OPACITIES, patches, strict=True)
    ]
    test = AllTriggers([patches[number] for number in TEST_PATCHES])
    return AdaptiveTriggers(OneOfTriggers(weak, random_state), test)
