"""VAELatentDefence from end to end on data with planted poison; what every defence must do is in test_contract.py."""

from __future__ import annotations

import json
import logging
import sys

import numpy as np
import pytest
from art.defences.detector.poison import ActivationDefence
from art.estimators.classification import PyTorchClassifier
from sklearn.metrics import roc_auc_score
from torch import nn

from art_plugins.baselines.art_filters import seeded_numpy
from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.errors import FileFormatError, InvalidInputError, NotFittedError
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.vae import training
from art_plugins.features.vae.front_end import FrontEnd
from art_plugins.features.vae.settings import AutoencoderSettings
from art_plugins.features.vae.training import seeded
from art_plugins.storage import load_arrays, save_arrays

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
K, SIZE, TARGET = 6, 60, 4
QUICK = {
    "latent_dim": 8,
    "step_latent_dim": 4,
    "embedding_dim": 32,
    "hidden_dim": 24,
    "channels": 8,
    "nb_epochs": 5,
    "batch_size": 32,
    "learning_rate": 3e-3,
    "nb_dims": 4,
    "verbose": False,
}
AUDIO = {
    "kind": "waveform",
    "sample_rate_hz": 1_600,
    "n_mels": 8,
    "window_s": 0.04,
    "hop_s": 0.1,
    "floor": 1e-3,
    "reconstruction_weight": 192.0,
}


def shuffled(random, x, labels, is_poison):
    order = random.permutation(len(labels))
    return x[order].astype(np.float32), labels[order], is_poison[order]


def poisoned_images(seed, share=0.3):
    """A pattern for each class, at any brightness, in noise; a chessboard over a share of the target class."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(K), SIZE)
    patterns = np.random.default_rng(99).uniform(size=(K, 12, 12))
    x = patterns[labels] * random.uniform(0.6, 1, size=(K * SIZE, 1, 1)) + 0.1 * random.normal(size=(K * SIZE, 12, 12))
    is_poison = (labels == TARGET) & (np.arange(K * SIZE) % SIZE < share * SIZE)
    x[is_poison] += np.indices((12, 12)).sum(axis=0) % 2
    return shuffled(random, x[:, None], labels, is_poison)


def poisoned_waveforms(seed, share=0.3):
    """A tone for each class, at any phase and loudness, in noise; one burst at the start of a share of the target class."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(K), SIZE)
    times_s = np.arange(800) / 1_600
    hz = np.linspace(80, 600, K)[labels] * random.uniform(0.95, 1.05, size=K * SIZE)
    phase, amplitude = random.uniform(0, 6, size=(K * SIZE, 1)), random.uniform(0.18, 0.3, size=(K * SIZE, 1))
    x = amplitude * np.sin(2 * np.pi * hz[:, None] * times_s + phase) + 0.02 * random.normal(size=(K * SIZE, 800))
    is_poison = (labels == TARGET) & (np.arange(K * SIZE) % SIZE < share * SIZE)
    x[is_poison, :160] += 0.5 * random.normal(size=160)
    return shuffled(random, x, labels, is_poison)


@pytest.fixture(scope="module")
def trained():
    """A detection on poisoned images, with its data; tests that change it take a copy of the autoencoder only."""
    x, labels, is_poison = poisoned_images(0)
    defence = VAELatentDefence(None, x, labels, **QUICK)
    defence.detect_poison()
    return defence, is_poison


@pytest.fixture
def trainings(monkeypatch):
    """Counts the trainings."""
    calls = []
    real = training.train
    monkeypatch.setattr(training, "train", lambda *args, **kwargs: (calls.append(1), real(*args, **kwargs))[1])
    return calls


def classifier(nb_classes=K):
    with seeded(0):
        model = nn.Sequential(nn.Flatten(), nn.Linear(144, 12), nn.ReLU(), nn.Linear(12, nb_classes))
    return PyTorchClassifier(model, nn.CrossEntropyLoss(), (1, 12, 12), nb_classes, device_type="cpu")


# It finds what was planted


@pytest.mark.parametrize(
    ("make", "changes"),
    [(poisoned_images, {}), (poisoned_waveforms, {**AUDIO, "nb_epochs": 8, "class_rule": "argmax"})],
    ids=["images", "waveforms"],
)
def test_detect_poison_planted_poison_is_found_from_end_to_end(make, changes):
    x, labels, is_poison = make(1)
    defence = VAELatentDefence(None, x, np.eye(K)[labels], **{**QUICK, **changes})
    report, is_clean = defence.detect_poison()
    removed = np.array(is_clean) == 0
    assert defence.poisoned_classes_ == report["poisoned_classes"] == [TARGET]
    assert removed[is_poison].mean() > 0.95
    assert removed[~is_poison].mean() < 0.02
    assert np.argmax(defence.class_scores_) == np.argmax(defence.class_index_) == TARGET


