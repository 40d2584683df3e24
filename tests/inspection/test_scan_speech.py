"""A scan with the autoencoder of speech: nothing is trained; the folder says how long the clips are."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from art_plugins import cli
from art_plugins.errors import InvalidInputError
from art_plugins.inspection.scan import scan_folder
from art_plugins.inspection.settings import ScanSettings

pytestmark = pytest.mark.usefixtures("nothing_is_trained")

N_CLIPS, N_POISON = 50, 25


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_words: Callable[..., Path]) -> Path:
    """Six drawn words at 8 kHz; half of the clips of the second one carry a burst of noise."""
    return write_words(tmp_path_factory.mktemp("words"), N_CLIPS, N_POISON)


def test_the_command_scan_finds_poison_without_training(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, keep = tmp_path / "out", tmp_path / "keep.txt"
    arguments = ["scan", str(folder), "--autoencoder", "speech", "--fast", "--out", str(out), "--apply-to", str(keep)]
    monkeypatch.setattr(sys, "argv", ["art-plugins", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1  # there is poison
    record = json.loads((out / "record.json").read_text())
    first = record["classes"][0]
    assert (first["name"], first["verdict"]) == ("tuo", "poisoned")
    kept = set(keep.read_text().split())
    assert sum(f"tuo/{index:02}.wav" not in kept for index in range(N_POISON)) > 0.9 * N_POISON
    assert len(kept) >= 6 * N_CLIPS - N_POISON - 3
    assert record["settings"]["autoencoder"] == "speech"
    assert record["settings"]["sample_shape"] == [8_000]  # half a second at the rate of the autoencoder
    assert "Clips are read at 16000 Hz, as the autoencoder needs them." in record["notes"]
    assert any("0.5 s long" in note for note in record["notes"])


@pytest.mark.slow
def test_the_length_of_the_clips_may_be_given(folder: Path, tmp_path: Path) -> None:
    settings = ScanSettings(autoencoder="speech", seconds=0.3, fast=True)
    record = scan_folder(folder, tmp_path / "out", settings, verbose=False)
    assert record["settings"]["sample_shape"] == [4_800]


def test_images_are_refused_in_a_sentence(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(tmp_path / "pictures" / name / "0.png")
    with pytest.raises(InvalidInputError, match="'waveform', and the folder holds images"):
        scan_folder(tmp_path / "pictures", tmp_path / "out", ScanSettings(autoencoder="speech"), verbose=False)


@pytest.mark.parametrize("command", [["sweep"], ["compare", "--dataset", "speech_commands"]])
def test_a_name_that_no_autoencoder_has_is_said_with_those_that_there_are(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["art-plugins", *command, "--root", str(tmp_path), "--autoencoder", "music"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert "music does not exist; give a saved one, or speech" in " ".join(capsys.readouterr().err.split())
