"""What the filters and detectors of others are asked before and after the forward pass: parameters, shapes, finiteness."""

from __future__ import annotations

from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError

MOST_SEED = 2**32 - 1  # of NumPy's older generator, from which ART and scikit-learn draw


def check_number(name: str, value: Any, least: float, most: float, what: str) -> None:
    """
    :param least: The number must be above it.
    :param most: The number must be below it.
    :param what: The rule, for the message: "a share above 0 and below 0.5".
    :raises InvalidInputError: For what is no number, a truth value, and a number out of range.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not float(least) < value < float(most):
        raise InvalidInputError(f"{name} must be {what}; received {value!r}.")


def check_seed(value: Any) -> None:
    """
    :raises InvalidInputError: For what is no whole number from 0 to 2^32 - 1.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_SEED:
        raise InvalidInputError(f"random_state must be a whole number from 0 to {MOST_SEED}; received {value!r}.")


def check_model_shape(classifier: Any, x: np.ndarray) -> None:
    """
    :raises InvalidInputError: If the samples (n, ...) have another shape than the classifier names as its own.
    """
    shape = getattr(classifier, "input_shape", None)
    if shape is not None and tuple(shape) != x.shape[1:]:
        raise InvalidInputError(
            f"x_train must hold samples of the classifier's input_shape {tuple(shape)}; received {x.shape[1:]}: reshape or "
            "transpose them, or make the classifier with their shape."
        )


def check_finite_features(features: np.ndarray, what: str) -> None:
    """
    :param features: Shape (n, d).
    :param what: Where in the model they were taken, such as ``"penultimate layer"``.
    :raises InvalidInputError: That counts the samples whose features hold NaN or infinity, and names the first.
    """
    broken = ~np.isfinite(features).all(axis=1)
    if broken.any():
        raise InvalidInputError(
            f"The model gives NaN or infinity in its {what} for {int(broken.sum())} of the {len(features)} samples, the "
            f"first in row {int(np.argmax(broken))}: such samples cannot be judged. Look for extreme values in them, and "
            "for NaN in the model's weights."
        )
