"""``art-plugins pretrain`` on a folder of drawn sounds: one file, the same for one seed, that judges without training."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from art_plugins import cli
from art_plugins.attacks.datasets.speech_commands import COMMANDS, FOLDER, MIN_CLIPS, SAMPLE_RATE_HZ
from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.features import training
from art_plugins.features.autoencoder import Autoencoder

MOST_BYTES = 3e6  # of the file that is shipped


def main_with(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["art-plugins", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten commands, and another word, with the fewest clips that the data set takes; clips are short and of noise."""
    random = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("data")
    for word in (*COMMANDS, "bed"):
        (folder / FOLDER / word).mkdir(parents=True)
        for index in range(MIN_CLIPS):
            samples = random.normal(scale=2_000, size=400).astype(np.int16)
            soundfile.write(folder / FOLDER / word / f"{index}.wav", samples, SAMPLE_RATE_HZ, subtype="PCM_16")
    for name in ("validation_list.txt", "testing_list.txt"):
        (folder / FOLDER / name).write_text("")
    return folder


def pretrained(monkeypatch: pytest.MonkeyPatch, root: Path, out: Path, seed: int = 0) -> int:
    return main_with(
        monkeypatch, "pretrain", "--root", str(root), "--out", str(out), "--cap", "3", "--nb-epochs", "2",
        "--seed", str(seed),
    )  # fmt: skip


def test_pretrain_writes_a_small_file_that_depends_on_the_seed_alone(
    monkeypatch: pytest.MonkeyPatch, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / name / "speech.safetensors" for name in ("first", "again", "other")]
    for file, seed in zip(files, (0, 0, 1), strict=True):
        assert pretrained(monkeypatch, root, file, seed) == 0
    assert "trained on 33 clips in 2 epochs" in " ".join(capsys.readouterr().out.split())
    first, again, other = (file.read_bytes() for file in files)
    assert first == again != other
    assert len(first) <= MOST_BYTES
    assert Autoencoder.load(files[0]).settings.kind == "waveform"
    assert [path.name for path in files[0].parent.iterdir()] == ["speech.safetensors"]


def test_pretrain_goes_on_where_it_was_interrupted(monkeypatch: pytest.MonkeyPatch, root: Path, tmp_path: Path) -> None:
    whole, interrupted = tmp_path / "whole.safetensors", tmp_path / "interrupted.safetensors"
    assert pretrained(monkeypatch, root, whole) == 0
    one_epoch, calls = training._epoch, []

    def counted(*arguments: object) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return one_epoch(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "_epoch", counted)
    assert pretrained(monkeypatch, root, interrupted) == 130
    assert not interrupted.exists()
    assert pretrained(monkeypatch, root, interrupted) == 0
    assert len(calls) == 3
    assert interrupted.read_bytes() == whole.read_bytes()


def test_the_file_judges_another_set_of_sounds_without_training(
    monkeypatch: pytest.MonkeyPatch, root: Path, tmp_path: Path
) -> None:
    file = tmp_path / "speech.safetensors"
    assert pretrained(monkeypatch, root, file) == 0

    def never(*_: object, **__: object) -> None:
        raise AssertionError("an autoencoder was trained")

    monkeypatch.setattr(Autoencoder, "fit", never)
    random = np.random.default_rng(1)
    labels = np.repeat(np.arange(5), 20)
    x = random.normal(scale=0.05, size=(len(labels), SAMPLE_RATE_HZ)).astype(np.float32)
    defence = VAELatentDefence(None, x, labels, autoencoder=file, verbose=False)
    report = defence.detect_poison()[0]
    assert defence.latents_.shape == (100, 64)
    assert report["autoencoder"]["nb_epochs"] == 2
    assert report["classes_not_judged"] == []


@pytest.mark.parametrize(
    ("arguments", "sentence"), [(["--root", "nowhere"], "nowhere"), (["--root", ".", "--out", "."], "is a folder")]
)
def test_pretrain_with_bad_arguments_ends_with_a_sentence_and_status_2(
    arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_with(monkeypatch, "pretrain", *arguments) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
