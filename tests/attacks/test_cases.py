"""Cases of attacked models: names, recipes, what is poisoned, and trainings that are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from art_plugins.attacks import cases
from art_plugins.attacks.case_triggers import ADAPTIVE, TRIGGERS
from art_plugins.attacks.cases import (
    RECIPES,
    SHORT,
    TARGET_CLASS,
    Folders,
    ModelCase,
    attacked_model,
    check_case,
    make_attack,
)
from art_plugins.attacks.datasets.images import SETS, image_data
from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.attacks.networks import NETWORKS
from art_plugins.errors import InvalidInputError

N_CLASSES = 13


@pytest.fixture
def signs(tmp_path: Path) -> Path:
    """A folder with 13 classes of 60 small traffic signs each: a colour a class, and noise."""
    random = np.random.default_rng(0)
    arrays = {}
    for part, n_of_class in (("train", 60), ("test", 4)):
        labels = np.repeat(np.arange(N_CLASSES), n_of_class)
        colours = np.stack([labels % 3, labels // 3 % 3, labels // 9], axis=1)[:, None, None] * 110
        noise = random.integers(0, 30, size=(len(labels), 32, 32, 3))
        arrays |= {f"x_{part}": (colours + noise).astype(np.uint8), f"y_{part}": labels}
    np.savez(tmp_path / "gtsrb32.npz", **arrays, class_names=np.array([f"{label:02d}" for label in range(N_CLASSES)]))
    return tmp_path


@pytest.fixture
def data(signs: Path) -> LabelledData:
    return image_data("gtsrb32", signs)


@pytest.mark.parametrize("network", RECIPES)
@pytest.mark.parametrize("dataset", SHORT)
def test_recipe_mirrors_only_where_a_mirror_image_is_of_the_same_class(dataset: str, network: str) -> None:
    recipe = ModelCase(dataset, "none", network=network).recipe()
    assert network in NETWORKS
    assert dataset in SETS
    if network in ("lenet5", "plain_cnn", "vit"):
        assert recipe["augment"] is False
    else:
        assert recipe["augment"] == (True if dataset in ("cifar10", "fashion_mnist") else "crop")


def test_recipe_takes_the_width_and_the_epochs_of_the_case() -> None:
    case = ModelCase("gtsrb32", "warp", network="mobilenet_v2", width=16, nb_epochs=10)
    assert {"width": 16, "nb_epochs": 10}.items() <= case.recipe().items()
    assert ModelCase("gtsrb32", "warp", network="mobilenet_v2").recipe()["nb_epochs"] == 30
    assert RECIPES["mobilenet_v2"]["augment"] is True  # the recipes are not changed


@pytest.mark.parametrize(
    ("case", "title"),
    [
        (ModelCase("mnist", "white_box"), "MNIST, lenet5, white box"),
        (ModelCase("cifar10", "none", network="vgg16"), "CIFAR-10, vgg16, no attack"),
        (ModelCase("gtsrb32", "warp", "single", "mobilenet_v2"), "GTSRB, mobilenet_v2, warp, single source"),
        (ModelCase("emnist_letters", "white_box", "untargeted", "vit"), "EMNIST letters, vit, white box, untargeted"),
        (ModelCase("mnist", "sig", "clean_label", "plain_cnn"), "MNIST, plain_cnn, sig, clean label"),
        (ModelCase("gtsrb32", "blended", "all_to_all", "mobilenet_v2"), "GTSRB, mobilenet_v2, blended, all to all"),
    ],
)
def test_title_says_what_the_case_is(case: ModelCase, title: str) -> None:
    assert case.title == title


@pytest.mark.parametrize("name", ["dataset", "trigger", "sources", "network"])
def test_case_with_an_unknown_name_is_refused(name: str) -> None:
    known: dict[str, Any] = {"dataset": "mnist", "trigger": "warp", "sources": "multi", "network": "lenet5"}
    check_case(ModelCase(**known))
    with pytest.raises(InvalidInputError, match=f"{name} must be one of .*received 'other'"):
        check_case(ModelCase(**{**known, name: "other"}))


def test_attack_of_signs_poisons_the_same_share_of_every_class_but_the_target(data: LabelledData) -> None:
    attack = make_attack(ModelCase("gtsrb32", "white_box", n_poison=36), data)
    assert attack.target == TARGET_CLASS
    assert attack.is_poison.sum() == 36
    assert np.bincount(data.y_train[attack.is_poison], minlength=N_CLASSES).tolist() == [3] * 9 + [0] + [3] * 3
    assert (attack.y_train[attack.is_poison] == TARGET_CLASS).all()
    np.testing.assert_array_equal(attack.x_train[~attack.is_poison], data.x_train[~attack.is_poison])


def test_attack_without_a_number_takes_the_papers_share_of_the_published_set(data: LabelledData) -> None:
    # 900 of 39,209 images are 18 of 780: one of each of 12 classes.
    assert make_attack(ModelCase("gtsrb32", "white_box"), data).is_poison.sum() == 12


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_every_trigger_changes_signs_and_keeps_their_range(trigger: str, data: LabelledData) -> None:
    attack = make_attack(ModelCase("gtsrb32", trigger, n_poison=12), data)
    changed = (attack.x_train != data.x_train).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(changed, attack.is_poison)
    assert 0 <= attack.x_train.min() <= attack.x_train.max() <= 1


@pytest.mark.slow
def test_attacked_model_is_trained_once_and_read_the_second_time(
    signs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cases.RECIPES, "mobilenet_v2", {"nb_epochs": 1, "learning_rate": 0.05, "augment": True})
    case = ModelCase("gtsrb32", "white_box", network="mobilenet_v2", width=2, n_poison=12)
    first = attacked_model(case, Folders(signs, tmp_path / "models"), verbose=False)
    assert first.attack is not None
    files = list((tmp_path / "models").iterdir())
    assert [file.name.split("-")[0] for file in files] == ["mobilenet_v2"]
    written = files[0].stat().st_mtime_ns
    second = attacked_model(case, Folders(signs, tmp_path / "models"), verbose=False)
    assert [file.stat().st_mtime_ns for file in (tmp_path / "models").iterdir()] == [written]
    x = first.data.x_test[:4]
    np.testing.assert_array_equal(first.classifier.predict(x), second.classifier.predict(x))


def test_attacked_model_without_an_attack_is_trained_on_the_data_as_they_are(signs: Path) -> None:
    case = ModelCase("gtsrb32", "none", network="mobilenet_v2", width=2, nb_epochs=0)
    model = attacked_model(case, Folders(signs), verbose=False)
    assert model.attack is None
    assert model.classifier.nb_classes == N_CLASSES


@pytest.mark.parametrize("trigger", ADAPTIVE)
def test_adaptive_cases_have_cover_images_that_keep_their_label(trigger: str, data: LabelledData) -> None:
    attack = make_attack(ModelCase("gtsrb32", trigger, n_poison=36), data)
    assert attack.is_poison.sum() == 36
    assert attack.is_cover.sum() == 36 * ADAPTIVE[trigger][1]
    np.testing.assert_array_equal(attack.y_train[attack.is_cover], data.y_train[attack.is_cover])
    changed = (attack.x_train != data.x_train).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(changed, attack.is_poison | attack.is_cover)
    with pytest.raises(InvalidInputError, match="sources must be 'multi'"):
        check_case(ModelCase("gtsrb32", trigger, "single"))


@pytest.mark.parametrize(
    ("sources", "n_poison", "n_of_target"), [("untargeted", 39, 3), ("two_targets", 44, 0), ("clean_label", 30, 30)]
)
def test_cases_poison_as_many_images_as_they_say(sources: str, n_poison: int, n_of_target: int, data: LabelledData) -> None:
    attack = make_attack(ModelCase("gtsrb32", "white_box", sources, n_poison=n_poison), data)
    assert attack.is_poison.sum() == n_poison
    assert (data.y_train[attack.is_poison] == TARGET_CLASS).sum() == n_of_target


def test_a_clean_label_case_poisons_at_most_four_fifths_of_the_target_class(data: LabelledData) -> None:
    attack = make_attack(ModelCase("gtsrb32", "sig", "clean_label", n_poison=500), data)
    assert attack.is_poison.sum() == 48  # of 60


def test_clean_label_cases_have_a_target_that_networks_confuse_with_others() -> None:
    assert ModelCase("fashion_mnist", "sig").target == ModelCase("gtsrb32", "sig", "clean_label").target == TARGET_CLASS
    assert ModelCase("fashion_mnist", "sig", "clean_label").target == 6
    assert ModelCase("cifar10", "four_corners", "adversarial").target == 3


def test_a_sig_case_without_a_change_of_labels_is_stronger_at_test_time(data: LabelledData) -> None:
    attack = make_attack(ModelCase("gtsrb32", "sig", "clean_label", n_poison=30), data)
    moved = attack.x_train - data.x_train
    assert np.abs(moved[attack.is_poison]).max() == pytest.approx(40 / 255, rel=0.02)
    moved = attack.x_triggered - data.x_test[data.y_test != TARGET_CLASS]
    assert np.abs(moved).max() == pytest.approx(80 / 255, rel=0.02)
    dirty = make_attack(ModelCase("gtsrb32", "sig", n_poison=36), data)
    assert np.abs(dirty.x_train - data.x_train).max() == pytest.approx(20 / 255, rel=0.02)


def test_an_adversarial_case_perturbs_by_a_proxy_and_needs_one(data: LabelledData) -> None:
    case = ModelCase("gtsrb32", "four_corners", "adversarial", n_poison=30)
    with pytest.raises(InvalidInputError, match="needs a proxy"):
        make_attack(case, data)


def test_a_case_of_fewer_training_images_draws_them_by_its_seed(signs: Path) -> None:
    case = ModelCase("gtsrb32", "white_box", n_poison=12, nb_epochs=0, n_train=130)
    models = [attacked_model(replace(case, seed=seed), Folders(signs), verbose=False) for seed in (0, 0, 1)]
    assert len(models[0].data.y_train) == 130
    np.testing.assert_array_equal(models[0].data.x_train, models[1].data.x_train)
    assert (models[0].data.x_train != models[2].data.x_train).any()
