"""
A process that can only compute: how it is started, and how it gives up its rights.

Only Linux offers this to a process without special rights: see landlock.py and seccomp.py.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from art_plugins.errors import InvalidInputError
from art_plugins.inspection.isolation.landlock import restrict_files
from art_plugins.inspection.isolation.seccomp import refuse_system_calls, seccomp_is_possible

MEMORY_SHARE = 0.75  # of what is free, so that the machine goes on working whatever the process asks for
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT")  # no keys, no tokens
# What libraries read while they compute, beside Python's own folders.
READABLE = (
    "/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/urandom", "/proc/self",
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system",
)  # fmt: skip
PR_SET_PDEATHSIG = 1


def sandbox_is_possible() -> bool:
    """Whether :func:`lock_down` can do its work here."""
    return sys.platform.startswith("linux") and seccomp_is_possible()


def start(module: str, arguments: Sequence[str], error: int) -> subprocess.Popen[bytes]:
    """
    A Python of its own that runs ``module:function`` with arguments; its standard input and output are pipes.

    It finds the packages that this process finds, but not what lies in the current folder, and gets few of the
    environment's variables. It has one thread until it is locked down, since Landlock binds the thread that asks for it.

    :param error: File descriptor for all that it prints.
    """
    folders = [entry for entry in sys.path if entry and Path(entry).resolve() != Path.cwd()]
    folders.append(str(Path(__file__).parents[3]))
    name, _, function = module.partition(":")
    code = (
        f"import sys; sys.path[:] = {json.dumps(folders)}; from importlib import import_module; "
        f"import_module({name!r}).{function}(*sys.argv[1:])"
    )
    single = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-I", "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=error,
        env={
            **environment,
            **single,
            "COLUMNS": str(shutil.get_terminal_size().columns),
            "CUDA_VISIBLE_DEVICES": "",  # a graphics card needs files opened for writing
            "PYTHONIOENCODING": "utf-8",
        },
        start_new_session=True,  # away from the terminal
    )


def private_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """
    Take the pipes from and to the parent, in the started process. After this call, all printed text goes to standard error.
    """
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return os.fdopen(requests, "rb"), os.fdopen(answers, "wb")


def lock_down(seconds: float) -> None:
    """
    Give up for good the rights to write files, start programs and reach a network, and limit memory and time.

    This is called when all libraries are imported, and before a stranger's file is read.

    :param seconds: Most processor time for each core; the parent process watches the clock.
    :raises OSError: If the kernel does not do it.
    """
    import ctypes
    import resource  # not there on Windows

    import psutil

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # it does not outlive its parent
    restrict_files([*READABLE, sys.prefix, sys.base_prefix, *sys.path])
    memory = int(psutil.Process().memory_info().data + MEMORY_SHARE * psutil.virtual_memory().available)
    limits = {
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_DATA: memory,
        resource.RLIMIT_CPU: int(seconds * (os.cpu_count() or 1)) + 60,
    }
    for limit, value in limits.items():
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
    refuse_system_calls()


def ending(code: int | None) -> str:
    """The reason why a process ended, in words."""
    if code is None or code >= 0:
        return f"it ended with status {code}"
    words = {
        signal.SIGKILL: "the system has killed it, mostly because memory ran out",
        signal.SIGXCPU: "it has used up its processor time",
        signal.SIGSYS: "it asked the kernel for something that it must not have",
        signal.SIGABRT: "it broke off, mostly because memory ran out",
        signal.SIGSEGV: "it touched memory that is not its own",
    }
    return words.get(signal.Signals(-code), f"signal {-code} ended it")


def check_possible(path: str | Path) -> None:
    """
    Check that a model can be run safely on this system.

    :raises InvalidInputError: If it cannot.
    """
    if not sandbox_is_possible():
        raise InvalidInputError(
            f"{path} is a TorchScript file, which is a program, and this system ({sys.platform}) has no way to run it "
            "without rights (that needs Linux with seccomp on x86_64 or aarch64): give weights with a --factory, or, if "
            "you trust its maker, give --trust-model to run it with your rights."
        )
