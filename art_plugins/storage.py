"""
Atomic writing of files: a file is complete or absent. It is written under a temporary name and then renamed. Arrays are
saved as safetensors, everything else as JSON.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from art_plugins.errors import FileFormatError, InvalidInputError
from art_plugins.locks import held_folder, remove_leftovers

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
MOST_BYTES = 4 * 2**30  # largest size of a file that is read; the package saves files of some hundred megabytes
DENSE_FROM, LEAST_DENSE = 64 * 2**20, 1 / 64  # a larger file with less than this share on the disk is mostly empty
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a full disk, a used-up quota, a limit on the size of files


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """
    Yield a temporary path beside ``path``; rename it to ``path`` when the block ends well, remove it when it does not.

    The temporary file lies in a hidden folder of its own, which is locked while the block runs. Leftovers of killed
    processes for the same ``path`` are removed first.

    :raises InvalidInputError: If the folder cannot be created or written, or the disk is full.
    """
    target = Path(path)
    if target.is_dir():
        raise InvalidInputError(f"{target} cannot be written: it is a folder; give the path of a file.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target)
        folder, held = held_folder(target)
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise InvalidInputError(f"{target} cannot be written ({error}); choose another folder.") from error
    partial = folder / target.name
    try:
        partial.touch()
        yield partial
        partial.chmod(0o666 & ~umask())
        partial.replace(target)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise InvalidInputError(f"{target} cannot be written ({error.strerror}); make room and try again.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically, indented, as :func:`json_safe` gives it."""
    write_text(path, json.dumps(json_safe(value), indent=2, allow_nan=False) + "\n")


def json_safe(value: Any) -> Any:
    """Give a copy in which ``None`` replaces NaN and infinity, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: json_safe(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_record(path: str | Path) -> dict[str, Any] | None:
    """
    Read a mapping that :func:`write_json` wrote.

    :return: The mapping; ``None`` if there is no such file, or if it is damaged, which is logged, so that the caller can
        compute it again.
    """
    source = Path(path)
    try:
        record = json.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        logger.warning("%s cannot be read (%s); what it held is done anew.", source, error)
        return None
    if isinstance(record, dict):
        return record
    logger.warning("%s holds no record; what it held is done anew.", source)
    return None


def save_arrays(path: str | Path, kind: str, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> None:
    """
    Save named arrays with JSON settings and a checksum, in one safetensors file.

    :param path: Path of the file.
    :param kind: Name of what the file holds; :func:`load_arrays` refuses another kind.
    :param arrays: Arrays by name.
    :param settings: Values that JSON can hold, by name.
    :raises InvalidInputError: If the file cannot be written.
    """
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    header = {
        "kind": kind,
        "format_version": FORMAT_VERSION,
        "settings": dict(settings),
        "sha256": _checksum(contiguous, settings),
    }
    with atomic_path(path) as partial:
        try:
            safetensors.numpy.save_file(contiguous, partial, metadata={"art_plugins": json.dumps(header, allow_nan=False)})
        except safetensors.SafetensorError as error:  # a full disk, in its words
            raise InvalidInputError(f"{path} cannot be written ({error}); make room and try again.") from error


def load_arrays(path: str | Path, kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """
    Read a file that :func:`save_arrays` wrote.

    :return: Arrays by name, and the settings.
    :raises FileFormatError: If the file is absent, of another format, kind or version, or damaged.
    """
    source = _existing(path)
    try:
        with safetensors.safe_open(source, framework="numpy") as file:  # type: ignore[no-untyped-call]
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors raises its own error type for every kind of damage
        raise FileFormatError(f"{source} is not a readable safetensors file: {error}") from error
    try:
        header = json.loads(metadata["art_plugins"], parse_constant=_refuse_constant)
        found_kind, version = header["kind"], header["format_version"]
        checksum, settings = header["sha256"], dict(header["settings"])
        expected = _checksum(arrays, settings)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise FileFormatError(f"{source} was not saved by art_plugins: its header is missing or damaged.") from error
    if found_kind != kind:
        raise FileFormatError(f"{source} holds a {found_kind!r}, not a {kind!r}.")
    if version != FORMAT_VERSION:
        raise FileFormatError(f"{source} has format version {version}; this release reads {FORMAT_VERSION}.")
    if checksum != expected:
        raise FileFormatError(f"{source} is damaged: its checksum does not match; copy or save it again.")
    return arrays, settings


def target_file(filename: str | Path, path: str | Path | None) -> Path:
    """
    Give the path of the file for ``save(filename, path)``, as ART calls it, or for ``save(filename)`` with a whole path.

    :param filename: Name of the file, or its path.
    :param path: Folder; ``None`` if ``filename`` is the whole path. (ART would use its own data folder.)
    :raises InvalidInputError: If one of them is no path.
    """
    for name, value in (("filename", filename), ("path", path)):
        if not isinstance(value, (str, Path)) and not (name == "path" and value is None):
            raise InvalidInputError(f"{name} must be a path; received {type(value).__name__}.")
    return Path(filename) if path is None else Path(path) / filename


def _existing(path: str | Path) -> Path:
    """
    Check that a file exists and has a plausible size.

    :raises FileFormatError: If it does not.
    """
    if not isinstance(path, (str, Path)):
        raise FileFormatError(f"The path of a saved file is needed; received {type(path).__name__}.")
    source = Path(path)
    try:
        if not source.is_file():
            raise FileFormatError(f"{source} does not exist; give the path of a file that this package saved.")
        status = source.stat()
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{source} cannot be read ({error}).") from error
    on_disk = getattr(status, "st_blocks", status.st_size) * 512
    if status.st_size > MOST_BYTES or (status.st_size > DENSE_FROM and on_disk < LEAST_DENSE * status.st_size):
        raise FileFormatError(
            f"{source} claims {status.st_size} bytes ({on_disk} on the disk); no file that this package saved is like that."
        )
    return source


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _checksum(arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(dict(settings), allow_nan=False).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def umask() -> int:
    """The bits that new files of this process do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
