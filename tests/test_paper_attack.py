"""The paper's attack on real Speech Commands, trained for real: minutes, so behind the marker ``slow``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from art_plugins import Autoencoder, VAELatentDefence
from art_plugins.attacks.poisoning import PoisonedData
from art_plugins.attacks.tasks import speech_commands_task
from art_plugins.features.devices import make_fabric


@pytest.fixture(scope="module")
def attacked(data_root: Path) -> PoisonedData:
    return speech_commands_task(data_root).data


@pytest.fixture(scope="module")
def autoencoder(attacked: PoisonedData) -> Autoencoder:
    # A third of the paper's epochs; tests/records has the README's runs.
    return Autoencoder().fit(attacked.x_train, nb_epochs=10, fabric=make_fabric("bf16-mixed"), verbose=False)


@pytest.mark.slow
def test_clap_at_a_third_of_the_target_class_is_found_and_removed(attacked: PoisonedData, autoencoder: Autoencoder) -> None:
    defence = VAELatentDefence(None, attacked.x_train, attacked.y_train, autoencoder=autoencoder)
    _, verdicts = defence.detect_poison()
    target = attacked.y_train == attacked.target
    removed = np.array(verdicts) == 0
    # What 30 epochs give is in tests/records; these bounds leave room for ten, and for another machine's arithmetic. After
    # ten, "yes", whose clips come from another collection, has been called as well.
    assert adjusted_rand_score(attacked.is_poison[target], defence.suspects_[target]) >= 0.7
    assert np.argmax(defence.class_scores_) == attacked.target
    assert attacked.target in defence.poisoned_classes_
    assert removed[attacked.is_poison].mean() >= 0.9
    assert removed[~attacked.is_poison].mean() <= 0.05


@pytest.mark.slow
def test_autoencoder_judges_another_draw_of_the_attack_without_training(data_root: Path, autoencoder: Autoencoder) -> None:
    other = speech_commands_task(data_root, seed=1).data
    defence = VAELatentDefence(None, other.x_train, other.y_train, autoencoder=autoencoder)
    defence.detect_poison()
    target = other.y_train == other.target
    assert other.target in defence.poisoned_classes_
    assert adjusted_rand_score(other.is_poison[target], defence.suspects_[target]) >= 0.5
