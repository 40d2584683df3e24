"""Checks of what every class is given: arrays of samples, names of layers, numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError


def check_samples(x: np.ndarray) -> None:
    """
    Cheap checks of an array of samples, before any heavy work.

    :raises InvalidInputError: If ``x`` is no numeric array, or is empty.
    """
    if not isinstance(x, np.ndarray):
        raise InvalidInputError(f"x must be a numpy array; received {type(x).__name__}. Convert it with numpy.asarray.")
    if x.dtype == object:
        raise InvalidInputError("x has dtype object (samples of different lengths?); pad or crop them to one shape.")
    if not (np.issubdtype(x.dtype, np.number) or x.dtype == bool) or np.issubdtype(x.dtype, np.complexfloating):
        raise InvalidInputError(f"x must hold real numbers; received dtype {x.dtype}.")
    if x.ndim < 2 or 0 in x.shape:
        raise InvalidInputError(f"x must hold samples along its first axis and not be empty; received shape {x.shape}.")


def check_finite(values: np.ndarray, what: str, remedy: str) -> None:
    """
    :raises InvalidInputError: Naming the first row of ``values`` that holds NaN or infinity.
    """
    finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if not finite.all():
        raise InvalidInputError(f"Row {int(np.argmin(finite))} of the {what} holds NaN or infinity; {remedy}.")


def check_layer_names(layers: Any) -> None:
    """
    :raises InvalidInputError: If it is neither a list of different names nor ``None``.
    """
    names = isinstance(layers, (list, tuple)) and all(isinstance(name, str) for name in layers)
    if layers is not None and not (names and len(set(layers)) == len(layers) > 0):
        raise InvalidInputError(
            f"layers must be a list of different names of the model's modules, or None; received {layers!r}."
        )


def check_whole_number(name: str, value: Any, least: int) -> None:
    """
    :raises InvalidInputError: If it is no whole number, or too small.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidInputError(f"{name} must be a whole number of at least {least}; received {value!r}.")


def plain(value: Any) -> Any:
    """A NumPy scalar, as sweeps over ``np.arange`` give them, as Python's own number."""
    return value.item() if isinstance(value, np.generic) else value
