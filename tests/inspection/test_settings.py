"""Settings of a detection and of a scan: checked at once, and still accepted as keyword arguments for one release."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from art_plugins.errors import InvalidInputError
from art_plugins.inspection import scan
from art_plugins.inspection.detect import detect_folder
from art_plugins.inspection.evidence.latents import latent_rows
from art_plugins.inspection.scan import scan_folder
from art_plugins.inspection.scan_words import POISONED, cautions, finding, warnings_with_names
from art_plugins.inspection.settings import DetectSettings, ScanSettings, settings_from


@pytest.mark.parametrize(
    ("settings", "options", "sentence"),
    [
        (DetectSettings, {"nb_steps": 0}, "nb_steps must be a whole number of at least 1; received 0"),
        (DetectSettings, {"nb_steps": True}, "nb_steps must be a whole number"),
        (DetectSettings, {"threshold": float("inf")}, "threshold must be a number above 0; received inf"),
        (DetectSettings, {"timeout_s": -1.0}, "timeout_s must be a number of seconds above 0"),
        (DetectSettings, {"random_state": -1}, "random_state must be a whole number of at least 0"),
        (DetectSettings, {"trust_model": 1}, "trust_model must be True or False"),
        (ScanSettings, {"max_listed": 2.5}, "max_listed must be a whole number"),
        (ScanSettings, {"autoencoder": "a", "save_autoencoder": "b"}, "leave out autoencoder or save_autoencoder"),
    ],
)
def test_settings_out_of_range_are_refused_when_they_are_made(settings, options, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        settings(**options)


def test_settings_as_keywords_still_work_and_warn_with_the_new_form():
    with pytest.warns(FutureWarning, match=r"detect_folder takes nb_steps as settings=DetectSettings\(nb_steps=\.\.\.\)"):
        settings = settings_from(DetectSettings, DetectSettings(threshold=3), {"nb_steps": 7}, "detect_folder")
    assert settings == DetectSettings(threshold=3, nb_steps=7)
    with pytest.raises(InvalidInputError, match="Unknown parameter steps; the settings of detect_folder are classes"):
        settings_from(DetectSettings, None, {"steps": 7}, "detect_folder")


def test_functions_take_keywords_of_the_release_before(tmp_path):
    with pytest.warns(FutureWarning) as caught, pytest.raises(InvalidInputError, match="clean does not exist"):
        detect_folder(tmp_path / "m.pt", tmp_path / "images", tmp_path / "clean", tmp_path / "out", nb_steps=3)
    assert caught[0].filename == __file__
    with pytest.warns(FutureWarning) as caught, pytest.raises(InvalidInputError, match="words does not exist"):
        scan_folder(tmp_path / "words", tmp_path / "out", max_listed=3)
    assert caught[0].filename == __file__


def test_scan_leaves_the_number_of_epochs_to_the_defence(tmp_path, monkeypatch):
    given: dict[str, Any] = {}
    monkeypatch.setattr(scan.VAELatentDefence, "set_params", lambda _, **params: given.update(params))
    with pytest.raises(InvalidInputError, match="words does not exist"):
        scan_folder(tmp_path / "words", tmp_path / "out", false_alarm_rate=0.1)
    assert "nb_epochs" not in given or given["nb_epochs"] is None
    assert given["false_alarm_rate"] == 0.1


# What a scan says of classes


def row(name: str, index: float | None, score: float | None, verdict: str = "nothing found", n: int = 5) -> dict[str, Any]:
    return {
        "name": name,
        "n_files": 20,
        "mad_index": index,
        "p_value": None,
        "class_score": score,
        "n_suspects": n,
        "n_called_poison": n,
        "verdict": verdict,
    }


def test_classes_that_were_not_judged_come_last_those_of_higher_score_first():
    scores = {"a": (None, 1.0), "b": (None, 9.0), "c": (0.5, 0.1), "d": (None, None), "e": (2.0, 0.2)}
    report = {
        f"Class_{label}": {**row(name, *numbers), "n_samples": 20, "n_removed": 0}
        for label, (name, numbers) in enumerate(scores.items())
    }
    classes = latent_rows(SimpleNamespace(report_=report), list(scores), 1)
    assert [one["name"] for one in classes] == ["e", "c", "b", "a", "d"]


def test_finding_without_a_judged_class_names_the_one_of_the_highest_score():
    text = finding([row("bee", None, 9.0, "not judged: few"), row("ant", None, 1.0, "not judged: few")])
    assert text.startswith("No class could be judged. If you want to look at one class, look at bee:")
    assert text.endswith("This is not a verdict.")
    assert finding([row("bee", None, None, "not judged: few", n=0)]) == "No class could be judged."


def test_warnings_of_the_defence_name_the_classes_and_are_said_once():
    names = ["ant", "bee", "cat"]
    classes = [row("bee", 4.0, 9.0, POISONED, n=0), row("ant", 1.0, 1.0), row("cat", None, None, "not judged: few")]
    warnings = [
        "Class 2 cannot be judged (4 samples): poison in there passes.",
        "Classes 0, 1 and 2 are like this.",
        "Classes 0, 2 and 4 more are like that.",
        "Class 1 is called poisoned, but the trials disagree on which samples are: none is removed.",
        "The training has not settled after 30 epochs.",
    ]
    assert warnings_with_names(warnings, names, classes) == [
        "Class cat cannot be judged (4 samples): poison in there passes.",
        "Classes ant, bee and cat are like this.",
        "Classes ant, cat and 4 more are like that.",
        "The training has not settled after 30 epochs.",
    ]
    assert any(caution.startswith("bee is called poisoned, but") for caution in cautions(classes))
