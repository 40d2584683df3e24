"""A folder of class folders: the files of each class, their kind, and what was skipped or ignored."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from art_plugins.errors import InvalidInputError
from art_plugins.files.file_walk import Walk, printable, visible_folders, walk
from art_plugins.files.sources.items import Items
from art_plugins.files.sources.samples import Samples
from art_plugins.files.splits import find_splits, split_notes

SUFFIXES = {
    "sound": (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aiff", ".aif"),
    "image": (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
}
MAX_REASONS = 3  # in the message that there are too few classes


def find_class_folders(folder: str | Path, kind: str = "auto", split: str | None = None) -> Samples:
    """
    List the files of every class folder, at any depth; nothing is opened.

    Folders whose name starts with "." or "_" (such as ``_background_noise_``) are skipped, and hidden files are ignored.
    Links are followed; a file that is linked twice inside one class counts once. Where the folders are splits of one data
    set, such as ``train`` and ``test``, the folders inside them are the classes, and the splits of a class are taken
    together.

    :param kind: ``"sound"``, ``"image"``, or ``"auto"``: whichever there is. ``SUFFIXES`` has the types of each.
    :param split: The only split to take, such as ``"train"``; ``None``: all of them.
    :raises InvalidInputError: If the folder is missing, has fewer than two classes with such files, holds both kinds and
        ``kind`` is ``"auto"``, or has no such split.
    """
    if kind not in ("auto", *SUFFIXES):
        raise InvalidInputError(f"kind must be one of {('auto', *SUFFIXES)}; received {kind!r}.")
    root = _existing(folder, "give a folder that holds one folder of files for each class")
    try:
        names = visible_folders(root)
    except OSError as error:
        raise InvalidInputError(f"{root} cannot be listed ({error.strerror}); change its permissions.") from error
    if not names:
        raise InvalidInputError(
            f"{root} holds no class folders; put the files of each class into a folder of its own, such as {root / 'yes'}."
        )
    tops = {name: walk(root, root / name) for name in names}
    if kind == "auto":
        kind = only_kind(root, Counter(_suffix(file) for found in tops.values() for file in found.files))
    holding = {name: [file for file in walked.files if _suffix(file) in SUFFIXES[kind]] for name, walked in tops.items()}
    splits = find_splits(holding)
    notes = split_notes(root, list(tops), splits, split)
    found = _Found(root, kind, depth=1 if splits else 0)
    found.add(walk(root, root, at_any_depth=False))
    for name, walked in tops.items():
        if name in splits and split is not None and name.lower() != split.lower():
            found.skipped_folders[printable(name)] = "it is not the split that was asked for"
        else:
            found.add(walked)
    class_names = found.class_names([name for name in names if name not in splits])
    rows = [(file, label) for label, name in enumerate(class_names) for file in sorted(found.by_class[name].values())]
    files = [file for file, _ in rows]
    return Samples(
        str(root),
        kind,
        class_names,
        files,
        [label for _, label in rows],
        Items(len(files), lambda index: root / files[index]),
        found.skipped_files,
        found.skipped_folders,
        dict(sorted(found.ignored.items())),
        (*notes, *found.link_notes()),
    )


def find_files(folder: str | Path, kind: str) -> Samples:
    """
    List the files of one kind in a folder, at any depth, whatever their classes; nothing is opened.

    :param kind: ``"sound"`` or ``"image"``.
    :return: With no class names; every label is 0.
    :raises InvalidInputError: If the folder is missing or holds no such file.
    """
    root = _existing(folder, f"give a folder that holds {kind} files")
    found = _Found(root, kind, depth=-1)
    found.add(walk(root, root))
    files = sorted(found.by_class.get("", {}).values())
    if not files:
        raise InvalidInputError(f"{root} holds no {kind} file; convert the files to {_types(kind)}.")
    return Samples(
        str(root),
        kind,
        (),
        files,
        [0] * len(files),
        Items(len(files), lambda index: root / files[index]),
        found.skipped_files,
        found.skipped_folders,
        dict(sorted(found.ignored.items())),
        found.link_notes(),
    )


class _Found:
    """
    Sorts the files that were found into classes.

    :param depth: The part of a file's path that names its class; -1: there are no classes.
    """

    def __init__(self, root: Path, kind: str, depth: int) -> None:
        self.root, self.kind, self.depth = root, kind, depth
        self.by_class: dict[str, dict[tuple[int, int], str]] = {}
        self.skipped_files: dict[str, str] = {}
        self.skipped_folders: dict[str, str] = {}
        self.ignored: Counter[str] = Counter()
        self.n_outside = 0

    def add(self, walked: Walk) -> None:
        """Add each file of the kind to its class, once; count the others."""
        self.skipped_folders |= walked.skipped_folders
        for file, reason in walked.skipped_files.items():
            if _suffix(file) in (*SUFFIXES[self.kind], ""):
                self.skipped_files[file] = reason
            else:
                self.ignored[_type(file)] += 1
        if walked.n_hidden:
            self.ignored["hidden: the name starts with a dot"] += walked.n_hidden
        for file, identity in sorted(walked.files.items()):
            parts = PurePosixPath(file).parts
            if _suffix(file) not in SUFFIXES[self.kind]:
                self.ignored[_type(file)] += 1
            elif len(parts) < self.depth + 2:
                self.ignored["in no class folder"] += 1
            else:
                self._add_to_class("" if self.depth < 0 else parts[self.depth], file, identity)
                self.n_outside += file in walked.outside

    def _add_to_class(self, name: str, file: str, identity: tuple[int, int]) -> None:
        files = self.by_class.setdefault(name, {})
        if identity in files:
            self.skipped_files[file] = f"it is the same file as {files[identity]}"
        else:
            files[identity] = file

    def class_names(self, folders: Sequence[str]) -> tuple[str, ...]:
        """
        The classes, sorted; a folder without files that can be read is added to the skipped folders.

        :raises InvalidInputError: If there are fewer than two.
        """
        for name in set(folders) - set(self.by_class):
            self.skipped_folders.setdefault(printable(name), f"it holds no {self.kind} file that can be read")
        if len(self.by_class) < 2:
            reasons = "".join(f"; {name}: {reason}" for name, reason in list(self.skipped_folders.items())[:MAX_REASONS])
            raise InvalidInputError(
                f"{self.root} holds {len(self.by_class)} class folder with {self.kind} files. Classes are "
                f"compared with each other, so at least 2 are needed, and 5 or more for a reliable result{reasons}."
            )
        return tuple(sorted(self.by_class))

    def link_notes(self) -> tuple[str, ...]:
        """Sentences on files that are reached by links."""
        notes = []
        if self.n_outside:
            lie, are = (
                ("files lie", "are reached by links, and are")
                if self.n_outside > 1
                else ("file lies", "is reached by a link, and is")
            )
            notes.append(f"{self.n_outside} {lie} outside {self.root}, {are} used.")
        classes = Counter(identity for files in self.by_class.values() for identity in files)
        several = sum(n > 1 for n in classes.values())
        if several:
            files = "files are" if several > 1 else "file is"
            notes.append(f"{several} {files} in more than one class, because of links.")
        return tuple(notes)


def _existing(folder: str | Path, what_to_do: str) -> Path:
    root = Path(folder)
    if not os.path.isdir(root):  # unlike Path.is_dir, it raises nothing where the way there is barred
        raise InvalidInputError(f"{root} {'is not a folder' if os.path.exists(root) else 'does not exist'}; {what_to_do}.")
    return root


def only_kind(root: Path, suffixes: Counter[str]) -> str:
    counts = {kind: sum(suffixes[suffix] for suffix in SUFFIXES[kind]) for kind in SUFFIXES}
    if not any(counts.values()):
        raise InvalidInputError(
            f"{root} holds no sound ({_types('sound')}) and no image ({_types('image')}) of a class; convert the files to "
            "one of these types."
        )
    if all(counts.values()):
        raise InvalidInputError(
            f"{root} holds {counts['sound']} sound files and {counts['image']} images; choose one kind: sound or image."
        )
    return max(counts, key=lambda kind: counts[kind])


def _types(kind: str) -> str:
    """wav, flac or mp3"""
    *types, last = [suffix.removeprefix(".") for suffix in SUFFIXES[kind]]
    return f"{', '.join(types)} or {last}"


def _suffix(file: str) -> str:
    return PurePosixPath(file).suffix.lower()


def _type(file: str) -> str:
    suffix = printable(_suffix(file))
    return f"another type: {suffix}" if suffix else "no suffix that tells the type"
