"""What runs on the leash ends with the process that asked for it, however that ends; and it tells its exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from armory_scenarios.leash import run_on_leash

# A shell that starts a process of its own, as Armory's command does.
FAMILY = [
    "sh",
    "-c",
    f"echo started $$; {sys.executable} -c 'import os, time; print(os.getpid(), flush=True); time.sleep(600)'",
]
# A shell that runs the tests in the background has SIGINT ignored, and its children inherit that.
ASKS = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from armory_scenarios.leash import run_on_leash\n"
    "with open(sys.argv[1], 'w') as out: run_on_leash(sys.argv[2:], out)"
)


def is_there(pid: int) -> bool:
    """Whether a process lives; one that has ended and was not fetched by its parent does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def wait_for(condition: object, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_run_leaves_no_process_behind(how: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    asking = subprocess.Popen([sys.executable, "-c", ASKS, str(log), *FAMILY], stderr=subprocess.DEVNULL)
    try:
        assert wait_for(lambda: log.exists() and len(log.read_text().split()) == 3)
        pids = [int(word) for word in log.read_text().split()[1:]]
        assert all(map(is_there, pids))
        assert len({os.getpgid(pid) for pid in pids}) == 1
    finally:
        asking.send_signal(how)
    asking.wait(timeout=20)
    assert wait_for(lambda: not any(map(is_there, pids)))


def test_exit_status_and_output_are_those_of_the_command(tmp_path: Path) -> None:
    with (tmp_path / "log.txt").open("w") as out:
        assert run_on_leash(["sh", "-c", "echo said; echo wrong >&2; exit 3"], out) == 3
        assert run_on_leash(["true"], out) == 0
    assert (tmp_path / "log.txt").read_text().split() == ["said", "wrong"]
