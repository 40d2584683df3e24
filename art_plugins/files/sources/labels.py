"""Labels of any kind -> classes: numbers, words, one-hot rows, or numbers with a map of names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.files.file_walk import printable
from art_plugins.files.sources.damage import values_of
from art_plugins.files.sources.items import Item, Items
from art_plugins.files.sources.samples import Samples

NO_LABEL = "it has no label"
MOST_LETTERS = 255  # as many as the name of a folder may have


def labelled(
    found: Samples, raw: Sequence[Any] | np.ndarray, label_names: Sequence[str] | Mapping[Any, str] | None = None
) -> Samples:
    """
    Samples with their classes.

    A sample whose label is missing, or no single value, is skipped, and listed. Labels of one name are one class.

    :param found: Samples without labels.
    :param raw: The label of each: a number, a word, or a row of a one-hot array; ``None``, NaN, infinity, an empty word, or
        a negative number of a map of names: it has none.
    :param label_names: The name of each number; ``None``: the label itself is the name.
    :raises InvalidInputError: If the number of labels is not that of the samples, or fewer than two classes are left.
    """
    raw = _plain(raw, found.origin)
    if len(raw) != len(found.files):
        raise InvalidInputError(
            f"{found.origin} has {len(found.files):,} samples and {len(raw):,} labels; give one label for each sample."
        )
    kept, named, bad = [], [], {}
    first: dict[str, Any] = {}  # name of a class -> the first label of this name
    for row, value in enumerate(raw):
        try:
            key = _key(value, label_names)
            if key is None:
                raise InvalidInputError(NO_LABEL)
        except InvalidInputError as error:
            bad[found.files[row]] = str(error)
            continue
        kept.append(row)
        named.append(printable(str(key)))
        first.setdefault(named[-1], key)
    names = tuple(sorted(first, key=lambda name: _order(first[name])))
    if len(names) < 2:
        _refuse(found.origin, names, {file: reason for file, reason in bad.items() if reason != NO_LABEL}, len(raw))
    places = {name: place for place, name in enumerate(names)}
    return Samples(
        found.origin,
        found.kind,
        names,
        [found.files[row] for row in kept],
        [places[name] for name in named],
        _rows(found.items, kept) if bad else found.items,
        found.skipped_files | bad,
        found.skipped_folders,
        found.ignored_files,
        found.notes,
    )


def _refuse(origin: str, names: Sequence[str], bad: Mapping[str, str], n_labels: int) -> None:
    """
    :raises InvalidInputError: Always; there are fewer than two classes.
    """
    if bad:
        file, reason = next(iter(bad.items()))
        raise InvalidInputError(
            f"{len(bad):,} of the {n_labels:,} labels of {origin} cannot be used, the first that of {file}: {reason}. "
            "Choose a column with one label for each sample, such as --label-column NAME."
        )
    raise InvalidInputError(
        f"{origin} holds {len(names)} class ({', '.join(names) or 'no label'}). Classes are compared with each other, so "
        "at least 2 are needed, and 5 or more for a reliable result; name the column of the labels."
    )


def _plain(raw: Sequence[Any] | np.ndarray, origin: str) -> Sequence[Any]:
    """The labels as a list; a one-hot array as numbers."""
    if not isinstance(raw, np.ndarray):
        return raw
    table: np.ndarray = raw[:, 0] if raw.ndim == 2 and raw.shape[1] == 1 else raw
    if table.ndim == 2 and table.dtype.kind in "biuf" and np.isin(table, (0, 1)).all() and (table.sum(axis=1) == 1).all():
        table = table.argmax(axis=1)
    if table.ndim != 1:
        raise InvalidInputError(f"Labels must be (n,) or one-hot (n, nb_classes); received shape {table.shape}.")
    return values_of(table, f"The labels of {origin}")


def _key(value: Any, label_names: Sequence[str] | Mapping[Any, str] | None) -> Any:
    """
    What tells the class: a number or a word; ``None``: there is no label.

    :raises InvalidInputError: If it is neither; the message is the reason why the sample is skipped.
    """
    value = value.item() if isinstance(value, np.generic) or _is_scalar_tensor(value) else value
    value = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    if value is None or value == "" or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if not isinstance(value, (str, int, float)):
        raise InvalidInputError(f"its label is a {type(value).__name__}, and no single value")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if (isinstance(value, str) and len(value) > MOST_LETTERS) or (isinstance(value, int) and abs(value) >= 2**64):
        raise InvalidInputError(f"its label is too long: at most {MOST_LETTERS} letters, or a number of 64 bits")
    if label_names is None or isinstance(value, str):
        return value
    if value < 0:
        return None
    try:
        return str(label_names[value])  # type: ignore[index]
    except (IndexError, KeyError, TypeError) as error:
        raise InvalidInputError(
            f"its label is {value!r}, which the {len(label_names)} names of the classes do not have"
        ) from error


def _is_scalar_tensor(value: Any) -> bool:
    return hasattr(value, "item") and getattr(value, "ndim", None) == 0


def _order(key: Any) -> tuple[bool, Any]:
    """Numbers by size, then words by letter."""
    return isinstance(key, str), key


def _rows(items: Sequence[Item], kept: list[int]) -> Items:
    return Items(len(kept), lambda index: items[kept[index]])
