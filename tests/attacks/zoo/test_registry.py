"""Every attack of the registry: named, made, used by the commands' names; and the page that says how to add one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from art_plugins.attacks.case_triggers import ADAPTIVE, TRIGGERS
from art_plugins.attacks.cases import INPUT_AWARE, ModelCase, check_case, make_attack
from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.attacks.image_models import train_image_classifier
from art_plugins.attacks.success import attack_success
from art_plugins.attacks.training_loop import ImageTraining
from art_plugins.attacks.zoo.attack import Attack, CleanLabel, DirtyLabel, attack_data
from art_plugins.attacks.zoo.gradients import PerturbedTarget
from art_plugins.attacks.zoo.learned import LearnedTrigger
from art_plugins.attacks.zoo.registry import CLASSIC, IMAGE_ATTACKS, SOUND_ATTACKS, SOUNDS, ZOO, image_attack, sound_attack
from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.filter_rates import ATTACKS
from art_plugins.triggers.named_sounds import sound_triggers

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how_to" / "add_an_attack.md"
SHAPE = (3, 32, 32)


@pytest.fixture(scope="module")
def images() -> LabelledData:
    """Ten classes of 30 colour images: a brightness a class, and noise."""
    random = np.random.default_rng(0)
    y = np.repeat(np.arange(10), 30)
    x = (y[:, None, None, None] / 15 + 0.2 * random.uniform(size=(300, *SHAPE))).astype(np.float32)
    return LabelledData(x, y, x[::5], y[::5], tuple(map(str, range(10))))


@pytest.mark.parametrize("name", IMAGE_ATTACKS)
def test_every_image_attack_says_who_published_it_and_is_made_by_name(name: str) -> None:
    published, attack = IMAGE_ATTACKS[name], image_attack(name, SHAPE, "cifar10")
    assert isinstance(attack, Attack)
    assert published.title
    assert re.search(r"\b(19|20)\d\d\b", published.paper)
    assert 0 < published.rate <= 0.1
    assert name in ATTACKS  # art-plugins filters --attack NAME
    assert published.keeps_labels == isinstance(attack, (CleanLabel, PerturbedTarget)) or name.startswith("refool")


@pytest.mark.parametrize("name", ZOO)
def test_every_new_attack_is_a_case_by_name(name: str) -> None:
    trigger, sources = ATTACKS[name]
    case = ModelCase("fashion_mnist", trigger, sources)
    check_case(case)
    assert ZOO[name].title in case.title
    assert case.target == (6 if ZOO[name].keeps_labels else 9)
    with pytest.raises(InvalidInputError, match="sources must be 'multi'"):
        check_case(ModelCase("fashion_mnist", trigger, "single"))


def test_names_of_the_registry_do_not_hide_those_of_older_cases() -> None:
    assert not set(ZOO) & {*TRIGGERS, *ADAPTIVE, INPUT_AWARE, "none"}
    assert not set(ZOO) & set(CLASSIC)


@pytest.mark.parametrize("name", [name for name in IMAGE_ATTACKS if name not in ("sleeper_agent", "hidden_trigger")])
def test_every_image_attack_poisons_its_share_and_stamps(name: str, images: LabelledData) -> None:
    attack = image_attack(name, SHAPE, "cifar10")
    if isinstance(attack, LearnedTrigger):
        attack.n_steps = 2
    target = 3
    data = attack_data(images, attack, 0.04, target)
    assert data.is_poison.sum() == 12
    assert (data.y_train[data.is_poison] == target).all()
    assert (data.x_train[data.is_poison] != images.x_train[data.is_poison]).any()
    assert 0 <= data.x_train.min() <= data.x_train.max() <= 1
    clean = images.x_test[np.isin(images.y_test, data.sources)]
    assert data.x_triggered.shape == clean.shape
    assert (data.x_triggered != clean).any(axis=(1, 2, 3)).mean() > 0.9


def test_a_case_poisons_by_the_share_of_the_registry_or_by_number(images: LabelledData) -> None:
    assert make_attack(ModelCase("cifar10", "tact"), images).is_poison.sum() == 6  # 2 %
    assert make_attack(ModelCase("cifar10", "bpp", n_poison=20), images).is_poison.sum() == 20


@pytest.mark.parametrize("name", [name for name in SOUND_ATTACKS if name not in ("clapping", "ultrasonic")])
def test_every_sound_attack_poisons_and_stamps_what_the_commands_know_by_this_name(name: str) -> None:
    published, attack = SOUND_ATTACKS[name], sound_attack(name)
    length = 16_000 if name.startswith("chord") else 4_000
    x = (0.2 * np.random.default_rng(0).normal(size=(20, length))).clip(-1, 1).astype(np.float32)
    y = np.arange(20) % 4
    done = attack.poison(x, y, 0.1, 1)
    assert done.is_poison.sum() == 2
    assert (y[done.is_poison] == 1).all() == published.keeps_labels == isinstance(attack, CleanLabel)
    trigger = sound_triggers()[name.removesuffix("_clean_label")]()
    np.testing.assert_array_equal(done.x[done.is_poison], trigger(x[done.is_poison]))
    np.testing.assert_array_equal(done.x[~done.is_poison], x[~done.is_poison])


def test_sounds_of_the_registry_are_triggers_of_the_commands() -> None:
    assert set(SOUNDS) <= set(sound_triggers())
    with pytest.raises(InvalidInputError, match="16000 Hz carries"):
        sound_attack("ultrasonic", 16_000)
    assert isinstance(sound_attack("ultrasonic", 44_100), DirtyLabel)


def test_unknown_names_are_refused_with_all_names() -> None:
    with pytest.raises(InvalidInputError, match=r"attack must be one of patch, .*tact.*received 'gong'"):
        image_attack("gong", SHAPE)
    with pytest.raises(InvalidInputError, match=r"attack must be one of clapping, .*room.*received 'gong'"):
        sound_attack("gong")


def test_page_add_an_attack_gives_an_attack_that_works(digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    code = "".join(blocks[:2])  # the trigger, and the attack's name
    assert len([line for line in code.splitlines() if line.strip() and not line.startswith(("from", "import"))]) <= 20
    defined: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), defined)
    monkeypatch.setitem(IMAGE_ATTACKS, "frame", defined["FRAME"])
    attack = image_attack("frame", (1, 8, 8))
    (stamped,) = attack.stamp(digits.x_test[:1])
    assert (stamped[0, [0, -1]] == 1).all()
    np.testing.assert_array_equal(stamped[:, 1:-1, 1:-1], digits.x_test[0, :, 1:-1, 1:-1])
    labels = tuple(map(str, range(10)))
    data = LabelledData(digits.x_train, digits.y_train.astype(np.int64), digits.x_test, digits.y_test, labels)
    attacked = attack_data(data, attack, defined["FRAME"].rate, target=3)
    training = ImageTraining(network="plain_cnn", nb_epochs=12, batch_size=32)
    classifier = train_image_classifier(attacked.x_train, attacked.y_train, 10, training)
    figures = attack_success(classifier, attacked)
    assert figures["attack_success"] > 0.8
    assert figures["clean_accuracy"] > 0.9
