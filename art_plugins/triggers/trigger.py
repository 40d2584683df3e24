"""Triggers are callables that users write, so their results are checked before a defence learns from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from art_plugins.errors import ArtPluginsError, InvalidInputError
from art_plugins.parameters import shown

Trigger = Callable[[np.ndarray], np.ndarray]


def check_trigger(trigger: Any) -> None:
    """
    Check that a trigger can be called.

    :raises InvalidInputError: If it cannot.
    """
    if not callable(trigger):
        raise InvalidInputError(
            f"trigger must be a callable that takes a batch of images and gives triggered ones; received {shown(trigger)}."
        )


def apply_trigger(trigger: Trigger, x: np.ndarray) -> np.ndarray:
    """
    Give a triggered copy of the images, of the same shape and dtype. The trigger receives a copy, which it may change.

    :param trigger: The trigger; it may give a CPU tensor of PyTorch instead of an array.
    :param x: Images, (n, ...).
    :raises InvalidInputError: If the trigger cannot be called or raises an error, which is then the cause of this one; or
        if it gives another shape, values that are not finite real numbers, or values that the dtype of ``x`` cannot hold.
    """
    check_trigger(trigger)
    if not isinstance(x, np.ndarray) or not x.ndim:
        raise InvalidInputError(f"x must be an array of images, (n, ...); received {shown(x)}.")
    try:
        triggered = np.asarray(trigger(np.array(x)))
    except ArtPluginsError:
        raise
    except Exception as error:  # the user's callable may raise any error
        raise InvalidInputError(
            f"The trigger raised {type(error).__name__} on images of shape {x.shape} and dtype {x.dtype}: {error}. It must "
            "take a batch of images, a NumPy array, and give an array of the same shape."
        ) from error
    if triggered.shape != x.shape:
        raise InvalidInputError(
            f"The trigger turned images of shape {x.shape} into {triggered.shape}; it must give a batch of the same shape."
        )
    if triggered.dtype.kind not in "fiu" and triggered.dtype != x.dtype:
        raise InvalidInputError(f"The trigger must give real numbers; it gave an array of dtype {triggered.dtype}.")
    if triggered.dtype.kind == "f":
        bad = ~np.isfinite(triggered).all(axis=tuple(range(1, x.ndim)))
        if bad.any():
            raise InvalidInputError(
                f"The trigger gave NaN or infinity for {int(bad.sum())} of {len(x)} images, first for number "
                f"{int(bad.argmax())}; it must give finite numbers."
            )
    return _of_dtype(triggered, x.dtype)


def _of_dtype(triggered: np.ndarray, dtype: np.dtype) -> np.ndarray:  # type: ignore[type-arg]
    """
    Convert the images to the dtype; round them if it holds whole numbers.

    :raises InvalidInputError: If the dtype cannot hold the values.
    """
    if triggered.dtype == dtype or not triggered.size:
        return triggered.astype(dtype, copy=False)
    values = triggered
    if dtype.kind in "iu":
        values, limits = np.rint(triggered) if triggered.dtype.kind == "f" else triggered, np.iinfo(dtype)
        low, high = int(limits.min), int(limits.max)
    elif dtype.kind == "f":
        low, high = float(np.finfo(dtype).min), float(np.finfo(dtype).max)  # type: ignore[assignment]
    else:
        raise InvalidInputError(f"The trigger gave {triggered.dtype} for images of {dtype}; it must give the same dtype.")
    if values.min() < low or values.max() > high:
        raise InvalidInputError(
            f"The trigger gave values from {values.min()} to {values.max()}, which the images' dtype {dtype} cannot hold."
        )
    return values.astype(dtype)
