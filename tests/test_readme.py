"""What the README says is what the repository gives: commands that exist, tables that records regenerate."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from art_plugins import cli
from art_plugins.evaluation.gathered import record_markdown

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RECORDS = sorted((Path(__file__).parent / "records").glob("*.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_readme_tables_are_those_of_the_records(path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    block = re.search(rf"<!-- {path.stem} -->\n(.*?)<!-- end -->", README, re.DOTALL)
    assert block, f"README.md has no table for {path.name}"
    assert f"`{record['command']}`" in block[1]
    assert record_markdown(record) in block[1]


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
