"""
The data sets of the configs as Armory's ``ArmoryDataGenerator``, under Armory's names and in its label order.

They stand in for ``armory.data.datasets``, whose downloads are gone: a config names this module instead of that one.
Folder: the argument ``dataset_dir``, else the environment variable ``ART_PLUGINS_DATA``, else Armory's folder of data sets.

``cap`` is the most training samples of each class, ``test_cap`` the most of each class of the other splits; ``None``: all.

Every loader has more than eight parameters, since Armory fixes them: it calls a loader with the entries of the config's
block ``dataset``, and with ``split``, ``epochs``, ``batch_size``, ``dataset_dir``, ``framework`` and ``shuffle_files``.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from art_plugins.attacks.datasets import images
from art_plugins.attacks.datasets import speech_commands as speech
from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.errors import InvalidInputError

if TYPE_CHECKING:
    from armory.data.datasets import ArmoryDataGenerator

ROOT_VARIABLE = "ART_PLUGINS_DATA"
SPLITS = ("train", "validation", "test")
ORDER_SEED = 0


def speech_commands(
    split: str = "train",
    epochs: int = 1,
    batch_size: int = 1,
    dataset_dir: str | None = None,
    framework: str = "numpy",
    shuffle_files: bool = False,
    pad_data: bool = True,
    cap: int | None = 3_000,
    test_cap: int | None = None,
    download: bool = True,
) -> ArmoryDataGenerator:
    """
    Waveforms (n, 16000), float32 in [-1, 1], of the twelve classes of TFDS: ten commands, ``_silence_`` (10) and
    ``_unknown_`` (11).

    :param split: ``"train"``, ``"validation"`` or ``"test"``, by the data set's own lists.
    :param pad_data: Must be true: shorter clips are padded with zeros.
    :param cap: Most training samples of one class, drawn without replacement; ``None``: all.
    :param test_cap: The same of the other splits.
    :param download: Let torchaudio download version 0.02 (2.3 GB) where it is not there.
    :raises InvalidInputError: For another split, or if the data cannot be read.

    Armory fixes the parameters, see the head of this file.
    """
    if not pad_data:
        raise InvalidInputError("pad_data must be true: a classifier and a filter take clips of one length.")
    _check_split(split)
    root = _root(dataset_dir)
    if split == "validation":
        # Of its own seed, so that its silence is not the test set's; of the training samples none is needed.
        data = _speech(root, 1, download, "validation", 1)
    else:
        data = _speech(root, cap, download, "testing", 0)
    x, y = (data.x_train, data.y_train) if split == "train" else _capped(data.x_test, data.y_test, test_cap)
    return _generator(x, y, epochs, batch_size, framework, shuffle_files)


def cifar10(
    split: str = "train",
    epochs: int = 1,
    batch_size: int = 1,
    dataset_dir: str | None = None,
    framework: str = "numpy",
    shuffle_files: bool = False,
    channels_first: bool = False,
    n_validation: int = 0,
    cap: int | None = None,
    test_cap: int | None = None,
    download: bool = True,
) -> ArmoryDataGenerator:
    """CIFAR-10, (n, 32, 32, 3); see :func:`image_split`. Armory fixes the parameters, see the head of this file."""
    x, y = image_split("cifar10", split, dataset_dir, channels_first, n_validation, download)
    x, y = _capped(x, y, cap if split == "train" else test_cap)
    return _generator(x, y, epochs, batch_size, framework, shuffle_files)


def mnist(
    split: str = "train",
    epochs: int = 1,
    batch_size: int = 1,
    dataset_dir: str | None = None,
    framework: str = "numpy",
    shuffle_files: bool = False,
    channels_first: bool = False,
    n_validation: int = 0,
    cap: int | None = None,
    test_cap: int | None = None,
    download: bool = True,
) -> ArmoryDataGenerator:
    """MNIST, (n, 28, 28, 1); see :func:`image_split`. Armory fixes the parameters, see the head of this file."""
    x, y = image_split("mnist", split, dataset_dir, channels_first, n_validation, download)
    x, y = _capped(x, y, cap if split == "train" else test_cap)
    return _generator(x, y, epochs, batch_size, framework, shuffle_files)


def fashion_mnist(
    split: str = "train",
    epochs: int = 1,
    batch_size: int = 1,
    dataset_dir: str | None = None,
    framework: str = "numpy",
    shuffle_files: bool = False,
    channels_first: bool = False,
    n_validation: int = 0,
    cap: int | None = None,
    test_cap: int | None = None,
) -> ArmoryDataGenerator:
    """Fashion-MNIST, (n, 28, 28, 1), from ``fashion_mnist.npz``; see :func:`image_split`."""
    x, y = image_split("fashion_mnist", split, dataset_dir, channels_first, n_validation, download=False)
    x, y = _capped(x, y, cap if split == "train" else test_cap)
    return _generator(x, y, epochs, batch_size, framework, shuffle_files)


def german_traffic_sign(
    split: str = "train",
    epochs: int = 1,
    batch_size: int = 1,
    dataset_dir: str | None = None,
    framework: str = "numpy",
    shuffle_files: bool = False,
    channels_first: bool = False,
    n_validation: int = 0,
    cap: int | None = None,
    test_cap: int | None = None,
    size: int = 48,
) -> ArmoryDataGenerator:
    """
    GTSRB, (n, size, size, 3), from ``gtsrb32.npz``; see :func:`image_split`. Armory fixes the parameters, see the head of
    this file.

    :param size: Height and width; 48 is Armory's, 32 the file's own, other sizes are resampled bilinearly.
    """
    if size < 8:
        raise InvalidInputError(f"size must be at least 8 pixels; received {size}.")
    x, y = image_split("gtsrb32", split, dataset_dir, channels_first=True, n_validation=n_validation, download=False)
    x, y = _capped(x, y, cap if split == "train" else test_cap)
    x = _resized(x, size)
    if not channels_first:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    return _generator(x, y, epochs, batch_size, framework, shuffle_files)


def image_split(
    name: str, split: str, dataset_dir: str | None, channels_first: bool, n_validation: int, download: bool
) -> tuple[np.ndarray, np.ndarray]:
    """
    Images, float32, 0 to 1, and labels (n,) of one split.

    :param split: ``"train"``, ``"test"`` or ``"validation"``: ``n_validation`` test images of every class, held out for the
        defender; ``"test"`` is the rest of them.
    :param channels_first: (n, C, H, W) instead of Armory's (n, H, W, C).
    :param n_validation: At most half of the test images of the smallest class.
    :raises InvalidInputError: For another split, too many held out, or a file that is missing.
    """
    _check_split(split)
    data = _image_data(name, _root(dataset_dir), download)
    x, y = (data.x_train, data.y_train) if split == "train" else (data.x_test, data.y_test)
    if split != "train":
        held_out = _held_out(y, n_validation, split)
        rows = np.flatnonzero(held_out if split == "validation" else ~held_out)
        x, y = x[rows], y[rows]
    return (x if channels_first else np.ascontiguousarray(x.transpose(0, 2, 3, 1))), y


def samples(block: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """All samples (n, ...) and labels (n,) of the split that a block like a config's ``dataset`` names."""
    from armory.utils.config_loading import load_dataset

    batches = list(load_dataset(block, epochs=1, shuffle_files=False))
    return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])


