"""Decisions of a person on the samples of a scan: files that are read, refused, and applied to the next scan."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from art_plugins.errors import InvalidInputError
from art_plugins.inspection.deciding.decisions import ACCEPT, REJECT, read_decisions
from art_plugins.inspection.scan import scan
from art_plugins.inspection.settings import ScanSettings

A, B, C = "a" * 64, "b" * 64, "c" * 64
N_CLIPS, N_POISON, TARGET = 24, 12, "tuo"
EVIL_NAME = "=1+1<script>'\".wav"
PLANTED = (EVIL_NAME, *(f"{index:02}.wav" for index in range(1, N_POISON)))


def decisions(files: Any = (), groups: Any = (), **changed: Any) -> str:
    return json.dumps({"kind": "decisions", "schema": 1, "files": list(files), "groups": list(groups)} | changed)


def test_decision_on_a_file_beats_the_one_on_its_group(tmp_path: Path) -> None:
    group = {"class": "x", "decision": "reject", "sha256": [A, B]}
    own = {"sha256": B, "class": "x", "decision": "accept", "file": "x/<b>.wav"}
    (tmp_path / "d.json").write_text(decisions([own], [group]), encoding="utf-8")
    read = read_decisions(tmp_path / "d.json")
    assert [read.of(A, "x"), read.of(B, "x"), read.of(C, "x"), read.of(A, "y")] == [REJECT, ACCEPT, None, None]
    assert read.has_rejected
    assert not read_decisions(None).has_rejected


def test_table_that_a_spreadsheet_saved_with_semicolons_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(f"sha256;class;decision\r\n{A};x;\r\n{B};x;reject\r\n".encode("utf-8-sig"))
    table = read_decisions(tmp_path / "a.csv", None)
    assert [table.of(A, "x"), table.of(B, "x")] == [ACCEPT, REJECT]


def test_decisions_and_accepted_table_are_one_mechanism_and_the_later_file_counts(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"sha256,class,decision\n{A},'=x,\n{B},'=x,reject\n", encoding="utf-8")
    (tmp_path / "d.json").write_text(decisions([{"sha256": A, "class": "=x", "decision": "reject"}]), encoding="utf-8")
    table = read_decisions(tmp_path / "a.csv", None)
    assert [table.of(A, "=x"), table.of(B, "=x")] == [ACCEPT, REJECT]
    assert read_decisions(tmp_path / "a.csv", tmp_path / "d.json").of(A, "=x") == REJECT
    assert read_decisions(tmp_path / "d.json", tmp_path / "a.csv").of(A, "=x") == ACCEPT


ROW = {"sha256": A, "class": "x", "decision": "accept"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "damaged"),
        ("[" * 100_000, "damaged"),
        ("[]", "is no file of decisions"),
        (json.dumps({"kind": "record"}), "is no file of decisions"),
        (decisions(schema=2), "schema 2, and this release reads schema 1"),
        (decisions(schema=True), "schema True"),
        (decisions(files=[1]), "'files' of .* is no list of objects"),
        (decisions(groups=7 * [None]), "'groups' of .* is no list of objects"),
        (decisions([ROW | {"sha256": "A" * 64}]), "file 1 of .* has no SHA-256"),
        (decisions([ROW, ROW | {"sha256": None}]), "file 2 of .* has no SHA-256"),
        (decisions([ROW | {"class": 3}]), "names no class, but 3"),
        (decisions([ROW | {"decision": "delete"}]), "has the decision 'delete'"),
        (decisions([ROW | {"decision": []}]), "has the decision"),
        (decisions([ROW, ROW | {"decision": "reject"}]), "file 2 of .* contradicts"),
        (decisions(groups=[{"class": "x", "decision": "reject"}]), "group 1 of .* has no list of SHA-256"),
        (decisions(groups=[{"class": "x", "decision": "reject", "sha256": [A, "b"]}]), "group 1 of .* has no SHA-256"),
        (f"sha256,class,decision\n{A},x,perhaps\n", "line 2 of .* has the decision 'perhaps'"),
        (f"sha256,class\n{A}\n", "Line 2 of"),
        ("", "no column 'sha256'"),
    ],
)
def test_decisions_that_are_damaged_or_hostile_are_one_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "d.json").write_text(content, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=sentence) as error:
        read_decisions(tmp_path / "d.json")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_decisions_that_are_no_plain_file_or_too_large_are_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**33)
    for name in ("huge", ".", "gone"):
        with pytest.raises(InvalidInputError, match=r"is no file of decisions|cannot be read"):
            read_decisions(tmp_path / name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_words: Callable[..., Path]) -> Path:
    """Six drawn words; half of the clips of one carry a burst of noise, and one name has markup and a formula in it."""
    root: Path = write_words(tmp_path_factory.mktemp("decided") / "words", N_CLIPS, N_POISON)
    (root / TARGET / "00.wav").rename(root / TARGET / EVIL_NAME)
    return root


def call(folder: Path, out: Path, **settings: Any) -> dict[str, Any]:
    return scan(folder, None, out, ScanSettings(autoencoder="speech", **settings), verbose=False)


def test_scan_applies_decisions_also_to_renamed_files_and_to_what_it_did_not_suspect(folder: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "words"
    shutil.copytree(folder, renamed)
    other = sorted(path for path in renamed.rglob("*.wav") if path.parent.name != TARGET)[0]
    planted = [renamed / TARGET / name for name in PLANTED]
    hashes = [sha256(file.read_bytes()).hexdigest() for file in planted]
    rejected = sha256(other.read_bytes()).hexdigest()
    for file in planted:
        file.rename(file.with_name(f"new {file.name}"))
    group = {"class": TARGET, "decision": "accept", "sha256": hashes}
    own = [
        {"sha256": rejected, "class": other.parent.name, "decision": "reject", "file": "as it was called"},
        {"sha256": hashes[3], "class": TARGET, "decision": "reject"},
    ]
    (tmp_path / "d.json").write_text(decisions(own, [group]), encoding="utf-8")
    keep = tmp_path / "keep.txt"
    record = call(renamed, tmp_path / "out", decisions=tmp_path / "d.json", apply_to=keep)
    by_hash = {row["sha256"]: row for row in record["suspects"]}
    assert [by_hash[one]["decision"] for one in hashes] == [ACCEPT] * 3 + [REJECT] + [ACCEPT] * 8
    assert by_hash[rejected]["verdict"] == "poison"
    assert by_hash[rejected]["decision"] == REJECT
    assert "A person has rejected it" in by_hash[rejected]["evidence"]
    kept = set(keep.read_text(encoding="utf-8").splitlines())
    assert f"{TARGET}/new {planted[0].name}" in kept
    assert by_hash[hashes[3]]["file"] not in kept
    assert by_hash[rejected]["file"] not in kept
    assert len(kept) == 6 * N_CLIPS - sum(row["verdict"] == "poison" and not row["accepted"] for row in record["suspects"])
    assert record["gate"]["status"] == 1
    assert any("2 files are rejected in" in note for note in record["notes"])
    with (tmp_path / "out" / "suspects.csv").open(encoding="utf-8", newline="") as file:
        assert {row["decision"] for row in csv.DictReader(file)} >= {"accept", "reject"}


@pytest.mark.slow
def test_scan_whose_suspects_are_all_accepted_lets_a_pipeline_go_on(folder: Path, tmp_path: Path) -> None:
    planted = [sha256((folder / TARGET / name).read_bytes()).hexdigest() for name in PLANTED]
    group = {"class": TARGET, "decision": "accept", "sha256": planted}
    (tmp_path / "d.json").write_text(decisions(groups=[group]), encoding="utf-8")
    record = call(folder, tmp_path / "out", decisions=tmp_path / "d.json")
    assert record["gate"]["status"] == 0
    assert all(row["accepted"] for row in record["suspects"])
