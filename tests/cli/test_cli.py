"""The command line as a person meets it: a sentence and status 2 for what cannot be, results for what can."""

from __future__ import annotations

import html
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import typer
from PIL import Image

from art_plugins import cli
from art_plugins.attacks import tasks
from art_plugins.attacks.cases import Folders
from art_plugins.cli.shown import MAX_LISTED
from art_plugins.evaluation import filters


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "art_plugins.cli", *arguments], capture_output=True, text=True, timeout=120
    )


def main_with(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["art-plugins", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["compare", "--dataset", "speech_commands"], "needs --root DIR"),
        (["compare", "--dataset", "speech_commands", "--root", "nowhere"], "nowhere"),
        (["compare", "--root", "somewhere"], "need --dataset speech_commands"),
        (["compare", "--dataset", "speech_commands", "--root", ".", "--autoencoder", "none.safetensors"], "does not exist"),
        (["scan", "no-such-folder"], "no-such-folder"),
        (["ablation", "--root", ".", "--variant", "gamma"], "beta x 4"),
        (["ablation", "--root", ".", "--precision", "8-bit"], "bf16-mixed"),
        (["detect", "gone.pt", "images", "--clean", "clean"], "clean does not exist"),
        (["detect", "gone.pt", "images", "--clean", "clean", "--size", "32"], "--size is a width and a height"),
        (
            ["detect", "gone.pt", "images", "--clean", "clean", "--mean", ".5;.5"],
            "--mean is one number, or one number for each channel",
        ),
        (["detect", "gone.pt", "images", "--clean", "clean", "--factory-args", "{}"], "which is missing"),
        (["detect", "gone.pt", "images", "--clean", "clean", "--factory-args", "[1]"], "--factory-args is a JSON object"),
        (["sweep", "--root", "nowhere", "--autoencoder", "none.safetensors"], "none.safetensors does not exist"),
        (["filters", "--root", ".", "--attack", "other"], "attack must be one of none, patch,"),
        (["filters", "--root", ".", "--share", "5"], "share must be above 0 and below 1"),
        (["filters", "--root", ".", "--quick", "--n-train", "100"], "--quick has its own size"),
        (["attacks", "--root", ".", "--quick", "--nb-epochs", "3"], "leave --n-train and --nb-epochs out"),
        (["sound-detectors", "--quick", "--cap", "30"], "leave --cap and --nb-epochs out"),
        (["filters", "--root", "nowhere"], "fashion_mnist.npz does not exist"),
    ],
)
def test_command_with_bad_arguments_ends_with_a_sentence_and_status_2(
    arguments: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main_with(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.startswith("Error: ")
    assert error.count("\n") == 1
    assert not list(tmp_path.rglob("*.*"))


def test_command_in_a_process_of_its_own_shows_no_traceback() -> None:
    result = run("compare", "--root", "no-such-folder")  # refused before torch is imported
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "--root, --download and --autoencoder need" in result.stderr


def test_command_with_an_unknown_option_ends_with_status_2() -> None:
    result = run("compare", "--thresold", "3")
    assert result.returncode == 2
    assert "--thresold" in result.stderr


def test_help_answers_without_importing_torch() -> None:
    code = "import sys; from art_plugins import cli; cli.app(['--help'], standalone_mode=False)"
    code += "; assert 'torch' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "compare" in result.stdout


def quick_digits(seed: int = 0, full: Callable[[int], tasks.Task] = tasks.digits_task) -> tasks.Task:
    return replace(full(seed), classifier={"nb_epochs": 1}, defence={"nb_epochs": 1, "verbose": False})


@pytest.mark.slow
def test_compare_writes_record_table_and_page_and_goes_on_where_it_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tasks, "digits_task", quick_digits)
    out = tmp_path / "out"
    arguments = ["compare", "--dataset", "digits", "--out", str(out)]

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(filters.PerfectFilter, "detect_poison", interrupt)
        assert main_with(monkeypatch, *arguments) == 130
    assert capsys.readouterr().err.endswith("Interrupted; run the same command again to continue.\n")
    assert not (out / "record.json").exists()
    unfinished = next((out / "unfinished").glob("*.json"))
    finished = json.loads(unfinished.read_text())["rows"]
    assert "vae_latent" in finished
    assert "perfect_filter" not in finished

    def never(*_: object) -> None:
        raise AssertionError("the autoencoder was trained again")

    monkeypatch.setattr(filters.VAELatentDefence, "detect_poison", never)
    assert main_with(monkeypatch, *arguments) == 0
    record = json.loads((out / "record.json").read_text())
    rows = {row["name"]: row for row in record["runs"][0]["defences"]}
    assert finished["vae_latent"].items() <= rows["vae_latent"].items()  # the models are trained again at the end
    assert rows["perfect_filter"]["clean_accuracy"] > 0.5
    assert rows["perfect_filter"]["tpr"] == 1.0
    assert rows["perfect_filter"]["fpr"] == 0.0
    assert len(rows) == len(filters.installed_filters())
    assert not (out / "unfinished").exists()
    assert (out / "digits.autoencoder.safetensors").is_file()
    assert "Perfect filter" in (out / "table.md").read_text()
    assert "Perfect filter" in (out / "report.html").read_text()


def test_scan_prints_the_ranking_and_writes_its_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    for word, hz in (("high", 1_500), ("low", 300), ("mid", 700)):
        (tmp_path / "in" / word).mkdir(parents=True)
        for index in range(12):
            time_s = np.arange(2_000) / 8_000
            clip = 0.3 * np.sin(2 * np.pi * hz * random.uniform(0.9, 1.1) * time_s) + random.normal(scale=0.01, size=2_000)
            soundfile.write(tmp_path / "in" / word / f"{index}.wav", clip, 8_000)
    keep, out = tmp_path / "keep.txt", tmp_path / "out"
    code = main_with(
        monkeypatch, "scan", str(tmp_path / "in"), "--out", str(out), "--nb-epochs", "1", "--apply-to", str(keep)
    )
    assert code == 2  # none of three classes can be judged, so this is no answer
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("high", "low", "mid"))
    assert {path.name for path in out.iterdir()} == {"record.json", "report.html", "suspects.csv"}
    assert len(keep.read_text().split()) <= 36
    record = json.loads((out / "record.json").read_text())
    page = " ".join(html.unescape((out / "report.html").read_text()).split())
    assert any("has not settled" in warning or "nb_epochs" in warning for warning in record["warnings"])
    assert any("cannot be judged" in warning for warning in record["warnings"])
    for sentence in (record["finding"], *record["notes"], "36 files found: 36 read, 0 of them mended, and 0 skipped."):
        assert sentence in " ".join(printed.split())
        assert sentence in page
    assert any("high, low, mid" in note for note in record["notes"])  # not by number


