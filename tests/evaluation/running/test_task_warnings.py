"""Warnings of tasks appear once, in the process that started them, wherever the tasks run."""

from __future__ import annotations

import threading
import warnings

import pytest

from art_plugins.evaluation.running.parallel import parallel_map
from art_plugins.evaluation.running.task_warnings import collected_warnings


def run(jobs, text):
    def task(shared, number):
        import warnings

        warnings.warn(f"{shared}: all tasks", UserWarning, stacklevel=1)
        if number == 2:
            warnings.warn(f"{shared}: task {number}", FutureWarning, stacklevel=1)
        return number

    return sorted(parallel_map(task, text, range(4), jobs=jobs))


@pytest.mark.parametrize("jobs", [1, 2])
def test_warnings_of_the_tasks_are_given_once_by_this_process(jobs, capfd):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        assert run(jobs, f"jobs {jobs}") == [(number, number) for number in range(4)]
    said = sorted((str(one.message), one.category) for one in found if "jobs" in str(one.message))
    assert said == [(f"jobs {jobs}: all tasks", UserWarning), (f"jobs {jobs}: task 2", FutureWarning)]
    assert "jobs" not in capfd.readouterr().err


@pytest.mark.parametrize("jobs", [1, 2])
def test_filters_of_this_process_hold_for_the_tasks(jobs, capfd):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", FutureWarning)
        run(jobs, f"ignored {jobs}")
    assert not [one for one in found if "ignored" in str(one.message)]
    assert "ignored" not in capfd.readouterr().err


def test_each_thread_collects_its_own_and_the_process_shows_the_rest():
    """As the workers of Dask do, two tasks of one process begin and end in another order."""
    begun, ended = threading.Event(), threading.Event()
    theirs = []

    def other():
        with collected_warnings() as collected:
            begun.set()
            assert ended.wait(5)
            warnings.warn("theirs", UserWarning, stacklevel=1)
        theirs.extend(collected)

    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        before = warnings.showwarning
        thread = threading.Thread(target=other)
        with collected_warnings() as ours:
            thread.start()
            assert begun.wait(5)
            warnings.warn("ours", UserWarning, stacklevel=1)
        warnings.warn("of no task", UserWarning, stacklevel=1)
        ended.set()
        thread.join()
        assert warnings.showwarning is before
    assert [one.text for one in ours] == ["ours"]
    assert [one.text for one in theirs] == ["theirs"]
    assert [str(one.message) for one in shown] == ["of no task"]
