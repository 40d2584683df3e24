"""Sleeper Agent and hidden trigger: which images change, by how much, that they repeat, and what is refused."""

from __future__ import annotations

import random as python_random
from typing import Any

import numpy as np
import pytest

from art_plugins.attacks.training_loop import ImageTraining
from art_plugins.attacks.zoo.gradients import HiddenTrigger, PerturbedTarget, SleeperAgent, all_seeded
from art_plugins.errors import InvalidInputError

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
PROXY = ImageTraining(network="plain_cnn", nb_epochs=2, batch_size=64)
SETTINGS: dict[str, Any] = {"size": 3, "eps": 0.1, "proxy": PROXY}
SOURCE, TARGET = 7, 3
MAKE: dict[str, Any] = {
    "sleeper_agent": lambda: SleeperAgent((1, 8, 8), SOURCE, n_retrainings=2, n_steps=4, **SETTINGS),
    "hidden_trigger": lambda: HiddenTrigger((1, 8, 8), SOURCE, n_steps=4, **SETTINGS),
}


@pytest.mark.parametrize("name", MAKE)
def test_poison_is_images_of_the_target_that_keep_their_label_and_change_little(name: str, digits: Any) -> None:
    x, y = digits.x_train, digits.y_train
    state = python_random.getstate()
    first, second = (MAKE[name]().poison(x, y, 0.02, TARGET, 1) for _ in range(2))
    assert python_random.getstate() == state
    assert first.is_poison.sum() == 24
    assert (y[first.is_poison] == TARGET).all()
    np.testing.assert_array_equal(first.y, y)
    change = np.abs(first.x - x)
    assert not change[~first.is_poison].any()
    assert 0 < change.max() <= 0.1 + 1e-6
    assert 0 <= first.x.min() <= first.x.max() <= 1
    np.testing.assert_array_equal(first.stamping.stamped(), first.x)
    assert not first.stamping.number_of.any()
    np.testing.assert_array_equal(first.x, second.x)


@pytest.mark.slow
def test_hidden_trigger_brings_the_poison_closer_to_stamped_images_in_the_features(digits: Any) -> None:
    from art_plugins.attacks.image_models import train_image_classifier

    attack = HiddenTrigger((1, 8, 8), SOURCE, n_steps=60, size=3, eps=0.3, learning_rate=0.02, proxy=PROXY)
    x, y = digits.x_train, digits.y_train
    done = attack.poison(x, y, 0.01, TARGET)
    proxy = train_image_classifier(x, y, 10, PROXY)  # the same training gives the same network

    def features(images: np.ndarray) -> np.ndarray:
        values: np.ndarray = proxy.get_activations(images, len(proxy.layer_names) - 2, 100)
        return values

    wanted = features(attack.stamp(x[y == SOURCE]))
    before, after = (
        np.linalg.norm(features(images)[:, None] - wanted, axis=2).min(axis=1).mean()
        for images in (x[done.is_poison], done.x[done.is_poison])
    )
    assert after < 0.8 * before


def test_generators_are_seeded_inside_the_block_alone() -> None:
    with all_seeded(3):
        first = python_random.random(), np.random.uniform()  # noqa: NPY002
    with all_seeded(3):
        assert (python_random.random(), np.random.uniform()) == first  # noqa: NPY002


@pytest.mark.parametrize(
    ("make", "rate", "target", "message"),
    [
        (MAKE["sleeper_agent"], 0.02, SOURCE, "source must be a class of the set other than the target 7"),
        (MAKE["hidden_trigger"], 0.5, TARGET, "rate select at most the"),
        (lambda: SleeperAgent((1, 8, 8), 11, **SETTINGS), 0.02, TARGET, "received 11 with 0 samples"),
    ],
)
def test_what_cannot_be_made_is_refused_before_any_training(
    make: Any, rate: float, target: int, message: str, digits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("art_plugins.attacks.zoo.gradients.train_image_classifier", None)
    with pytest.raises(InvalidInputError, match=message):
        make().poison(digits.x_train, digits.y_train, rate, target)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eps": 0.0}, "eps"),
        ({"n_steps": 0}, "n_steps"),
        ({"size": 9}, "does not fit"),
        ({"source": -1}, "source"),
    ],
)
def test_bad_settings_are_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        PerturbedTarget(**{"shape": (1, 8, 8), "source": 0, **settings})  # type: ignore[abstract]
    with pytest.raises(InvalidInputError, match="n_retrainings"):
        SleeperAgent((1, 8, 8), 0, n_retrainings=0)
    with pytest.raises(InvalidInputError, match="learning_rate"):
        HiddenTrigger((1, 8, 8), 0, learning_rate=0.0)
