"""Cleaned copies of samples as files of a new folder, which appears as a whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from art_plugins.errors import InvalidInputError
from art_plugins.files.folder_data import FolderData
from art_plugins.files.image_files import ImageReader
from art_plugins.files.outputs import csv_text
from art_plugins.files.sound_files import SoundReader
from art_plugins.files.sources.samples import Samples
from art_plugins.inspection.deciding.manifest import RESTORE
from art_plugins.inspection.restoring.originals import Copy, clean_clip, clean_picture
from art_plugins.inspection.restoring.restore import Restored, restore, restored_words
from art_plugins.inspection.scan_groups import Group
from art_plugins.inspection.suspect_rows import is_poison
from art_plugins.locks import held_folder, remove_leftovers
from art_plugins.storage import umask

N_DIGITS = 6
TABLE = "what_was_done.csv"
COLUMNS = ("file", "original_label", "label", "done", "why", "path")
RESTORED, DROPPED, KEPT = "restored", "dropped", "kept"
TAKEN_OFF = "it holds the trigger of its group for certain, which was taken off"
NOT_LOOKED_AT = "it is in no group of poison"
ACCEPTED, NO_POISON = "a person has accepted it", "it is not called poison"


class Copies:
    """
    Files of a folder that does not have its name yet.

    ``paths``: path of the copy of a sample, relative to the manifest, by the position of the sample. No name comes from the
    data: the names are running numbers. ``table``: what was done to each sample, as text; ``notes``: the same in sentences.
    """

    def __init__(self, partial: Path, folder: Path) -> None:
        self.partial, self.folder = partial, folder
        self.paths: dict[int, str] = {}
        self.table, self.is_placed = "", False
        self.notes: list[str] = []

    def add(self, index: int, copy: Copy) -> None:
        """Write the copy of a sample."""
        file = f"{len(self.paths) + 1:0{N_DIGITS}d}{copy.ending}"
        with _said(self.folder):
            (self.partial / file).write_bytes(copy.content)
        self.paths[index] = f"./{self.folder.name}/{file}"

    def place(self) -> None:
        """
        Write the table of what was done to each sample, and give the folder its name.

        :raises InvalidInputError: If the folder has come to exist, or cannot be written.
        """
        with _said(self.folder):
            (self.partial / TABLE).write_text(self.table, encoding="utf-8")
            if self.folder.exists() or self.folder.is_symlink():
                raise InvalidInputError(
                    f"{self.folder} was created meanwhile, and is not overwritten; choose another name."
                )
            self.partial.chmod(0o777 & ~umask())
            self.partial.rename(self.folder)
        self.is_placed = True


class Work(NamedTuple):
    """What a scan has found: groups, the rows of the suspects, the samples, and these as the reader decodes them."""

    groups: Sequence[Group]
    suspects: Sequence[dict[str, Any]]
    found: Samples
    data: FolderData
    reader: SoundReader | ImageReader


@contextmanager
def made_copies(manifest: Path | None, how: str, work: Work, random_state: int) -> Iterator[Copies | None]:
    """
    Take the triggers off, and say for each sample what was done and why.

    :param manifest: The new manifest.
    :param how: What is asked for; ``None`` is given where this is not ``"restore"``.
    :param random_state: Seed of the draws of clean samples.
    :raises InvalidInputError: If the copies cannot be written.
    """
    if manifest is None or how != RESTORE:
        yield None
        return
    restored = restore(work.groups, work.suspects, work.data, work.reader, random_state)
    with copies_beside(manifest) as copies:
        _write_copies(copies, work, restored)
        by_file = {row["file"]: row for row in work.suspects}
        rows = (_row(index, copies, restored, work.data, by_file) for index in range(len(work.data.files)))
        copies.table, copies.notes = csv_text(COLUMNS, rows), restored_words(restored)
        yield copies


@contextmanager
def copies_beside(manifest: Path) -> Iterator[Copies]:
    """
    Give a place for copies: a folder beside their manifest, which has its name without the ending. If the block fails,
    nothing of the folder is left.

    :raises InvalidInputError: If the copies cannot be written.
    """
    folder = manifest.with_suffix("")
    with _said(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        partial, held = held_folder(folder)
    copies = Copies(partial, folder)
    try:
        yield copies
    except BaseException:
        if copies.is_placed:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if held is not None:
            os.close(held)


@contextmanager
def _said(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidInputError(f"{folder} cannot be written ({error.strerror}); choose another --apply-to.") from error


def _write_copies(copies: Copies, work: Work, restored: Restored) -> None:
    """Take the triggers off the original files. A file for which this is not certain gets a reason instead."""
    for index in sorted(restored.removed):
        item, removed = work.found.items[work.data.places[index]], restored.removed[index]
        try:
            if isinstance(work.reader, SoundReader):
                copy = clean_clip(item, removed, work.reader.sample_rate_hz)
            else:
                copy = clean_picture(item, removed)
        except InvalidInputError as error:
            del restored.removed[index]
            restored.reasons[index] = str(error)
        else:
            copies.add(index, copy)


def _row(
    index: int, copies: Copies, restored: Restored, data: FolderData, by_file: Mapping[str, Mapping[str, Any]]
) -> tuple[str, ...]:
    file, own = data.files[index], data.class_names[data.labels[index]]
    row = by_file.get(file, {})
    if index in copies.paths:
        return file, own, str(row["suggested_label"]), RESTORED, TAKEN_OFF, copies.paths[index]
    if row and is_poison(row):
        return file, own, "", DROPPED, restored.reasons.get(index, NOT_LOOKED_AT), ""
    return file, own, own, KEPT, ACCEPTED if row.get("accepted") else NO_POISON, ""
