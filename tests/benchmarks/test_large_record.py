"""The committed record of scans of large folders: its table, and the figures of the how-to page, are those of its rows."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "how_to" / "scan_a_folder.md"


def test_table_and_page_have_the_figures_of_the_record() -> None:
    rows = json.loads((HERE / "large_data.json").read_text(encoding="utf-8"))["scans"]
    table = runpy.run_path(str(HERE / "large_scan.py"))["table"](rows)
    assert (HERE / "large_data.md").read_text(encoding="utf-8") == table
    assert table.strip() in PAGE.read_text(encoding="utf-8")
