"""The demo of the scan: files that are written once, and a real scan that finds what was planted."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import soundfile

from art_plugins import cli
from art_plugins.attacks import tasks
from art_plugins.attacks.datasets.synthetic_speech import synthetic_speech
from art_plugins.errors import InvalidInputError
from art_plugins.inspection.demo import demo_sentence, write_demo


@pytest.fixture
def few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten clips of each word, so that the folder is written in a second."""
    monkeypatch.setattr(tasks.synthetic_speech, "synthetic_speech", partial(synthetic_speech, 10, 1))


def command(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["art-plugins", "scan", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


@pytest.mark.usefixtures("few_words")
def test_demo_is_a_folder_of_sounds_with_the_poison_among_the_target(tmp_path: Path) -> None:
    demo = write_demo(tmp_path)
    files = sorted(path.relative_to(demo.folder).as_posix() for path in demo.folder.rglob("*.wav"))
    assert len(files) == 60
    assert len(demo.planted) == 4
    assert all(file.startswith("sai/") for file in demo.planted)
    assert sum(file.startswith("tuo/") for file in files) == 6
    assert soundfile.info(demo.folder / demo.planted[0]).samplerate == 8_000
    with (tmp_path / "planted.csv").open() as table:
        assert [(row["file"], row["spoken"]) for row in csv.DictReader(table)] == [(file, "tuo") for file in demo.planted]
    suspects = [{"file": file, "verdict": "poison", "accepted": False} for file in (*demo.planted[1:], "fea/000.wav")]
    assert "calls 3 of these 4 clips poison, and 1 of the other clips" in demo_sentence(demo, suspects)


@pytest.mark.usefixtures("few_words")
def test_demo_overwrites_nothing(tmp_path: Path) -> None:
    first = write_demo(tmp_path)
    assert write_demo(tmp_path) == first  # the same files stay
    (first.folder / "sai" / "mine.wav").write_bytes(b"mine")
    with pytest.raises(InvalidInputError, match=r"holds mine\.wav, which is none of the demo's files"):
        write_demo(tmp_path)
    (first.folder / "sai" / "mine.wav").unlink()
    (first.folder / first.planted[0]).write_bytes(b"mine")
    with pytest.raises(InvalidInputError, match="exists and is not overwritten"):
        write_demo(tmp_path)
    assert (first.folder / first.planted[0]).read_bytes() == b"mine"


def test_scan_needs_data_or_the_demo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["some", "--demo"]):
        assert command(arguments, monkeypatch) == 2
        assert "Give the data to scan, or --demo in place of them." in capsys.readouterr().err


@pytest.mark.slow
def test_demo_shows_the_page_with_the_group_found(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    read_page: Callable[[Path], Any],
) -> None:
    assert command(["--demo", "--out", str(tmp_path)], monkeypatch) == 1
    assert "The scan calls 64 of these 64 clips poison" in " ".join(capsys.readouterr().out.split())
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["finding"].startswith("1 of 6 classes is called poisoned: sai")
    assert record["counts"]["called_poison"] <= 67
    with (tmp_path / "planted.csv").open() as table:
        planted = {row["file"] for row in csv.DictReader(table)}
    assert planted <= {row["file"] for row in record["suspects"] if row["verdict"] == "poison"}
    page = read_page(tmp_path / "report.html")
    assert "Suspects in sai" in " ".join(page.text.split())
    assert len([one for one in page.all("audio") if str(one.get("src", "")).startswith("data:audio/wav")]) > 10
