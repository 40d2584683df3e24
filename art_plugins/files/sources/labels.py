"""Labels of any kind -> classes: numbers, words, one-hot rows, or numbers with a map of names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.files.file_walk import printable
from art_plugins.files.sources.items import Item, Items
from art_plugins.files.sources.samples import Samples

NO_LABEL = "it has no label"
MOST_CLASSES_SHOWN = 5


def labelled(
    found: Samples, raw: Sequence[Any] | np.ndarray, label_names: Sequence[str] | Mapping[Any, str] | None = None
) -> Samples:
    """
    Samples with their classes.

    A sample whose label is missing is skipped, and listed.

    :param found: Samples without labels.
    :param raw: The label of each: a number, a word, or a row of a one-hot array; ``None``, NaN, an empty word, or a
        negative number of a map of names: it has none.
    :param label_names: The name of each number; ``None``: the label itself is the name.
    :raises InvalidInputError: If a label is no single value, the number of labels is not that of the samples, or there are
        fewer than two classes.
    """
    raw = _plain(raw)
    if len(raw) != len(found.files):
        raise InvalidInputError(
            f"{found.origin} has {len(found.files):,} samples and {len(raw):,} labels; give one label for each sample."
        )
    keys = [_key(value, found.files[row], label_names) for row, value in enumerate(raw)]
    missing = [row for row, key in enumerate(keys) if key is None]
    classes = sorted({key for key in keys if key is not None}, key=_order)
    names = tuple(printable(str(key)) for key in classes)
    if len(classes) < 2:
        raise InvalidInputError(
            f"{found.origin} holds {len(classes)} class ({', '.join(names) or 'no label'}). Classes are compared with each "
            "other, so at least 2 are needed, and 5 or more for a reliable result; name the column of the labels."
        )
    places = {key: place for place, key in enumerate(classes)}
    kept = [row for row, key in enumerate(keys) if key is not None]
    skipped = found.skipped_files | {found.files[row]: NO_LABEL for row in missing}
    return Samples(
        found.origin,
        found.kind,
        names,
        [found.files[row] for row in kept],
        [places[key] for key in keys if key is not None],
        _rows(found.items, kept) if missing else found.items,
        skipped,
        found.skipped_folders,
        found.ignored_files,
        found.notes,
    )


def _plain(raw: Sequence[Any] | np.ndarray) -> Sequence[Any]:
    """The labels as a list; a one-hot array as numbers."""
    if not isinstance(raw, np.ndarray):
        return raw
    table: np.ndarray = raw[:, 0] if raw.ndim == 2 and raw.shape[1] == 1 else raw
    if table.ndim == 2 and table.dtype.kind in "biuf" and np.isin(table, (0, 1)).all() and (table.sum(axis=1) == 1).all():
        table = table.argmax(axis=1)
    if table.ndim != 1:
        raise InvalidInputError(f"Labels must be (n,) or one-hot (n, nb_classes); received shape {table.shape}.")
    values: list[Any] = table.tolist()
    return values


def _key(value: Any, name: str, label_names: Sequence[str] | Mapping[Any, str] | None) -> Any:
    """What tells the class: a number or a word; ``None``: there is no label."""
    value = value.item() if isinstance(value, np.generic) or _is_scalar_tensor(value) else value
    value = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, (str, int, float)):
        raise InvalidInputError(
            f"The label of {name} is a {type(value).__name__}, and no single value; choose a column with one label for "
            "each sample, such as --label-column NAME."
        )
    if label_names is None or isinstance(value, str):
        return value
    if value < 0:
        return None
    try:
        return str(label_names[int(value)] if not isinstance(label_names, Mapping) else label_names[value])
    except (IndexError, KeyError) as error:
        raise InvalidInputError(
            f"The label of {name} is {value!r}, which the {len(label_names)} names of the classes do not have."
        ) from error


def _is_scalar_tensor(value: Any) -> bool:
    return hasattr(value, "item") and getattr(value, "ndim", None) == 0


def _order(key: Any) -> tuple[bool, Any]:
    """Numbers by size, then words by letter."""
    return isinstance(key, str), key


def _rows(items: Sequence[Item], kept: list[int]) -> Items:
    return Items(len(kept), lambda index: items[kept[index]])