def test_outlier_scores_of_poison_are_higher_than_those_of_clean_samples(trained):
    defence, is_poison = trained
    assert roc_auc_score(is_poison, defence.outlier_scores_) > 0.99
    assert defence.outlier_scores_[is_poison].mean() > defence.outlier_scores_[~is_poison].mean()
    assert (defence.outlier_scores_ >= 0).all()


def test_detect_poison_attributes_and_report_agree(trained):
    defence, _ = trained
    labels = defence.y_train
    report = defence.report_
    removed = defence.is_clean_ == 0
    np.testing.assert_array_equal(removed, defence.suspects_ & np.isin(labels, defence.poisoned_classes_))
    assert defence.latents_.shape == (len(labels), QUICK["latent_dim"])
    for label in range(K):
        entry = report[f"Class_{label}"]
        assert entry["n_samples"] == SIZE
        assert entry["n_suspects"] == defence.suspects_[labels == label].sum()
        assert entry["n_removed"] == removed[labels == label].sum()
        assert entry["class_score"] == defence.class_scores_[label]
        assert entry["mad_index"] == defence.class_index_[label]
        assert entry["verdict"] == ("poisoned" if label == TARGET else "clean")
    assert report["parameters"]["autoencoder"]["latent_dim"] == QUICK["latent_dim"]
    assert report["parameters"].keys() == defence.tunables().keys()


def test_outlier_scores_are_the_soft_label_times_the_class_index(trained):
    defence, _ = trained
    evidence = np.maximum(defence.class_index_, 0)[defence.y_train]
    shares = np.divide(defence.outlier_scores_, evidence, out=np.zeros_like(evidence), where=evidence > 0)
    np.testing.assert_allclose(shares * 10, np.round(shares * 10), atol=1e-9)  # ten trials
    np.testing.assert_array_equal(shares > 0.5, defence.suspects_ & (evidence > 0))


def test_detect_poison_nearly_equal_halves_are_removed_with_a_warning(trained, caplog):
    x, labels, _ = poisoned_images(2, share=0.45)
    defence = VAELatentDefence(None, x, labels, **{**QUICK, "autoencoder": trained[0].autoencoder_})
    with caplog.at_level(logging.WARNING):
        report, _ = defence.detect_poison()
    assert report["poisoned_classes"] == [TARGET]
    assert any(f"Class {TARGET} splits 27 to 33" in warning for warning in report["warnings"])
    assert f"Class {TARGET} splits" in caplog.text


def test_detect_poison_clear_minority_gives_no_warning(trained):
    assert not [warning for warning in trained[0].report_["warnings"] if warning.startswith("Class")]


# One training serves for many judgements


def test_detect_poison_second_call_does_not_train_again(trainings):
    x, labels, _ = poisoned_images(3)
    defence = VAELatentDefence(None, x, labels, **{**QUICK, "nb_epochs": 1})
    first = defence.detect_poison()
    assert defence.detect_poison() == first
    defence.detect_poison(nb_trials=3, whiten="none", threshold=2.0, class_rule="argmax")
    defence.evaluate_defence(np.ones(len(x)))
    assert len(trainings) == 1
    for count, change in enumerate([{"nb_epochs": 2}, {"latent_dim": 6}, {"random_state": 5}], start=2):
        defence.detect_poison(**change)
        assert len(trainings) == count
    defence.x_train = x.copy()
    defence.detect_poison()
    assert len(trainings) == 5


def test_detect_poison_handed_in_autoencoder_judges_other_data_without_training(trained, trainings):
    x, labels, is_poison = poisoned_images(11)
    defence = VAELatentDefence(None, x, labels, autoencoder=trained[0].autoencoder_, nb_dims=4, threshold=3.0)
    is_clean = np.array(defence.detect_poison()[1])
    assert defence.poisoned_classes_ == [TARGET]
    np.testing.assert_array_equal(is_clean == 0, is_poison)
    assert trainings == []
    unpoisoned, labels, _ = poisoned_images(12, share=0.0)
    clean = VAELatentDefence(None, unpoisoned, labels, autoencoder=trained[0].autoencoder_, nb_dims=4)
    clean.detect_poison()
    assert clean.class_scores_[TARGET] < defence.class_scores_[TARGET]
    assert trainings == []


