"""Files that are whole or absent: written to a temporary name and renamed; arrays as safetensors, the rest as JSON."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from art_plugins.errors import FileFormatError, InvalidInputError

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """
    Yield a temporary path beside ``path``; rename it to ``path`` when the block ends well, remove it when it does not.

    :raises InvalidInputError: If the folder cannot be created or written.
    """
    target = Path(path)
    if target.is_dir():
        raise InvalidInputError(f"{target} cannot be written: it is a folder; give the path of a file.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".partial")
    except OSError as error:
        raise InvalidInputError(f"{target} cannot be written ({error}); name a folder that can be.") from error
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o666 & ~_umask())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically, indented, as :func:`json_safe` gives it."""
    write_text(path, json.dumps(json_safe(value), indent=2, allow_nan=False) + "\n")


def json_safe(value: Any) -> Any:
    """A copy in which ``None`` stands for every NaN and infinity, which JSON has no word for."""
    if isinstance(value, Mapping):
        return {key: json_safe(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_record(path: str | Path) -> dict[str, Any] | None:
    """
    What :func:`write_json` wrote of a mapping; ``None``: there is no such file, or it is damaged, which is logged, so that
    one that a crash left empty is made anew.
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

    :param kind: What the file holds; :func:`load_arrays` refuses another kind.
    :param settings: JSON-safe values.
    """
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    header = {
        "kind": kind,
        "format_version": FORMAT_VERSION,
        "settings": dict(settings),
        "sha256": _checksum(contiguous, settings),
    }
    with atomic_path(path) as partial:
        safetensors.numpy.save_file(contiguous, partial, metadata={"art_plugins": json.dumps(header, allow_nan=False)})


def load_arrays(path: str | Path, kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """
    Read what :func:`save_arrays` wrote.

    :return: Arrays by name, and the settings.
    :raises FileFormatError: If the file is absent, of another format, kind or version, or damaged.
    """
    source = Path(path)
    if not source.is_file():
        raise FileFormatError(f"{source} does not exist; give the path of a file that this package saved.")
    try:
        with safetensors.safe_open(source, framework="numpy") as file:  # type: ignore[no-untyped-call]
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors raises its own error type for every kind of damage
        raise FileFormatError(f"{source} is not a readable safetensors file: {error}") from error
    try:
        header = json.loads(metadata["art_plugins"])
        found_kind, version = header["kind"], header["format_version"]
        checksum, settings = header["sha256"], dict(header["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{source} was not saved by art_plugins: its header is missing or damaged.") from error
    if found_kind != kind:
        raise FileFormatError(f"{source} holds a {found_kind!r}, not a {kind!r}.")
    if version != FORMAT_VERSION:
        raise FileFormatError(f"{source} has format version {version}; this release reads {FORMAT_VERSION}.")
    if checksum != _checksum(arrays, settings):
        raise FileFormatError(f"{source} is damaged: its checksum does not match; copy or save it again.")
    return arrays, settings


def _checksum(arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(dict(settings), allow_nan=False).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
