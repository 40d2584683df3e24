"""All files below a folder, links followed; what cannot be listed is named with the reason."""

from __future__ import annotations

import os
import stat
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from art_plugins.errors import InvalidInputError

UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # control characters, bytes that are not UTF-8, line and paragraph separators
TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # let text be shown in another order
HIDDEN = "its name starts with a dot or an underscore"


@dataclass
class Walk:
    """
    ``files``: paths relative to the root, with "/" between their parts -> what identifies the file on its disk;
    ``outside``: those of them that lie outside the root, reached by links; ``skipped_files`` and ``skipped_folders``: name
    -> reason; ``n_hidden``: number of files whose name starts with a dot.
    """

    files: dict[str, tuple[int, int]] = field(default_factory=dict)
    outside: set[str] = field(default_factory=set)
    skipped_files: dict[str, str] = field(default_factory=dict)
    skipped_folders: dict[str, str] = field(default_factory=dict)
    n_hidden: int = 0


def walk(root: Path, start: Path, at_any_depth: bool = True) -> Walk:
    """
    List what lies below the folder ``start``; nothing is opened.

    Links are followed, those that lead out of the root too. A folder that is reached twice counts once, and a link to a
    folder above ``start`` is not followed, so that every walk ends.

    :param root: Holds ``start``, or is it; paths are relative to it.
    """
    found = Walk()
    real_root = os.path.realpath(root)
    above = [folder for folder in (root, *root.resolve().parents) if folder != start and os.path.exists(folder)]
    seen = {_identity(folder): "one that holds it" for folder in above}
    waiting = [start]
    while waiting:
        folder = waiting.pop()
        name = _relative(root, folder)
        try:
            identity = _identity(folder)
            with os.scandir(folder) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError as error:
            found.skipped_folders[printable(name)] = unreadable(error)
            continue
        if identity in seen:
            found.skipped_folders[printable(name)] = f"it is the same folder as {seen[identity]}"
            continue
        seen[identity] = printable(name)
        folders = []
        for entry in entries:
            entry_name = printable(_relative(root, Path(entry.path)))
            if not _is_folder(entry):
                _add_file(found, root, entry, real_root)
            elif entry.name.startswith((".", "_")):
                found.skipped_folders[entry_name] = HIDDEN
            else:
                folders.append(Path(entry.path))
        if at_any_depth:
            waiting += reversed(folders)
    return found


def is_file(path: Path) -> bool:
    """
    Whether there is a plain file, or a link to one.

    :raises InvalidInputError: If the system refuses the question: no rights to a folder above, or a name that no file has.
    """
    try:
        return path.is_file()
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be used ({error.strerror}).") from error


def visible_folders(root: Path) -> list[str]:
    """
    Names of the folders in a folder, sorted, without those that :func:`walk` passes over.

    :raises OSError: If the folder cannot be listed.
    """
    with os.scandir(root) as entries:
        return sorted(entry.name for entry in entries if _is_folder(entry) and not entry.name.startswith((".", "_")))


def printable(name: str) -> str:
    """The name itself where it can stand on a line of a text file, else with escapes."""
    if any(unicodedata.category(character) in UNPRINTABLE or character in TURNING for character in name):
        return name.encode("unicode_escape").decode("ascii")
    return name


def unreadable(error: OSError) -> str:
    """The reason, in the words of the operating system."""
    return f"it cannot be read ({error.strerror or error})"


def _add_file(found: Walk, root: Path, entry: os.DirEntry[str], real_root: str) -> None:
    if entry.name.startswith("."):
        found.n_hidden += 1
        return
    file = _relative(root, Path(entry.path))
    name = printable(file)
    try:
        mode = os.stat(entry.path).st_mode
        identity = _identity(Path(entry.path))
    except OSError as error:
        nowhere = entry.is_symlink() and isinstance(error, FileNotFoundError)
        found.skipped_files[name] = "it is a broken link" if nowhere else unreadable(error)
        return
    if not stat.S_ISREG(mode):
        found.skipped_files[name] = "it is not a file but a pipe, a socket or a device"
    elif name != file:
        found.skipped_files[name] = "its name holds a line break or bytes that are no text; rename it"
    else:
        found.files[file] = identity
        if not _is_below(os.path.realpath(entry.path), real_root):
            found.outside.add(file)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, or a folder that must not be searched
        return False


def _identity(path: Path) -> tuple[int, int]:
    status = os.stat(path)  # not DirEntry.stat, which knows no identity on Windows
    return status.st_dev, status.st_ino


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(os.path.join(folder, ""))


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
