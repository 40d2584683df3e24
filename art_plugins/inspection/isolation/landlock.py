"""
Linux's Landlock (kernel 5.13 and newer): this process can then only read a few folders, and write nothing.

Landlock binds the calling thread and the threads that it starts. It must therefore be called before any library starts
threads, so this module imports only the standard library. See ``landlock(7)``.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # system calls, the same on every processor
VERSION_FLAG, PATH_BENEATH = 1, 1
PR_SET_NO_NEW_PRIVS = 38
EXECUTE, READ_FILE, READ_DIR = 1 << 0, 1 << 2, 1 << 3  # EXECUTE: some libraries need it; programs are refused elsewhere
READ = EXECUTE | READ_FILE | READ_DIR
# Version of Landlock -> how many rights over files it knows: 13, then links and renames between folders, truncation,
# (TCP, no right over files), and the control of devices.
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
TCP = 0b11  # bind and connect, from version 4
SCOPES = 0b11  # abstract sockets and signals, from version 6


def landlock_version() -> int:
    """The version of Landlock; 0 if this kernel has none, or if it is switched off."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, int(ctypes.CDLL(None).syscall(CREATE_RULESET, None, 0, VERSION_FLAG)))


def restrict_files(readable: Iterable[str]) -> bool:
    """
    Give up all rights over files for good, except to read those that are listed; also TCP, if Landlock can refuse it.

    :param readable: Folders with everything in them, and files; those that do not exist are ignored.
    :return: Whether it was done; ``False``: there is no Landlock on this system.
    :raises OSError: If Landlock refuses.
    """
    version = landlock_version()
    if version == 0:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    handled = (1 << FILE_RIGHTS.get(version, 16)) - 1
    attributes = struct.pack("=QQQ", handled, TCP if version >= 4 else 0, SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = _checked(libc, libc.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(size), 0))
    try:
        for path in readable:
            if os.path.exists(path):
                _allow(libc, rules, path)
        _checked(libc, libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(libc, libc.syscall(RESTRICT_SELF, rules, 0))
    finally:
        os.close(rules)
    return True


def _allow(libc: ctypes.CDLL, rules: int, path: str) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        allowed = READ if os.path.isdir(path) else EXECUTE | READ_FILE
        _checked(libc, libc.syscall(ADD_RULE, rules, PATH_BENEATH, struct.pack("=Qi", allowed, place), 0))
    finally:
        os.close(place)


def _checked(libc: ctypes.CDLL, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
