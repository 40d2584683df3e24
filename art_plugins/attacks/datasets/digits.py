"""Handwritten digits that scikit-learn ships: 1,797 real images of 8 x 8 pixels (UCI, Alpaydin and Kaynak 1998)."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import zoom
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.errors import InvalidInputError

SIDE = 8


def digits(random_state: int = 0, *, side: int = SIDE, test_fraction: float = 0.25) -> LabelledData:
    """
    Load the digits as images (n, 1, side, side) in [0, 1], float32. Training and test set have the same shares of the
    classes.

    :param random_state: Random seed of the split.
    :param side: Height and width in pixels, at least 8. Larger images are made by bilinear interpolation, which adds no
        detail but gives room for a trigger and for networks with strides.
    :param test_fraction: Share of the images in the test set, above 0 and below 1.
    :raises InvalidInputError: If the side or the share is out of range.
    """
    if side < SIDE:
        raise InvalidInputError(f"side must be at least {SIDE}, the size of the images; received {side}.")
    if not 0 < test_fraction < 1:
        raise InvalidInputError(f"test_fraction must be above 0 and below 1; received {test_fraction}.")
    bunch = load_digits()
    x = (bunch.images / 16.0).astype(np.float32)
    if side > SIDE:
        enlarged = zoom(x, (1, side / SIDE, side / SIDE), order=1, mode="nearest", grid_mode=True)
        x = enlarged.clip(0, 1).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(
        x[:, None],
        bunch.target.astype(np.int64),
        test_size=test_fraction,
        stratify=bunch.target,
        random_state=random_state,
    )
    return LabelledData(x_train, y_train, x_test, y_test, tuple(str(digit) for digit in range(10)))
