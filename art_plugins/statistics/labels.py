"""Labels in the forms of ART and Armory are turned into one class index for each sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError

# If the number of classes is not given, an index beyond both this and the number of samples is a mistake, such as a hash or
# a time: most of the classes would be empty.
MAX_CLASSES = 1_000


def class_labels(y: Any, n_samples: int, nb_classes: int | None = None) -> tuple[np.ndarray, int]:
    """
    Turn labels, (n,), (n, 1) or one-hot rows (n, nb_classes), into class indices, (n,).

    :param y: Labels; indices are integers (floats of integer value are accepted) from 0.
    :param n_samples: Number of samples that the labels belong to.
    :param nb_classes: Number of classes; ``None``: the width of one-hot rows, or one more than the largest index.
    :return: Labels (n,), int64, and the number of classes.
    :raises InvalidInputError: For another shape or length, NaN, rows that are not one-hot, or an index out of range: beyond
        ``nb_classes``, or, where that is not given, beyond both 999 and the number of samples.
    """
    try:
        array = np.asarray(y)
    except ValueError as error:
        raise InvalidInputError(f"Labels do not form an array ({error}); give (n,), (n, 1) or one-hot.") from error
    if array.dtype == bool:
        array = array.astype(np.int64)
    if not np.issubdtype(array.dtype, np.integer) and not np.issubdtype(array.dtype, np.floating):
        raise InvalidInputError(f"Labels must be numbers; received dtype {array.dtype}. Map class names to 0, 1, 2, ...")
    if array.ndim not in (1, 2) or len(array) != n_samples:
        raise InvalidInputError(
            f"Labels must be of shape ({n_samples},), ({n_samples}, 1) or ({n_samples}, nb_classes); "
            f"received {array.shape}."
        )
    if not np.isfinite(array).all():
        raise InvalidInputError(f"Label {int(np.argmin(_rows_finite(array)))} is NaN or infinite; mend or drop it.")
    if array.ndim == 2 and array.shape[1] > 1:
        one_hot = ((array == 0) | (array == 1)).all(axis=1) & (array.sum(axis=1) == 1)
        if not one_hot.all():
            raise InvalidInputError(
                f"Row {int(np.argmin(one_hot))} of the labels is not one-hot: {array[np.argmin(one_hot)].tolist()[:12]}."
            )
        labels, found = array.argmax(axis=1), array.shape[1]
    else:
        flat = array.reshape(-1)
        most = max(MAX_CLASSES, n_samples) if nb_classes is None else 2**31
        wrong = (flat < 0) | (flat >= most) | (flat % 1 != 0)
        if wrong.any():
            raise InvalidInputError(
                f"Labels must be whole numbers from 0 to at most {most - 1}; received {flat[wrong][0]}. Number the classes "
                "0, 1, 2, ..., or give a classifier that has nb_classes."
            )
        labels = flat.astype(np.int64)
        found = int(labels.max()) + 1 if len(labels) else 0
    total = found if nb_classes is None else nb_classes
    if len(labels) and labels.max() >= total:
        raise InvalidInputError(f"Label {labels.max()} is out of range for {total} classes (0 to {total - 1}).")
    return labels.astype(np.int64), total


def indices_by_class(labels: np.ndarray, nb_classes: int) -> list[np.ndarray]:
    """Give for each class the rows of its samples, in increasing order; an empty class gives an empty array."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.searchsorted(labels[order], np.arange(1, nb_classes)))


def _rows_finite(array: np.ndarray) -> np.ndarray:
    finite: np.ndarray = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    return finite
