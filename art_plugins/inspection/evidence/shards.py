"""Arrays of samples by a key, kept in files of about 32 MB, each of which is complete or absent."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors

from art_plugins.errors import FileFormatError
from art_plugins.storage import load_arrays, save_arrays

logger = logging.getLogger(__name__)

SHARD_BYTES = 32 * 2**20  # of arrays in one file: what is lost at most when the process is killed
MOST_ROWS = 4_096  # in one file, for tiny samples


class Form(NamedTuple):
    """``shape`` and ``dtype`` of an array of one sample."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class _Place(NamedTuple):
    """A row of the arrays of an open file, by name, and what is noted of it."""

    arrays: dict[str, Any]
    row: int
    note: list[str]


class Shards:
    """
    Arrays of samples, by a key of each sample.

    Files are never changed, so that several processes can use one folder at once. At worst, each computes the same
    samples. A damaged file is removed, with a warning, and its samples are as unknown as new ones. Only the rows that are
    asked for are read; all files are checked as a whole when they are opened.

    :param folder: Folder of the files. All of them hold arrays of the same forms.
    :param kind: Name of what the files hold.
    :param forms: The arrays of a sample, by name; ``None``: those of the first sample that is found or added.
    """

    def __init__(self, folder: Path, kind: str, forms: Mapping[str, Form] | None = None) -> None:
        self.folder, self.kind, self.forms = folder, kind, dict(forms or {})
        self._places: dict[str, _Place] = {}
        self._new: dict[str, tuple[dict[str, np.ndarray], list[str]]] = {}
        for path in sorted(folder.glob("*.safetensors")):
            self._open(path)

    def __len__(self) -> int:
        return len(self._places) + len(self._new)

    def __contains__(self, key: str) -> bool:
        return key in self._places or key in self._new

    def find(self, key: str) -> tuple[dict[str, np.ndarray], list[str]]:
        """The arrays of a sample by name, and what is noted of it."""
        if key in self._new:
            arrays, note = self._new[key]
            return arrays, list(note)
        place = self._places[key]
        rows = {name: np.asarray(of[place.row : place.row + 1])[0] for name, of in place.arrays.items()}
        return rows, list(place.note)

    def add(self, key: str, arrays: Mapping[str, np.ndarray], note: list[str]) -> None:
        """Keep the arrays of a sample; they are written when there are 32 MB of them, or by :meth:`flush`."""
        self.forms = self.forms or {name: Form(array.shape, array.dtype) for name, array in arrays.items()}
        self._new[key] = ({name: np.array(arrays[name], dtype=form.dtype) for name, form in self.forms.items()}, list(note))
        n_bytes = sum(array.nbytes for array in self._new[key][0].values())
        if len(self._new) * n_bytes >= SHARD_BYTES or len(self._new) >= MOST_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what is new. The name of the file comes from the keys in it, so that two processes write the same file."""
        if not self._new:
            return
        keys = list(self._new)
        path = self.folder / f"{hashlib.sha256(''.join(keys).encode()).hexdigest()[:32]}.safetensors"
        arrays = {name: np.stack([of[name] for of, _ in self._new.values()]) for name in self.forms}
        save_arrays(path, self.kind, arrays, {"keys": keys, "notes": [note for _, note in self._new.values()]})
        self._new = {}
        self._open(path)

    def _open(self, path: Path) -> None:
        try:
            arrays, settings = load_arrays(path, self.kind)
            keys, notes = settings["keys"], settings["notes"]
            found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
            self.forms = self.forms or {name: Form(shape[1:], dtype) for name, (shape, dtype) in found.items()}
            wanted = {name: ((len(keys), *form.shape), form.dtype) for name, form in self.forms.items()}
            if found != wanted or len(notes) != len(keys):
                raise FileFormatError(f"{path} holds arrays of another form")
        except (FileFormatError, KeyError, TypeError) as error:
            logger.warning("%s cannot be used (%s), so it is removed, and its samples are computed again.", path, error)
            path.unlink(missing_ok=True)
            return
        file = safetensors.safe_open(path, framework="numpy")  # type: ignore[no-untyped-call]
        slices = {name: file.get_slice(name) for name in self.forms}  # type: ignore[no-untyped-call]
        for row, (key, note) in enumerate(zip(keys, notes, strict=True)):
            self._places[key] = _Place(slices, row, note)
