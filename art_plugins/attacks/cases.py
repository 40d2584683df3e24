"""The attacked models that image defences are tested on. Each is trained once and kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from art_plugins.attacks.case_triggers import ADAPTIVE, SIG_TEST, SIG_TRAINING, TRIGGERS
from art_plugins.attacks.clean_label import poison_clean_label, poison_target_class
from art_plugins.attacks.datasets.images import SETS, image_data
from art_plugins.attacks.datasets.labelled import LabelledData, drawn
from art_plugins.attacks.image_models import train_backdoored, train_image_classifier
from art_plugins.attacks.image_poisoning import (
    poison_all_to_all,
    poison_images,
    poison_several_targets,
    poison_untargeted,
    poison_with_cover,
)
from art_plugins.attacks.input_aware import input_aware_attack, separate, train_input_aware
from art_plugins.attacks.model_cache import load_or_train
from art_plugins.attacks.poisoning import PoisonedData, Trigger
from art_plugins.attacks.training_loop import ImageTraining
from art_plugins.attacks.zoo.attack import attack_data
from art_plugins.attacks.zoo.registry import ZOO
from art_plugins.errors import InvalidInputError
from art_plugins.triggers import patterns

TARGET_CLASS = 9  # of all attacks of Li et al. 2022
SECOND_TARGET = 4  # of the attack with two targets
# Of clean-label attacks: shirts, cats and the letter I. A network that tells the target class from the others without the
# trigger, as it tells ankle boots, has no use for the trigger and does not learn it.
CLEAN_LABEL_TARGETS = {"fashion_mnist": 6, "cifar10": 3, "emnist_letters": 8}
CLEAN_LABEL = ("clean_label", "adversarial")
SHORT = {"mnist": "MNIST", "fashion_mnist": "F-MNIST", "cifar10": "CIFAR-10", "gtsrb32": "GTSRB"}
SHORT |= {"emnist_letters": "EMNIST letters", "mixed46": "46 mixed classes", "mixed92": "92 mixed classes"}
# Largest change of a pixel in the attack of Turner et al.: 16 of 255 levels in their main experiments on CIFAR-10.
PERTURBATION = {"cifar10": 16 / 255, "gtsrb32": 16 / 255}
PERTURBATION |= dict.fromkeys(("mnist", "fashion_mnist", "emnist_letters", "mixed46", "mixed92"), 0.3)
MOST_OF_A_CLASS = 0.8  # share of the target class that a clean-label attack may poison
MIRRORED = ("fashion_mnist", "cifar10")  # a mirrored digit or traffic sign is another thing, or none
# How each network is trained.
RECIPES: dict[str, dict[str, Any]] = {
    "lenet5": {"nb_epochs": 6, "learning_rate": 0.05, "augment": False},
    "plain_cnn": {"nb_epochs": 6, "learning_rate": 0.05, "augment": False},
    "vit": {"nb_epochs": 20, "learning_rate": 1e-3, "augment": False},
    "resnet18_cifar": {"nb_epochs": 30, "learning_rate": 0.1, "augment": True, "precision": "bf16-mixed"},
    "vgg16": {"nb_epochs": 30, "learning_rate": 0.05, "augment": True, "precision": "bf16-mixed"},
    "mobilenet_v2": {"nb_epochs": 30, "learning_rate": 0.05, "augment": True},  # bfloat16 is no faster on a CPU
}
NO_NETWORK = "none"  # the data are poisoned, and no model is trained on them
INPUT_AWARE = "input_aware"  # comes about during the training, so that there is nothing to stamp before
# What each word for the sources adds to the title of a case.
SOURCES = {
    "multi": "",
    "single": ", single source",
    "all_to_all": ", all to all",
    "untargeted": ", untargeted",
    "two_targets": ", two targets",
    "clean_label": ", clean label",
    "adversarial": ", clean label, adversarial",
}
# Li et al. poison 100 images of each of 9 classes, or 1,000 of one; of a smaller training set the same share is taken.
N_POISON = {"multi": 900, "single": 1000, "all_to_all": 1000}
N_POISON |= dict.fromkeys(("untargeted", "two_targets", "clean_label", "adversarial"), 1000)


@dataclass(frozen=True)
class ModelCase:
    """
    One model to test defences on: its data set, its attack and its network.

    :param dataset: Name of the data set, such as ``"mnist"``.
    :param trigger: A name in ``TRIGGERS``; a name in ``ZOO``, an attack that says itself which images it poisons;
        a name in ``ADAPTIVE``: Adap-Blend or Adap-Patch, with cover images;
        ``"input_aware"``: each image has a trigger of its own, and a tenth of every batch is poisoned, or, with
        ``n_poison``, the images of a training set are stamped by the trained generator and a new model is trained on it; or
        ``"none"``: a clean model.
    :param sources: Which classes are poisoned. ``"multi"``: every class but the target; ``"single"``: class 0;
        ``"all_to_all"``: every class, and each is sent to the next one; ``"untargeted"``: every class, with random labels;
        ``"two_targets"``: every class but two, each of which has a trigger of its own; ``"clean_label"``: the target class,
        and no label changes; ``"adversarial"``: the same, with adversarial perturbations (Turner et al. 2019).
    :param network: A name in ``RECIPES``; ``"none"``: no model is trained, for filters that need none.
    :param n_poison: Number of poisoned training images; ``None``: the same share of the training set as in the paper.
    :param width: Channels of the network's first stage; ``None``: the network's default.
    :param nb_epochs: Number of training epochs; ``None``: that of the network's recipe.
    :param seed: Random seed of the poison and of the training, and of the draw of the training images.
    :param n_train: Number of training images that are drawn from the data set; ``None``: all.
    """

    dataset: str
    trigger: str
    sources: str = "multi"
    network: str = "lenet5"
    n_poison: int | None = None
    width: int | None = None
    nb_epochs: int | None = None
    seed: int = 0
    n_train: int | None = None

    @property
    def title(self) -> str:
        """Title of the case in tables; cases that differ only in their seed have the same title."""
        attack = "no attack" if self.trigger == "none" else self.trigger.replace("_", " ")
        attack = ZOO[self.trigger].title if self.trigger in ZOO else attack
        if self.trigger == INPUT_AWARE and self.n_poison is not None:
            attack += " training set"
        network = "no model" if self.network == NO_NETWORK else self.network
        return f"{SHORT[self.dataset]}, {network}, {attack}{SOURCES[self.sources]}"

    @property
    def target(self) -> int:
        """The target class, the first one where there are two."""
        keeps_labels = self.sources in CLEAN_LABEL or (self.trigger in ZOO and ZOO[self.trigger].keeps_labels)
        return CLEAN_LABEL_TARGETS.get(self.dataset, TARGET_CLASS) if keeps_labels else TARGET_CLASS

    def recipe(self) -> dict[str, Any]:
        """
        Settings of the training, by their names in :class:`~art_plugins.attacks.training_loop.ImageTraining`; none without
        a network.
        """
        if self.network == NO_NETWORK:
            return {}
        recipe = {**RECIPES[self.network], "width": self.width}
        if recipe["augment"] and self.dataset not in MIRRORED:
            recipe["augment"] = "crop"
        return recipe if self.nb_epochs is None else {**recipe, "nb_epochs": self.nb_epochs}


class AttackedModel(NamedTuple):
    """
    An attacked model and what it was made of.

    ``classifier``: an ART classifier; ``None`` where the case has no network. ``data``: the data set before the attack.
    ``attack``: the poisoned data; ``None`` for a clean set. ``training_seconds``: how long the training took, or the
    reading of the file.
    """

    classifier: Any
    data: LabelledData
    attack: PoisonedData | None
    training_seconds: float


@dataclass(frozen=True)
class Folders:
    """
    Where data sets and trained models lie.

    :param root: Folder of the data sets, each a file ``<dataset>.npz``.
    :param models: Folder of trained models, which are named by a fingerprint of their data and settings; ``None``: no
        model is kept.
    :param download: Download a data set to ``root`` where it is missing and can be downloaded.
    """

    root: str | Path
    models: str | Path | None = None
    download: bool = False


def attacked_model(case: ModelCase, folders: Folders, verbose: bool = True) -> AttackedModel:
    """Train the model of a case, or read it from the folder of models if it was trained before."""
    check_case(case, needs_network=False)
    models = folders.models
    data = image_data(case.dataset, folders.root, folders.download)
    data = data if case.n_train is None else drawn(data, case.n_train, case.seed)
    if case.network == NO_NETWORK:
        return AttackedModel(None, data, None if case.trigger == "none" else make_attack(case, data), 0.0)
    training = ImageTraining(network=case.network, random_state=case.seed, **case.recipe())
    clean: dict[str, Any] = {"x": data.x_train, "y": data.y_train, "nb_classes": len(data.class_names)}
    clean |= {"training": training, "verbose": verbose}
    attack = None
    start = time.perf_counter()
    if case.trigger == "none":
        classifier = load_or_train(models, train_image_classifier, **clean)
    elif case.trigger == INPUT_AWARE:
        joint = load_or_train(models, train_input_aware, **clean, target=TARGET_CLASS)
        classifier, trigger = separate(joint)
        if case.n_poison is None:
            attack = input_aware_attack(data, trigger, TARGET_CLASS)
        else:
            n_per_source = case.n_poison // (len(data.class_names) - 1)
            attack = poison_images(data, trigger, None, TARGET_CLASS, n_per_source, case.seed)
            classifier = train_backdoored(attack, training, models, verbose)
    else:
        attack = make_attack(case, data, lambda: load_or_train(models, train_image_classifier, **clean))
        classifier = train_backdoored(attack, training, models, verbose)
    return AttackedModel(classifier, data, attack, time.perf_counter() - start)


def make_attack(case: ModelCase, data: LabelledData, proxy: Callable[[], Any] | None = None) -> PoisonedData:
    """
    Poison the data set of a case.

    :param proxy: Gives a classifier that was trained on the clean data; only ``"adversarial"`` needs it.
    :raises InvalidInputError: If the data set has too few images for the attack.
    """
    shape, nb_classes, seed, sources = data.x_train.shape[1:], len(data.class_names), case.seed, case.sources
    share = len(data.y_train) / SETS[case.dataset].n_train
    n_poison = round(N_POISON[sources] * share) if case.n_poison is None else case.n_poison
    n_others = nb_classes - 1
    if case.trigger in ZOO:
        attack = ZOO[case.trigger].make(case.dataset, shape)
        rate = ZOO[case.trigger].rate if case.n_poison is None else case.n_poison / len(data.y_train)
        return attack_data(data, attack, rate, case.target, seed)
    if case.trigger in ADAPTIVE:
        make, n_cover = ADAPTIVE[case.trigger]
        weak, strong = make(shape)
        n_cover *= n_poison // n_others * n_others
        return poison_with_cover(data, weak, strong, TARGET_CLASS, n_poison // n_others, n_cover, seed)
    trigger = TRIGGERS[case.trigger](case.dataset, shape)
    if sources in CLEAN_LABEL:
        fraction = min(n_poison / max(1, int((data.y_train == case.target).sum())), MOST_OF_A_CLASS)
        if sources == "clean_label":
            strong = trigger
            if case.trigger == "sig":
                trigger, strong = (patterns.sinusoid(shape, amplitude) for amplitude in (SIG_TRAINING, SIG_TEST))
            return poison_target_class(data, trigger, case.target, fraction, seed, test_trigger=strong)
        if proxy is None:
            raise InvalidInputError("An adversarial perturbation needs a proxy; give a classifier of the clean data.")
        eps = PERTURBATION[case.dataset]
        return poison_clean_label(data, trigger, case.target, fraction, proxy(), eps, seed)
    if sources == "all_to_all":
        return poison_all_to_all(data, trigger, n_poison // nb_classes, seed)
    if sources == "untargeted":
        return poison_untargeted(data, trigger, n_poison // nb_classes, seed)
    if sources == "two_targets":
        triggers: dict[int, Trigger] = {TARGET_CLASS: trigger}
        triggers[SECOND_TARGET] = patterns.trojan_square(shape, 3, corner="upper left")
        return poison_several_targets(data, triggers, n_poison // 2 // (nb_classes - 2), seed)
    if sources == "single":
        return poison_images(data, trigger, [0], TARGET_CLASS, n_poison, seed)
    return poison_images(data, trigger, None, TARGET_CLASS, n_poison // n_others, seed)


def check_case(case: ModelCase, needs_network: bool = True) -> None:
    """
    Check a case before anything is trained.

    :param needs_network: Refuse a case without a network.
    :raises InvalidInputError: If a name is unknown, if an input-aware or an adaptive attack asks for other sources, or if
        an attack needs a network and the case has none.
    """
    networks = list(RECIPES) if needs_network else [*RECIPES, NO_NETWORK]
    for name, value, known in (
        ("dataset", case.dataset, SHORT),
        ("trigger", case.trigger, [*TRIGGERS, *ZOO, *ADAPTIVE, INPUT_AWARE, "none"]),
        ("sources", case.sources, SOURCES),
        ("network", case.network, networks),
    ):
        if value not in known:
            raise InvalidInputError(f"{name} must be one of {', '.join(known)}; received {value!r}.")
    if case.trigger in (*ZOO, *ADAPTIVE, INPUT_AWARE) and case.sources != "multi":
        raise InvalidInputError(
            f"{case.trigger} chooses the classes that it poisons: sources must be 'multi'; received {case.sources!r}."
        )
    if case.network == NO_NETWORK and (case.trigger == INPUT_AWARE or case.sources == "adversarial"):
        attack = INPUT_AWARE if case.trigger == INPUT_AWARE else "The adversarial clean-label attack"
        raise InvalidInputError(f"{attack} needs a network to make its poison; name one in place of {NO_NETWORK!r}.")