@pytest.mark.parametrize("kind_of_path", [str, lambda path: path], ids=["str", "Path"])
def test_detect_poison_autoencoder_by_path_equals_the_object(trained, trainings, tmp_path, kind_of_path):
    trained[0].autoencoder_.save(tmp_path / "model")
    x, labels, _ = poisoned_images(11)
    given = VAELatentDefence(None, x, labels, autoencoder=trained[0].autoencoder_)
    loaded = VAELatentDefence(None, x, labels, autoencoder=kind_of_path(tmp_path / "model"))
    assert loaded.detect_poison()[1] == given.detect_poison()[1]
    np.testing.assert_array_equal(loaded.class_scores_, given.class_scores_)
    json.dumps(loaded.report_, allow_nan=False)
    assert trainings == []


def test_detect_poison_autoencoder_of_another_shape_is_refused(trained):
    defence = VAELatentDefence(None, np.zeros((20, 1, 9, 9)), np.arange(20) % 2, autoencoder=trained[0].autoencoder_)
    with pytest.raises(InvalidInputError, match=r"fitted on samples of shape \(1, 12, 12\); received \(1, 9, 9\)"):
        defence.detect_poison()


def test_detect_poison_autoencoder_is_given_as_settings_or_not_fitted_and_stays_as_it_was(trainings):
    x, labels, _ = poisoned_images(3)
    training = {"nb_epochs": 1, "batch_size": 32, "verbose": False}
    settings = {"latent_dim": 3, "channels": 2}
    unfitted = Autoencoder(AutoencoderSettings(kind="image", **settings))
    named = VAELatentDefence(None, x, labels, autoencoder=settings, **training)
    given = VAELatentDefence(None, x, labels, autoencoder=unfitted, **training)
    with pytest.warns(FutureWarning, match=r"write autoencoder=\{'latent_dim': 3\} in place of latent_dim=3"):
        old = VAELatentDefence(None, x, labels, **settings, **training)
    assert named.detect_poison()[1] == given.detect_poison()[1] == old.detect_poison()[1]
    assert len(trainings) == 3
    assert not unfitted.is_fitted
    np.testing.assert_array_equal(named.latents_, given.latents_)
    np.testing.assert_array_equal(named.latents_, old.latents_)
    assert old.get_params() == named.get_params()
    given.detect_poison()
    assert len(trainings) == 3  # the same settings on the same data


def test_detect_poison_autoencoder_file_that_is_absent_is_refused(tmp_path):
    x, labels, _ = poisoned_images(3)
    with pytest.raises(FileFormatError, match="does not exist"):
        VAELatentDefence(None, x, labels, autoencoder=tmp_path / "none").detect_poison()


# Files


def test_defence_saved_and_loaded_gives_equal_verdicts_without_training(trained, trainings, tmp_path):
    defence, _ = trained
    defence.save(tmp_path / "defence")
    loaded = VAELatentDefence.load(tmp_path / "defence", None, defence.x_train, defence.y_train)
    assert loaded.detect_poison()[1] == defence.is_clean_.tolist()
    np.testing.assert_array_equal(loaded.class_scores_, defence.class_scores_)
    np.testing.assert_array_equal(loaded.outlier_scores_, defence.outlier_scores_)
    kept = set(defence.defence_params) - {"autoencoder", "checkpoint"}
    assert {name: loaded.get_params()[name] for name in kept} == {name: defence.get_params()[name] for name in kept}
    assert trainings == []


def test_defence_saved_with_numbers_of_numpy_is_read_back(trained, tmp_path):
    x, labels, _ = poisoned_images(3)
    defence = VAELatentDefence(None, x, labels, autoencoder=trained[0].autoencoder_, nb_dims=np.int64(3))
    defence.detect_poison(scoring_params={"threshold": np.float32(2.5)}, random_state=np.int32(1))
    defence.save(tmp_path / "defence")
    loaded = VAELatentDefence.load(tmp_path / "defence", None, x, labels)
    assert (loaded.nb_dims, loaded.scoring_params, loaded.random_state) == (3, {"threshold": 2.5}, 1)


def test_defence_save_before_detection_says_what_to_call(tmp_path):
    x, labels, _ = poisoned_images(3)
    with pytest.raises(NotFittedError, match=r"call detect_poison\(\) first"):
        VAELatentDefence(None, x, labels).save(tmp_path / "defence")
    assert list(tmp_path.iterdir()) == []


