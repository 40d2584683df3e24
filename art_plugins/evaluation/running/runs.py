"""Records a series of runs. Each run is kept once it is finished, so that the same call goes on where it stopped."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from art_plugins.evaluation.running.environment import versions
from art_plugins.reports.record_files import heading
from art_plugins.reports.records import record_markdown
from art_plugins.storage import json_safe, read_record, write_json, write_text


def one_after_another(jobs: Mapping[str, Callable[[], dict[str, Any]]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Do every job in this process, one after another."""
    for name, job in jobs.items():
        yield name, job()


@dataclass(frozen=True)
class Recording:
    """
    Where the runs of a command are recorded, and what is told of them meanwhile.

    :param out: Folder for ``record.json`` and ``table.md``.
    :param command: The command line, for the record.
    :param on_run: Called with every run that is finished, those of an earlier call first.
    :param verbose: Show progress bars.
    """

    out: Path
    command: str
    on_run: Callable[[dict[str, Any]], None] = lambda run: None
    verbose: bool = True


def recorded_runs(
    kind: str,
    jobs: Mapping[str, Any],
    recording: Recording,
    do: Callable[[Mapping[str, Any]], Iterable[tuple[str, dict[str, Any]]]] = one_after_another,
) -> dict[str, Any]:
    """
    Do every job and write ``record.json`` and ``table.md``.

    Finished runs are kept under ``out/unfinished`` until then; a run whose file is damaged is done again.

    :param kind: Kind of the record, one of ``art_plugins.reports.record_files.KINDS``.
    :param jobs: The jobs by their names, from :func:`run_name`. Each job gives a run, whose NaN and infinity become
        ``None``.
    :param do: Does the jobs that it is given, and yields the name and the run of each, in any order.
    :return: The record: ``kind``, ``schema``, ``command``, ``versions``, ``seconds`` (of this call), and ``runs`` in the
        order of the jobs.
    """
    start = time.perf_counter()
    unfinished = recording.out / "unfinished"
    files = {name: unfinished / f"{name}.json" for name in jobs}
    runs = {name: run for name, file in files.items() if (run := read_record(file)) is not None}
    for run in runs.values():
        recording.on_run(run)
    for name, run in do({name: job for name, job in jobs.items() if name not in runs}):
        write_json(files[name], run)
        runs[name] = json_safe(run)  # as a later call would read it
        recording.on_run(runs[name])
    record: dict[str, Any] = {
        **heading(kind),
        "command": recording.command,
        "versions": versions(),
        "seconds": time.perf_counter() - start,
        "runs": [runs[name] for name in jobs],
    }
    write_json(recording.out / "record.json", record)
    write_text(recording.out / "table.md", record_markdown(record))
    shutil.rmtree(unfinished, ignore_errors=True)
    return record


def run_name(title: str, *settings: Any) -> str:
    """A file name that differs wherever the settings or the versions differ."""
    return f"{title}-{hashlib.sha256(repr((settings, versions())).encode()).hexdigest()[:12]}"
