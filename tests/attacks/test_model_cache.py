"""A training is done once, and told from every other one."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest

from art_plugins.attacks.image_models import train_image_classifier
from art_plugins.attacks.model_cache import fingerprint, load_or_train
from art_plugins.attacks.training_loop import ImageTraining
from art_plugins.errors import FileFormatError
from art_plugins.triggers.patterns import single_pixel, white_box

X = np.random.default_rng(0).random((64, 1, 28, 28), dtype=np.float32)
Y = np.arange(64) % 2
TRAINING = ImageTraining(network="lenet5", nb_epochs=1, batch_size=16, learning_rate=0.05)
UNTRAINED = replace(TRAINING, nb_epochs=0)
SETTINGS = {"x": X, "y": Y, "nb_classes": 2, "training": TRAINING}


def test_load_or_train_second_call_gives_the_same_model_without_training(tmp_path) -> None:
    trained = load_or_train(tmp_path, train_image_classifier, **SETTINGS)
    epochs = []

    def counting(**arguments):
        epochs.append(arguments["training"].nb_epochs)
        return train_image_classifier(**arguments)

    counting.__signature__ = inspect.signature(train_image_classifier)
    again = load_or_train(tmp_path, counting, **SETTINGS)
    np.testing.assert_array_equal(again.predict(X), trained.predict(X))
    assert epochs == [0]
    assert (
        np.abs(trained.predict(X) - train_image_classifier(**{**SETTINGS, "training": UNTRAINED}).predict(X)).max() > 1e-3
    )


def test_load_or_train_without_a_folder_trains(tmp_path) -> None:
    np.testing.assert_array_equal(
        load_or_train(None, train_image_classifier, **SETTINGS).predict(X),
        train_image_classifier(**SETTINGS).predict(X),
    )


def test_load_or_train_damaged_file_is_refused(tmp_path) -> None:
    load_or_train(tmp_path, train_image_classifier, **SETTINGS)
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(FileFormatError, match="damaged"):
        load_or_train(tmp_path, train_image_classifier, **SETTINGS)


def test_fingerprint_tells_trainings_apart_by_what_changes_their_result() -> None:
    poisoned = {**SETTINGS, "is_poison": np.arange(64) < 8}
    changes = [
        {},
        {"training": replace(TRAINING, random_state=1)},
        {"training": replace(TRAINING, learning_rate=0.1)},
        {"x": X[::-1]},
        {"y": 1 - Y},
        {**poisoned, "trigger": white_box((1, 28, 28))},
        {**poisoned, "trigger": single_pixel((1, 28, 28))},
        {**poisoned, "is_poison": np.arange(64) < 9, "trigger": single_pixel((1, 28, 28))},
    ]
    prints = [fingerprint(train_image_classifier, **{**SETTINGS, **change}) for change in changes]
    assert len(set(prints)) == len(prints)
    assert fingerprint(train_image_classifier, **SETTINGS, verbose=True, trigger=None) == prints[0]