def _capped(x: np.ndarray, y: np.ndarray, cap: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Draw at most ``cap`` samples of each class."""
    if cap is None:
        return x, y
    if cap < 1:
        raise InvalidInputError(f"cap and test_cap must be at least 1 sample of each class; received {cap}.")
    random = np.random.default_rng(ORDER_SEED)
    rows = np.sort(np.concatenate([random.permutation(np.flatnonzero(y == label))[:cap] for label in np.unique(y)]))
    return x[rows], y[rows]


def _held_out(y: np.ndarray, n_validation: int, split: str) -> np.ndarray:
    smallest = int(np.bincount(y)[np.unique(y)].min())
    if not 0 <= n_validation <= smallest // 2 or (split == "validation" and n_validation == 0):
        raise InvalidInputError(
            f"n_validation must be at most {smallest // 2}, half of the test images of the smallest class, and above 0 "
            f"where the split 'validation' is asked for; received {n_validation}."
        )
    random = np.random.default_rng(ORDER_SEED)
    held_out = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        held_out[random.choice(np.flatnonzero(y == label), n_validation, replace=False)] = True
    return held_out


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise InvalidInputError(f"split must be one of {', '.join(SPLITS)}; received {split!r}.")


def _root(dataset_dir: str | None) -> str:
    if dataset_dir is not None:
        return dataset_dir
    if os.environ.get(ROOT_VARIABLE):
        return os.environ[ROOT_VARIABLE]
    from armory import paths

    with warnings.catch_warnings():  # Armory has said at its start that it is not configured
        warnings.simplefilter("ignore")
        return str(paths.runtime_paths().dataset_dir)


@lru_cache(maxsize=1)
def _image_data(name: str, root: str, download: bool) -> LabelledData:
    return images.image_data(name, root, download=download)


@lru_cache(maxsize=1)
def _speech(root: str, cap: int | None, download: bool, held_out: str, random_state: int) -> LabelledData:
    return speech.speech_commands(
        root, cap=cap, silence=True, download=download, held_out=held_out, random_state=random_state
    )


def _resized(x: np.ndarray, size: int) -> np.ndarray:
    if x.shape[2:] == (size, size):
        return x
    import torch

    resized = torch.nn.functional.interpolate(torch.from_numpy(x), (size, size), mode="bilinear", antialias=True)
    return np.asarray(resized.clamp(0, 1))


def _generator(
    x: np.ndarray, y: np.ndarray, epochs: int, batch_size: int, framework: str, shuffle_files: bool
) -> ArmoryDataGenerator:
    if framework != "numpy":
        raise InvalidInputError(f'framework must be "numpy"; received {framework!r}.')
    from armory.data.datasets import ArmoryDataGenerator

    batch_size = min(batch_size, len(x))  # ART refuses a batch longer than the data
    return ArmoryDataGenerator(_batches(x, y, epochs, batch_size, shuffle_files), len(x), epochs, batch_size)


def _batches(x: np.ndarray, y: np.ndarray, epochs: int, batch_size: int, reshuffle: bool) -> Iterator[tuple[Any, Any]]:
    """The rows in one random order, as TFDS's files have them, or in another one each epoch; the files are by class."""
    random = np.random.default_rng(ORDER_SEED)
    order = random.permutation(len(x))
    for _ in range(epochs):
        for start in range(0, len(x), batch_size):
            rows = order[start : start + batch_size]
            yield x[rows], y[rows]
        if reshuffle:
            order = random.permutation(len(x))
