"""What the README says is what the repository gives: commands that exist, tables that records regenerate."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from armory_scenarios.results import results_report
from art_plugins import cli
from art_plugins.evaluation.in_flight_tables import in_flight_report
from art_plugins.evaluation.layerwise_tables import layerwise_report
from art_plugins.evaluation.sweep_tables import sweep_report
from art_plugins.evaluation.tables import fraction_table, markdown, markdown_report

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RECORDS = sorted((Path(__file__).parent / "records").glob("*.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_readme_tables_are_those_of_the_records(path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    block = re.search(rf"<!-- {path.stem} -->\n(.*?)<!-- end -->", README, re.DOTALL)
    assert block, f"README.md has no table for {path.name}"
    assert f"`{record['command']}`" in block[1]
    assert readme_tables(record) in block[1]


def readme_tables(record: dict) -> str:  # type: ignore[type-arg]
    """Of a run over several seeds only the means; of others every task; of detectors every table."""
    if "config" in record.get("runs", [{}])[0]:
        return results_report(record)
    if "kind" in record.get("runs", [{}])[0]:
        return sweep_report(record)
    if "runs" in record:
        return in_flight_report(record) if "inversion" in record["runs"][0] else layerwise_report(record)
    if "points" in record:
        return markdown(fraction_table(record))
    tables = markdown_report(record)
    if len({task["seed"] for task in record["tasks"]}) == 1:
        return tables
    return tables[: tables.index("\n" + record["tasks"][0]["title"] + ", seed")]


def test_records_are_there() -> None:
    assert RECORDS


@pytest.mark.parametrize("command", re.findall(r"art-plugins ([a-z-]+)", README))
def test_readme_commands_exist(command: str) -> None:
    result = CliRunner().invoke(cli.app, [command, "--help"])
    assert result.exit_code == 0, command


def test_readme_and_setup_agree_on_the_extras() -> None:
    extras = set(re.findall(r'pip install "\.\[([a-z,]+)\]"', README))
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    for extra in {name for group in extras for name in group.split(",")}:
        assert f"\n{extra} =\n" in setup