def test_scan_brings_all_images_to_the_size_that_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for row in range(36):
        write_png(tmp_path / "in" / "abc"[row % 3] / f"{row}.png", random.uniform(size=(1, 12, 8)).astype(np.float32))
    options = ["--size", "6x10", "--nb-epochs", "1", "--fast", "--out", str(tmp_path / "out")]
    assert main_with(monkeypatch, "scan", str(tmp_path / "in"), *options) == 2  # none of three classes can be judged
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["settings"]["sample_shape"] == [10, 6]


def test_scan_by_default_trains_as_long_as_the_training_needs() -> None:
    parameters = {one.name: one for one in typer.main.get_command(cli.app).commands["scan"].params}
    assert parameters["nb_epochs"].default is None


@pytest.mark.slow
def test_detect_prints_the_finding_and_the_caught_images_of_a_model_from_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], digits: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    factory = f"factory_{tmp_path.name}"
    Path(f"{factory}.py").write_text(
        "from torch import nn\n"
        "def network(hidden):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, hidden), nn.ReLU(),\n"
        "                         nn.Linear(hidden, 10))\n"
    )
    torch.save(digits.network("white_square").state_dict(), "weights.pt")
    for row, (image, label) in enumerate(zip(digits.x_clean, digits.y_clean, strict=True)):
        write_png(Path("clean", "abcdefghij"[label], f"{row}.png"), image)
    Path("clean", "a", "empty.png").write_bytes(b"")
    others = digits.x_test[digits.y_test != digits.target][:30]
    for row, image in enumerate(digits.white_square(others)):
        write_png(Path("images", f"{row}.png"), image)
    arguments = ["detect", "weights.pt", "images", "--clean", "clean", "--factory", f"{factory}:network", "--seed", "1"]
    arguments += ["--factory-args", '{"hidden": 32}', "--size", "8x8", "--nb-steps", "400"]
    arguments += [
        "--classes",
        "a, b,c,d,e,f,g,h,i,j",
        "--save-detector",
        "d.safetensors",
        "--out",
        "out",
        "--threshold",
        "3",
    ]
    assert main_with(monkeypatch, *arguments) == 1
    sys.modules.pop(factory, None)
    printed = " ".join(capsys.readouterr().out.split())
    assert "Exit status 1 (fail on backdoor): The model has a backdoor." in printed
    assert f"The model has a backdoor towards {'abcdefghij'[digits.target]}" in printed
    assert "target of a backdoor" in printed
    assert (
        "Images in images: 30 found, 30 judged; 0 mended, 0 skipped, 0 other files ignored, 0 folders skipped." in printed
    )
    assert "Clean images in clean: 200 read; 0 mended, 1 skipped, 0 other files ignored" in printed
    assert "it is empty (0 bytes)" in printed
    assert "more, listed in out/suspects.csv" in printed
    assert printed.count(": the model says ") == MAX_LISTED
    assert {path.name for path in Path("out").iterdir()} == {"record.json", "report.html", "suspects.csv"}
    assert Path("d.safetensors").is_file()
    assert json.loads(Path("out/record.json").read_text())["command"].startswith("art-plugins detect weights.pt images")


