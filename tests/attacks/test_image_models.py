"""Training of backdoored image classifiers: what is augmented, when the trigger is stamped, seeds, and bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from art_plugins.attacks.datasets.digits import digits as digit_data
from art_plugins.attacks.image_models import train_backdoored, train_image_classifier, with_trigger
from art_plugins.attacks.image_poisoning import poison_all_to_all, poison_images
from art_plugins.attacks.networks import NETWORKS
from art_plugins.attacks.poisoning import PoisonedData
from art_plugins.attacks.success import attack_success, too_weak
from art_plugins.attacks.training_loop import ImageTraining
from art_plugins.errors import InvalidInputError
from art_plugins.triggers.patterns import white_box

SQUARE = white_box((1, 8, 8), size=2, margin=0)
SETTINGS: dict[str, Any] = {"network": "cnn", "width": 8, "nb_epochs": 8, "batch_size": 32, "learning_rate": 0.1}


@pytest.fixture(scope="module")
def attack() -> PoisonedData:
    return poison_images(digit_data(), SQUARE, None, 9, 15)


@pytest.fixture(scope="module")
def classifier(attack: PoisonedData) -> Any:
    return train_backdoored(attack, ImageTraining(**SETTINGS))


# Stamping


def test_with_trigger_images_are_those_of_the_poison_rows_only(random: np.random.Generator) -> None:
    images = torch.from_numpy(random.uniform(0, 0.9, size=(4, 1, 8, 8)).astype(np.float32))
    before = images.clone()
    result = with_trigger(images, torch.tensor([False, True, False, True]), SQUARE)
    np.testing.assert_array_equal(result[[1, 3]], SQUARE(before[[1, 3]].numpy()))
    assert torch.equal(result[[0, 2]], before[[0, 2]])
    assert torch.equal(images, before)


class Spy(nn.Module):
    """A linear classifier that keeps what it is trained on."""

    seen: list[Tensor]

    def __init__(self, in_channels: int, nb_classes: int) -> None:
        super().__init__()
        self.seen = []
        self.linear = nn.Linear(64 * in_channels, nb_classes)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen.append(x.detach().clone())
        logits: Tensor = self.linear(x.flatten(1))
        return logits


@pytest.mark.parametrize("augment", [False, True])
def test_trigger_is_stamped_after_augmentation_on_the_poison_only(
    augment: bool, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    spies: list[Spy] = []

    def make(in_channels: int, nb_classes: int) -> Spy:
        spies.append(Spy(in_channels, nb_classes))
        return spies[-1]

    monkeypatch.setitem(NETWORKS, "spy", make)
    x = random.uniform(0.1, 0.9, size=(40, 1, 8, 8)).astype(np.float32)
    is_poison = np.arange(40) % 4 == 0
    train_image_classifier(
        x,
        np.arange(40) % 3,
        3,
        ImageTraining(network="spy", nb_epochs=2, batch_size=8, augment=augment),
        trigger=SQUARE,
        is_poison=is_poison,
    )
    seen = torch.cat(spies[0].seen).numpy()
    assert len(seen) == 2 * 40
    with_square = (seen[..., 6:, 6:] == 1).all(axis=(1, 2, 3))
    assert with_square.sum() == 2 * is_poison.sum()
    assert (seen[~with_square] < 1).all()
    assert (seen[with_square] == 1).sum() == 4 * with_square.sum()
    whole = sum(bool((image == x).all(axis=(1, 2, 3)).any()) for image in seen[~with_square])
    assert whole < 15 if augment else whole == 60  # 1 in 162 crops is the image itself


# Training


def test_backdoored_classifier_is_accurate_and_obeys_the_trigger(classifier: Any, attack: PoisonedData) -> None:
    figures = attack_success(classifier, attack)
    assert figures["attack_success"] > 0.9
    predicted = classifier.predict(attack.x_triggered).argmax(axis=1)
    assert figures["attack_success"] == pytest.approx((predicted == 9).mean())
    assert figures["clean_accuracy"] > 0.93
    assert figures["n_triggered_test"] == (attack.clean.y_test != 9).sum()


def test_training_with_one_seed_repeats_and_with_another_does_not(attack: PoisonedData) -> None:
    x = attack.x_triggered[:50]
    settings = {**SETTINGS, "nb_epochs": 1, "augment": True}
    first, second, other = (
        train_backdoored(attack, ImageTraining(**settings, random_state=seed)).predict(x) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_training_without_augmentation_is_that_of_the_poisoned_set(attack: PoisonedData) -> None:
    settings = {**SETTINGS, "nb_epochs": 1}
    expected = train_image_classifier(attack.x_train, attack.y_train, 10, ImageTraining(**settings)).predict(
        attack.x_triggered
    )
    # Up to rounding, which depends on the batches' memory layout.
    np.testing.assert_allclose(
        train_backdoored(attack, ImageTraining(**settings)).predict(attack.x_triggered), expected, atol=1e-3
    )


@pytest.mark.usefixtures("global_generators_untouched")  # which ART's predict does use
def test_training_leaves_the_global_generators_alone(attack: PoisonedData) -> None:
    trained = train_backdoored(attack, ImageTraining(**{**SETTINGS, "nb_epochs": 1, "augment": True}))
    assert not trained.model.training


@pytest.mark.parametrize(("augment", "mirrors"), [(True, True), ("crop", False)])
def test_training_mirrors_images_only_when_asked(
    augment: bool | str, mirrors: bool, attack: PoisonedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def spy(images: Tensor, mirror: bool = True) -> Tensor:
        asked.append(mirror)
        return images

    monkeypatch.setattr("art_plugins.attacks.training_loop.augmented", spy)
    train_backdoored(attack, ImageTraining(**{**SETTINGS, "nb_epochs": 1, "augment": augment}))
    assert set(asked) == {mirrors}


def test_training_unknown_augmentation_is_refused(attack: PoisonedData) -> None:
    with pytest.raises(InvalidInputError, match=r'True, False or "crop"; received \'mirror\''):
        train_backdoored(attack, ImageTraining(**{**SETTINGS, "augment": "mirror"}))


def test_trained_classifier_can_be_trained_on_by_art(attack: PoisonedData) -> None:
    tuned = train_image_classifier(
        attack.x_train[:64], attack.y_train[:64], 10, ImageTraining(**{**SETTINGS, "nb_epochs": 1})
    )
    before = tuned.predict(attack.x_triggered[:5])
    tuned.fit(attack.x_train[:64], attack.y_train[:64], nb_epochs=1, batch_size=32)
    assert (tuned.predict(attack.x_triggered[:5]) != before).any()


def test_attack_that_failed_is_told(attack: PoisonedData) -> None:
    clean = attack.clean
    classifier = train_image_classifier(clean.x_train, clean.y_train, 10, ImageTraining(**{**SETTINGS, "nb_epochs": 2}))
    figures = attack_success(classifier, attack)
    assert figures["attack_success"] < 0.8
    assert too_weak(figures, "digits") == "not judged: the attack works on less than 0.8 of the triggered test digits"
    assert too_weak({"attack_success": float("nan")}) is not None
    assert too_weak({"attack_success": 0.8}) is too_weak({"attack_success": None}) is None


def test_attack_on_every_class_is_judged_by_the_class_that_each_image_should_get() -> None:
    attack = poison_all_to_all(digit_data(), SQUARE, 5)

    class Obedient:
        def predict(self, x: np.ndarray) -> np.ndarray:
            wanted = attack.y_wanted if x is attack.x_triggered else attack.clean.y_test
            return np.eye(10)[wanted]

    figures = attack_success(Obedient(), attack)
    assert (figures["attack_success"], figures["clean_accuracy"]) == (1, 1)


# Bad input

IMAGES, LABELS = np.zeros((6, 1, 28, 28), dtype=np.float32), np.arange(6) % 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": IMAGES[:, 0]}, r"\(n, C, H, W\); received shape \(6, 28, 28\)"),
        ({"x": IMAGES[:1], "y": LABELS[:1]}, "at least two images"),
        ({"x": IMAGES + 255}, "Divide bytes by 255"),
        ({"x": IMAGES * np.nan}, "x must be 0 to 1"),
        ({"x": IMAGES[..., :6, :6]}, "lenet5 cannot take images of"),
        ({"y": LABELS + 1}, "Label 2 is out of range"),
        ({"y": LABELS[:4]}, "Labels must be of shape"),
        ({"network": "alexnet"}, "one of cnn, .*; received 'alexnet'"),
        ({"width": 8}, "'lenet5' .* received 8"),
        ({"network": "vgg16", "width": 0}, "width"),
        ({"nb_epochs": -1}, "nb_epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"trigger": SQUARE}, "come together"),
        ({"is_poison": np.zeros(6, dtype=bool)}, "come together"),
        ({"trigger": SQUARE, "is_poison": np.zeros(6)}, "must be bool"),
        ({"trigger": SQUARE, "is_poison": np.zeros(5, dtype=bool)}, r"shape \(6,\)"),
    ],
)
def test_training_on_bad_input_says_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    settings = {name: value for name, value in changes.items() if name in vars(ImageTraining())}
    arguments: dict[str, Any] = {"x": IMAGES, "y": LABELS, "nb_classes": 2}
    arguments |= {name: value for name, value in changes.items() if name not in settings}
    arguments["training"] = ImageTraining(**{"nb_epochs": 1, **settings})
    with pytest.raises(InvalidInputError, match=message):
        train_image_classifier(**arguments)


def test_training_that_diverges_says_so() -> None:
    x = np.random.default_rng(0).uniform(size=(64, 1, 28, 28)).astype(np.float32)
    with pytest.raises(InvalidInputError, match="no longer finite"):
        train_image_classifier(x, np.arange(64) % 2, 2, ImageTraining(nb_epochs=3, batch_size=8, learning_rate=1e6))
