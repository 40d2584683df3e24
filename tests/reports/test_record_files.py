"""Records say what they are: other kinds, newer schemas and records of an earlier release are refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from art_plugins.errors import FileFormatError
from art_plugins.reports.record_files import COMPARISON, KINDS, REPRODUCTION, SCHEMA, checked_record, find_record, heading
from art_plugins.reports.records import TABLES, gather
from art_plugins.reproduction.runner import find_items, reproduce

RECORDS = Path(__file__).parents[1] / "records"
OLD = {"command": "art-plugins layerwise --out out", "versions": {}, "seconds": 1.0, "runs": [{"title": "a"}]}
OLD_COMPARISON = {"command": "art-plugins compare", "versions": {}, "seconds": 1.0, "tasks": []}


def write(folder: Path, record: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    return folder / "record.json"


def test_every_committed_record_says_its_kind_and_schema_first() -> None:
    for file in RECORDS.glob("*.json"):
        record = json.loads(file.read_text(encoding="utf-8"))
        assert list(record)[:2] == ["kind", "schema"], file.name
        assert checked_record(record, file) == record
        assert isinstance(record["runs"], list)
        assert record["kind"] in record["command"]


def test_every_kind_has_its_tables() -> None:
    assert {*TABLES, "in-flight"} == set(KINDS)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({**OLD, "kind": "guess", "schema": 1}, "of the kind 'guess'; this release knows reproduction, compare, sweep"),
        ({**OLD, "kind": COMPARISON, "schema": SCHEMA + 1}, rf"of schema {SCHEMA + 1}; this release reads schema {SCHEMA}"),
        ({**OLD, "kind": COMPARISON, "schema": None}, "of schema None"),
        ({**OLD, "kind": COMPARISON, "schema": True}, "of schema True"),
        (OLD, "of an earlier release, .*run its command again: art-plugins layerwise --out out"),
        (OLD_COMPARISON, "run its command again: art-plugins compare"),
        ({"kind": REPRODUCTION, "item": "fig2", "paper": "mehlman"}, "run art-plugins reproduce again"),
    ],
)
def test_record_of_another_make_is_a_named_error_wherever_it_is_read(tmp_path: Path, record: dict, message: str) -> None:
    file = write(tmp_path / "one", record)
    with pytest.raises(FileFormatError, match=rf"{file} is a record .*{message}"):
        gather([tmp_path])
    with pytest.raises(FileFormatError, match=message):
        find_record(file)


def test_reproduce_does_not_take_a_record_of_an_earlier_release(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    for file in RECORDS.glob("layerwise*.json"):
        record = json.loads(file.read_text(encoding="utf-8"))
        old = {name: value for name, value in record.items() if name not in ("kind", "schema")}
        (tmp_path / "records" / file.name).write_text(json.dumps(old), encoding="utf-8")
    with pytest.raises(FileFormatError, match="earlier release"):
        reproduce(find_items("preetha", "fig5"), "cpu", None, tmp_path / "out", tmp_path / "records", pytest.fail)


@pytest.mark.parametrize(
    "value",
    [
        [],
        3,
        None,
        {},
        {"command": "art-plugins detect", "versions": {}, "kind": "patch"},
        {"command": "scan", "classes": []},
    ],
)
def test_json_of_other_make_is_no_record(value: object) -> None:
    assert checked_record(value, "file.json") is None


def test_heading_is_what_is_checked() -> None:
    assert checked_record(heading(COMPARISON), "file.json") == {"kind": "compare", "schema": SCHEMA}
