"""Measures how well attacks work: data sets of images or speech, attacks, shares of poison and seeds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import product
from typing import Any

from art_plugins.attacks.cases import RECIPES, SHORT, Folders, ModelCase
from art_plugins.attacks.datasets.images import image_data
from art_plugins.attacks.datasets.labelled import LabelledData, drawn
from art_plugins.attacks.image_models import train_backdoored, train_image_classifier
from art_plugins.attacks.model_cache import load_or_train
from art_plugins.attacks.poisoning import PoisonedData
from art_plugins.attacks.speech_cases import NETWORK, SPEECH, TARGET, TITLE, SpeechCase, speech_attack, speech_data
from art_plugins.attacks.success import attack_success
from art_plugins.attacks.training_loop import ImageTraining, Training
from art_plugins.attacks.waveform_models import train_classifier
from art_plugins.attacks.zoo.attack import attack_data
from art_plugins.attacks.zoo.registry import IMAGE_ATTACKS, SOUND_ATTACKS, Published
from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.running.runs import Recording, recorded_runs, run_name
from art_plugins.parameters import check_choice, check_number
from art_plugins.reports.record_files import ATTACK_RATES

DATASETS = (*SHORT, SPEECH)


@dataclass(frozen=True)
class AttackPlan:
    """
    Which attacks are measured.

    :param datasets: Names in ``DATASETS``.
    :param attacks: Names in ``IMAGE_ATTACKS``, or in ``SOUND_ATTACKS`` for speech; none: all of the data set's kind.
    :param shares: Shares of the whole training set that are poisoned; none: that of each attack.
    :param seeds: Random seeds of the draw, the poison and the training.
    :param network: Network for images, by name; speech has the small convolutional network.
    :param n_train: Number of training images that are drawn; ``None``: all. For speech it is the most clips of each class,
        unless ``n_clips`` says otherwise.
    :param n_clips: For speech: the most clips of each class.
    :param nb_epochs: Number of training epochs; ``None``: by network.
    """

    datasets: Sequence[str]
    attacks: Sequence[str] = ()
    shares: Sequence[float] = ()
    seeds: Sequence[int] = (0,)
    network: str = "lenet5"
    n_train: int | None = None
    nb_epochs: int | None = None
    n_clips: int | None = None

    def __post_init__(self) -> None:
        check_choice("network", self.network, RECIPES)
        for share in self.shares:
            check_number("share", share, "a share of the training set", above=0, below=1)
        for dataset in self.datasets:
            check_choice("dataset", dataset, DATASETS)
            for name in self.attacks:
                check_choice("attack", name, attacks_on(dataset))

    def runs(self) -> list[tuple[str, str, float, int]]:
        """All runs: data set, attack, share and seed, those with the same data one after another."""
        found = []
        for dataset, seed in product(self.datasets, self.seeds):
            known = attacks_on(dataset)
            for name in self.attacks or known:
                found += [(dataset, name, share, seed) for share in self.shares or [known[name].rate]]
        return found


def attacks_on(dataset: str) -> dict[str, Published]:
    """Give the attacks of the registry that a data set can have."""
    return SOUND_ATTACKS if dataset == SPEECH else IMAGE_ATTACKS


def run_attacks(plan: AttackPlan, folders: Folders, recording: Recording) -> dict[str, Any]:
    """
    Train a model on every poisoned set and write ``record.json`` and ``table.md``; the same call goes on where it stopped.

    :return: The record.
    :raises InvalidInputError: Before any training, if a data set is missing.
    """
    data = cache(partial(_data, plan, folders))
    for dataset in plan.datasets:
        data(dataset, plan.seeds[0])
    jobs = {
        run_name("-".join(map(str, one)), asdict(plan)["network"], plan.n_train, plan.nb_epochs, plan.n_clips): partial(
            measure, plan, folders, data, one, recording.verbose
        )
        for one in plan.runs()
    }
    return recorded_runs(ATTACK_RATES, jobs, recording)


def measure(
    plan: AttackPlan, folders: Folders, data: Any, run: tuple[str, str, float, int], verbose: bool = True
) -> dict[str, Any]:
    """
    Poison, train and count.

    :param data: Gives the clean data of a data set and a seed.
    :param run: Data set, attack, share and seed.
    :return: JSON-safe. ``note`` says why an attack could not be made. Else ``attack_success`` and ``clean_accuracy`` of the
        attacked model, ``clean_success`` (the share of the triggered samples that a clean model sends to the target),
        counts, and the seconds of the poisoning and of the training of the attacked model.
    """
    dataset, name, share, seed = run
    published, clean = attacks_on(dataset)[name], data(dataset, seed)
    title = f"{SHORT.get(dataset, TITLE)}, {plan.network if dataset in SHORT else NETWORK}, {published.title}"
    row: dict[str, Any] = {"title": f"{title}, {100 * share:g} %", "paper": published.paper, "attack": name, "seed": seed}
    row |= {"dataset": dataset, "share": share, "n_train": len(clean.y_train), "data_notes": clean.notes, "note": None}
    start = time.perf_counter()
    try:
        if dataset == SPEECH:
            clean, attack = speech_attack(name, clean)
            target = clean.class_names.index(TARGET)
        else:
            attack = published.make(dataset, clean.x_train.shape[1:])
            target = _target(dataset, published)
        attacked = attack_data(clean, attack, share, target, seed)
    except InvalidInputError as error:
        return row | {"note": f"the attack cannot be made: {error}"}
    training = _training(plan, dataset, seed)
    classifier = _trained(attacked, training, folders, verbose)
    row["seconds"] = time.perf_counter() - start
    figures = attack_success(classifier, attacked)
    reference = _trained_clean(clean, training, folders, verbose)
    sent = reference.predict(attacked.x_triggered).argmax(axis=1) == attacked.y_wanted
    return row | figures | {"clean_success": float(sent.mean()), "n_poison": int(attacked.is_poison.sum())}


def _data(plan: AttackPlan, folders: Folders, dataset: str, seed: int) -> LabelledData:
    if dataset == SPEECH:
        return speech_data(folders.root, plan.n_clips or plan.n_train, seed)
    data = image_data(dataset, folders.root, folders.download)
    return data if plan.n_train is None or plan.n_train >= len(data.y_train) else drawn(data, plan.n_train, seed)


def _target(dataset: str, published: Published) -> int:
    case = ModelCase(dataset, "none", "clean_label" if published.keeps_labels else "multi")
    return case.target


def _training(plan: AttackPlan, dataset: str, seed: int) -> Training:
    if dataset == SPEECH:
        return SpeechCase("none", nb_epochs=plan.nb_epochs, seed=seed).training()
    recipe = ModelCase(dataset, "none", network=plan.network, nb_epochs=plan.nb_epochs).recipe()
    return ImageTraining(network=plan.network, random_state=seed, **recipe)


def _trained(attack: PoisonedData, training: Training, folders: Folders, verbose: bool) -> Any:
    if isinstance(training, ImageTraining):
        return train_backdoored(attack, training, folders.models, verbose)
    nb_classes = len(attack.clean.class_names)
    samples = {"x": attack.x_train, "y": attack.y_train, "nb_classes": nb_classes}
    return load_or_train(folders.models, train_classifier, **samples, training=training, verbose=verbose)


def _trained_clean(data: LabelledData, training: Training, folders: Folders, verbose: bool) -> Any:
    train = train_image_classifier if isinstance(training, ImageTraining) else train_classifier
    samples = {"x": data.x_train, "y": data.y_train, "nb_classes": len(data.class_names)}
    return load_or_train(folders.models, train, **samples, training=training, verbose=verbose)
