"""What a person sees in the terminal: no cut heading, name or number at any width; no message in the middle of a bar."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from art_plugins import cli
from art_plugins.cli import shown as shown_module
from art_plugins.reports.records import record_tables
from art_plugins.reports.tables import Table

RECORDS = Path(__file__).parents[1] / "records"
WIDTHS = [40, 60, 80, 100]
# A command that logs and warns while bars are drawn, and then fails.
COMMAND = """
import logging, warnings
from art_plugins import cli

@cli.app.command()
def trial():
    import lightning.fabric
    from tqdm import tqdm as bars_of_others
    from tqdm.auto import tqdm
    from art_plugins.errors import InvalidInputError

    for step in tqdm(range(4), desc="bar", disable=None, mininterval=0):
        if step in (1, 2):
            logging.getLogger("art_plugins.trial").warning("class 3 was not judged")
            warnings.warn("an overflow was met")
            logging.getLogger("lightning.fabric.trial").warning("a warning of Lightning's")
        for _ in bars_of_others(range(2), desc="inner", mininterval=0):
            pass
        if step == 3:
            raise InvalidInputError("the last one is bad")

cli.main()
"""
SAID = ["class 3 was not judged", "UserWarning: an overflow was met", "a warning of Lightning's"]


def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, show: Any, what: Any) -> str:
    monkeypatch.setattr(shown_module, "console", Console(width=width, emoji=False))
    show(what)
    text = capsys.readouterr().out
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    return text


def assert_all_words_are_there(text: str, cells: list[str]) -> None:
    """Each as often as the cells have it, whole; a word longer than the narrowest column may go on in the next line."""
    words = re.findall(r"\S+", text)
    wanted = [word for cell in cells for word in cell.split() if len(word) <= 16]
    for word in set(wanted):
        assert words.count(word) >= wanted.count(word), word


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["default", "speech_commands"])
def test_comparison_holds_every_heading_name_and_number_at_every_width(monkeypatch, capsys, width, name):
    for task in json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))["runs"]:
        text = shown(monkeypatch, capsys, width, shown_module._show_comparison, task)
        cells = ["TPR", "FPR", "ARI", "clean", "attack", "s"]
        for row in task["defences"]:
            cells.append(row["title"])
            for key in ("tpr", "fpr", "ari_target", "clean_accuracy", "attack_success"):
                cells.append("-" if row[key] is None else f"{row[key]:.3f}")
            cells.append(f"{row['seconds']:.1f}")
        assert_all_words_are_there(text, cells)


def test_comparison_at_80_columns_is_a_table_with_each_filter_in_its_row(monkeypatch, capsys):
    (task, _) = json.loads((RECORDS / "default.json").read_text(encoding="utf-8"))["runs"]
    lines = shown(monkeypatch, capsys, 80, shown_module._show_comparison, task).splitlines()
    assert any(line.split() == ["filter", "TPR", "FPR", "ARI", "clean", "attack", "s"] for line in lines)
    assert any(line.startswith(" PyOD, ECOD (penultimate) ") and len(line.split()) == 9 for line in lines)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "name", ["sweep", "ablation", "in_flight", "layerwise_warp_peers", "armory_speech", "speech_commands"]
)
def test_tables_of_records_hold_every_heading_name_and_number_at_every_width(monkeypatch, capsys, width, name):
    tables = record_tables(json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8")))
    for table in [*tables[0], *tables[1]]:
        text = shown(monkeypatch, capsys, width, shown_module._show, table)
        assert_all_words_are_there(text, [table.caption, *table.columns, *(cell for row in table.rows for cell in row)])


@pytest.mark.parametrize("width", [20, 80])
def test_table_with_markup_wide_letters_and_long_names_shows_them_as_they_are(monkeypatch, capsys, width):
    names = ["[red]a[/red]", ":cat:", "x" * 60, "猫" * 40]
    table = Table("A [bold] caption", {"Class": False, "Number": True}, [[name, "-0.123456"] for name in names])
    monkeypatch.setattr(shown_module, "console", Console(width=width, emoji=False))
    shown_module._show(table)
    text = capsys.readouterr().out
    assert text.count("-0.123456") == len(names)
    assert all(name in text for name in names[:2])
    assert (text.count("x"), text.count("猫"), "…" in text) == (60, 40, False)
    assert "[bold]" in text


@pytest.mark.parametrize("command", [[], *([name] for name in typer.main.get_command(cli.app).commands)])
def test_help_is_whole_at_80_columns_and_of_sentences(monkeypatch, command):
    result = CliRunner().invoke(cli.app, [*command, "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert result.exit_code == 0
    assert "…" not in result.output
    for parameter in typer.main.get_command(cli.app).commands[command[0]].params if command else []:
        assert parameter.name == "help" or parameter.help[-1] in ".?", parameter.name


def screen(output: str) -> list[str]:
    """What a terminal shows of an output with carriage returns and steps upwards."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[A|\r|\n|[^\x1b\r\n]+", output):
        if part == "\x1b[A":
            row = max(0, row - 1)
        elif part == "\r":
            column = 0
        elif part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        else:
            before = lines[row].ljust(column)
            lines[row] = before[:column] + part + before[column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines]


@pytest.mark.slow
def test_messages_in_a_terminal_stand_on_lines_of_their_own_once_and_the_error_is_last():
    pty, fcntl, termios = (pytest.importorskip(name) for name in ("pty", "fcntl", "termios"))
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    done = subprocess.Popen([sys.executable, "-c", COMMAND, "trial"], stderr=follower, stdout=subprocess.DEVNULL)
    os.close(follower)
    output = b""
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:  # Linux: the other end is closed
            break
        if not part:
            break
        output += part
    os.close(leader)
    assert done.wait(60) == 2
    lines = screen(output.decode())
    assert [lines.count(message) for message in SAID] == [1, 1, 1], lines
    assert any(line.startswith("bar:") for line in lines)
    assert [line for line in lines if line][-1] == "Error: the last one is bad"


def test_messages_without_a_terminal_are_plain_lines_and_no_bar_is_drawn():
    done = subprocess.run([sys.executable, "-c", COMMAND, "trial"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [*SAID, "Error: the last one is bad"]


def test_progress_of_filters_says_what_is_trusted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = {"title": "a set", "seed": 0, "filter_title": "Ours (none trusted)", "note": None, "tpr": 1.0, "fpr": 0.0}
    for n_trusted, said in ((0, "Ours (none trusted): TPR"), (20, "Ours, 20 trusted a class: TPR")):
        assert said in shown(monkeypatch, capsys, 80, shown_module._show_filter_run, run | {"n_trusted": n_trusted})
