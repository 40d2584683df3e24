"""The weights in a program of torch.export (.pt2), read as data. The program beside them is not looked at."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from art_plugins.errors import InvalidInputError

CONFIG = "data/weights/model_weights_config.json"
MOST_CONFIG = 2**26  # bytes; 300 for each tensor
# Torch's numbers of the element types in such a file (torch/_export/serde/schema.py, ScalarType).
TYPES = {1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16}
TYPES |= {7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16}


def is_exported(path: Path) -> bool:
    """Whether a file is a program of torch.export whose weights lie beside it as plain bytes (PyTorch 2.8 and later)."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(_is_config(name) for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def read_exported(path: Path) -> dict[str, Tensor]:
    """
    Read the tensors by their names. Nothing is unpickled, and no code of the file runs.

    :raises InvalidInputError: If the file is damaged, or a tensor is no plain bytes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            config = next(name for name in archive.namelist() if _is_config(name))
            if archive.getinfo(config).file_size > MOST_CONFIG:
                raise ValueError("its list of weights is too long")
            listed = json.loads(archive.read(config))["config"]
            folder = config.rpartition("/")[0]
            return {str(name): _tensor(archive, folder, one) for name, one in listed.items()}
    except (zipfile.BadZipFile, OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120].rstrip(".")
        raise InvalidInputError(
            f"The weights in {path}, a program of torch.export, cannot be read ({reason}); export the model again, or give "
            "the weights alone, torch.save(model.state_dict(), 'weights.pt')."
        ) from error


def _is_config(name: str) -> bool:
    return name.partition("/")[2] == CONFIG


def _tensor(archive: zipfile.ZipFile, folder: str, one: Any) -> Tensor:
    """One tensor. The list says where its bytes lie, and its type, sizes, strides and offset."""
    if one["use_pickle"]:
        raise ValueError("a tensor is pickled, and reading it would run code from the file")
    entry = archive.getinfo(f"{folder}/{one['path_name']}")
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError("a tensor is compressed, which torch does not do")
    about = one["tensor_meta"]
    sizes, strides = ([int(side["as_int"]) for side in about[name]] for name in ("sizes", "strides"))
    kind, offset = TYPES[about["dtype"]], int(about["storage_offset"]["as_int"])
    data = bytearray(archive.read(entry))
    if not data and 0 in sizes:
        return torch.zeros(sizes, dtype=kind)
    if min(sizes, default=1) < 0 or math.prod(sizes) > len(data) // kind.itemsize:
        raise ValueError("a tensor has more values than its file")
    return torch.frombuffer(data, dtype=kind).as_strided(sizes, strides, offset).clone()
