"""A series of runs, each kept once it is finished, so that the same call goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from art_plugins.evaluation.environment import versions
from art_plugins.storage import write_json, write_text


def recorded_runs(
    jobs: Mapping[str, Callable[[], dict[str, Any]]],
    out: Path,
    command: str,
    report: Callable[[Mapping[str, Any]], str],
    on_run: Callable[[dict[str, Any]], None] = lambda run: None,
) -> dict[str, Any]:
    """
    Do every job and write ``record.json`` and ``table.md``; finished runs are kept under ``out/unfinished`` until then.

    :param jobs: By :func:`run_name`; each gives a JSON-safe run.
    :param report: The record as Markdown.
    :param on_run: Called with every run.
    :return: The record: ``command``, ``versions``, ``seconds`` (of this call), ``runs``.
    """
    start = time.perf_counter()
    unfinished = out / "unfinished"
    record: dict[str, Any] = {"command": command, "versions": versions(), "seconds": 0.0, "runs": []}
    for name, job in jobs.items():
        file = unfinished / f"{name}.json"
        if file.is_file():
            run = json.loads(file.read_text(encoding="utf-8"))
        else:
            run = job()
            write_json(file, run)
        record["runs"].append(run)
        on_run(run)
    record["seconds"] = time.perf_counter() - start
    write_json(out / "record.json", record)
    write_text(out / "table.md", report(record))
    shutil.rmtree(unfinished, ignore_errors=True)
    return record


def run_name(title: str, *settings: Any) -> str:
    """A file name that differs wherever the settings or the versions differ."""
    return f"{title}-{hashlib.sha256(repr((settings, versions())).encode()).hexdigest()[:12]}"
