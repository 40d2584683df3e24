"""Locks on files and folders, by which the leftovers of a killed process are told from the work of a running one."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks, so files that a killed process left there stay
    fcntl = None  # type: ignore[assignment]


def hold(path: Path) -> int | None:
    """
    Lock a file or folder until the descriptor is closed. The operating system closes it when the process ends.

    :return: The descriptor; ``None`` if another process, or another part of this one, has the lock.
    :raises OSError: If the path cannot be opened, or this system has no such locks.
    """
    if fcntl is None:
        raise OSError("this operating system has no locks of this kind")
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def held_folder(target: Path) -> tuple[Path, int | None]:
    """Make a hidden folder beside the target and lock it; give both, with ``None`` where no lock can be taken."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".partial"))
        try:
            held = hold(folder)
        except FileNotFoundError:  # another process removed it as a leftover before it was locked
            continue
        except OSError:
            return folder, None
        if held is not None:
            if folder.exists():
                return folder, held
            os.close(held)


def remove_leftovers(target: Path) -> None:
    """Remove the temporary folders of the same target that no running process has locked."""
    for folder in target.parent.glob(f".{glob.escape(target.name)}.*.partial"):
        try:
            held = hold(folder)
        except OSError:  # it belongs to another user, is already gone, or cannot be locked here
            continue
        if held is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(held)
