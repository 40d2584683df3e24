"""Image data sets from one ``.npz`` file each, as Keras ships MNIST; some are downloaded where they are missing."""

from __future__ import annotations

import zipfile
from pathlib import Path
from string import ascii_uppercase
from typing import NamedTuple

import numpy as np

from art_plugins.attacks.datasets.downloads import SOURCES
from art_plugins.attacks.datasets.downloads import download as download_set
from art_plugins.attacks.datasets.labelled import LabelledData, joined
from art_plugins.errors import FileFormatError, InvalidInputError
from art_plugins.statistics.labels import class_labels

KEYS = ("x_train", "y_train", "x_test", "y_test")


class Published(NamedTuple):
    """The published data set: its class names (numbers for GTSRB), and how many training and test images it has."""

    class_names: tuple[str, ...]
    n_train: int
    n_test: int


DIGITS = tuple(str(digit) for digit in range(10))
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MIXED = ("mixed46", "mixed92")
PARTS = {"digit ": "mnist", "": "fashion_mnist", "letter ": "emnist_letters"}  # of the mixed sets, and what their names get
MIXED_NAMES = (*(f"digit {name}" for name in DIGITS), *CLOTHES, *(f"letter {name}" for name in ascii_uppercase))
SETS = {
    "mnist": Published(DIGITS, 60_000, 10_000),
    "fashion_mnist": Published(CLOTHES, 60_000, 10_000),
    "cifar10": Published(THINGS, 50_000, 10_000),
    "emnist_letters": Published(tuple(ascii_uppercase), 124_800, 20_800),
    "gtsrb32": Published(tuple(f"{number:02d}" for number in range(43)), 39_209, 12_630),
    "mixed46": Published(MIXED_NAMES, 46 * 4_800, 46 * 800),
    "mixed92": Published((*MIXED_NAMES, *(f"negative {name}" for name in MIXED_NAMES)), 92 * 4_800, 92 * 800),
}


def image_data(name: str, root: str | Path, download: bool = False) -> LabelledData:
    """
    Images (n, C, H, W), float32, 0 to 1, from ``root/name.npz``.

    The file holds ``x_train``, ``y_train``, ``x_test``, ``y_test`` and, if it likes, ``class_names``. Its images are
    (n, H, W) or (n, H, W, C), bytes of 0 to 255 or floats of 0 to 1; labels are (n,), (n, 1) or one-hot. Keras's
    ``mnist.npz`` is such a file. Nothing in it is unpickled. A note says how much of the published set is there.

    :param name: ``"mnist"``, ``"fashion_mnist"``, ``"cifar10"``, ``"emnist_letters"`` (capital and small letters, one class
        for both), ``"gtsrb32"`` (traffic signs, 32 x 32), or, for many classes, ``"mixed46"`` (the digits, clothes and
        letters of three of these sets) or ``"mixed92"`` (the negatives of these images are further classes).
    :param root: Folder of the file.
    :param download: If the file is not there, download MNIST (the copy of Keras) or CIFAR-10 to it.
    :raises InvalidInputError: For another name, or a file that is missing or cannot be downloaded.
    :raises FileFormatError: If the file does not hold such arrays.
    """
    if name not in SETS:
        raise InvalidInputError(f"The data set must be one of {', '.join(SETS)}; received {name!r}.")
    if name in MIXED:
        return _mixed(root, download, with_negatives=name == "mixed92")
    path = Path(root) / f"{name}.npz"
    if not path.is_file():
        if name not in SOURCES:
            raise InvalidInputError(f"{path} does not exist, and {name} is not one that is downloaded; give its folder.")
        if not download:
            raise InvalidInputError(f"{path} does not exist; give its folder, or download it with download=True.")
        download_set(name, path)
    arrays = _read(path)
    x_train, x_test = (_images(arrays[key], path, key) for key in ("x_train", "x_test"))
    y_train, n_train_classes = class_labels(arrays["y_train"], len(x_train))
    y_test, n_test_classes = class_labels(arrays["y_test"], len(x_test))
    n_classes = max(n_train_classes, n_test_classes)
    published = SETS[name]
    class_names = tuple(str(one) for one in arrays.get("class_names", published.class_names))
    if len(class_names) < n_classes or x_train.shape[1:] != x_test.shape[1:]:
        raise FileFormatError(
            f"{path} holds {n_classes} classes with {len(class_names)} names, and images of {x_train.shape[1:]} and "
            f"{x_test.shape[1:]}; it is no file of {name}."
        )
    notes = []
    if (len(x_train), len(x_test)) != published[1:]:
        notes.append(
            f"{len(class_names)} of {len(published.class_names)} classes, {len(x_train)} of {published.n_train} training "
            f"images and {len(x_test)} of {published.n_test} test images"
        )
    return LabelledData(x_train, y_train, x_test, y_test, class_names, tuple(notes))


def _mixed(root: str | Path, download: bool, with_negatives: bool) -> LabelledData:
    """The classes of several sets as one set. In a negative, black is white."""
    data = joined([(prefix, image_data(name, root, download)) for prefix, name in PARTS.items()])
    if not with_negatives:
        return data
    negative = data._replace(x_train=1 - data.x_train, x_test=1 - data.x_test)
    return joined([("", data), ("negative ", negative)])


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in (*KEYS, "class_names") if key in stored.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise FileFormatError(f"{path} cannot be read as an .npz file without pickles: {error}") from error
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        raise FileFormatError(f"{path} lacks {', '.join(missing)}; it must hold {', '.join(KEYS)}.")
    return arrays


def _images(x: np.ndarray, path: Path, key: str) -> np.ndarray:
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4 or x.shape[-1] not in (1, 3) or len(x) == 0:
        raise FileFormatError(f"{key} of {path} must be (n, H, W), (n, H, W, 1) or (n, H, W, 3); received {x.shape}.")
    scale = np.float32(255 if x.dtype == np.uint8 else 1)
    images = np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype=np.float32) / scale
    if not (images.min() >= 0 and images.max() <= 1):
        raise FileFormatError(f"{key} of {path} must hold bytes, or floats of 0 to 1; received {x.dtype} outside of them.")
    return images
