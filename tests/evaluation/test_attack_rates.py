"""How well attacks work: which runs a plan has, one whole run on images and on speech, the tables, and bad plans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from art_plugins import cli
from art_plugins.attacks.cases import Folders
from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.attacks.zoo.registry import IMAGE_ATTACKS, SOUND_ATTACKS
from art_plugins.errors import InvalidInputError
from art_plugins.evaluation import attack_rates
from art_plugins.evaluation.attack_rates import AttackPlan, run_attacks
from art_plugins.evaluation.running.runs import Recording
from art_plugins.reports.records import record_markdown
from art_plugins.reports.studies.attack_tables import attack_tables


def test_a_plan_has_every_attack_of_the_data_set_at_its_own_share_or_at_those_given() -> None:
    runs = AttackPlan(["mnist", "speech_commands"]).runs()
    assert [name for dataset, name, *_ in runs if dataset == "mnist"] == list(IMAGE_ATTACKS)
    assert [name for dataset, name, *_ in runs if dataset == "speech_commands"] == list(SOUND_ATTACKS)
    assert ("mnist", "tact", 0.02, 0) in runs
    runs = AttackPlan(["mnist"], ["tact"], [0.01, 0.05], [0, 1]).runs()
    assert runs == [("mnist", "tact", share, seed) for seed in (0, 1) for share in (0.01, 0.05)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with scikit-learn's digits in the form of MNIST."""
    x, y = load_digits(return_X_y=True)
    images = np.kron((x * 15).reshape(-1, 8, 8), np.ones((2, 2))).astype(np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=images[:1200], y_train=y[:1200], x_test=images[1200:], y_test=y[1200:])
    return tmp_path


def test_a_run_on_images_poisons_trains_counts_and_goes_on_where_it_stopped(root: Path) -> None:
    plan = AttackPlan(["mnist"], ["patch", "tact"], [0.05, 0.3], [0], "plain_cnn", n_train=400, nb_epochs=2)
    recording, told = Recording(root / "out", "art-plugins attacks", verbose=False), []
    record = run_attacks(plan, Folders(root, root / "models"), recording)
    patch, _, tact, refused = record["runs"]
    assert (patch["n_poison"], patch["n_train"], tact["n_poison"]) == (20, 400, 20)
    assert patch["n_clean_test"] == 597
    assert patch["n_triggered_test"] == (load_digits().target[1200:] != 9).sum()
    assert tact["n_triggered_test"] == (load_digits().target[1200:] == 0).sum()
    assert 0 <= patch["clean_success"] <= 1
    assert refused["note"].startswith("the attack cannot be made: The attack needs 120 samples")
    again = run_attacks(plan, Folders(root, root / "models"), Recording(root / "out", "", told.append, verbose=False))
    assert [run["attack_success"] for run in again["runs"][:3]] == [run["attack_success"] for run in record["runs"][:3]]
    assert len(told) == 4
    assert json.loads((root / "out" / "record.json").read_text()) == again
    made, left_out = attack_tables(again)
    assert [row[:3] for row in made.rows] == [
        ["MNIST, plain_cnn, Patch, 5 %", "Gu et al. 2019, BadNets", "5"],
        ["MNIST, plain_cnn, Patch, 30 %", "Gu et al. 2019, BadNets", "30"],
        ["MNIST, plain_cnn, TaCT, 5 %", "Tang et al. 2021", "5"],
    ]
    assert left_out.rows[0][0] == "MNIST, plain_cnn, TaCT, 30 %"
    assert (root / "out" / "table.md").read_text() == record_markdown(again)


def test_a_run_on_speech_raises_the_sample_rate_for_ultrasound_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times_s = np.arange(16_000) / 16_000
    y = np.arange(24) % 3
    x = (0.2 * np.sin(2 * np.pi * 300 * (1 + y[:, None]) * times_s)).astype(np.float32)
    data = LabelledData(x, y, x[:9], y[:9], ("down", "left", "no"))
    monkeypatch.setattr(attack_rates, "speech_data", lambda *_, **__: data)
    lengths: list[Any] = []
    train = attack_rates.train_classifier
    monkeypatch.setattr(
        attack_rates, "train_classifier", lambda x, *a, **k: lengths.append(x.shape[1]) or train(x, *a, **k)
    )
    plan = AttackPlan(["speech_commands"], ["chord", "ultrasonic"], [0.125], nb_epochs=1)
    runs = run_attacks(plan, Folders(tmp_path), Recording(tmp_path / "out", "", verbose=False))["runs"]
    assert [run["title"] for run in runs] == [
        "Speech Commands, cnn, Chord, 12.5 %",
        "Speech Commands, cnn, Ultrasonic tone, 12.5 %",
    ]
    assert [run["n_poison"] for run in runs] == [3, 3]
    assert [run["n_triggered_test"] for run in runs] == [6, 6]
    assert lengths == [16_000, 16_000, 44_100, 44_100]


def test_the_command_measures_and_says_what_worked(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--dataset", "mnist", "--attack", "colour_shift", "--n-train", "300", "--nb-epochs", "1"]
    arguments += ["--network", "plain_cnn", "--models", str(root / "models"), "--out", str(root / "out")]
    monkeypatch.setattr("sys.argv", ["art-plugins", "attacks", "--root", str(root), *arguments])
    cli.app(standalone_mode=False)
    assert "MNIST, plain_cnn, Colour shift, 5 %, seed 0: success " in capsys.readouterr().out
    record = json.loads((root / "out" / "record.json").read_text())
    assert record["kind"] == "attacks"
    assert record["command"].startswith("art-plugins attacks --root")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["other"],), "dataset must be one of mnist"),
        ((["mnist"], ["room"]), "attack must be one of patch"),
        ((["speech_commands"], ["patch"]), "attack must be one of clapping"),
        ((["mnist"], ["patch"], [5.0]), "share must be a share"),
        ((["mnist"], ["patch"], [0.1], [0], "other"), "network must be one of"),
    ],
)
def test_a_bad_plan_is_refused_before_anything_is_read(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        AttackPlan(*arguments)


def test_missing_data_are_refused_before_any_training(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"mnist\.npz does not exist"):
        run_attacks(AttackPlan(["mnist"], ["patch"]), Folders(tmp_path), Recording(tmp_path / "out", ""))
    assert not (tmp_path / "out").exists()
