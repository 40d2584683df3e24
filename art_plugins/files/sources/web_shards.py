"""WebDataset shards: tar files whose members ``key.png`` and ``key.cls`` are one sample. Nothing is unpacked to disk."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from art_plugins.errors import InvalidInputError
from art_plugins.files.class_folders import SUFFIXES, only_kind
from art_plugins.files.file_walk import printable
from art_plugins.files.sources.columns import LABEL_COLUMNS, choose_column, choose_splits, split_of_file
from art_plugins.files.sources.damage import one_line
from art_plugins.files.sources.items import Items
from art_plugins.files.sources.labels import labelled
from art_plugins.files.sources.reading import Reading
from art_plugins.files.sources.safe_names import why_unsafe
from art_plugins.files.sources.samples import Samples

MOST_MEMBER_BYTES = 2**30
MOST_LABEL_BYTES = 2**20
LABEL_SUFFIXES = ("cls", "json", "txt")  # the first that a sample has holds its label


@dataclass
class _Member:
    """``shard``: its file; ``start`` and ``size``: where the content lies in it, in bytes."""

    shard: Path
    start: int
    size: int

    def read(self) -> bytes:
        try:
            with self.shard.open("rb") as file:
                file.seek(self.start)
                content = file.read(self.size)
        except OSError as error:
            raise InvalidInputError(f"it cannot be read ({error.strerror})") from error
        if len(content) < self.size:
            raise InvalidInputError(f"its shard is truncated: {len(content):,} of {self.size:,} bytes are there")
        return content


@dataclass
class _Index:
    """The members by sample and suffix, and what was passed over."""

    samples: dict[str, dict[str, _Member]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def read_shards(paths: Sequence[Path], reading: Reading, origin: str) -> Samples:
    """
    The samples of WebDataset shards.

    The label is the content of the member ``.cls``, or the field of the member ``.json`` that ``label_column`` names, or
    the content of ``.txt``. ``label_column`` can also name the suffix of the member.

    :raises InvalidInputError: If a shard is compressed or damaged, or no sample has a label.
    """
    kept, notes = choose_splits([split_of_file(path) for path in paths], reading.split, origin)
    index = _Index()
    for place in kept:
        _add(index, paths[place])
    suffixes = Counter(f".{suffix}" for members in index.samples.values() for suffix in members)
    kind = only_kind(Path(origin), suffixes) if reading.kind == "auto" else reading.kind
    names, members, labels, ignored = [], [], [], Counter[str]()
    missing: list[InvalidInputError] = []
    for key, found in index.samples.items():
        media = [suffix for suffix in found if f".{suffix}" in SUFFIXES[kind]]
        wanted = [suffix for suffix in media if reading.path_column in (None, suffix)]
        if not wanted:
            ignored["a sample without a file of this kind"] += 1
            continue
        names.append(f"{key}.{wanted[0]}")
        members.append(found[wanted[0]])
        try:
            labels.append(_label(found, reading.label_column, origin))
        except InvalidInputError as error:  # it has other fields than those that are usual
            missing.append(error)
            labels.append(None)
        ignored["a further file of its sample"] += len(media) - 1
    if missing and len(missing) == len(names):
        raise missing[0]
    ignored = +ignored
    items = Items(len(names), lambda place: members[place].read())
    return labelled(Samples(origin, kind, (), names, [], items, index.skipped, {}, dict(ignored), notes), labels)


def _add(index: _Index, path: Path) -> None:
    """Add the members of one shard; only their headers are read."""
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                if member.isdir():
                    continue
                name = f"{path.name}/{member.name}"
                reason = why_unsafe(member.name) or _why_odd(member)
                if reason is not None:
                    index.skipped[printable(name)] = reason
                    continue
                at = PurePosixPath(name)
                stem, _, suffix = at.name.partition(".")
                key = (at.parent / stem).as_posix()
                if suffix.lower() in index.samples.setdefault(key, {}):
                    index.skipped[f"{name} (at byte {member.offset})"] = "another member of the shard has this name"
                    continue
                index.samples[key][suffix.lower()] = _Member(path, member.offset_data, member.size)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise InvalidInputError(
            f"{path} is no readable tar file ({one_line(error)}). A compressed one (.tar.gz) has to be unpacked first."
        ) from error


def _why_odd(member: tarfile.TarInfo) -> str | None:
    if not member.isreg() or member.sparse is not None:
        return "it is a link, a device or a sparse file"
    if member.size > MOST_MEMBER_BYTES:
        return f"it is too large: {member.size:,} bytes, where at most {MOST_MEMBER_BYTES:,} are read"
    return None


def _label(found: dict[str, _Member], asked: str | None, origin: str) -> Any:
    """The label of a sample; ``None``: it has none."""
    suffix = asked if asked in found else next((suffix for suffix in LABEL_SUFFIXES if suffix in found), None)
    if suffix is None or found[suffix].size > MOST_LABEL_BYTES:
        return None
    try:
        text = found[suffix].read().decode("utf-8-sig").strip()
        if suffix != "json":
            return int(text) if text.isdecimal() else text
        fields = json.loads(text)
    except (UnicodeDecodeError, ValueError, RecursionError, InvalidInputError):
        return None
    if not isinstance(fields, dict):
        return fields
    return fields.get(choose_column("labels", list(fields), None if asked in found else asked, LABEL_COLUMNS, origin))