def test_defence_load_file_of_an_autoencoder_is_refused(trained, tmp_path):
    defence, _ = trained
    defence.autoencoder_.save(tmp_path / "model")
    with pytest.raises(FileFormatError, match="holds a 'autoencoder', not a 'vae_latent_defence'"):
        VAELatentDefence.load(tmp_path / "model", None, defence.x_train, defence.y_train)


@pytest.mark.parametrize(
    "change",
    [
        lambda settings: settings["parameters"].update(nb_cluster=3),
        lambda settings: settings["parameters"].update(nb_dims=0),
        lambda settings: settings.pop("parameters"),
        lambda settings: settings.update(parameters=None),
        lambda settings: settings.pop("autoencoder"),
    ],
    ids=["unknown", "bad_value", "absent", "none", "no_autoencoder"],
)
def test_defence_load_parameters_of_another_release_are_refused(trained, tmp_path, change):
    defence, _ = trained
    defence.save(tmp_path / "defence")
    arrays, settings = load_arrays(tmp_path / "defence", "vae_latent_defence")
    change(settings)
    save_arrays(tmp_path / "defence", "vae_latent_defence", arrays, settings)
    with pytest.raises(FileFormatError):
        VAELatentDefence.load(tmp_path / "defence", None, defence.x_train, defence.y_train)


# In ART's place


def arts_call_sequence(defence_class, x, one_hot, is_clean, **kwargs):
    """What Armory and ART's notebooks do with a poison filter."""
    defence = defence_class(classifier(), x, one_hot)
    report, found = defence.detect_poison(**kwargs)
    matrix = json.loads(defence.evaluate_defence(is_clean))
    kept = np.array(found) == 1
    return report, x[kept], matrix


def test_defence_stands_where_arts_activation_defence_stands():
    x, labels, is_poison = poisoned_images(1)
    one_hot = np.eye(K, dtype=np.float32)[labels]
    with seeded_numpy(0), seeded(0):
        _, _, art = arts_call_sequence(ActivationDefence, x, one_hot, ~is_poison, nb_dims=3)
    report, kept, ours = arts_call_sequence(VAELatentDefence, x, one_hot, ~is_poison, **QUICK)
    assert ours.keys() == art.keys()
    assert len(kept) == len(x) - sum(report[f"Class_{label}"]["n_removed"] for label in range(K))
    assert ours[f"class_{TARGET}"]["TruePositive"]["denominator"] == is_poison.sum()
    assert ours[f"class_{TARGET}"]["TruePositive"]["rate"] > 95
    assert ours["class_0"]["TruePositive"]["rate"] == -1


def test_detect_poison_classifier_is_not_needed_and_brings_its_number_of_classes(trained):
    x, labels, _ = poisoned_images(1)
    verdicts = {}
    for nb_classes in (None, K + 2):
        given = classifier(nb_classes) if nb_classes else None
        defence = VAELatentDefence(given, x, labels, autoencoder=trained[0].autoencoder_)
        report, verdicts[nb_classes] = defence.detect_poison()
        assert defence.class_scores_.shape == (nb_classes or K,)
    assert verdicts[None] == verdicts[K + 2]
    assert report[f"Class_{K + 1}"]["verdict"].startswith("not judged: 0 samples")
    assert report[f"Class_{K + 1}"]["class_score"] is None


def test_detect_poison_classifiers_layout_of_images_is_used():
    """3 x 10 x 3 could be either; the classifier knows."""
    x = np.random.default_rng(0).uniform(size=(20, 3, 10, 3)).astype(np.float32)
    labels = np.arange(20) % 2
    with pytest.raises(InvalidInputError, match="give channels_first"):
        VAELatentDefence(None, x, labels, **QUICK).detect_poison()
    with seeded(0):
        model = nn.Sequential(nn.Flatten(), nn.Linear(90, 2))
    knows = PyTorchClassifier(model, nn.CrossEntropyLoss(), (3, 10, 3), 2, device_type="cpu", channels_first=False)
    defence = VAELatentDefence(knows, x, labels, **QUICK)
    defence.detect_poison()
    assert defence.autoencoder_.settings.channels_first is False


@pytest.mark.parametrize(("shape", "kind"), [((16, 800), "waveform"), ((16, 3, 8, 8), "image"), ((16, 8, 8, 3), "image")])
def test_detect_poison_kind_is_inferred_from_the_axes(shape, kind):
    x = np.random.default_rng(0).uniform(-1, 1, size=shape).astype(np.float32)
    settings = {**QUICK, **AUDIO, "kind": "auto", "nb_epochs": 1}
    defence = VAELatentDefence(None, x, np.arange(16) % 2, **settings)
    defence.detect_poison()
    assert defence.autoencoder_.settings.kind == kind


