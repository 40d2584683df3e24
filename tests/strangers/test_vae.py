"""VAELatentDefence in strangers' hands: what cannot be judged is said, and never looks like a verdict of clean."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from art_plugins.attacks.datasets.digits import digits
from art_plugins.attacks.poisoning import poison
from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.errors import InvalidInputError
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.vae import training
from art_plugins.features.vae.convergence import has_settled
from art_plugins.features.vae.settings import AutoencoderSettings
from art_plugins.features.vae.spectrogram import LogMelSpectrogram
from art_plugins.features.vae.training import SETTLED
from art_plugins.storage import load_arrays
from art_plugins.triggers.patterns import white_box

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
EVERY_KIND = ["image", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("waveform", "spectrogram"))]
SMALL = {"latent_dim": 4, "step_latent_dim": 2, "embedding_dim": 8, "hidden_dim": 8, "channels": 2, "nb_dims": 4}
AUDIO = {"sample_rate_hz": 1_600, "n_mels": 8, "window_s": 0.02, "hop_s": 0.05}
QUICK = {**SMALL, **AUDIO, "nb_epochs": 1, "batch_size": 32, "nb_trials": 2, "n_init": 3, "verbose": False}
SHAPES = {"waveform": (800,), "spectrogram": (6, 11), "image": (1, 8, 8)}
SIZE = 20


def poisoned(kind, n_classes, seed=0):
    """Noise about a pattern for each class, and one mark on the second half of class 0."""
    random = np.random.default_rng(seed)
    shape = SHAPES[kind]
    labels = np.arange(n_classes * SIZE) % n_classes
    x = 0.2 * random.uniform(size=(n_classes, *shape))[labels] + 0.05 * random.normal(size=(len(labels), *shape))
    x[(labels == 0) & (np.arange(len(labels)) >= len(labels) // 2), ..., :2] += 0.8
    return x.astype(np.float32), labels


def detect(x, labels, **changes):
    defence = VAELatentDefence(None, x, labels, **{**QUICK, **changes})
    report, is_clean = defence.detect_poison()
    json.dumps(report, allow_nan=False)
    return defence, report, is_clean


def verdicts(report):
    return [row["verdict"] for name, row in report.items() if name.startswith("Class_")]


# Too few classes, or samples of a class


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("n_classes", [1, 2, 3])
@pytest.mark.parametrize("options", [{}, {"class_rule": "mad"}, {"scoring": "paper"}], ids=["default", "mad", "paper"])
def test_fewer_than_four_classes_are_not_judged_and_it_is_said(kind, n_classes, options, caplog):
    x, labels = poisoned(kind, n_classes)
    with caplog.at_level(logging.WARNING):
        defence, report, is_clean = detect(x, labels, kind=kind, **options)
    assert all(verdict.startswith("not judged: ") for verdict in verdicts(report))
    assert report["classes_not_judged"] == list(range(n_classes))
    assert report["poisoned_classes"] == []
    assert is_clean == [1] * len(x)
    assert np.isnan(defence.class_index_).all()
    assert np.isnan(defence.class_p_values_).all()
    assert report["warnings"][0].startswith("No class can be judged: this result does not say that the data are clean.")
    assert all(warning in caplog.messages for warning in report["warnings"])


@pytest.mark.slow
def test_two_classes_still_have_scores_and_suspects_to_look_at():
    x, labels = poisoned("image", 2)
    defence, report, _ = detect(x, labels, kind="image", nb_epochs=40, learning_rate=3e-3)
    assert np.isfinite(defence.class_scores_).all()
    assert defence.class_scores_[0] > defence.class_scores_[1]
    poison = (labels == 0) & (np.arange(len(x)) >= len(x) // 2)
    assert defence.suspects_[labels == 0].any()
    assert "2 classes with a score, 4 are needed" in report["Class_0"]["verdict"]
    assert "class_rule='argmax'" in report["warnings"][0]
    assert poison.sum() == SIZE // 2


def test_argmax_judges_two_classes_as_it_was_told_to():
    x, labels = poisoned("image", 2)
    _, report, is_clean = detect(x, labels, kind="image", class_rule="argmax")
    assert report["classes_not_judged"] == []
    assert len(report["poisoned_classes"]) == 1
    assert 0 in is_clean


def test_four_classes_are_judged():
    _, report, _ = detect(*poisoned("image", 4), kind="image")
    assert report["classes_not_judged"] == []
    assert all(report[f"Class_{label}"]["p_value"] is not None for label in range(4))


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_small_and_empty_classes_are_named_and_the_others_judged(kind):
    x, labels = poisoned(kind, 6)
    kept = (labels != 4) | (np.arange(len(labels)) < 30)
    one_hot = np.eye(8)[labels[kept]]  # classes 6 and 7 have no sample
    _, report, _ = detect(x[kept], one_hot, kind=kind)
    assert report["classes_not_judged"] == [4, 6, 7]
    assert report["Class_4"]["verdict"] == "not judged: 5 samples, 8 are needed"
    assert report["Class_7"]["verdict"] == "not judged: 0 samples, 8 are needed"
    warnings = [warning for warning in report["warnings"] if "cannot be judged" in warning]
    assert warnings == ["Class 4 cannot be judged (5 samples, 8 are needed): poison in there passes."]


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_one_sample_a_class_is_not_judged(kind):
    x, _ = poisoned(kind, 6)
    _, report, is_clean = detect(x, np.arange(len(x)), kind=kind)
    assert report["classes_not_judged"] == list(range(len(x)))
    assert is_clean == [1] * len(x)
    assert "and 110 more cannot be judged (1 samples, 8 are needed)" in report["warnings"][1]


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("value", [0.0, 0.7])
def test_samples_that_are_all_equal_are_not_judged(kind, value):
    x = np.full((60, *SHAPES[kind]), value, dtype=np.float32)
    x[:, ..., 0] = 0.3
    _, report, is_clean = detect(x, np.arange(60) % 5, kind=kind)
    assert set(verdicts(report)) == {"not judged: all latents are equal"}
    assert is_clean == [1] * 60


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_duplicates_are_judged_without_a_silent_gap(kind):
    x, labels = poisoned(kind, 5)
    x[labels == 3] = x[3]
    _, report, is_clean = detect(x, labels, kind=kind)
    for label in range(5):
        row = report[f"Class_{label}"]
        assert (row["p_value"] is None) == (label in report["classes_not_judged"])
        assert (row["p_value"] is None) == row["verdict"].startswith("not judged: ")
    assert set(is_clean) <= {0, 1}


# Values that are out of range


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e20, -1e25, 3e38])
@pytest.mark.parametrize("rows", [[7], [7, 20, 33, 46, 59]], ids=["one", "five"])
def test_sample_out_of_range_is_named_in_training(kind, value, rows):
    x, labels = poisoned(kind, 5)
    x[rows] = value
    with pytest.raises(InvalidInputError, match=rf"x\[({'|'.join(map(str, rows))})\].*(remove or mend)"):
        detect(x, labels, kind=kind)


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e20, 3e38])
def test_sample_out_of_range_is_named_by_a_fitted_autoencoder(kind, value):
    x, labels = poisoned(kind, 5)
    settings = {name: value for name, value in {**SMALL, **AUDIO}.items() if name != "nb_dims"}
    fitted = Autoencoder(AutoencoderSettings(kind=kind, **settings)).fit(x, nb_epochs=1, verbose=False)
    x[7] = value
    with pytest.raises(InvalidInputError, match=r"(x\[7\]|Row 7 of) .*"):
        detect(x, labels, kind=kind, autoencoder=fitted)


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("scale", [1e-20, 1e25])
def test_uniform_scale_changes_nothing_for_what_is_scaled_anyway(kind, scale):
    x, labels = poisoned(kind, 5)
    if kind == "waveform" and scale > 1:  # its front end has a floor in units of full scale
        with pytest.raises(InvalidInputError, match="waveforms are floats of -1 to 1; divide by"):
            detect((x * 1e10).astype(np.float32), labels, kind=kind)
        return
    _, report, is_clean = detect((x * scale).astype(np.float32), labels, kind=kind)
    assert set(is_clean) <= {0, 1}
    assert "NaN" not in json.dumps(report)


# Arrays of other kinds


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize(
    "changed",
    [
        lambda x: x.astype(np.float16),
        lambda x: x.astype(np.float64),
        lambda x: x.astype(">f4"),
        lambda x: np.ascontiguousarray(x[::-1])[::-1],
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=0)[::2],
    ],
    ids=["half", "double", "big_endian", "negative_strides", "fortran", "every_other"],
)
def test_other_layouts_of_the_same_samples_have_the_same_verdict(kind, changed):
    x, labels = poisoned(kind, 5)
    x = x.astype(np.float16).astype(np.float32)
    assert detect(changed(x), labels, kind=kind)[1:] == detect(x, labels, kind=kind)[1:]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, ">i2"])
def test_whole_numbers_and_bits_are_samples(dtype):
    x, labels = poisoned("image", 5)
    _, _, is_clean = detect((x > 0.1 if dtype is bool else 100 * x).astype(dtype), labels, kind="image")
    assert len(is_clean) == len(x)


# Spectrograms and images of one colour


@pytest.mark.slow
@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("kind", ["spectrogram", "waveform"])
def test_lone_channel_of_a_sequence_changes_nothing(kind, axis):
    x, labels = poisoned(kind, 5)
    plain, with_channel = (detect(data, labels, kind=kind) for data in (x, np.expand_dims(x, axis)))
    assert with_channel[1:] == plain[1:]
    np.testing.assert_array_equal(with_channel[0].latents_, plain[0].latents_)
    assert with_channel[1]["kind"] == kind


@pytest.mark.parametrize(
    ("shape", "low", "is_noticed"),
    [
        ((12, 11, 1), 0, True),
        ((1, 12, 11), 0, True),
        ((8, 8, 1), -1, True),
        ((8, 8, 1), 0, False),
        ((1, 8, 8), 0, False),
        ((12, 11, 3), 0, False),
    ],
)
def test_spectrograms_that_are_taken_for_images_are_noticed(shape, low, is_noticed, caplog):
    x = np.random.default_rng(0).uniform(low, 1, size=(50, *shape)).astype(np.float32)
    with caplog.at_level(logging.WARNING):
        _, report, _ = detect(x, np.arange(50) % 5)
    assert report["kind"] == "image"
    assert any("kind='spectrogram'" in message for message in caplog.messages) == is_noticed
    assert any("kind='spectrogram'" in warning for warning in report["warnings"]) == is_noticed
    _, report, _ = detect(x, np.arange(50) % 5, kind="image")
    assert not any("kind='spectrogram'" in warning for warning in report["warnings"])


# Parameters


NUMBERS = (
    "nb_epochs",
    "batch_size",
    "nb_dims",
    "nb_trials",
    "n_init",
    "latent_dim",
    "channels",
    "n_mels",
    "sample_rate_hz",
)
FRACTIONS = ("learning_rate", "threshold", "false_alarm_rate", "window_s", "hop_s", "floor", "reconstruction_weight")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, value) for name in (*NUMBERS, "random_state") for value in (True, 10**30, [], "3", 2.5, float("nan"))],
        *[(name, value) for name in FRACTIONS for value in (True, 10**400, [], "3", float("nan"), float("inf"), -1.0)],
        *[("learning_rate", value) for value in (1e38, 1e300)],  # torch's optimisers cannot hold them
        *[("patience", value) for value in (True, 0, [], "never", 1.5)],
        *[("random_state", value) for value in (-1, None)],
        *[(name, value) for name in ("scoring", "class_rule", "posterior", "precision", "kind") for value in ([], None, 3)],
        *[(name, value) for name in ("refine", "video_like", "verbose", "channels_first") for value in (2, "yes", [])],
    ],
)
def test_parameter_out_of_range_is_named_before_any_work(name, value):
    with pytest.raises(InvalidInputError, match=name):
        VAELatentDefence(None, *poisoned("image", 5), **{**QUICK, name: value})
    defence = VAELatentDefence(None, *poisoned("image", 5), **QUICK)
    with pytest.raises(InvalidInputError, match=name):
        defence.detect_poison(**{name: value})
    assert not hasattr(defence, "autoencoder_")


@pytest.mark.parametrize("name", ["window_s", "hop_s"])
def test_window_longer_than_memory_is_refused(name):
    with pytest.raises(InvalidInputError, match=f"{'window' if name == 'window_s' else 'hop'} of 1e[+]300"):
        LogMelSpectrogram(**{name: 1e300})


# Training that is too short, and training that ends by itself


@pytest.fixture(scope="module")
def attacked_digits():
    return poison(digits(0), white_box((1, 8, 8), size=2, margin=0), "1", "7", 0.4)


@pytest.mark.slow
def test_six_epochs_find_no_poison_and_it_is_said(attacked_digits, caplog):
    data = attacked_digits
    with caplog.at_level(logging.WARNING):
        defence = VAELatentDefence(None, data.x_train, data.y_train, nb_epochs=6, verbose=False)
        report, is_clean = defence.detect_poison()
    assert all(is_clean)  # 54 samples are poison
    assert report["autoencoder"] == {"nb_epochs": 6, "settled": False}
    assert any(warning.startswith("The autoencoder was trained for 6 epochs of 22 steps") for warning in report["warnings"])
    assert any("leave it out to train until they settle" in message for message in caplog.messages)


@pytest.mark.slow
def test_training_without_an_end_settles_and_finds_all_poison(attacked_digits):
    data = attacked_digits
    defence = VAELatentDefence(None, data.x_train, data.y_train, verbose=False)
    report, is_clean = defence.detect_poison()
    np.testing.assert_array_equal(np.array(is_clean) == 0, data.is_poison)
    assert report["autoencoder"]["settled"] is True
    assert 10 <= report["autoencoder"]["nb_epochs"] <= 30
    assert report["warnings"] == []
    assert report["parameters"]["nb_epochs"] is None


def small_images(n=40):
    return np.random.default_rng(0).uniform(size=(n, 1, 8, 8)).astype(np.float32)


def small_autoencoder():
    return Autoencoder(AutoencoderSettings(kind="image", latent_dim=4, channels=2))


@pytest.mark.parametrize("patience", [SETTLED, None, 1_000])
def test_epochs_that_are_given_are_never_exceeded(patience):
    fitted = small_autoencoder().fit(small_images(), nb_epochs=7, patience=patience, verbose=False)
    assert len(fitted.history_) == 7
    assert fitted.has_settled is False


@pytest.mark.slow
def test_training_ends_at_the_first_epoch_at_which_the_latents_have_settled():
    options = {"batch_size": 4, "learning_rate": 1e-2, "verbose": False}
    fitted = small_autoencoder().fit(small_images(), nb_epochs=300, **options)
    assert len(fitted.history_) < 300
    assert fitted.steps_per_epoch_ == 10
    assert fitted.has_settled is True
    assert fitted.not_settled is None
    assert not has_settled(fitted.history_[:-1], 10)
    more = {"nb_epochs": len(fitted.history_) + 2, "patience": None}
    longer = small_autoencoder().fit(small_images(), **options, **more)
    assert longer.history_[:-2] == fitted.history_
    assert longer.has_settled is True  # once is enough


@pytest.mark.slow
def test_settled_training_interrupted_and_resumed_is_the_uninterrupted_one(tmp_path, monkeypatch):
    options = {"batch_size": 4, "learning_rate": 1e-2, "verbose": False, "checkpoint": tmp_path / "run.ckpt"}
    whole = small_autoencoder().fit(small_images(), **options)
    real, calls = training._epoch, []

    def unplugged(*args):
        calls.append(1)
        if len(calls) == 25:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(training, "_epoch", unplugged)
    with pytest.raises(KeyboardInterrupt):
        small_autoencoder().fit(small_images(), **options)
    resumed = small_autoencoder().fit(small_images(), **options)
    assert len(calls) == 25 + len(whole.history_) - 24
    assert resumed.history_ == whole.history_
    for name, value in whole.state_arrays().items():
        np.testing.assert_array_equal(resumed.state_arrays()[name], value)


def test_saved_autoencoder_knows_whether_it_has_settled(tmp_path):
    x = small_images()
    short = small_autoencoder().fit(x, nb_epochs=2, verbose=False)
    short.save(tmp_path / "short")
    assert Autoencoder.load(tmp_path / "short").has_settled is False
    _, report, _ = detect(x, np.arange(len(x)) % 4, autoencoder=tmp_path / "short")
    assert report["autoencoder"] == {"nb_epochs": 2, "settled": False}
    assert any("trained for 2 epochs" in warning for warning in report["warnings"])

    arrays, settings = load_arrays(tmp_path / "short", "autoencoder")
    del settings["steps_per_epoch"]  # as an earlier release saved it
    old = Autoencoder.from_state(arrays, settings)
    assert old.has_settled is None
    assert old.not_settled is None
