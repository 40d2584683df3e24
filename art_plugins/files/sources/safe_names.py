"""Names of files inside manifests and shards, which a stranger wrote: those that lead out of the data set are refused."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

from art_plugins.files.file_walk import printable


def why_unsafe(name: str) -> str | None:
    """Why a name is refused; ``None``: it is a relative path that stays inside the data set."""
    if not name or name != printable(name):
        return "its name is empty, or holds a line break or bytes that are no text"
    windows = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or windows.drive or windows.root:
        return "its path is absolute, and paths must be relative to the data set"
    if ".." in PurePosixPath(name).parts or ".." in windows.parts:
        return "its path leads out of the data set (..)"
    return None
