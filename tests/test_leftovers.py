"""What processes leave that are killed: removed by the next run of the same output, never while its owner lives."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest

from art_plugins.errors import InvalidInputError
from art_plugins.files.outputs import held_folder, together
from art_plugins.storage import atomic_path, write_text

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and locks of POSIX")
WRITER = """
import sys, time
from art_plugins.storage import atomic_path
with atomic_path(sys.argv[1]) as partial:
    partial.write_text("half")
    print("ready", flush=True)
    for _ in range(600):  # a signal that comes just before a sleep is handled after it
        time.sleep(0.1)
"""
COMMAND = """
import sys
from art_plugins.cli import main
sys.modules["art_plugins.cli.app"].app = lambda **_: exec(sys.argv.pop())
main()
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_temporary_file_of_a_killed_process_goes_and_that_of_a_living_one_stays(tmp_path):
    target = tmp_path / "a[1].txt"
    dead, alive = start(WRITER, str(target)), start(WRITER, str(target))
    try:
        dead.kill()
        dead.wait()
        assert len(list(tmp_path.iterdir())) == 2
        write_text(target, "whole")
        assert target.read_text() == "whole"
        left = [path for path in tmp_path.iterdir() if path != target]
        assert len(left) == 1
        assert (left[0] / target.name).read_text() == "half"
    finally:
        alive.kill()
        alive.wait()
    write_text(target, "new")
    assert list(tmp_path.iterdir()) == [target]


def test_temporary_files_of_one_target_stay_out_of_each_others_way(tmp_path):
    with atomic_path(tmp_path / "a") as first:
        first.write_text("first")
        write_text(tmp_path / "a", "second")
        write_text(tmp_path / "ab", "another")
        assert first.read_text() == "first"
    assert (tmp_path / "a").read_text() == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "ab"]


def test_sigterm_ends_a_command_with_a_sentence_and_leaves_nothing(tmp_path):
    process = start(COMMAND, WRITER.replace("sys.argv[1]", repr(str(tmp_path / "out" / "a.txt"))))
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 143
    assert error == "Stopped; run the same command again to continue.\n"
    assert list((tmp_path / "out").iterdir()) == []


def test_folder_for_results_is_held_by_one_run_and_goes_when_it_stays_empty(tmp_path):
    out = tmp_path / "a" / "out"
    with (
        held_folder(out),
        pytest.raises(InvalidInputError, match=r"Another run is writing to .*out; wait"),
        held_folder(out),
    ):
        pytest.fail("both write")
    assert list(tmp_path.iterdir()) == []
    with held_folder(out):
        (out / "result").write_text("")
    with held_folder(out):
        pass
    assert [path.name for path in out.iterdir()] == ["result"]


def test_outputs_come_to_be_together_or_not_at_all(tmp_path):
    paths, new = [tmp_path / "a", tmp_path / "b"], [tmp_path / "keep"]
    paths[0].write_text("old")

    def write(texts: dict[int, str], interruption: BaseException | None = None) -> None:
        with together(paths, new) as partials:
            for place, text in texts.items():
                partials[place].write_text(text)
            if interruption:
                raise interruption

    for interruption, error in (
        (OSError(errno.ENOSPC, "No space left on device"), InvalidInputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (SystemExit(143), SystemExit),
    ):
        with pytest.raises(error):
            write({0: "new", 1: "new"}, interruption)
        assert [path.name for path in tmp_path.iterdir()] == ["a"]
        assert paths[0].read_text() == "old"
    write({0: "1", 1: "2", 2: "3"})
    assert [path.read_text() for path in (*paths, *new)] == ["1", "2", "3"]
    with pytest.raises(InvalidInputError, match="keep was created meanwhile"):
        write({0: "4", 1: "5", 2: "6"})
    assert [path.read_text() for path in (*paths, *new)] == ["1", "2", "3"]


LIMITED = """
import resource, sys
import numpy as np
from art_plugins.errors import InvalidInputError
from art_plugins.storage import save_arrays, write_text
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for write in (lambda p: write_text(p, "x" * 5000), lambda p: save_arrays(p, "thing", {"a": np.zeros(5000)}, {})):
    try:
        write(sys.argv[1])
    except InvalidInputError as error:
        print(error)
"""


def test_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path):
    target = tmp_path / "a"
    target.write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(target)], capture_output=True, text=True, timeout=60, check=True
    )
    sentences = done.stdout.splitlines()
    assert len(sentences) == 2, done.stderr
    assert all(f"{target} cannot be written" in line and "make room" in line for line in sentences)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
