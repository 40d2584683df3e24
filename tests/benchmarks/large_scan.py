"""
Scans of large folders, in time and memory: each call adds a row to ``large_data.json`` and writes the table anew.

    python tests/benchmarks/large_folders.py sounds DATA FOLDER --n 36000
    python tests/benchmarks/large_scan.py "36,000 clips" FOLDER --fast --autoencoder speech --cache CACHE

The folder must be one of ``large_folders.py``, whose names tell which samples are poison. Seconds are those of the
processor, which other work on the machine changes less than those of a clock.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from art_plugins.storage import read_record, write_json, write_text

RECORD = Path(__file__).parent / "large_data.json"
POISON_EVERY = 200  # as in large_folders.py
SCAN = [sys.executable, "-c", "from art_plugins.cli import main; main()", "scan"]
IMPORTED = [sys.executable, "-c", "import art_plugins.inspection.scan, time; time.sleep(2)"]
COLUMNS = ("what", "options", "n_files", "cpu_s", "wall_s", "peak_extra_mb", "n_poison", "n_found", "n_false")
TITLES = ("Data", "Options", "Files", "CPU s", "Wall s", "Extra memory, MB", "Poison", "Called", "Called, clean")


def watched(command: list[str]) -> tuple[float, float, float]:
    """CPU seconds, seconds of the clock and peak private memory in MB of a command and its children."""
    before, start, peak = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        process = psutil.Process(running.pid)
        while running.poll() is None:
            peak = max(peak, sum(map(private_mb, [process, *_children(process)])))
            time.sleep(0.05)
    if running.returncode not in (0, 1):
        raise SystemExit(f"{command} ended with {running.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.perf_counter() - start, peak


def measure(what: str, folder: Path, options: list[str]) -> dict[str, Any]:
    """One row of the record."""
    imported_mb = watched(IMPORTED)[2]
    with tempfile.TemporaryDirectory() as out:
        cpu, wall, peak = watched([*SCAN, str(folder), "--out", out, *options])
        record = json.loads((Path(out) / "record.json").read_text(encoding="utf-8"))
    called = [row["file"] for row in record["suspects"] if row["verdict"] == "poison"]
    n_found = sum(int(Path(file).stem) % POISON_EVERY == 0 for file in called)
    n_files = record["counts"]["read"]
    shown = [option for option in options if "/" not in option]  # folders of this machine are left out
    return {
        "what": what,
        "options": " ".join(shown),
        "n_files": n_files,
        "cpu_s": round(cpu),
        "wall_s": round(wall),
        "peak_extra_mb": round(peak - imported_mb),
        "n_poison": sum(index % POISON_EVERY == 0 for index in range(n_files)),
        "n_found": n_found,
        "n_false": len(called) - n_found,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = [f"| {' | '.join(TITLES)} |", f"| --- | --- |{' ---: |' * (len(TITLES) - 2)}"]
    return "\n".join([*lines, *(f"| {' | '.join(_shown(row[name]) for name in COLUMNS)} |" for row in rows)]) + "\n"


def add_row(row: dict[str, Any]) -> None:
    """Put a row into the record, in place of an older one of the same name, and write the table anew."""
    known = read_record(RECORD) or {"scans": []}
    known["scans"] = [*[old for old in known["scans"] if old["what"] != row["what"]], row]
    write_json(RECORD, known)
    write_text(RECORD.with_suffix(".md"), table(known["scans"]))
    print(json.dumps(row))


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def private_mb(process: psutil.Process) -> float:
    """Pages of a map that the system keeps as cache do not count."""
    try:
        now = process.memory_info()
    except psutil.Error:
        return 0.0
    return (now.rss - now.shared) / 1e6


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what")
    parser.add_argument("folder", type=Path)
    arguments, options = parser.parse_known_args()
    add_row(measure(arguments.what, arguments.folder, options))
