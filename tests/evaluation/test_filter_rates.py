"""Filters on many attacks: the grid, the figures of one row by hand, the tables, and a whole run that goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from art_plugins.attacks import cases as cases_module
from art_plugins.attacks import speech_cases, success
from art_plugins.attacks.cases import Folders, ModelCase, check_case
from art_plugins.attacks.datasets.digits import digits
from art_plugins.attacks.datasets.labelled import raised
from art_plugins.attacks.datasets.synthetic_speech import SAMPLE_RATE_HZ, synthetic_speech
from art_plugins.attacks.image_poisoning import poison_images, poison_with_cover
from art_plugins.attacks.poisoning import unpoisoned
from art_plugins.attacks.speech_cases import SpeechCase
from art_plugins.errors import InvalidInputError
from art_plugins.evaluation import filter_rates
from art_plugins.evaluation.filter_rates import ATTACKS, Cell, Grid, Opened, cells, measure, run_filters
from art_plugins.evaluation.running.runs import Recording
from art_plugins.evaluation.sound_detectors import padded
from art_plugins.reports.record_files import FILTER_RATES
from art_plugins.reports.records import record_markdown
from art_plugins.reports.studies.filter_tables import filter_rate_tables
from art_plugins.triggers.adaptive import adaptive_blend
from art_plugins.triggers.patterns import white_box

BOX = white_box((1, 8, 8), size=2, margin=0)
GRID = Grid(["mnist"], ["patch", "none"], [0.05, 0.1], ["lenet5"], ["layerwise", "perfect_filter"], [0, 1], n_train=100)


def opened(attack: Any, success: float | None = 1.0) -> Any:
    model = {"clean_accuracy": 0.9, "attack_success": success}
    return lambda case: Opened(None, attack, model, 0.25)


def cell(share: float | None = 0.05) -> Cell:
    return Cell("patch", share, ModelCase("mnist", "white_box", n_train=100))


def test_every_attack_makes_a_case_that_is_known() -> None:
    for trigger, sources in ATTACKS.values():
        check_case(ModelCase("mnist", trigger, sources))


def test_cells_are_every_combination_and_a_clean_set_is_there_once() -> None:
    found = cells(GRID, {"mnist": 60_000})
    assert [(one.attack, one.share, one.case.seed, one.case.n_poison) for one in found] == [
        ("patch", 0.05, 0, 5), ("patch", 0.1, 0, 10), ("none", None, 0, None),
        ("patch", 0.05, 1, 5), ("patch", 0.1, 1, 10), ("none", None, 1, None),
    ]  # fmt: skip
    assert {one.case.n_train for one in found} == {100}
    whole = cells(replace(GRID, n_train=None), {"mnist": 2_000})
    assert [(one.case.n_poison, one.case.n_train) for one in whole[:2]] == [(100, None), (200, None)]


def test_cells_of_speech_have_its_network_once_and_attacks_on_sounds() -> None:
    grid = Grid(["speech_commands", "mnist"], ["none"], [0.05, 0.1], ["lenet5", "vit"], seeds=[0, 1], n_train=100)
    assert [(one.case.dataset, one.case.network) for one in cells(grid, {"mnist": 60_000})][:3] == [
        ("speech_commands", "cnn"), ("mnist", "lenet5"), ("mnist", "vit")
    ]  # fmt: skip
    speech = replace(grid, datasets=["speech_commands"], attacks=["tempo", "none"])
    found = cells(speech, {})
    assert [(one.attack, one.share, one.case.seed) for one in found] == [
        ("tempo", 0.05, 0), ("tempo", 0.1, 0), ("none", None, 0), ("tempo", 0.05, 1), ("tempo", 0.1, 1), ("none", None, 1)
    ]  # fmt: skip
    assert found[0].title == "Speech Commands, cnn, Tempo, 5 %"
    assert {one.case.n_clips for one in found if isinstance(one.case, SpeechCase)} == {100}
    assert {one.case.n_clips for one in cells(replace(speech, n_clips=30), {}) if isinstance(one.case, SpeechCase)} == {30}


def test_speech_is_attacked_and_filtered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("torchaudio")
    data = raised(synthetic_speech(n_per_class=40), SAMPLE_RATE_HZ, speech_cases.SAMPLE_RATE_HZ)
    data = padded(data, speech_cases.SAMPLE_RATE_HZ)
    data = data._replace(class_names=(speech_cases.TARGET, *data.class_names[1:]))
    monkeypatch.setattr(speech_cases, "speech_commands", lambda *arguments, **settings: data)
    monkeypatch.setattr(success, "LEAST_SUCCESS", 0.0)
    grid = Grid(["speech_commands"], ["chord", "none"], [0.1], ["lenet5"], ["perfect_filter"], n_train=40, nb_epochs=1)
    record = run_filters(grid, Folders(tmp_path), Recording(tmp_path / "out", "art-plugins filters", verbose=False))
    poisoned, clean = record["runs"]
    assert (poisoned["title"], clean["title"]) == ("Speech Commands, cnn, Chord, 10 %", "Speech Commands, cnn, no attack")
    assert (poisoned["tpr"], poisoned["n_poison"], poisoned["n_train"]) == (1.0, 24, 240)
    assert (clean["tpr"], clean["fpr"], clean["forward_seconds"] > 0) == (None, 0.0, True)
    assert len(poisoned["removed_by_class"]) == len(data.class_names)


def test_a_row_has_counts_of_the_whole_set_and_of_every_class(monkeypatch: pytest.MonkeyPatch) -> None:
    data = digits()
    attack = poison_with_cover(data, *adaptive_blend((1, 8, 8)), 9, 4, 30)
    removed = attack.is_poison.copy()
    removed[np.flatnonzero(removed)[:9]] = False  # 27 of 36 are found
    removed[np.flatnonzero(attack.is_cover)[:5]] = True
    removed[np.flatnonzero((attack.y_train == 2) & ~attack.is_cover)[:2]] = True
    made = SimpleNamespace(detect_poison=lambda: ({}, (~removed).astype(int).tolist()))
    one = filter_rates.filter_named("layerwise")
    monkeypatch.setattr(type(one), "make", lambda *arguments, **settings: made)
    run = measure(cell(), "layerwise", opened(attack))
    assert run["note"] is None
    assert (run["tp"], run["fn"], run["fp"]) == (27, 9, 7)
    assert run["tpr"] == 27 / 36
    assert run["fpr"] == 7 / (len(data.y_train) - 36)
    assert (run["n_poison"], run["n_cover"], run["n_cover_removed"]) == (36, 30, 5)
    by_class = np.array(run["removed_by_class"])
    assert by_class[:, 0].sum() == 34
    np.testing.assert_array_equal(by_class[:, 1], np.bincount(attack.y_train))
    assert run["fraction_classes_called"] == (by_class[:, 0] > 0).mean()
    assert run["forward_seconds"] == 0.25
    json.dumps(run)


def test_a_clean_set_has_no_tpr_and_its_fpr_is_the_share_removed() -> None:
    run = measure(cell(None), "perfect_filter", opened(unpoisoned(digits()), None))
    assert (run["tpr"], run["fpr"], run["n_poison"], run["fraction_classes_called"]) == (None, 0.0, 0, 0.0)


def test_a_weak_attack_is_listed_and_no_filter_runs() -> None:
    run = measure(cell(), "layerwise", opened(poison_images(digits(), BOX, None, 9, 5), 0.79))
    assert run["note"] == "not judged: the attack works on less than 0.8 of the triggered test samples"
    assert "tpr" not in run


def test_an_attack_that_cannot_be_made_and_a_filter_that_refuses_are_listed_with_the_reason() -> None:
    def refuse(case: ModelCase) -> Opened:
        raise InvalidInputError("too few images")

    assert measure(cell(), "layerwise", refuse)["note"] == "the attack cannot be made: too few images"
    attack = poison_images(digits(), BOX, None, 9, 5)
    run = measure(cell(), "layerwise", opened(attack))  # no classifier, so the filter cannot look into one
    assert run["note"].startswith("the filter refuses: ")
    assert run["model"]["attack_success"] == 1.0


def test_without_a_network_the_data_are_poisoned_and_no_model_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    data = digits()
    monkeypatch.setattr(cases_module, "image_data", lambda *arguments: data)
    monkeypatch.setattr(cases_module, "train_backdoored", lambda *arguments: pytest.fail("a model was trained"))
    case = ModelCase("mnist", "white_box", network="none", n_poison=90)
    assert case.title == "MNIST, no model, white box"
    opened = filter_rates.open_model(case, Folders("nowhere"))
    assert opened.classifier is None
    assert int(opened.attack.is_poison.sum()) == 90
    run = measure(Cell("patch", 0.05, case), "perfect_filter", lambda case: opened)
    assert (run["note"], run["tpr"], run["fpr"], run["forward_seconds"]) == (None, 1.0, 0.0, None)
    (table,) = filter_rate_tables({"runs": [run]})
    assert table.rows[0][2:4] == ["—", "—"]
    assert table.rows[0][-1] == "—"
    clean = filter_rates.open_model(replace(case, trigger="none"), Folders("nowhere"))
    assert not clean.attack.is_poison.any()


@pytest.mark.parametrize(
    ("grid", "reason"),
    [
        (replace(GRID, networks=["none"]), "layerwise looks at a model, so a network is needed"),
        (replace(GRID, networks=["none"], filters=["vae_latent"], attacks=["input_aware"]), "input_aware needs a network"),
        (replace(GRID, networks=["none"], filters=["vae_latent"], attacks=["clean_label"]), "needs a network to make"),
    ],
)
def test_what_needs_a_network_says_so_before_any_work(grid: Grid, reason: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        run_filters(grid, Folders(tmp_path), Recording(tmp_path, "command"))


def test_studies_of_models_refuse_a_case_without_a_network() -> None:
    with pytest.raises(InvalidInputError, match="network must be one of"):
        check_case(ModelCase("mnist", "white_box", network="none"))


def row(seed: int = 0, note: str | None = None, **figures: Any) -> dict[str, Any]:
    model = {"clean_accuracy": 0.9 + seed / 100, "attack_success": 0.95}
    found = {"title": "MNIST, net, box, 5 %", "filter_title": "A filter", "n_trusted": 0, "seed": seed, "note": note}
    if note is None:
        found |= {"tpr": 0.98, "fpr": 0.002, "tp": 49, "fp": 2, "n_poison": 50, "n_train": 1000}
        found |= {"fraction_classes_called": 0.1, "seconds": 3.0, "forward_seconds": 1.5}
    return {**found, "model": model, **figures}


def test_tables_have_means_over_seeds_and_list_what_was_not_judged() -> None:
    record = {"kind": FILTER_RATES, "runs": [row(0), row(2, tpr=1.0, tp=50), row(1, note="not judged: weak")]}
    judged, left_out = filter_rate_tables(record)
    assert judged.rows == [
        ["MNIST, net, box, 5 %", "0, 2", "0.910 (0.900 to 0.920)", "0.950", "A filter", "0.9900 (0.9800 to 1.0000)",
         "0.0020",
         "50 (49 to 50)", "50", "2", "1000", "0.100", "3.0", "1.5"]
    ]  # fmt: skip
    assert left_out.rows == [["MNIST, net, box, 5 %", "1", "0.910", "0.950", "A filter", "not judged: weak"]]
    assert len(filter_rate_tables({"kind": FILTER_RATES, "runs": [row()]})) == 1
    trusting = row(n_trusted=20, filter_title="A filter (trusted)")
    assert "A filter, 20 trusted a class" in record_markdown({"kind": FILTER_RATES, "runs": [trusting]})
    assert "20 trusted" not in record_markdown({"kind": FILTER_RATES, "runs": [row(n_trusted=20)]})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with scikit-learn's digits in the form of MNIST."""
    x, y = load_digits(return_X_y=True)
    images = np.kron((x * 15).reshape(-1, 8, 8), np.ones((2, 2))).astype(np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=images[:1200], y_train=y[:1200], x_test=images[1200:], y_test=y[1200:])
    return tmp_path


