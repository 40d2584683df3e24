"""Published image sets from the web: checked by their digests, and kept as ``.npz`` without pickles."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from art_plugins.errors import InvalidInputError
from art_plugins.storage import atomic_path

CIFAR_BYTES = 1 + 3 * 32 * 32  # of one image in the binary version of CIFAR-10: the label, then red, green and blue
CIFAR_TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))


class Source(NamedTuple):
    """Where a data set lies: ``sha256`` of the file, and what makes the four arrays of it (``None``: it is ``.npz``)."""

    url: str
    sha256: str
    read: Callable[[Path], dict[str, np.ndarray]] | None = None


def download(name: str, path: str | Path) -> None:
    """
    Download a data set of ``SOURCES`` into a new ``.npz`` file.

    :param name: ``"mnist"`` or ``"cifar10"``.
    :param path: The file, which appears at the end, when the digest was right.
    :raises InvalidInputError: If the file cannot be had or written, or is not the published one.
    """
    source = SOURCES[name]
    with tempfile.TemporaryDirectory(prefix="art_plugins_") as folder, atomic_path(path) as partial:
        fetched = Path(folder) / "fetched"
        try:
            torch.hub.download_url_to_file(source.url, str(fetched), hash_prefix=source.sha256)
        except Exception as error:  # urllib, HTTP and TLS errors of many types; another digest is a RuntimeError
            raise InvalidInputError(
                f"{name} could not be downloaded from {source.url} ({error}); put {name}.npz into {Path(path).parent}."
            ) from error
        if source.read is None:
            partial.write_bytes(fetched.read_bytes())
        else:
            with partial.open("wb") as file:
                np.savez(file, allow_pickle=False, **source.read(fetched))


def read_cifar10(archive: Path) -> dict[str, np.ndarray]:
    """The arrays of CIFAR-10's binary version, images (n, 32, 32, 3) uint8; its Python version would be pickles."""
    with tarfile.open(archive) as files:
        batches = {Path(member.name).name: files.extractfile(member) for member in files if member.isfile()}

        def rows(*names: str) -> np.ndarray:
            content = b"".join(batches[name].read() for name in names)  # type: ignore[union-attr]
            return np.frombuffer(content, dtype=np.uint8).reshape(-1, CIFAR_BYTES)

        train, test = rows(*CIFAR_TRAIN), rows("test_batch.bin")
    images = [part[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) for part in (train, test)]
    return {"x_train": images[0], "y_train": train[:, 0], "x_test": images[1], "y_test": test[:, 0]}


SOURCES = {
    "mnist": Source(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
        "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    ),
    "cifar10": Source(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        read_cifar10,
    ),
}
