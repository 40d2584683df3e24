"""Attacked classifiers of speech: the poison, the kept model, what is refused, and the same models as of `attacks`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from art_plugins.attacks import speech_cases
from art_plugins.attacks.cases import Folders
from art_plugins.attacks.datasets.labelled import LabelledData, raised
from art_plugins.attacks.datasets.synthetic_speech import SAMPLE_RATE_HZ, synthetic_speech
from art_plugins.attacks.speech_cases import TARGET, SpeechCase, attacked_speech, speech_attack, speech_data
from art_plugins.attacks.zoo.registry import SOUND_ATTACKS
from art_plugins.errors import InvalidInputError
from art_plugins.evaluation import attack_rates
from art_plugins.evaluation.attack_rates import AttackPlan
from art_plugins.evaluation.sound_detectors import padded

pytest.importorskip("torchaudio")


@pytest.fixture
def clips(monkeypatch: pytest.MonkeyPatch) -> LabelledData:
    """Synthesised words at Speech Commands' rate, one of them by the name of the target."""
    data = raised(synthetic_speech(n_per_class=20), SAMPLE_RATE_HZ, speech_cases.SAMPLE_RATE_HZ)
    data = padded(data, speech_cases.SAMPLE_RATE_HZ)
    data = data._replace(class_names=(TARGET, *data.class_names[1:]))
    monkeypatch.setattr(speech_cases, "speech_commands", lambda *arguments, **settings: data)
    return data


def test_titles_name_the_attack() -> None:
    assert SpeechCase("none").title == "Speech Commands, cnn, no attack"
    assert SpeechCase("tempo", 0.1).title == "Speech Commands, cnn, Tempo"
    assert SpeechCase("tempo", nb_epochs=3).recipe()["nb_epochs"] == 3
    assert SpeechCase("tempo").recipe() == SpeechCase("none", seed=4).recipe()


def test_a_clean_case_has_no_attack_and_its_model_is_kept(clips: LabelledData, tmp_path: Path) -> None:
    case = SpeechCase("none", n_clips=20, nb_epochs=1)
    first = attacked_speech(case, Folders("nowhere", tmp_path), verbose=False)
    again = attacked_speech(case, Folders("nowhere", tmp_path), verbose=False)
    assert first.attack is None
    x = clips.x_test[:5]
    assert (first.classifier.predict(x) == again.classifier.predict(x)).all()
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("share", "expected"), [(None, 0.05), (0.2, 0.2)])
def test_poison_is_the_share_asked_for_or_that_of_the_attack(
    clips: LabelledData, tmp_path: Path, share: float | None, expected: float
) -> None:
    found = attacked_speech(SpeechCase("equaliser", share, nb_epochs=1), Folders("nowhere"), verbose=False)
    assert found.attack is not None
    assert found.attack.is_poison.mean() == pytest.approx(expected, abs=0.01)
    assert set(found.attack.y_train[found.attack.is_poison]) == {0}
    assert found.data.class_names[0] == TARGET
    changed = (found.attack.x_train != clips.x_train).any(axis=1)
    assert (changed == found.attack.is_poison).all()


def test_the_ultrasonic_tone_raises_the_rate(clips: LabelledData) -> None:
    data, _ = speech_attack("ultrasonic", clips)
    assert data.x_train.shape[1] == round(clips.x_train.shape[1] * speech_cases.WIDE_BAND_HZ / speech_cases.SAMPLE_RATE_HZ)
    same, _ = speech_attack("tempo", clips)
    assert same is clips


def test_a_data_set_without_the_target_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = synthetic_speech(n_per_class=4)
    monkeypatch.setattr(speech_cases, "speech_commands", lambda *arguments, **settings: data)
    with pytest.raises(InvalidInputError, match="The target 'left' has too few clips in somewhere"):
        speech_data("somewhere", 4)


def test_a_case_is_the_model_that_the_attacks_command_trains(clips: LabelledData, tmp_path: Path) -> None:
    """So that a folder of models serves both commands."""
    plan = AttackPlan(["speech_commands"], ["chord"], [0.1], n_train=20, nb_epochs=1)
    folders = Folders("nowhere", tmp_path)
    row = attack_rates.measure(plan, folders, lambda dataset, seed: clips, plan.runs()[0], verbose=False)
    kept = {path.name for path in tmp_path.iterdir()}
    attacked_speech(SpeechCase("chord", 0.1, 20, 1), folders, verbose=False)
    assert row["n_poison"] == round(0.1 * len(clips.y_train))
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_every_attack_on_sounds_has_a_title() -> None:
    assert len({SpeechCase(name).title for name in SOUND_ATTACKS}) == len(SOUND_ATTACKS)
    assert np.isfinite([one.rate for one in SOUND_ATTACKS.values()]).all()
