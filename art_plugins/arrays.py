"""Checks of arrays of samples and features. Each error names the argument and says what to do."""

from __future__ import annotations

from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError

# How objects that are no arrays are turned into arrays, by the name of their type; {x} stands for the argument.
WAYS_TO_AN_ARRAY = {
    "Tensor": "{x}.detach().cpu().numpy()",
    "EagerTensor": "{x}.numpy()",
    "DataLoader": "numpy.concatenate([samples.numpy() for samples, labels in {x}])",
    "DataFrame": "{x}.to_numpy()",
    "list": "numpy.stack({x})",
    "tuple": "numpy.stack({x})",
}
OF_A_DATASET = "numpy.stack([numpy.asarray(sample) for sample, label in {x}])"
OF_A_HUGGING_FACE_DATASET = 'numpy.stack([numpy.asarray(row["image"]) for row in {x}])'
BLOCK = 2**24  # number of values checked together, so that an array on disk is never copied as a whole

FARTHEST = 10  # typical ranges beyond the typical sample; a scale that holds it leaves 23 of 256 levels to all others

LARGEST = float(np.sqrt(np.finfo(np.float32).max))  # the square of a larger number is infinite in single precision


def usual_range(lows: np.ndarray, highs: np.ndarray) -> tuple[float, float]:
    """
    The smallest and the largest value of samples, without samples that somebody forgot to scale.

    :param lows: Smallest value of each sample, (n,), n at least 1, finite.
    :param highs: Largest values, (n,).
    """
    low, high = float(np.median(lows)), float(np.median(highs))
    reach = FARTHEST * (high - low) if high > low else np.inf
    return float(lows[lows >= low - reach].min()), float(highs[highs <= high + reach].max())


def check_samples(x: Any, name: str = "x") -> None:
    """
    Check an array of samples, (n, ...). The check is fast and comes before any heavy work.

    :param name: Name of the argument, for the message.
    :raises InvalidInputError: If ``x`` is no array of real numbers, is empty, or has masked entries.
    """
    if not isinstance(x, np.ndarray):
        raise InvalidInputError(f"{name} must be a numpy array; received {type(x).__name__}. {_way_to_an_array(x, name)}")
    if isinstance(x, np.ma.MaskedArray):
        raise InvalidInputError(f"{name} is a masked array; fill or drop what is masked: {name}.filled(value).")
    if x.dtype == object:
        raise InvalidInputError(f"{name} has dtype object (samples of different lengths?); pad or crop them to one shape.")
    if not (np.issubdtype(x.dtype, np.number) or x.dtype == bool) or np.issubdtype(x.dtype, np.complexfloating):
        raise InvalidInputError(f"{name} must hold real numbers; received dtype {x.dtype}.")
    if x.ndim < 2 or 0 in x.shape:
        raise InvalidInputError(
            f"{name} must hold samples along its first axis and not be empty; received shape {x.shape}."
        )


def is_sound(values: np.ndarray) -> np.ndarray:
    """
    Whether all values of a sample and their squares are finite, (n,), bool.

    :param values: Outputs of a layer or of the model, (n, ...).
    """
    sound: np.ndarray = (np.abs(values) < LARGEST).reshape(len(values), -1).all(axis=1)
    return sound


def check_finite(values: np.ndarray, what: str, remedy: str) -> None:
    """
    Check that all values are finite.

    :param values: Shape (n, ...).
    :param what: Name of the values, for the message.
    :param remedy: What to do, for the message.
    :raises InvalidInputError: If a row holds NaN or infinity. The message gives the first such row and their number.
    """
    rows = max(1, BLOCK // max(1, values[:1].size))
    blocks = (values[start : start + rows] for start in range(0, len(values), rows))
    finite = np.concatenate([np.isfinite(block).reshape(len(block), -1).all(axis=1) for block in blocks])
    if not finite.all():
        raise InvalidInputError(
            f"Row {int(np.argmin(finite))} of the {what} holds NaN or infinity, as do {np.count_nonzero(~finite)} of the "
            f"{len(values)} in all; {remedy}."
        )


def check_finite_features(features: np.ndarray, what: str) -> None:
    """
    Check that the features of a model are finite.

    :param features: Shape (n, d).
    :param what: Place of the features in the model, such as ``"penultimate layer"``.
    :raises InvalidInputError: If features hold NaN or infinity. The message gives the first such sample and their number.
    """
    broken = ~np.isfinite(features).all(axis=1)
    if broken.any():
        raise InvalidInputError(
            f"The model gives NaN or infinity in its {what} for {int(broken.sum())} of the {len(features)} samples, the "
            f"first in row {int(np.argmax(broken))}: such samples cannot be judged. Look for extreme values in them, and "
            "for NaN in the model's weights."
        )


def _way_to_an_array(x: Any, name: str) -> str:
    way = WAYS_TO_AN_ARRAY.get(type(x).__name__)
    if way is None and hasattr(x, "__getitem__") and hasattr(x, "__len__") and not isinstance(x, (str, bytes, dict)):
        way = OF_A_HUGGING_FACE_DATASET if type(x).__module__.split(".")[0] == "datasets" else OF_A_DATASET
    if way is None:
        return "Give the samples along the first axis of an array."
    return f"Make an array of all samples: {way.format(x=name)}."
