"""Any data set -> samples by position: a folder, a file, an array, or a data set in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.files.class_folders import SUFFIXES, find_class_folders
from art_plugins.files.file_walk import is_file, walk
from art_plugins.files.sources.array_files import HDF5, names_of_arrays, read_array_file
from art_plugins.files.sources.arrays import Named, read_arrays
from art_plugins.files.sources.hugging_face import is_saved, read_dataset, read_saved, read_tables
from art_plugins.files.sources.manifests import LINES, TABLES, read_manifest
from art_plugins.files.sources.reading import Reading
from art_plugins.files.sources.samples import Samples
from art_plugins.files.sources.torch_datasets import read_map
from art_plugins.files.sources.web_shards import read_shards

MANIFESTS = (*TABLES, *LINES, ".json")
ARRAYS = (".npz", ".npy", *HDF5)
COLUMNS = (".parquet", ".arrow")
SHARDS = (".tar",)


@contextmanager
def open_samples(data: Any, labels: Any = None, reading: Reading | None = None) -> Iterator[Samples]:
    """
    The samples of a data set, listed and not decoded.

    - A folder of class folders, or of splits that hold class folders.
    - A manifest: ``.csv``, ``.tsv``, ``.json``, ``.jsonl``.
    - Arrays: ``.npz``, ``.npy`` with a partner, ``.h5``, ``.hdf5``; or arrays in memory, with ``labels``.
    - Tables and shards: ``.parquet``, ``.arrow``, WebDataset's ``.tar``; a file or a folder of them.
    - What ``save_to_disk`` of Hugging Face wrote, and its data sets in memory.
    - A torch data set, or anything else that has a length and gives samples by position.

    :param labels: A label for each sample, for arrays and data sets in memory.
    :raises InvalidInputError: If the data cannot be read as samples with labels.
    """
    reading = reading or Reading()
    with ExitStack() as stack:
        if isinstance(data, (str, Path)):
            if labels is not None:
                raise InvalidInputError("labels are for arrays and data sets in memory; name a column with label_column.")
            yield _from_path(Path(data), reading, stack)
        elif reading.split is not None and not _is_hugging_face(data):
            raise InvalidInputError(f"A {type(data).__name__} has no splits; leave out split, and give the part to scan.")
        elif isinstance(data, np.ndarray):
            if labels is None:
                raise InvalidInputError("An array has no labels of its own; give them as labels.")
            yield read_arrays("the array", [Named("x", data, labels)], reading)
        elif _is_hugging_face(data):
            if labels is not None:
                raise InvalidInputError("A data set of Hugging Face has its labels in a column; name it with label_column.")
            yield read_dataset(data, reading, f"the {type(data).__name__}", stack)
        elif hasattr(data, "__len__") and hasattr(data, "__getitem__"):
            yield read_map(data, labels, reading, stack)
        else:
            raise InvalidInputError(
                f"A {type(data).__name__} cannot be scanned; give a path, an array, or a data set with a length."
            )


def _is_hugging_face(data: Any) -> bool:
    """By its type, without an import. A module of the user may be called datasets as well, but it has no such parts."""
    return any(base.__module__.startswith("datasets.") and "Dataset" in base.__name__ for base in type(data).__mro__)


def _from_path(path: Path, reading: Reading, stack: ExitStack) -> Samples:
    suffix = path.suffix.lower()
    if not is_file(path):
        return _from_folder(path, reading, stack)
    if suffix in MANIFESTS:
        return read_manifest(path, reading)
    if suffix in ARRAYS:
        return read_array_file(path, reading, stack)
    if suffix in COLUMNS:
        return read_tables([path], reading, str(path), stack)
    if suffix in SHARDS:
        return read_shards([path], reading, str(path))
    kinds = ", ".join((*MANIFESTS, *ARRAYS, *COLUMNS, *SHARDS))
    raise InvalidInputError(
        f"{path} is no data set that can be scanned; give a folder of class folders, or one of {kinds}."
    )


def _from_folder(folder: Path, reading: Reading, stack: ExitStack) -> Samples:
    if folder.is_dir() and is_saved(folder):
        return read_saved(folder, reading, stack)
    names = sorted(walk(folder, folder).files) if _may_hold_tables(folder) else []
    media = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
    files = [] if any(name.lower().endswith(media) for name in names) else [folder / name for name in names]
    tables = [path for path in files if path.suffix.lower() in COLUMNS]
    if tables:
        return read_tables(tables, reading, str(folder), stack)
    shards = [path for path in files if path.suffix.lower() in SHARDS]
    if shards:
        return read_shards(shards, reading, str(folder))
    arrays = [path for path in files if path.suffix.lower() == ".npy"]
    if arrays and names_of_arrays(arrays):
        return read_array_file(arrays[0], reading, stack)
    return find_class_folders(folder, reading.kind, reading.split)


def _may_hold_tables(folder: Path) -> bool:
    """Whether the folder may be one of tables, shards or arrays: such files lie in it, or in a folder of it."""
    suffixes = (*COLUMNS, *SHARDS, ".npy")
    try:
        return any(path.suffix.lower() in suffixes for pattern in ("*", "*/*") for path in folder.glob(pattern))
    except OSError:
        return False
