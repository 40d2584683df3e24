"""Runs several comparisons, goes on where an earlier call stopped, and writes the record and the report."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.attacks.tasks import Task
from art_plugins.evaluation.compare import compare
from art_plugins.evaluation.running.environment import versions
from art_plugins.reports.comparison.comparison_page import write_compare_report
from art_plugins.reports.comparison.comparison_tables import markdown_report
from art_plugins.reports.packages import report_is_possible
from art_plugins.reports.record_files import COMPARISON, heading
from art_plugins.reports.suspects import write_suspects
from art_plugins.storage import json_safe, read_record, write_json, write_text

FORM = 2  # of what is kept of an interrupted run; one of another form is not read


def run_comparisons(
    makers: Sequence[Callable[[], Task]],
    out: Path,
    command: str,
    on_task: Callable[[dict[str, Any]], None] = lambda task: None,
    jobs: int | None = 1,
    verbose: bool = True,
) -> dict[str, Any]:
    """
    Compare the filters on each task. Write ``record.json``, ``table.md`` and every autoencoder that was trained and, with
    the extra ``report``, also ``report.html`` and its figures.

    What is finished is kept under ``out/unfinished`` until the end, so that the same call goes on where it stopped.

    :param makers: Functions that make the tasks. They are called one after the other, so that only one data set is in
        memory.
    :param out: Folder for the results.
    :param command: The command line, for the record.
    :param on_task: Called with each task's record as soon as it is there.
    :param jobs: See :func:`~art_plugins.evaluation.compare.compare`.
    :return: The record.
    """
    start = time.perf_counter()
    unfinished = out / "unfinished"
    record: dict[str, Any] = {**heading(COMPARISON), "command": command, "versions": versions(), "seconds": 0.0, "runs": []}
    arrays = {}
    for make in makers:
        task = make()
        if any(row["name"] == task.name for row in record["runs"]):
            task = replace(task, name=f"{task.name}_seed{task.seed}")
        file = unfinished / f"{task.name}-{_identity(task)}.json"
        row, figures = compare(
            task,
            progress=read_record(file),
            on_progress=partial(write_json, file),
            save_autoencoder=out / f"{task.name}.autoencoder.safetensors",
            jobs=jobs,
            verbose=verbose,
        )
        row = json_safe(row)
        samples = write_suspects(task.data.x_train, row["suspects"], row["name"], row["sample_rate_hz"], out / "suspects")
        record["runs"].append(row | {"suspects": samples})
        arrays[row["name"]] = figures
        on_task(row)
    record["seconds"] = time.perf_counter() - start
    write_json(out / "record.json", record)
    if report_is_possible():
        write_compare_report(out, record, arrays)
    else:
        write_text(out / "table.md", markdown_report(record))
    shutil.rmtree(unfinished, ignore_errors=True)
    return record


def _identity(task: Task) -> str:
    """A short hash of everything that the results of a task depend on."""
    data = task.data
    digest = hashlib.sha256(repr((FORM, task.attack, task.seed, task.classifier, task.defence, versions())).encode())
    for array in (data.x_train[:: max(1, len(data.x_train) // 64)], data.y_train, np.packbits(data.is_poison)):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
