"""Detectors on classifiers of sounds: one small run of both views, its tables, and what the plan refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from art_plugins.attacks import success
from art_plugins.attacks.datasets.labelled import LabelledData, raised
from art_plugins.attacks.datasets.synthetic_speech import SAMPLE_RATE_HZ, synthetic_speech
from art_plugins.errors import InvalidInputError
from art_plugins.evaluation import detectors
from art_plugins.evaluation.detectors import DETECTORS
from art_plugins.evaluation.peers import equal_error_rate
from art_plugins.evaluation.running.runs import Recording
from art_plugins.evaluation.sound_detectors import SEVEN, cases_of, judge_case, padded, run_sound_detectors, view_of
from art_plugins.reports.studies.sound_detector_tables import sound_detector_tables

pytest.importorskip("torchaudio")


def test_equal_error_rate_is_where_misses_and_false_alarms_are_equal() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    assert equal_error_rate(truth, np.arange(8.0)) == 0
    assert equal_error_rate(truth, np.array([0, 1, 2, 5, 4, 6, 7, 8.0])) == 0.25
    assert equal_error_rate(truth, -np.arange(8.0)) == 1


def test_spectrograms_are_pictures_of_zero_to_one() -> None:
    x = synthetic_speech(2, 1).x_train
    pictures = view_of("spectrogram", SAMPLE_RATE_HZ)(x)
    assert pictures.shape[:3] == (len(x), 1, 40)
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    assert view_of("waveform", SAMPLE_RATE_HZ)(x) is x


def test_cases_combine_everything_and_refuse_what_is_unknown() -> None:
    cases = cases_of(SEVEN, ("waveform", "spectrogram"), (0, 1), 6)
    assert len(set(cases)) == 28
    for change, match in (
        ({"triggers": ["bang"]}, "trigger must be one of"),
        ({"views": ["picture"]}, "view must be one of"),
        ({"share": 0}, "share must be above 0"),
        ({"target": 6}, "from 0 to 5"),
    ):
        arguments: dict[str, Any] = {"triggers": ["tone"], "views": ["waveform"], "seeds": [0], "nb_classes": 6, **change}
        with pytest.raises(InvalidInputError, match=match):
            cases_of(**arguments)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    data = padded(synthetic_speech(60, 40), SAMPLE_RATE_HZ)
    assert data.x_train.shape == (360, SAMPLE_RATE_HZ)
    cases = cases_of(["chord"], ["waveform", "spectrogram"], [0], 6, nb_epochs=8, share=0.1)
    fewer = [one._replace(most=20) for one in DETECTORS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detectors, "DETECTORS", fewer)
        out = tmp_path_factory.mktemp("sound")
        found = run_sound_detectors(data, SAMPLE_RATE_HZ, cases, Recording(out, "command", verbose=False))
    assert json.loads((out / "record.json").read_text()) == json.loads(json.dumps(found))
    assert (Path(out) / "table.md").read_text().count("STEP, target FPR 0.02") == 3
    return found


@pytest.mark.slow
def test_every_detector_has_a_row_for_both_views_and_b3d_where_the_trigger_is_one_of_waveforms(record: Any) -> None:
    waveform, spectrogram = record["runs"]
    titles = [row["title"].split(",")[0] for row in waveform["rows"]]
    assert {"Layer-wise features", "B3D", "STRIP", "STRIP-ViTA", "STEP", "Beatrix", "IBD-PSC"} <= {*titles}
    assert {*titles} - {row["title"].split(",")[0] for row in spectrogram["rows"]} == {"B3D"}
    for row in (*waveform["rows"], *spectrogram["rows"]):
        assert 0 <= row["auroc"] <= 1
        assert 0 <= row["eer"] <= 1
    own = waveform["rows"][0]
    assert own["auroc"] > 0.9
    assert (own["n_clean"], own["n_triggered"]) == (120, 100)


def test_attack_that_works_too_seldom_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(success, "LEAST_SUCCESS", 1.5)
    data = synthetic_speech(6, 3)
    (case,) = cases_of(["reverb"], ["waveform"], [0], 6, nb_epochs=1, share=0.2)
    run = judge_case(case, data, SAMPLE_RATE_HZ)
    assert run["rows"] == []
    assert run["n_poison"] == 5
    assert run["note"].startswith("not judged: the attack works on less than 1.5")


def test_tables_have_a_row_for_each_detector_and_the_means_of_those_that_were_judged() -> None:
    def run(title: str, seed: int, aurocs: list[float]) -> dict[str, Any]:
        rows = [
            {"title": f"D{number}", "auroc": auroc, "eer": 0.1, "tpr": 1.0, "fpr": 0.0, "milliseconds_per_image": 2.0}
            for number, auroc in enumerate(aurocs)
        ]
        model = {"clean_accuracy": 0.9, "attack_success": 1.0}
        return {"title": title, "seed": seed, "model": model, "note": None if rows else "not judged", "rows": rows}

    table, means = sound_detector_tables({"runs": [run("a", 0, [0.9, 0.5]), run("a", 1, [0.7, 0.6]), run("b", 0, [])]})
    assert [row[:2] + row[4:6] for row in table.rows] == [
        ["a", "0, 1", "D0", "0.800 (0.700 to 0.900)"],
        ["a", "0, 1", "D1", "0.550 (0.500 to 0.600)"],
        ["b", "0", "not judged", "\u2014"],
    ]
    assert means.rows == [["D0", "2", "0.800", "0.700", "0.100"], ["D1", "2", "0.550", "0.500", "0.100"]]


def test_auroc_of_scores_that_are_infinite_is_still_given() -> None:
    from art_plugins.evaluation.metrics import Cost
    from art_plugins.evaluation.peers import DetectorScores

    clean, triggered = np.array([0.0, np.inf, 1.0]), np.array([2.0, np.inf])
    figures = DetectorScores(clean, triggered, np.array([True, True]), {}, Cost()).figures(1.5)
    big = np.finfo(np.float64).max
    assert figures["auroc"] == roc_auc_score([0, 0, 0, 1, 1], [0, big, 1, 2, big])


def test_raised_waveforms_are_the_same_sound_at_the_other_rate() -> None:
    def tone(rate_hz: int) -> np.ndarray:
        return np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz, dtype=np.float32)[None]

    data = LabelledData(tone(8_000), np.zeros(1, int), tone(8_000), np.zeros(1, int), ("a",))
    found = raised(data, 8_000, 16_000)
    assert found.x_train.shape == (1, 16_000)
    assert found.x_train.dtype == np.float32
    # Away from the ends, where the filter sees what is not there.
    np.testing.assert_allclose(found.x_test[0, 200:-200], tone(16_000)[0, 200:-200], atol=0.01)
