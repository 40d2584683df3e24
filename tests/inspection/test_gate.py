"""A scan as a gate of a pipeline: exit status, cleared files, formats for other programs, the same bytes again."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from art_plugins import cli
from art_plugins.errors import InvalidInputError
from art_plugins.files.outputs import csv_text
from art_plugins.files.sources.items import content_hash
from art_plugins.inspection.deciding.decisions import ACCEPT, read_decisions
from art_plugins.inspection.detect_record import NOT_APART
from art_plugins.inspection.gate import detection_gate, gate, gate_sentence
from art_plugins.inspection.sarif import sarif_text
from art_plugins.inspection.suspect_rows import COLUMNS, SCHEMA_VERSION, suspects_csv
from art_plugins.inspection.verdicts.by_layers import DIFFERENT

N_CLIPS, N_POISON, TARGET = 24, 12, "tuo"
OUTPUTS = ("record.json", "report.html", "suspects.csv")


def scan(folder: Path, out: Path, *options: str) -> tuple[int, str]:
    """The exit status of the command, and what it prints on standard output."""
    printed = io.StringIO()
    arguments = ["art-plugins", "scan", str(folder), "--autoencoder", "speech", "--out", str(out), *options]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as stop:
            cli.main()
    return int(stop.value.code or 0), printed.getvalue()


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_words: Callable[..., Path]) -> Path:
    """Six drawn words; half of the clips of one carry a burst of noise."""
    return write_words(tmp_path_factory.mktemp("gate") / "words", N_CLIPS, N_POISON)


@pytest.fixture(scope="module")
def scanned(folder: Path) -> tuple[int, str, Path]:
    """Exit status, standard output and results of a scan that prints JSON."""
    out = folder.parent / "out"
    return *scan(folder, out, "--format", "json"), out


def test_gate_poison_ends_with_status_1_and_prints_the_record_alone(scanned: tuple[int, str, Path]) -> None:
    status, printed, out = scanned
    assert status == 1
    assert printed == (out / "record.json").read_text(encoding="utf-8")
    record = json.loads(printed)
    assert record["gate"]["status"] == 1
    assert record["schema_version"] == SCHEMA_VERSION


def test_gate_table_and_record_share_one_schema_and_hold_the_hash_of_the_content(
    folder: Path, scanned: tuple[int, str, Path]
) -> None:
    _, printed, out = scanned
    rows, suspects = rows_of(out / "suspects.csv"), json.loads(printed)["suspects"]
    assert len(rows) == len(suspects) >= N_POISON
    for row, suspect in zip(rows, suspects, strict=True):
        assert tuple(row) == tuple(suspect) == COLUMNS
        assert [row["file"], row["class"], row["verdict"]] == [suspect["file"], TARGET, "poison"]
        assert float(row["score"]) == pytest.approx(suspect["score"], rel=1e-5)
        assert float(row["p_value"]) == pytest.approx(suspect["p_value"], rel=1e-5)
        assert row["accepted"] == "no"
        assert row["sha256"] == sha256((folder / row["file"]).read_bytes()).hexdigest()


@pytest.mark.slow
def test_gate_same_call_gives_the_same_bytes_but_for_times(folder: Path, scanned: tuple[int, str, Path]) -> None:
    out = scanned[2]
    before = {name: (out / name).read_text(encoding="utf-8") for name in OUTPUTS}
    scan(folder, out, "--format", "json")
    for name in OUTPUTS:
        after = (out / name).read_text(encoding="utf-8")
        without_times = [re.sub(r'"seconds": [\d.]+|It took \d+ s', "", text) for text in (before[name], after)]
        assert without_times[0] == without_times[1], name


@pytest.mark.slow
def test_gate_accepted_files_pass_under_new_names_but_not_in_another_class(
    folder: Path, scanned: tuple[int, str, Path], tmp_path: Path
) -> None:
    renamed, out, keep = tmp_path / "words", tmp_path / "out", tmp_path / "keep.txt"
    shutil.copytree(folder, renamed)
    for file in sorted((renamed / TARGET).iterdir()):
        file.rename(file.with_name(f"new_{file.name}"))
    accepted = scanned[2] / "suspects.csv"
    status, printed = scan(
        renamed,
        out,
        "--accepted",
        str(accepted),
        "--apply-to",
        str(keep),
        "--format",
        "sarif",
        "--fast",
        "--only",
        "latents",
    )
    assert json.loads((out / "record.json").read_text(encoding="utf-8"))["settings"]["only"] == ["latents"]
    assert status == 0
    results = json.loads(printed)["runs"][0]["results"]
    assert len(results) >= N_POISON
    assert all(result["suppressions"] == [{"kind": "external", "status": "accepted"}] for result in results)
    assert len(keep.read_text(encoding="utf-8").splitlines()) == 6 * N_CLIPS
    assert "(accepted)" in (out / "report.html").read_text(encoding="utf-8")
    first = rows_of(accepted)[0]
    cleared = read_decisions(accepted)
    assert cleared.of(first["sha256"], TARGET) == ACCEPT
    assert cleared.of(first["sha256"], "another class") is None  # a wrong label is how poison works


def test_gate_kind_of_evidence_that_there_is_not_is_refused(folder: Path, tmp_path: Path) -> None:
    assert scan(folder, tmp_path / "out", "--only", "layers")[0] == 2
    assert not (tmp_path / "out" / "record.json").exists()


def record_with(verdicts: dict[str, bool], classes: list[dict[str, Any]], n_skipped: int = 0) -> dict[str, Any]:
    suspects = [{"verdict": verdict, "accepted": accepted} for verdict, accepted in verdicts.items()]
    return {"suspects": suspects, "classes": classes, "skipped_files": [{}] * n_skipped}


CLEAN = {"name": "a", "mad_index": 0.0, "verdict": "nothing found", "n_suspects": 0}
POISONED = {"name": "b", "mad_index": 9.0, "verdict": "poisoned", "n_suspects": 1}
UNLISTED = POISONED | {"n_suspects": 0}
NOT_JUDGED = {"name": "c", "mad_index": None, "verdict": "not judged: 4 samples", "n_suspects": 0}


@pytest.mark.parametrize(
    ("record", "statuses"),  # with fail_on poison, look and never
    [
        (record_with({}, [CLEAN]), (0, 0, 0)),
        (record_with({"poison": False}, [POISONED]), (1, 1, 0)),
        (record_with({"poison": True}, [POISONED]), (0, 0, 0)),
        (record_with({}, [CLEAN, UNLISTED]), (1, 1, 0)),
        (record_with({"look here": False}, [CLEAN]), (0, 1, 0)),
        (record_with({"look here": True}, [CLEAN]), (0, 0, 0)),
        (record_with({}, [CLEAN, NOT_JUDGED]), (0, 1, 0)),
        (record_with({}, [CLEAN], n_skipped=2), (0, 1, 0)),
        (record_with({}, [NOT_JUDGED]), (2, 2, 0)),
    ],
)
def test_gate_status_by_what_counts(record: dict[str, Any], statuses: tuple[int, ...]) -> None:
    outcomes = [gate(record, fail_on) for fail_on in ("poison", "look", "never")]
    assert tuple(outcome["status"] for outcome in outcomes) == statuses
    assert all(bool(outcome["reasons"]) == (outcome["status"] > 0) for outcome in outcomes)
    assert all(f"Exit status {outcome['status']}" in gate_sentence(outcome) for outcome in outcomes)


def detection(**given: Any) -> dict[str, Any]:
    """A record of a detection that found nothing in images, but for what is given."""
    record = {"is_backdoored": False, "undecided_classes": [], "folder": "images", "layers": {"verdict": "nothing"}}
    record |= {"classes": [{"name": "a", "index": 1.0, "verdict": "nothing found"}], "counts": {"caught": 0}}
    record |= {"clean_accuracy": 0.9}
    return {**record, "judged_files": {"skipped_files": []}, **given}


@pytest.mark.parametrize(
    ("record", "statuses"),  # with fail_on backdoor, look and never
    [
        (detection(), (0, 0, 0)),
        (detection(is_backdoored=True), (1, 1, 0)),
        (detection(is_backdoored=True, undecided_classes=["a"]), (1, 1, 0)),
        (detection(undecided_classes=["a"]), (2, 2, 0)),
        (detection(classes=[{"name": "a", "index": None, "verdict": "not judged"}]), (2, 2, 0)),
        (detection(classes=[{"name": "a", "index": 4.0, "verdict": NOT_APART}]), (0, 1, 0)),
        (detection(counts={"caught": 2}), (0, 1, 0)),
        (detection(judged_files={"skipped_files": [{"file": "a.png", "reason": "empty"}]}), (0, 1, 0)),
        (detection(layers={"problem": "few"}), (2, 2, 0)),
        (detection(clean_accuracy=0.12), (2, 2, 0)),
        (detection(clean_accuracy=0.12, is_backdoored=True), (1, 1, 0)),
        (detection(layers={"verdict": DIFFERENT}), (0, 1, 0)),
        (detection(layers={"problem": "few"}, is_backdoored=True), (1, 1, 0)),
        (detection(layers={}, folder=None), (0, 0, 0)),
        (detection(layers={}, folder=None, classes=[]), (2, 2, 0)),
    ],
)
def test_detection_gate_status_by_what_counts(record: dict[str, Any], statuses: tuple[int, ...]) -> None:
    outcomes = [detection_gate(record, fail_on) for fail_on in ("backdoor", "look", "never")]
    assert tuple(outcome["status"] for outcome in outcomes) == statuses
    assert all(bool(outcome["reasons"]) == (outcome["status"] > 0) for outcome in outcomes)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"file,class\na,b\n", "has no column 'sha256'"),
        (b"sha256,class\nxyz,b\n", "Line 2 of .* holds no SHA-256 and class"),
        (b"sha256,class\n" + b"a" * 64 + b"\n", "Line 2 of"),
        (b"\xff\xfe", "cannot be read as a table"),
    ],
)
def test_accepted_table_that_cannot_be_used_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "accepted.csv").write_bytes(content)
    with pytest.raises(InvalidInputError, match=sentence):
        read_decisions(tmp_path / "accepted.csv")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_decisions(tmp_path / "gone.csv")


def test_accepted_class_whose_name_is_a_formula_is_known_again(tmp_path: Path) -> None:
    row = dict.fromkeys(COLUMNS, "") | {"sha256": "a" * 64, "class": "=cmd()", "file": "=cmd()/1.wav"}
    (tmp_path / "accepted.csv").write_text(suspects_csv([row]), encoding="utf-8")
    assert "'=cmd()/1.wav" in (tmp_path / "accepted.csv").read_text(encoding="utf-8")
    assert read_decisions(tmp_path / "accepted.csv").of("a" * 64, "=cmd()") == ACCEPT


def test_csv_cells_of_formulas_become_text() -> None:
    formulas = ["=1+1", "+1+1", "-1+1", "@SUM(1)", "\uff1d1"]
    (cells,) = csv.reader(csv_text(["x"], [formulas]).splitlines()[1:])
    assert cells == [f"'{formula}" for formula in formulas]
    assert csv_text(["x"], [["\t=1", "a\r\n=1"]]) == "x\n\\t=1,a\\r\\n=1\n"
    assert csv_text(["x"], [["-1.5", "a=1"]]) == "x\n-1.5,a=1\n"


def test_content_hash_of_a_file_that_is_gone_or_huge_is_empty(tmp_path: Path) -> None:
    assert content_hash(tmp_path / "gone") == ""
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**40)
    assert content_hash(tmp_path / "huge") == ""


def test_sarif_places_are_relative_to_the_working_directory_and_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspect = dict.fromkeys(COLUMNS, "x") | {"file": "a b/%é.wav", "verdict": "look here", "score": 1.0, "accepted": False}
    record = {
        "folder": str(tmp_path / "data"),
        "suspects": [suspect],
        "skipped_files": [{"file": "a/bad.wav", "reason": "it is empty (0 bytes)"}],
        "finding": "None.",
        "notes": [],
        "gate": {"status": 0, "reasons": []},
    }
    (tmp_path / "data" / "a b").mkdir(parents=True)
    (tmp_path / "data" / "a b" / "%é.wav").touch()
    monkeypatch.chdir(tmp_path)
    (run,) = json.loads(sarif_text(record))["runs"]
    (result,) = run["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "data/a%20b/%25%C3%A9.wav"
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "art-plugins/look-here"
    assert result["level"] == "warning"
    assert "suppressions" not in result
    note = run["invocations"][0]["toolExecutionNotifications"][-1]
    assert note["message"]["text"] == "a/bad.wav was not judged: it is empty (0 bytes)"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (run,) = json.loads(sarif_text(record))["runs"]
    uri = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == f"{tmp_path.as_uri()}/data/a%20b/%25%C3%A9.wav"


@pytest.mark.parametrize(
    ("origin", "file", "place"),
    [
        ("in", "shard.tar/key.png", "in/shard.tar"),
        ("in/shard.tar", "shard.tar/key.png", "in/shard.tar"),
        ("in/list.csv", "a/1.png", "in/a/1.png"),
        ("in/x.npz", "x_train[3]", "in/x.npz"),
        ("the Dataset", "row[3]", "the%20Dataset"),
    ],
)
def test_sarif_place_of_a_sample_that_is_no_file_is_what_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: str, file: str, place: str
) -> None:
    for name in ("shard.tar", "list.csv", "x.npz", "a/1.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    monkeypatch.chdir(tmp_path)
    skipped = [{"file": file, "reason": "it is empty"}]
    gate = {"status": 0, "reasons": []}
    record = {"folder": origin, "suspects": [], "skipped_files": skipped, "finding": "", "notes": [], "gate": gate}
    (run,) = json.loads(sarif_text(record))["runs"]
    note = run["invocations"][0]["toolExecutionNotifications"][-1]
    assert note["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == place
