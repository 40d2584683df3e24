"""Data sets where ART hands arrays: the samples of a data set of torch as one array on the disk."""

from __future__ import annotations

from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.files.folder_room import temporary_file
from art_plugins.files.sources.rows import as_numbers

NO_DATA_SETS = (list, tuple, dict, str, bytes)


def as_arrays(x_train: Any, y_train: Any) -> tuple[Any, Any]:
    """
    Arrays for a data set that has a length and gives a sample, or a pair of sample and label, by position.

    Each sample is asked for once, in order. The array is a memory map of a file without a name, which is gone with the
    array, so that little memory is needed. Everything else is given back as it is.

    :param x_train: A data set, such as ``torch.utils.data.Dataset``, or an array.
    :param y_train: Labels (n,); ``None``: the data set has them.
    :raises InvalidInputError: If the samples have different shapes, or there are no labels.
    """
    is_map = hasattr(x_train, "__len__") and hasattr(x_train, "__getitem__") and not hasattr(x_train, "ndim")
    if not is_map or isinstance(x_train, NO_DATA_SETS) or len(x_train) == 0 or isinstance(x_train[0], dict):
        return x_train, y_train
    name = type(x_train).__name__
    x, labels = np.empty(0), []
    for row in range(len(x_train)):
        pair = x_train[row]
        values = as_numbers(pair[0] if isinstance(pair, (tuple, list)) else pair)
        if row == 0:
            with temporary_file(values.nbytes * len(x_train), f"The {len(x_train)} samples of the {name} need") as file:
                x = np.memmap(file, values.dtype, "r+", shape=(len(x_train), *values.shape))
        if values.shape != x.shape[1:]:
            raise InvalidInputError(
                f"Sample {row} of the {name} has the shape {values.shape}, and the first one {x.shape[1:]}; let the data "
                "set give samples of one shape."
            )
        x[row] = values
        if isinstance(pair, (tuple, list)) and len(pair) > 1:
            labels.append(int(pair[1]))
    if y_train is None and len(labels) != len(x_train):
        raise InvalidInputError(f"The {name} gives no labels; give them as y_train.")
    return x, np.array(labels) if y_train is None else y_train