def write_png(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((image[0] * 255).round().astype(np.uint8)).save(path)


def test_filters_measures_every_repeated_option_and_prints_the_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], digits: Any
) -> None:
    for name in ("mnist", "emnist_letters"):
        x, y = (digits.x_train[:300, 0] * 255).astype(np.uint8), digits.y_train[:300]
        np.savez(tmp_path / f"{name}.npz", x_train=x, y_train=y, x_test=x[:60], y_test=y[:60])
    arguments = ["filters", "--root", str(tmp_path), "--dataset", "mnist", "--dataset", "emnist_letters"]
    arguments += ["--attack", "none", "--filter", "perfect_filter", "--filter", "spectral_signatures_penultimate"]
    arguments += ["--network", "plain_cnn", "--width", "2", "--nb-epochs", "1", "--seed", "0", "--seed", "1"]
    arguments += ["--models", str(tmp_path / "models"), "--out", str(tmp_path / "out")]
    assert main_with(monkeypatch, *arguments) == 0
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["kind"] == "filters"
    combinations = [(run["seed"], run["case"]["dataset"], run["filter"]) for run in record["runs"]]
    assert len(set(combinations)) == len(combinations) == 8
    assert len(list((tmp_path / "models").iterdir())) == 4
    printed = capsys.readouterr().out
    for word in ("Perfect filter", "Forward pass", "EMNIST letters"):
        assert word in printed
        assert word in (tmp_path / "out" / "table.md").read_text()
    picture = (tmp_path / "out" / "attacks_by_filters.svg").read_text(encoding="utf-8")
    assert "EMNIST letters, plain_cnn, 300" in picture


def test_quick_attacks_are_small_for_images_and_for_speech(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from art_plugins.attacks.datasets.digits import digits
    from art_plugins.evaluation import attack_rates

    data = digits()
    plans: list[Any] = []

    def measured(plan: Any, *rest: Any) -> dict[str, Any]:
        plans.append(plan)
        return {"runs": []}

    monkeypatch.setattr(attack_rates, "run_attacks", measured)
    assert main_with(monkeypatch, "attacks", "--root", str(tmp_path), "--quick", "--out", str(tmp_path)) == 0
    (plan,) = plans
    assert (plan.n_train, plan.n_clips, plan.nb_epochs) == (2_000, 100, 30)
    caps: list[int] = []
    monkeypatch.setattr(attack_rates, "speech_data", lambda root, n_clips, random_state: caps.append(n_clips) or data)
    attack_rates._data(plan, Folders(tmp_path), "speech_commands", 0)
    assert caps == [100]


def test_quick_sound_detectors_are_small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from art_plugins.evaluation import sound_detectors
    from art_plugins.triggers.named_sounds import named_sound

    given: dict[str, Any] = {}

    def measured(data: Any, rate_hz: int, cases: Any, *rest: Any) -> dict[str, Any]:
        given.update(n_train=len(data.y_train), epochs={case.nb_epochs for case in cases})
        for case in cases:  # every trigger can be put on these clips
            assert named_sound(case.trigger, rate_hz)(data.x_test[:2]).shape == (2, rate_hz)
        return {"runs": []}

    monkeypatch.setattr(sound_detectors, "run_sound_detectors", measured)
    assert main_with(monkeypatch, "sound-detectors", "--quick", "--out", str(tmp_path)) == 0
    assert given == {"n_train": 600, "epochs": {30}}
