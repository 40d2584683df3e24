"""``art-plugins pretrain`` on a folder of drawn sounds: one file, the same for one seed, that judges without training."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from art_plugins import cli
from art_plugins.attacks.datasets.speech_commands import FOLDER, SAMPLE_RATE_HZ, pretraining_clips
from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.errors import InvalidInputError
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.vae import training
from art_plugins.storage import load_arrays

MOST_BYTES = 3e6  # of the file that is shipped


def main_with(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["art-plugins", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A command and two other words; clips are short and of noise, and half of the speakers have an even number."""
    random = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("data")
    for word in ("bed", "left", "zero"):
        (folder / FOLDER / word).mkdir(parents=True)
        for index in range(12):
            samples = random.normal(scale=2_000, size=400).astype(np.int16)
            file = folder / FOLDER / word / f"{index:07d}{index:x}_nohash_0.wav"
            soundfile.write(file, samples, SAMPLE_RATE_HZ, subtype="PCM_16")
    return folder


def test_pretraining_clips_leave_out_the_commands_and_the_speakers_of_odd_numbers(root: Path) -> None:
    x, made_of = pretraining_clips(root)
    assert made_of == {"words": ["bed", "zero"], "n_clips": 12, "n_speakers": 6}
    samples, _ = soundfile.read(root / FOLDER / "zero" / "0000010a_nohash_0.wav", dtype="float32")
    assert x.shape == (12, SAMPLE_RATE_HZ)
    np.testing.assert_array_equal(x[11, :400], samples)
    assert not x[:, 400:].any()
    assert pretraining_clips(root, cap=2)[1]["n_clips"] == 4


def test_a_folder_without_such_clips_is_refused(tmp_path: Path) -> None:
    (tmp_path / FOLDER / "left").mkdir(parents=True)
    with pytest.raises(InvalidInputError, match="unpack the whole data set"):
        pretraining_clips(tmp_path)


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
    assert "trained on 6 clips in 2 epochs" in " ".join(capsys.readouterr().out.split())
    first, again, other = (file.read_bytes() for file in files)
    assert first == again != other
    assert len(first) <= MOST_BYTES
    assert Autoencoder.load(files[0]).settings.kind == "waveform"
    assert sorted(path.name for path in files[0].parent.iterdir()) == ["speech.json", "speech.safetensors"]


def test_the_card_says_what_the_file_was_made_from(monkeypatch: pytest.MonkeyPatch, root: Path, tmp_path: Path) -> None:
    assert pretrained(monkeypatch, root, tmp_path / "a.safetensors", 3) == 0
    card = json.loads((tmp_path / "a.json").read_text())
    content = (tmp_path / "a.safetensors").read_bytes()
    assert card["file"] == {
        "name": "a.safetensors", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
    assert card["training"] == {"words": ["bed", "zero"], "n_clips": 6, "n_speakers": 5, "nb_epochs": 2, "seed": 3}
    assert "CC BY 4.0" in card["source"]["licence"]
    assert card["command"].startswith("art-plugins pretrain --root")
    assert card["versions"]["torch"]


def test_weights_are_rounded_to_sixteen_bits(monkeypatch: pytest.MonkeyPatch, root: Path, tmp_path: Path) -> None:
    assert pretrained(monkeypatch, root, tmp_path / "a.safetensors") == 0
    arrays, _ = load_arrays(tmp_path / "a.safetensors", "autoencoder")
    assert {array.dtype for array in arrays.values() if array.dtype.kind == "f"} == {np.dtype(np.float16)}
    loaded = Autoencoder.load(tmp_path / "a.safetensors").state_arrays()
    assert all(np.array_equal(loaded[name], arrays[name]) for name in arrays)
    assert {array.dtype for array in loaded.values() if array.dtype.kind == "f"} == {np.dtype(np.float32)}


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
    x = random.normal(scale=0.1, size=(len(labels), SAMPLE_RATE_HZ)).astype(np.float32)
    defence = VAELatentDefence(None, x, labels, autoencoder=file, verbose=False)
    report = defence.detect_poison()[0]
    assert defence.latents_.shape == (100, 64)
    assert report["autoencoder"]["nb_epochs"] == 2
    assert report["classes_not_judged"] == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--root", "nowhere"], "nowhere"),
        (["--root", ".", "--out", "."], "a file"),
        (["--root", ".", "--out", "a.json"], ".json"),
    ],
)
def test_pretrain_with_bad_arguments_ends_with_a_sentence_and_status_2(
    arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_with(monkeypatch, "pretrain", *arguments) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