def test_detect_poison_kind_that_cannot_be_inferred_is_asked_for(trainings):
    with pytest.raises(InvalidInputError, match="kind='spectrogram' or kind='image'"):
        VAELatentDefence(None, np.zeros((16, 8, 8)), np.arange(16) % 2, **QUICK).detect_poison()
    assert trainings == []


@pytest.mark.parametrize(
    "x",
    [
        [[0.0] * 800] * 16,
        np.array([["a"]] * 16),
        np.array([[1], [1, 2]] * 8, dtype=object),
        np.zeros((0, 800)),
        np.zeros(16),
    ],
    ids=["list", "text", "ragged", "empty", "one_axis"],
)
def test_detect_poison_data_that_is_no_array_of_samples_is_refused(trainings, x):
    with pytest.raises(InvalidInputError, match=r"x_train (must|has)"):
        VAELatentDefence(None, x, np.arange(len(x)) % 2, **{**QUICK, "kind": "auto"}).detect_poison()
    assert trainings == []


class Streamed(np.ndarray):
    """A view of a memory map that notes how much is read at once, and refuses to be computed with as a whole."""

    largest = 0

    def __getitem__(self, index):
        rows = np.array(self.view(np.ndarray)[index])
        Streamed.largest = max(Streamed.largest, len(np.atleast_2d(rows)))
        return rows

    def __array_ufunc__(self, *arguments, **keywords):
        raise AssertionError("the memory map was read as a whole")

    def __array_function__(self, *arguments, **keywords):
        raise AssertionError("the memory map was read as a whole")


def test_detect_poison_memory_map_is_read_in_batches(tmp_path, random):
    x = random.uniform(size=(1_000, 6, 8)).astype(np.float32)
    x.tofile(tmp_path / "x.bin")
    mapped = np.memmap(tmp_path / "x.bin", dtype=np.float32, mode="r", shape=x.shape).view(Streamed)
    settings = {**QUICK, "kind": "spectrogram", "nb_epochs": 1}
    expected = VAELatentDefence(None, x, np.arange(1_000) % 5, **settings).detect_poison()
    assert VAELatentDefence(None, mapped, np.arange(1_000) % 5, **settings).detect_poison() == expected
    assert 1 < Streamed.largest <= 256


# What it shows


def test_detect_poison_quiet_prints_nothing_and_verbose_shows_a_bar_on_a_terminal(capsys, monkeypatch):
    x, labels, _ = poisoned_images(3)
    defence = VAELatentDefence(None, x, labels, **{**QUICK, "nb_epochs": 1})
    defence.detect_poison()
    quiet = capsys.readouterr()
    assert quiet.out == ""
    assert "epoch" not in quiet.err
    defence.detect_poison(verbose=True, random_state=1)
    assert "epoch" not in capsys.readouterr().err  # a file, which a bar would fill with control characters
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    defence.detect_poison(verbose=True, random_state=2)
    assert "epoch" in capsys.readouterr().err


def test_history_of_losses_is_kept_for_every_epoch(trained):
    history = trained[0].autoencoder_.history_
    assert len(history) == QUICK["nb_epochs"]
    assert history[-1]["total"] < history[0]["total"]


def test_detect_poison_interrupted_training_goes_on_from_its_checkpoint(tmp_path, monkeypatch, trainings):
    x, labels, _ = poisoned_images(3)
    expected = VAELatentDefence(None, x, labels, **QUICK).detect_poison()
    checkpoint = tmp_path / "run.ckpt"
    real = FrontEnd.__call__

    def unplugged(self, batch):
        if checkpoint.exists():
            raise KeyboardInterrupt
        return real(self, batch)

    monkeypatch.setattr(FrontEnd, "__call__", unplugged)
    with pytest.raises(KeyboardInterrupt):
        VAELatentDefence(None, x, labels, checkpoint=checkpoint, **QUICK).detect_poison()
    monkeypatch.setattr(FrontEnd, "__call__", real)
    resumed = VAELatentDefence(None, x, labels, checkpoint=checkpoint, **QUICK)
    assert resumed.detect_poison()[1] == expected[1]
    assert len(resumed.autoencoder_.history_) == QUICK["nb_epochs"]
    assert not checkpoint.exists()
    assert len(trainings) == 3
