"""A folder of class folders: which files there are, of which kind, and what was passed over."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from art_plugins.errors import InvalidInputError

SUFFIXES = {"sound": (".wav", ".flac"), "image": (".png", ".jpg", ".jpeg")}
UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # control characters, bytes that are not UTF-8, line and paragraph separators


@dataclass(frozen=True)
class ClassFolders:
    """
    ``files``: paths relative to the folder with "/" between their parts, sorted by class and name; ``labels``: the class of
    each; ``class_names``: sorted; ``skipped_files`` and ``skipped_folders``: name -> reason; ``ignored_files``: number of
    files of other types, by suffix.
    """

    kind: str
    class_names: tuple[str, ...]
    files: list[str]
    labels: list[int]
    skipped_files: dict[str, str]
    skipped_folders: dict[str, str]
    ignored_files: dict[str, int]


def find_class_folders(folder: str | Path, kind: str = "auto") -> ClassFolders:
    """
    List the files of every class folder, at any depth; nothing is opened.

    Folders whose name starts with "." or "_" (such as ``_background_noise_``) and hidden files are passed over.

    :param kind: ``"sound"`` (wav, flac), ``"image"`` (png, jpg, jpeg), or ``"auto"``: whichever there is.
    :raises InvalidInputError: If the folder is missing, has fewer than two classes with such files, or holds both kinds
        and ``kind`` is ``"auto"``.
    """
    if kind not in ("auto", *SUFFIXES):
        raise InvalidInputError(f"kind must be one of {('auto', *SUFFIXES)}; received {kind!r}.")
    root = _existing(folder, "give a folder that holds one folder of files for each class")
    skipped_files: dict[str, str] = {}
    skipped_folders: dict[str, str] = {}
    by_class: dict[str, list[str]] = {}
    for entry in sorted(root.iterdir()):
        if not entry.is_dir():
            continue
        if entry.name.startswith((".", "_")):
            skipped_folders[_printable(entry.name)] = "its name starts with a dot or an underscore"
        else:
            by_class[entry.name] = _files_below(root, entry, skipped_files, skipped_folders)
    if not by_class:
        raise InvalidInputError(
            f"{root} holds no class folders; put the files of each class into a folder of its own, such as {root / 'yes'}."
        )
    suffixes = Counter(_suffix(file) for files in by_class.values() for file in files)
    if kind == "auto":
        kind = _only_kind(root, suffixes)

    names = [name for name in sorted(by_class) if any(_suffix(file) in SUFFIXES[kind] for file in by_class[name])]
    wanted = " or ".join(suffix.removeprefix(".") for suffix in SUFFIXES[kind])
    for name in sorted(set(by_class) - set(names)):
        skipped_folders[_printable(name)] = f"it holds no {wanted} file"
    if len(names) < 2:
        raise InvalidInputError(
            f"{root} holds {len(names)} class folder with {wanted} files; classes are compared with each other, "
            "so at least 2 are needed, and 5 or more to tell much."
        )
    found = [
        (file, label) for label, name in enumerate(names) for file in by_class[name] if _suffix(file) in SUFFIXES[kind]
    ]
    return ClassFolders(
        kind,
        tuple(names),
        [file for file, _ in found],
        [label for _, label in found],
        skipped_files,
        skipped_folders,
        _ignored(suffixes, kind),
    )


def find_files(folder: str | Path, kind: str) -> ClassFolders:
    """
    List the files of one kind in a folder, at any depth, whatever their classes; nothing is opened.

    :param kind: ``"sound"`` or ``"image"``.
    :return: With no class names; every label is 0.
    :raises InvalidInputError: If the folder is missing or holds no such file.
    """
    wanted = " or ".join(suffix.removeprefix(".") for suffix in SUFFIXES[kind])
    root = _existing(folder, f"give a folder that holds {wanted} files")
    skipped_files: dict[str, str] = {}
    skipped_folders: dict[str, str] = {}
    found = _files_below(root, root, skipped_files, skipped_folders)
    files = [file for file in found if _suffix(file) in SUFFIXES[kind]]
    if not files:
        raise InvalidInputError(f"{root} holds no {wanted} file; convert the files to one of these types.")
    ignored = _ignored(Counter(map(_suffix, found)), kind)
    return ClassFolders(kind, (), files, [0] * len(files), skipped_files, skipped_folders, ignored)


def _existing(folder: str | Path, what_to_do: str) -> Path:
    root = Path(folder)
    if not root.is_dir():
        raise InvalidInputError(f"{root} {'is not a folder' if root.exists() else 'does not exist'}; {what_to_do}.")
    return root


def _ignored(suffixes: Counter[str], kind: str) -> dict[str, int]:
    return {suffix or "no suffix": n for suffix, n in sorted(suffixes.items()) if suffix not in SUFFIXES[kind]}


def _files_below(
    root: Path, class_folder: Path, skipped_files: dict[str, str], skipped_folders: dict[str, str]
) -> list[str]:
    def unreadable(error: OSError) -> None:
        skipped_folders[_printable(_relative(root, Path(error.filename)))] = f"it cannot be read ({error.strerror})"

    files = []
    for parent, folders, names in os.walk(class_folder, onerror=unreadable):
        hidden = [name for name in folders if name.startswith((".", "_"))]
        for name in hidden:
            skipped_folders[_printable(_relative(root, Path(parent, name)))] = "its name starts with a dot or an underscore"
        folders[:] = sorted(set(folders) - set(hidden))
        for name in sorted(names):
            file = _relative(root, Path(parent, name))
            if name.startswith("."):
                continue
            if _printable(file) != file:
                skipped_files[_printable(file)] = "its name holds a line break or bytes that are no text; rename it"
            else:
                files.append(file)
    return sorted(files)


def _only_kind(root: Path, suffixes: Counter[str]) -> str:
    counts = {kind: sum(suffixes[suffix] for suffix in SUFFIXES[kind]) for kind in SUFFIXES}
    if not any(counts.values()):
        raise InvalidInputError(
            f"No class folder of {root} holds a wav, flac, png, jpg or jpeg file; convert the files to one of these."
        )
    if all(counts.values()):
        raise InvalidInputError(
            f"{root} holds {counts['sound']} sound files and {counts['image']} images; say which to scan: sound or image."
        )
    return max(counts, key=lambda kind: counts[kind])


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _suffix(file: str) -> str:
    return Path(file).suffix.lower()


def _printable(name: str) -> str:
    """The name itself where it can stand on a line of a text file, else with escapes."""
    if any(unicodedata.category(character) in UNPRINTABLE for character in name):
        return name.encode("unicode_escape").decode("ascii")
    return name
