"""
Runs a command that ends with the process that asked for it: ``python -I leash.py FD COMMAND...``

Armory starts processes of its own. If the process that started Armory is killed, they would go on for hours. So this one
leads a group of them, and waits at a pipe that closes when the other side is gone, in any way. Then it kills the group.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO


def run_on_leash(command: list[str], output: IO[str]) -> int:
    """
    Run a command and all that it starts in a process group of their own. None of it outlives this process.

    :param command: The program and its arguments.
    :param output: File for what the command prints.
    :return: Its exit status; after a signal it is negative.
    """
    lifeline, ours = os.pipe()
    leash = [sys.executable, "-I", str(Path(__file__)), str(lifeline), *command]
    process = subprocess.Popen(
        leash,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        pass_fds=[lifeline],
        start_new_session=True,
    )
    os.close(lifeline)
    try:
        return process.wait()
    finally:
        os.close(ours)  # after an interrupt the group ends here
        process.wait()


def _end_with(lifeline: int) -> None:
    """Wait until the pipe closes, then kill this process group, of which this process is a part."""
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


def main(lifeline: int, command: list[str]) -> int:
    """Run the command; gives its exit status."""
    os.set_inheritable(lifeline, False)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
