"""The form that every data set of the evaluation comes in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class LabelledData(NamedTuple):
    """
    A labelled data set with a training and a test part.

    ``x_train`` (n, ...); ``y_train`` (n,), int64; ``x_test``; ``y_test``; ``class_names`` in the order of the labels;
    ``notes``: what a reader of the results has to know about how the set was made.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
