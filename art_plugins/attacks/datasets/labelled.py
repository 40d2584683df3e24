"""The form that every data set of the evaluation comes in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.signal import resample_poly
from sklearn.model_selection import train_test_split

from art_plugins.errors import InvalidInputError


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


def drawn(data: LabelledData, n_train: int, random_state: int = 0) -> LabelledData:
    """
    Draw some of the training samples at random, the same share of each class. The test samples stay as they are.

    :param n_train: Number of training samples that are drawn, at least one for each class.
    :raises InvalidInputError: If there are fewer samples, or fewer are asked for than there are classes.
    """
    n_classes, n_samples = len(np.unique(data.y_train)), len(data.y_train)
    if not n_classes <= n_train <= n_samples:
        raise InvalidInputError(
            f"n_train must be {n_classes}, one sample for each class, to {n_samples}, all of them; received {n_train}."
        )
    if n_samples - n_train < n_classes:  # the rest must hold a sample of each class, or scikit-learn refuses the split
        chosen = np.random.default_rng(random_state).permutation(n_samples)[:n_train]
    else:
        chosen, _ = train_test_split(
            np.arange(n_samples), train_size=n_train, stratify=data.y_train, random_state=random_state
        )
    chosen = np.sort(chosen)
    note = f"{n_train} of {n_samples} training samples, drawn at random"
    return data._replace(x_train=data.x_train[chosen], y_train=data.y_train[chosen], notes=(*data.notes, note))


def merged(data: LabelledData, into: dict[int, int]) -> tuple[LabelledData, np.ndarray]:
    """
    Give several classes one label, so that the class has natural sub-populations, none of which is poison.

    :param into: For each class that is given up, the class that takes its samples.
    :return: The data with labels from 0 without gaps, and the original label of each training sample, (n,).
    :raises InvalidInputError: If a class is unknown, or a class that takes samples is given up itself.
    """
    nb_classes = len(data.class_names)
    named = {*into, *into.values()}
    if not named <= set(range(nb_classes)) or set(into) & set(into.values()):
        raise InvalidInputError(
            f"into must map classes from 0 to {nb_classes - 1} to others that are kept; received {into}."
        )
    kept = [label for label in range(nb_classes) if label not in into]
    number = np.array([kept.index(into.get(label, label)) for label in range(nb_classes)])
    names = tuple(
        "/".join(data.class_names[part] for part in range(nb_classes) if into.get(part, part) == label) for label in kept
    )
    return data._replace(y_train=number[data.y_train], y_test=number[data.y_test], class_names=names), data.y_train


def joined(parts: Sequence[tuple[str, LabelledData]]) -> LabelledData:
    """
    Put several data sets together: the classes of each are further classes. All classes have equally many samples, the
    first ones of each, as many as the smallest class has.

    :param parts: For each data set, what is put before its class names, and the data.
    :raises InvalidInputError: If the samples have several shapes.
    """
    shapes = sorted({tuple(x.shape[1:]) for _, data in parts for x in (data.x_train, data.x_test)})
    if len(shapes) > 1:
        raise InvalidInputError(f"Data sets that are put together must have samples of one shape; received {shapes}.")
    first = np.cumsum([0, *(len(data.class_names) for _, data in parts)]).tolist()
    names = tuple(f"{prefix}{name}" for prefix, data in parts for name in data.class_names)
    notes = tuple(note for _, data in parts for note in data.notes)
    samples: dict[str, np.ndarray] = {}
    for part in ("train", "test"):
        x = np.concatenate([getattr(data, f"x_{part}") for _, data in parts])
        y = np.concatenate([getattr(data, f"y_{part}") + start for (_, data), start in zip(parts, first, strict=False)])
        fewest = np.bincount(y, minlength=len(names)).min()
        kept = np.sort(np.concatenate([np.flatnonzero(y == label)[:fewest] for label in range(len(names))]))
        samples |= {f"x_{part}": x[kept], f"y_{part}": y[kept]}
    return LabelledData(**samples, class_names=names, notes=tuple(dict.fromkeys(notes)))


def raised(data: LabelledData, sample_rate_hz: int, to_hz: int) -> LabelledData:
    """
    Raise the sample rate of waveforms (n, S), for triggers that need a higher one. The new upper frequencies are empty.
    """
    common = math.gcd(sample_rate_hz, to_hz)
    x_train, x_test = (
        resample_poly(x, to_hz // common, sample_rate_hz // common, axis=1).clip(-1, 1).astype(np.float32)
        for x in (data.x_train, data.x_test)
    )
    return data._replace(x_train=x_train, x_test=x_test)
