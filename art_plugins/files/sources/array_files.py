"""Files of arrays: .npz, pairs of .npy files, and HDF5. Nothing is unpickled, and no other file is opened through them."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.disk_room import temporary_file
from art_plugins.errors import InvalidInputError, MissingPackageError
from art_plugins.files.sources.arrays import Named, read_arrays
from art_plugins.files.sources.columns import LABEL_COLUMNS, SAMPLE_COLUMNS, choose_splits, split_of
from art_plugins.files.sources.damage import check_expansion, one_line, values_of
from art_plugins.files.sources.reading import Reading
from art_plugins.files.sources.samples import Samples
from art_plugins.files.splits import SPLIT_NAME
from art_plugins.optional import import_optional

HDF5 = (".h5", ".hdf5")
CLASS_NAMES = ("class_names", "label_names", "classes", "names")
COPIED_BYTES = 2**24  # at once


def read_array_file(path: Path, reading: Reading, stack: ExitStack) -> Samples:
    """
    The samples of a file of arrays.

    Arrays belong together by their names: ``x_train`` and ``y_train``, or ``images`` and ``labels``. A ``.npy`` file
    needs a partner beside it.

    :param stack: Closes the temporary files at the end.
    :raises InvalidInputError: If the file is damaged or hostile, or the names do not tell which arrays belong together.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".npz":
            arrays = _npz(path, stack)
        elif suffix in HDF5:
            arrays = _hdf5(path, stack)
        else:
            arrays = {file.stem: _npy(file) for file in sorted(path.parent.glob("*.npy"))}
            wanted = split_of(path.stem)
            arrays = {name: x for name, x in arrays.items() if split_of(name) == wanted}
    except (InvalidInputError, MissingPackageError):
        raise
    except Exception as error:  # NumPy, HDF5 and the decoders of zip raise many types for damaged files
        raise InvalidInputError(f"{path} cannot be read ({one_line(error)}).") from error
    pairs = _pairs(path, arrays, reading)
    kept, notes = choose_splits([split for split, _, _ in pairs], reading.split, str(path))
    parts = [Named(x, arrays[x], arrays[y]) for _, x, y in (pairs[place] for place in kept)]
    names = next((arrays[name] for name in CLASS_NAMES if name in arrays), None)
    label_names = None
    if names is not None and names.ndim == 1 and all(np.asarray(part.y).dtype.kind in "iu" for part in parts):
        label_names = [_text(name) for name in values_of(names, f"The names of the classes of {path}")]
    return read_arrays(str(path), parts, reading, label_names, notes)


def _pairs(path: Path, arrays: Mapping[str, np.ndarray], reading: Reading) -> list[tuple[str, str, str]]:
    """Split, name of the samples and name of the labels."""
    if reading.path_column is not None and reading.label_column is not None:
        pairs = [("", reading.path_column, reading.label_column)]
    else:
        samples = {_place(name): name for name in arrays if _role(name) in SAMPLE_COLUMNS}
        labels = {_place(name): name for name in arrays if _role(name) in LABEL_COLUMNS}
        pairs = [(place[1], name, labels[place]) for place, name in samples.items() if place in labels]
    missing = [name for name in (reading.path_column, reading.label_column) if name is not None and name not in arrays]
    if missing:
        raise InvalidInputError(f"{path} has no array {missing[0]!r}; it has {', '.join(arrays) or 'none'}.")
    if not pairs:
        raise InvalidInputError(
            f"{path} has the arrays {', '.join(arrays) or 'none'}, and their names do not tell which hold samples and "
            "labels; name one of each with --path-column and --label-column."
        )
    return pairs


def _role(name: str) -> str:
    """``x`` of ``x_train``, of ``train_x`` and of ``group/x``."""
    own = name.lower().rpartition("/")[2]
    return "_".join(part for part in re.split(r"[-_.]", own) if part and not SPLIT_NAME.fullmatch(part))


def _place(name: str) -> tuple[str, str]:
    """The group of an array, and its split; "" where there is none."""
    split = next((part.lower() for part in re.split(r"[-_./]", name) if SPLIT_NAME.fullmatch(part)), "")
    return name.rpartition("/")[0], split


def _npy(path: Path) -> np.ndarray:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):  # NumPy opens an archive under any name
        raise InvalidInputError(f"{path} is an archive, and no .npy file; give it the suffix .npz.")
    return array


def _npz(path: Path, stack: ExitStack) -> dict[str, np.ndarray]:
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        check_expansion(path, sum(member.file_size for member in members))
        for member in members:
            what = f"The array {member.filename} of {path} needs"
            file = stack.enter_context(temporary_file(member.file_size, what))
            with archive.open(member) as packed:
                while block := packed.read(COPIED_BYTES):
                    file.write(block)
            arrays[member.filename.removesuffix(".npy")] = _map_of(file, member.file_size, f"{member.filename} of {path}")
    return arrays


def _map_of(file: Any, n_bytes: int, what: str) -> np.ndarray:
    """A memory map of a .npy file without a name."""
    file.flush()
    file.seek(0)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in read_header:
        raise InvalidInputError(f"{what} has version {version} of the format, which is not read; save it again.")
    shape, is_fortran, dtype = read_header[version](file)
    if dtype.hasobject:
        raise InvalidInputError(f"{what} holds Python objects, which are never unpickled; save numbers or words.")
    start, size = file.tell(), int(np.prod(shape, dtype=object)) * dtype.itemsize
    if start + size != n_bytes:
        raise InvalidInputError(f"{what} is damaged: its header says {size:,} bytes, and {n_bytes - start:,} are there.")
    if size == 0:
        return np.empty(shape, dtype)
    return np.memmap(file, dtype, "r", start, shape, order="F" if is_fortran else "C")


def _hdf5(path: Path, stack: ExitStack) -> dict[str, np.ndarray]:
    h5py = import_optional("h5py")
    arrays = {}
    with h5py.File(path, "r") as file:
        found: dict[str, Any] = {}
        # visititems follows no soft and no external link, so it ends and stays in this file.
        file.visititems(lambda name, one: found.update({name: one}) if isinstance(one, h5py.Dataset) else None)
        check_expansion(path, sum(one.size * one.dtype.itemsize for one in found.values() if one.shape))
        for name, one in found.items():
            if one.external is not None or one.is_virtual:
                raise InvalidInputError(f"{name} of {path} takes its values from other files, which are not opened.")
            if not one.shape:
                continue
            if one.dtype.kind == "O":
                if h5py.check_string_dtype(one.dtype) is not None and one.ndim == 1:
                    arrays[name] = np.array([_text(value) for value in one[:]])
                continue
            arrays[name] = _copied(one, f"The array {name} of {path} needs", stack)
    return arrays


def _copied(one: Any, what: str, stack: ExitStack) -> np.ndarray:
    """A data set of an HDF5 file as a memory map, copied in parts."""
    n_bytes = one.size * one.dtype.itemsize
    if n_bytes == 0:
        return np.empty(one.shape, one.dtype)
    file = stack.enter_context(temporary_file(n_bytes, what))
    x = np.memmap(file, one.dtype, "r+", shape=one.shape)
    rows = max(1, COPIED_BYTES * len(one) // n_bytes)
    for start in range(0, len(one), rows):
        x[start : start + rows] = one[start : start + rows]
    return x


def _text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def names_of_arrays(paths: Sequence[Path]) -> bool:
    """Whether the names of .npy files tell samples and labels."""
    roles = {_role(path.stem) for path in paths}
    return bool(roles & set(SAMPLE_COLUMNS)) and bool(roles & set(LABEL_COLUMNS))
