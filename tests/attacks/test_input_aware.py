"""The input-aware attack: an image's own trigger opens the backdoor, another image's does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from art_plugins.attacks.cases import INPUT_AWARE, TARGET_CLASS, Folders, ModelCase, attacked_model, check_case
from art_plugins.attacks.datasets.digits import digits as digit_data
from art_plugins.attacks.input_aware import _sameness, input_aware_attack, separate, train_input_aware
from art_plugins.attacks.model_cache import load_or_train
from art_plugins.attacks.success import attack_success
from art_plugins.attacks.training_loop import ImageTraining
from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.layerwise_run import run_layerwise
from art_plugins.evaluation.running.runs import Recording
from art_plugins.features.classifiers import torch_module

SETTINGS: dict[str, Any] = {"network": "cnn", "width": 16, "batch_size": 64, "learning_rate": 0.05}
DATA = digit_data()


def trained(nb_epochs: int, **changes: Any) -> Any:
    mask_epochs = changes.pop("mask_epochs", 2)
    training = ImageTraining(nb_epochs=nb_epochs, **{**SETTINGS, **changes})
    return train_input_aware(DATA.x_train, DATA.y_train, 10, TARGET_CLASS, training, mask_epochs=mask_epochs)


def test_sameness_is_the_papers_ratio_of_distances(random: np.random.Generator) -> None:
    images, patterns = random.uniform(size=(4, 3, 5, 5)), random.uniform(size=(4, 1, 5, 5))
    ratios = []
    for one in range(4):
        apart = np.sqrt(((images[one] - images[one - 1]) ** 2).mean())
        ratios.append(apart / (np.sqrt(((patterns[one] - patterns[one - 1]) ** 2).mean()) + 1e-4))
    found = _sameness(torch.from_numpy(images), torch.from_numpy(patterns))
    np.testing.assert_allclose(float(found), np.mean(ratios), rtol=1e-5)


@pytest.mark.slow
def test_input_aware_own_trigger_opens_the_backdoor_and_anothers_does_not() -> None:
    classifier, trigger = separate(trained(nb_epochs=80, mask_epochs=10))
    attack = input_aware_attack(DATA, trigger, TARGET_CLASS)

    def classes(x: np.ndarray) -> np.ndarray:
        found: np.ndarray = classifier.predict(x).argmax(axis=1)
        return found

    others = DATA.y_test != TARGET_CLASS
    x, y = DATA.x_test[others], DATA.y_test[others]
    figures = attack_success(classifier, attack)
    assert figures["attack_success"] >= 0.7
    success = (classes(attack.x_triggered) == TARGET_CLASS).mean()
    crossed = (classes(trigger.crossed(x, np.random.default_rng(0).permutation(x))) == TARGET_CLASS).mean()
    assert figures["attack_success"] == pytest.approx(success)
    assert figures["crossed_success"] == pytest.approx(crossed)
    assert (classes(x) == y).mean() > 0.9
    assert crossed < success / 2
    assert not attack.is_poison.any()
    np.testing.assert_array_equal(attack.y_source, y)
    assert attack.sources == tuple(range(9))
    assert (attack.y_wanted == TARGET_CLASS).all()


@pytest.mark.usefixtures("global_generators_untouched")
def test_input_aware_same_seed_gives_the_same_networks_and_another_does_not() -> None:
    first, same, other = (trained(1, random_state=seed, mask_epochs=1) for seed in (0, 0, 1))
    states = [torch_module(one).state_dict() for one in (first, same, other)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not all(torch.equal(value, states[2][name]) for name, value in states[0].items())


def test_input_aware_model_is_kept_with_its_trigger(tmp_path: Path) -> None:
    arguments = {"x": DATA.x_train, "y": DATA.y_train, "nb_classes": 10, "target": 9}
    arguments["training"] = ImageTraining(nb_epochs=1, **SETTINGS)
    first, second = (separate(load_or_train(tmp_path, train_input_aware, **arguments)) for _ in range(2))
    assert len(list(tmp_path.iterdir())) == 1
    x = DATA.x_test[:20]
    np.testing.assert_array_equal(first[0].predict(x), second[0].predict(x))
    np.testing.assert_array_equal(first[1](x), second[1](x))


def test_separate_gives_a_classifier_without_the_generator() -> None:
    joint = trained(0)
    classifier, trigger = separate(joint)
    names = {name for name, _ in torch_module(classifier).named_modules()}
    assert not any("generator" in name for name in names)
    x = DATA.x_test[:5]
    np.testing.assert_array_equal(classifier.predict(x), joint.predict(x))
    assert not trigger.generator.training


@pytest.mark.parametrize("changes", [{"target": 10}, {"target": -1}, {"batch_size": 19}, {"x": DATA.x_train[..., :3]}])
def test_input_aware_bad_arguments_are_refused(changes: dict[str, Any]) -> None:
    training = ImageTraining(**{**SETTINGS, "batch_size": changes.pop("batch_size", 64)})
    arguments = {"x": DATA.x_train, "y": DATA.y_train, "nb_classes": 10, "target": 9, "training": training, **changes}
    with pytest.raises(InvalidInputError, match="target must be 0 to 9, an image's side at least 4 and batch_size"):
        train_input_aware(**arguments)


def test_case_of_an_input_aware_attack_has_no_sources_to_choose() -> None:
    check_case(ModelCase("mnist", INPUT_AWARE))
    with pytest.raises(InvalidInputError, match="sources must be 'multi'"):
        check_case(ModelCase("mnist", INPUT_AWARE, sources="single"))


def test_case_of_an_input_aware_training_set_stamps_images_by_the_generator_and_trains_anew(tmp_path: Path) -> None:
    x, y = np.repeat(DATA.x_train, 4, axis=2).repeat(4, axis=3)[:, 0], DATA.y_train
    np.savez(tmp_path / "mnist.npz", x_train=x, y_train=y, x_test=x[:50], y_test=y[:50])
    case = ModelCase("mnist", INPUT_AWARE, network="plain_cnn", width=2, n_poison=90, nb_epochs=1, n_train=400)
    folders = Folders(tmp_path, tmp_path / "models")
    model = attacked_model(case, folders, verbose=False)
    assert model.attack is not None
    assert model.attack.is_poison.sum() == 90
    changed = (model.attack.x_train != model.data.x_train).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(changed, model.attack.is_poison)
    np.testing.assert_array_equal(model.attack.x_train[changed], model.attack.trigger(model.data.x_train[changed]))
    assert len(list((tmp_path / "models").iterdir())) == 2  # the joint training, and that on the stamped set
    assert case.title == "MNIST, plain_cnn, input aware training set"


def test_filters_on_an_input_aware_attack_are_refused_before_any_training(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="--no-filters"):
        run_layerwise([ModelCase("mnist", INPUT_AWARE)], Folders(tmp_path / "nowhere"), Recording(tmp_path, "command"))
