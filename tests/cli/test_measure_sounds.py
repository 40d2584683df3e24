"""The command ``sound-detectors``: a run on synthesised words from the command line to its files, and a wrong name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from art_plugins.cli import app
from art_plugins.errors import InvalidInputError
from art_plugins.evaluation import detectors
from art_plugins.evaluation.detectors import DETECTORS

pytest.importorskip("torchaudio")


@pytest.mark.slow
def test_sound_detectors_writes_a_record_and_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = tuple(one._replace(most=15) for one in DETECTORS if one.title in ("STEP", "STRIP-ViTA"))
    monkeypatch.setattr(detectors, "DETECTORS", few)
    options = ["--trigger", "chord", "--view", "waveform", "--cap", "60", "--share", ".1", "--nb-epochs", "8"]
    folders = ["--models", str(tmp_path / "models"), "--out", str(tmp_path)]
    result = CliRunner().invoke(app, ["sound-detectors", *options, *folders], catch_exceptions=False)
    assert result.exit_code == 0
    (run,) = json.loads((tmp_path / "record.json").read_text())["runs"]
    assert run["model"]["attack_success"] > 0.8
    assert [row["title"].split(",")[0] for row in run["rows"]] == ["Layer-wise features", "STRIP-ViTA", "STEP"]
    assert "| chord, waveform, 10 % | 0 |" in (tmp_path / "table.md").read_text()
    assert len([*(tmp_path / "models").iterdir()]) == 1


def test_sound_detectors_unknown_trigger_is_refused_before_any_training(tmp_path: Path) -> None:
    arguments = ["sound-detectors", "--trigger", "bang", "--cap", "20", "--out", str(tmp_path)]
    with pytest.raises(InvalidInputError, match="trigger must be one of clapping"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