def test_run_filters_writes_record_and_table_goes_on_where_it_stopped_and_trains_each_model_once(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(success, "LEAST_SUCCESS", 0.0)
    trained = []
    train = cases_module.train_backdoored
    monkeypatch.setattr(cases_module, "train_backdoored", lambda *a, **k: trained.append(1) or train(*a, **k))
    grid = replace(GRID, shares=[0.05], networks=["plain_cnn"], filters=["random_filter", "perfect_filter"], seeds=[0])
    grid = replace(grid, n_train=400, nb_epochs=1, width=2)
    told: list[dict[str, Any]] = []

    def stop(run: dict[str, Any]) -> None:
        told.append(run)
        if len(told) == 2:
            raise KeyboardInterrupt

    folders = Folders(root)
    with pytest.raises(KeyboardInterrupt):
        run_filters(grid, folders, Recording(root / "out", "art-plugins filters", stop, verbose=False))
    assert trained == [1]
    record = run_filters(grid, folders, Recording(root / "out", "art-plugins filters", verbose=False))
    assert trained == [1]
    assert [(run["attack"], run["filter"]) for run in record["runs"]] == [
        ("patch", "random_filter"), ("patch", "perfect_filter"), ("none", "random_filter"), ("none", "perfect_filter")
    ]  # fmt: skip
    assert record["runs"][1]["tpr"] == 1.0
    assert record["runs"][1]["n_poison"] == 18  # 20 of 400, in equal numbers from 9 classes
    assert record["runs"][1]["fpr"] == record["runs"][3]["fpr"] == 0.0
    assert json.loads((root / "out" / "record.json").read_text()) == record
    assert (root / "out" / "table.md").read_text() == record_markdown(record)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attacks": ["patch", "other"]}, r"attack must be one of none, patch, .*received 'other'"),
        ({"datasets": ["speech_commands"]}, r"attack must be one of none, clapping, .*received 'patch'"),
        ({"datasets": ["speech_commands"], "attacks": ["none"]}, r"SpeechCommands"),
        ({"filters": ["other"]}, r"filter must be one of vae_latent, .*received 'other'"),
        ({"shares": [0.1, 5]}, "share must be above 0 and below 1, such as .05; received 5"),
        ({"networks": ["other"]}, r"network must be one of .*received 'other'"),
        ({"datasets": ["other"]}, r"dataset must be one of .*received 'other'"),
        ({"datasets": ["cifar10"]}, r"cifar10.npz does not exist"),
    ],
)
def test_a_bad_grid_is_refused_before_any_training(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=message):
        run_filters(replace(GRID, **changes), Folders(tmp_path), Recording(tmp_path / "out", "command"))
    assert not (tmp_path / "out").exists()
