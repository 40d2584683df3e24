"""What the README says is what the repository gives: commands that exist, tables that records regenerate."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from art_plugins import cli
from art_plugins.reports.evaluation_page import evaluation_markdown, filled
from art_plugins.reports.record_files import REPRODUCTION
from art_plugins.reports.records import Gathered, gather
from art_plugins.reproduction.runner import ITEMS, item_record, recorded
from art_plugins.reproduction.studies import STUDIES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RECORDS = Path(__file__).parent / "records"


@pytest.fixture(scope="module")
def gathered() -> list[Gathered]:
    """What ``art-plugins reproduce --records tests/records`` and ``art-plugins report`` read off the committed records."""
    found = []
    for item in ITEMS:
        known = {}
        for name in item.studies:
            record = recorded(STUDIES[name], "cpu", ROOT / "nowhere", RECORDS)
            assert record is not None, f"tests/records/{name}.json is not what the study {name} measures"
            known[name] = record
        found.append(Gathered(REPRODUCTION, item.name, item_record(item, "cpu", known), RECORDS, item.note))
    return [*found, *gather([RECORDS])]


def test_readme_tables_are_those_of_the_records(gathered: list[Gathered]) -> None:
    assert README.count("<!-- end -->") >= 5
    assert filled(README, gathered) == README


def test_page_of_the_records_is_generated_from_them(gathered: list[Gathered]) -> None:
    assert (RECORDS / "README.md").read_text(encoding="utf-8") == evaluation_markdown(gathered)


def test_every_note_has_its_record() -> None:
    notes = {file.stem for file in RECORDS.glob("*.md")} - {"README"}
    assert notes <= {file.stem for file in RECORDS.glob("*.json")}


@pytest.mark.parametrize("command", re.findall(r"art-plugins ([a-z-]+)", README))
def test_readme_commands_exist(command: str) -> None:
    result = CliRunner().invoke(cli.app, [command, "--help"])
    assert result.exit_code == 0, command


def test_readme_and_setup_agree_on_the_extras() -> None:
    extras = set(re.findall(r'pip install "\.\[([a-z,]+)\]"', README))
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    for extra in {name for group in extras for name in group.split(",")}:
        assert f"\n{extra} =\n" in setup
