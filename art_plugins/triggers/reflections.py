"""Reflections of other images as a trigger (Refool, Liu et al. 2020), as if each image were taken through a window."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, shift

from art_plugins.errors import InvalidInputError
from art_plugins.parameters import check_choice, check_number, plain
from art_plugins.triggers.drawn import OneOfTriggers
from art_plugins.triggers.stamps import AdditiveTrigger

KINDS = ("sharp", "blurred", "ghost")
GHOST_WEIGHTS = (0.6, 0.4)  # of the reflections at the front and at the back of the glass


def reflected(image: np.ndarray, kind: str = "blurred") -> np.ndarray:
    """
    Give what the glass reflects of an image (Liu et al. 2020, section 3.2).

    :param image: (C, H, W).
    :param kind: ``"sharp"``: the reflected things are as far away as those behind the glass. ``"blurred"``: they are out of
        focus, which a Gaussian blur imitates; its standard deviation is a sixteenth of the shorter side. ``"ghost"``: both
        sides of the glass reflect, so that there are two images, an eighth of the shorter side apart.
    :raises InvalidInputError: For another kind, or an array that is no image.
    """
    check_choice("kind", kind, KINDS)
    if not isinstance(image, np.ndarray) or image.ndim != 3 or not np.isfinite(image).all():
        raise InvalidInputError(f"image must be finite numbers of shape (C, H, W); received {np.shape(image)}.")
    if image.dtype.kind not in "fiu":
        raise InvalidInputError(f"image must hold real numbers; received {image.dtype}.")
    if image.dtype not in (np.float32, np.float64):  # SciPy's filters know no others
        image = image.astype(np.float64)
    side = min(image.shape[1:])
    if kind == "blurred":
        blurred: np.ndarray = gaussian_filter(image, sigma=(0, side / 16, side / 16), mode="nearest")
        return blurred
    if kind == "ghost":
        distance = max(1, side // 8)
        moved = shift(image, (0, distance, distance), order=0, mode="nearest")
        ghost: np.ndarray = GHOST_WEIGHTS[0] * image + GHOST_WEIGHTS[1] * moved
        return ghost
    return image


def reflections(images: np.ndarray, weight: float = 0.4, kind: str = "blurred", random_state: int = 0) -> OneOfTriggers:
    """
    Add the reflection of one of several images to every image and clip the sum: x' = clip(x + w r), Eq. 1 of Liu et al.
    2020. Which one is drawn from the image itself. The authors choose the reflections that fool a network best; here they
    are given.

    :param images: Images that are reflected, (n, C, H, W), 0 to 1.
    :param weight: Brightness of the reflection, w, above 0 and at most 1.
    :param kind: As in :func:`reflected`.
    :param random_state: Random seed of the choice.
    :raises InvalidInputError: If there is no image, or for a bad weight, kind or seed.
    """
    check_number("weight", plain(weight), above=0, most=1)
    parts = [(weight * reflected(image, kind)).astype(np.float32) for image in images]
    return OneOfTriggers([AdditiveTrigger(part) for part in parts], random_state)
