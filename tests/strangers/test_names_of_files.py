"""Names and places of files that the system refuses: one sentence, whatever is asked."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from art_plugins.cli.app import main
from art_plugins.errors import InvalidInputError
from art_plugins.files.model_files import load_classifier
from art_plugins.files.sources.open_samples import open_samples
from art_plugins.inspection.deciding.decisions import read_decisions

TOO_LONG = "a" * 5_000  # a name has at most 255 bytes, a path 4,096


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)  # main() sets its own
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("data", "clean"):
        for label in "ab":
            (tmp_path / name / label).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["scan", TOO_LONG],
        ["scan", f"{TOO_LONG}.npz"],
        ["scan", "data", "--out", TOO_LONG],
        ["scan", "data", "--accepted", TOO_LONG],
        ["scan", "data", "--decisions", TOO_LONG],
        ["scan", "data", "--cache", TOO_LONG],
        ["detect", TOO_LONG, "data", "--clean", "clean"],
        ["detect", "model.pt", TOO_LONG, "--clean", "clean"],
        ["guard", TOO_LONG, "--clean", "clean"],
        ["guard", "model.pt", "--clean", TOO_LONG],
        ["guard", "model.pt", "--clean", "clean", "--out", f"{TOO_LONG}.pt"],
    ],
    ids=lambda arguments: " ".join(argument.replace(TOO_LONG, "LONG") for argument in arguments),
)
def test_name_that_no_file_can_have_is_one_sentence(folder, monkeypatch, capfd, arguments):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["art-plugins", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    printed = capfd.readouterr().err
    assert "Error: " in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    "ask", [lambda path: open_samples(path).__enter__(), read_decisions, lambda path: load_classifier(path, (8, 8))]
)
def test_python_gives_the_error_of_the_package(monkeypatch, tmp_path, ask):
    for name in (TOO_LONG, "a\0b"):
        with pytest.raises(InvalidInputError):
            ask(Path(name))
    real = os.stat

    def stat(path, *args, **kwargs):
        if str(path).startswith(f"{tmp_path}/locked/"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", stat)  # as for somebody without rights to the folder; root has them all
    with pytest.raises(InvalidInputError, match="Permission denied"):
        ask(tmp_path / "locked" / "a.npz")


def test_error_that_quotes_a_strangers_name_does_not_colour_the_terminal(folder, monkeypatch, capfd):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["art-plugins", "scan", "\x1b[31mdata"])
    with pytest.raises(SystemExit):
        main()
    assert "\x1b[31m" not in capfd.readouterr().err
