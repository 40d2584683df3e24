"""Handwritten digits that scikit-learn ships: 1,797 real images of 8 x 8 pixels (UCI, Alpaydin and Kaynak 1998)."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from art_plugins.evaluation.datasets.labelled import LabelledData


def digits(random_state: int = 0) -> LabelledData:
    """
    Images (n, 1, 8, 8) in [0, 1], float32; three quarters are the training set, stratified.

    :param random_state: Seed of the split.
    """
    bunch = load_digits()
    x = (bunch.images / 16.0).astype(np.float32)[:, None]
    x_train, x_test, y_train, y_test = train_test_split(
        x, bunch.target.astype(np.int64), test_size=0.25, stratify=bunch.target, random_state=random_state
    )
    return LabelledData(x_train, y_train, x_test, y_test, tuple(str(digit) for digit in range(10)))
