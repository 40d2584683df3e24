"""Data sets where ART hands arrays: the samples of a data set of torch as one array on the disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from art_plugins.disk_room import temporary_file
from art_plugins.errors import ArtPluginsError, InvalidInputError
from art_plugins.files.sources.rows import as_numbers

NO_DATA_SETS = (list, tuple, dict, str, bytes)


def as_arrays(x_train: Any, y_train: Any) -> tuple[Any, Any]:
    """
    Arrays for a data set that has a length and gives a sample, or a pair of sample and label, by position.

    Each sample is asked for once, in order. The array is a memory map of a file without a name, which is gone with the
    array, so that little memory is needed. Everything else is given back as it is.

    :param x_train: A data set, such as ``torch.utils.data.Dataset``, or an array.
    :param y_train: Labels (n,); ``None``: the data set has them.
    :raises InvalidInputError: If the samples have different shapes, or types that the first one's cannot hold; if there are
        no labels; or if the data set raises an error, which is then the cause of this one.
    """
    is_map = hasattr(x_train, "__len__") and hasattr(x_train, "__getitem__") and not hasattr(x_train, "ndim")
    if not is_map or isinstance(x_train, NO_DATA_SETS):
        return x_train, y_train
    n_samples = _asked(x_train, "its length", lambda: len(x_train))
    if n_samples == 0 or isinstance(_sample(x_train, 0), dict):
        return x_train, y_train
    name = type(x_train).__name__
    x, labels = np.empty(0), []
    for row in range(n_samples):
        pair = _sample(x_train, row)
        values = as_numbers(pair[0] if isinstance(pair, (tuple, list)) else pair)
        if row == 0:
            if values.dtype.kind not in "biuf" or values.size == 0:
                raise InvalidInputError(
                    f"The samples of the {name} must be arrays of real numbers; the first one is a {type(pair).__name__} "
                    f"with values of {values.dtype} and the shape {values.shape}."
                )
            with temporary_file(values.nbytes * n_samples, f"The {n_samples} samples of the {name} need") as file:
                x = np.memmap(file, values.dtype, "r+", shape=(n_samples, *values.shape))
        if not (np.can_cast(values.dtype, x.dtype) or values.dtype.kind == x.dtype.kind == "f"):
            raise InvalidInputError(
                f"Sample {row} of the {name} holds values of {values.dtype}, and the first one of {x.dtype}, which cannot "
                "hold them; let the data set give samples of one type."
            )
        if values.shape != x.shape[1:]:
            raise InvalidInputError(
                f"Sample {row} of the {name} has the shape {values.shape}, and the first one {x.shape[1:]}; let the data "
                "set give samples of one shape."
            )
        x[row] = values
        if y_train is None and isinstance(pair, (tuple, list)) and len(pair) > 1:
            labels.append(as_numbers(pair[1]))
    if y_train is not None:
        return x, y_train
    if len(labels) != n_samples:
        raise InvalidInputError(f"The {name} gives no labels; give them as y_train.")
    if len({label.shape for label in labels}) > 1:
        raise InvalidInputError(f"The labels of the {name} have different shapes; let it give a number for each sample.")
    return x, np.stack(labels)


def _sample(data_set: Any, row: int) -> Any:
    return _asked(data_set, f"sample {row}", lambda: data_set[row])


def _asked(data_set: Any, what: str, ask: Callable[[], Any]) -> Any:
    """
    :raises InvalidInputError: If the data set raises an error.
    """
    try:
        return ask()
    except (ArtPluginsError, MemoryError):
        raise
    except Exception as error:  # a stranger's data set may raise any error
        raise InvalidInputError(
            f"x_train is a {type(data_set).__name__}, which raised {type(error).__name__} when asked for {what}: {error}"
        ) from error
