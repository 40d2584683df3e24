"""Pictures and clips as files hold them, as a model takes them."""

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


def to_inputs(samples: np.ndarray, channels_first: bool) -> np.ndarray:
    """
    Samples as files hold them to what a model takes.

    :param samples: Pictures as :func:`to_images` takes them, of bytes; or waveforms (n, S), which stay as they are.
    :return: Float32.
    """
    if samples.dtype == np.uint8:
        return to_images(samples, channels_first)
    return np.ascontiguousarray(samples, dtype=np.float32)
