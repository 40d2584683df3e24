"""Three verdicts in one: which classes are called, which clips are suspects, and what the report says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from art_plugins.attacks.datasets.synthetic_speech import CONSONANTS, SAMPLE_RATE_HZ, VOWELS, speak
from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.defences.latents.sounds import N_VERDICTS, evidence_of, sound_reports, sound_warnings, united
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.vae.settings import AutoencoderSettings
from art_plugins.groups.sounds.sound_search import SharedSounds
from art_plugins.statistics.latents.latent_classes import LatentClasses
from art_plugins.triggers.sound_styles import Echo
from art_plugins.triggers.sounds import WanderingTrigger, noise_burst

K, N = 6, 40
TINY: dict[str, Any] = {"latent_dim": 4, "step_latent_dim": 2, "embedding_dim": 8, "hidden_dim": 8, "channels": 2}
NONE = np.full(K, np.nan)


def syllables(seed: int, nb_classes: int = K) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    parts = [(random.choice([*CONSONANTS]), *random.choice([*VOWELS], size=2)) for _ in range(nb_classes * N)]
    spoken = [speak(str(consonant), str(first), str(second), random) for consonant, first, second in parts]
    return np.stack(spoken).astype(np.float32), np.repeat(np.arange(nb_classes), N)


@pytest.fixture(scope="module")
def encoder() -> Autoencoder:
    """Trained for one epoch: too little to see a trigger."""
    settings = AutoencoderSettings(kind="waveform", sample_rate_hz=SAMPLE_RATE_HZ, n_mels=24, **TINY)
    return Autoencoder(settings).fit(syllables(9)[0], nb_epochs=1, verbose=False)


TRIGGERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sound": WanderingTrigger(noise_burst(SAMPLE_RATE_HZ), 0.5),
    "filter": Echo(sample_rate_hz=SAMPLE_RATE_HZ),
}


@pytest.mark.parametrize("name", TRIGGERS)
def test_what_the_clips_of_a_class_share_is_removed_whatever_the_autoencoder_sees(name: str, encoder: Autoencoder) -> None:
    x, labels = syllables(1)
    x[80:98] = TRIGGERS[name](x[80:98])
    defence = VAELatentDefence(None, x, labels, autoencoder=encoder, verbose=False)
    report, is_clean = defence.detect_poison()
    removed = np.array(is_clean) == 0
    assert report["poisoned_classes"] == [2]
    assert removed[80:98].mean() >= 0.9
    assert removed[98:120].mean() <= 0.05
    assert not removed[labels != 2].any()
    assert defence.class_p_values_[2] < 0.05
    entry = report["Class_2"]
    assert entry["verdict"] == "poisoned"
    assert 16 <= entry[name]["n_clips"] <= removed.sum() == entry["n_removed"]
    assert report["Class_0"][name]["n_clips"] is None
    assert defence.outlier_scores_[80:98].min() > 0
    json.dumps(report, allow_nan=False)


def test_clean_waveforms_have_no_class_called(encoder: Autoencoder) -> None:
    report, is_clean = VAELatentDefence(None, *syllables(2), autoencoder=encoder, verbose=False).detect_poison()
    assert report["poisoned_classes"] == []
    assert all(is_clean)


def test_two_classes_are_no_verdict_but_a_caution_that_names_the_class(encoder: Autoencoder) -> None:
    x, labels = syllables(3, nb_classes=2)
    x[:25] = WanderingTrigger(noise_burst(SAMPLE_RATE_HZ, length_s=0.12), 0.8)(x[:25])
    defence = VAELatentDefence(None, x, labels, autoencoder=encoder, verbose=False)
    report, is_clean = defence.detect_poison()
    assert all(is_clean)
    assert report["classes_not_judged"] == [0, 1]
    assert any("No class can be judged" in warning for warning in report["warnings"])
    assert any("Class 0" in warning and "share one sound" in warning for warning in report["warnings"])
    assert defence.suspects_[:25].mean() >= 0.9


@pytest.mark.parametrize("settings", [{"class_rule": "argmax"}, {"scoring": "paper"}])
def test_rules_without_a_false_alarm_rate_are_left_alone(settings: dict[str, Any], encoder: Autoencoder) -> None:
    report, _ = VAELatentDefence(None, *syllables(4), autoencoder=encoder, verbose=False, **settings).detect_poison()
    assert "sound" not in report["Class_0"]


def placed(poisoned: list[int], suspects: np.ndarray, p_values: np.ndarray) -> LatentClasses:
    soft = suspects.astype(float)
    return LatentClasses(NONE, NONE, p_values, "false_alarms", 1.0, poisoned, soft, suspects, {5: "too few"}, 24)


def shared(label: int, members: np.ndarray, p_value: float = 0.001) -> SharedSounds:
    p_values, matches = np.full(K, 0.9), np.full(len(members), np.nan)
    p_values[label] = p_value
    matches[labels_of() == label] = np.where(members, 3.0, 0.5)[labels_of() == label]
    return SharedSounds(np.arange(K, dtype=float), p_values, np.full(K, 0.5), [label], [], matches)


def labels_of() -> np.ndarray:
    return np.repeat(np.arange(K), 10)


def rows(*chosen: int) -> np.ndarray:
    return np.isin(np.arange(10 * K), chosen)


def test_united_clips_with_the_sound_take_the_place_of_the_split() -> None:
    split = rows(20, 21, 22, 29, 40)
    one = united(placed([2], split, np.full(K, 0.5)), {"sound": shared(2, rows(20, 21, 22, 23))}, labels_of())
    np.testing.assert_array_equal(one.suspects, rows(20, 21, 22, 23, 40))
    assert one.poisoned_classes == [2]
    assert one.class_p_values[2] == pytest.approx(N_VERDICTS * 0.001)
    assert one.class_p_values[0] == 1


def test_united_a_second_trigger_that_the_split_has_found_stays() -> None:
    one = united(placed([2], rows(25, 26, 27, 28, 29), np.full(K, 0.5)), {"sound": shared(2, rows(20, 21))}, labels_of())
    np.testing.assert_array_equal(one.suspects, rows(20, 21, 25, 26, 27, 28, 29))


def test_united_a_few_other_suspects_of_the_split_are_no_second_trigger() -> None:
    one = united(placed([2], rows(28, 29), np.full(K, 0.5)), {"sound": shared(2, rows(20, 21))}, labels_of())
    np.testing.assert_array_equal(one.suspects, rows(20, 21))


def test_united_a_split_of_a_class_that_it_did_not_call_gives_way() -> None:
    one = united(placed([], rows(27, 28, 29), NONE), {"sound": shared(2, rows(20, 21))}, labels_of())
    np.testing.assert_array_equal(one.suspects, rows(20, 21))


def test_united_verdicts_of_all_are_joined_and_a_called_class_counts_as_judged() -> None:
    searched = {"sound": shared(2, rows(20)), "filter": shared(5, rows(50, 51))}
    one = united(placed([1], rows(10), NONE), searched, labels_of())
    assert one.poisoned_classes == [1, 2, 5]
    assert one.not_judged == {}
    assert evidence_of(searched, K)[5] > 0
    assert evidence_of(searched, K)[1] == 0


def test_reports_of_what_was_not_measured_are_none() -> None:
    nothing = SharedSounds(NONE, NONE, NONE, [], [3], np.where(labels_of() == 3, 2.0, np.nan))
    reports = sound_reports({"sound": nothing}, labels_of(), 0)
    assert reports == {"sound": {"score": None, "p_value": None, "coherence": None, "n_clips": None}}
    assert sound_reports({"sound": nothing}, labels_of(), 3)["sound"]["n_clips"] == 10
    (warning,) = sound_warnings({"sound": nothing}, labels_of())
    assert warning.startswith("Class 3: 10 clips share one sound")
