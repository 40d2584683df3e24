"""Pictures as files hold them, as a model takes them."""

from __future__ import annotations

import numpy as np


def to_images(pictures: np.ndarray, channels_first: bool) -> np.ndarray:
    """
    Pictures as files hold them to images as a model takes them.

    :param pictures: Values 0 to 255, (n, H, W) or (n, H, W, 3).
    :return: Values 0 to 1, (n, C, H, W) or (n, H, W, C), float32.
    """
    images = np.asarray(pictures, dtype=np.float32) / 255
    if images.ndim == 3:
        images = images[..., None]
    return np.ascontiguousarray(np.moveaxis(images, -1, 1)) if channels_first else images
