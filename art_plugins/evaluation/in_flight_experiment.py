"""The evaluation of Li et al. 2022: attacked models are trained, inverted, and guarded; recorded and tabulated."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.backdoored_models import assert_attack_works, train_backdoored, train_image_classifier
from art_plugins.evaluation.datasets.images import image_data
from art_plugins.evaluation.environment import versions
from art_plugins.evaluation.image_attacks import poison_all_to_all, poison_images
from art_plugins.evaluation.in_flight import evaluate_in_flight, inversion_row, split_test_set
from art_plugins.evaluation.in_flight_tables import in_flight_report
from art_plugins.storage import write_json, write_text
from art_plugins.triggers import patterns
from art_plugins.triggers.inversion import invert_triggers

TARGET = 9  # of all attacks of the paper
# Amplitude at which the chessboard's attack success is above .95 on every seed.
CHESSBOARD_AMPLITUDES = {"mnist": 25 / 255, "fashion_mnist": 40 / 255, "cifar10": 10 / 255}
SHORT = {"mnist": "MNIST", "fashion_mnist": "F-MNIST", "cifar10": "CIFAR-10", "gtsrb32": "GTSRB"}
# Learning rates and epochs by network.
RECIPES: dict[str, dict[str, Any]] = {
    "lenet5": {"nb_epochs": 6, "learning_rate": 0.05, "augment": False},
    "resnet18_cifar": {"nb_epochs": 30, "learning_rate": 0.1, "augment": True},
    "vgg16": {"nb_epochs": 30, "learning_rate": 0.05, "augment": True},
}
TRIGGERS: dict[str, Callable[[str, tuple[int, int, int]], Callable[[np.ndarray], np.ndarray]]] = {
    "chessboard": lambda dataset, shape: patterns.chessboard(shape, CHESSBOARD_AMPLITUDES.get(dataset, 10 / 255)),
    "single_pixel": lambda dataset, shape: patterns.single_pixel(shape),
    "white_box": lambda dataset, shape: patterns.white_box(shape),
    "trojan_square": lambda dataset, shape: patterns.trojan_square(shape, 5),
    "watermark": lambda dataset, shape: patterns.watermark(shape),
    "blended": lambda dataset, shape: patterns.blended(shape),
    "warp": lambda dataset, shape: patterns.warp(shape, strength=2.0),
}
SOURCES = ("multi", "single", "all_to_all")


@dataclass(frozen=True)
class InFlightCase:
    """
    One attacked model.

    :param trigger: A name in ``TRIGGERS``, or ``"none"``: a clean model, of which the inversion must find nothing.
    :param sources: ``"multi"``: ``n_poison / (K - 1)`` images of every class but the target; ``"single"``: all of class 0;
        ``"all_to_all"``: every class is sent to the next.
    :param n_poison: Poisoned training images in all; the paper has 900 and 1,000.
    :param width: Channels of the network's first stage; ``None``: its own.
    """

    dataset: str
    trigger: str
    sources: str = "multi"
    network: str = "lenet5"
    n_poison: int = 900
    width: int | None = None
    nb_epochs: int | None = None
    seed: int = 0

    @property
    def title(self) -> str:
        """What it is besides its seed."""
        attack = "no attack" if self.trigger == "none" else self.trigger.replace("_", " ")
        kind = {"multi": "", "single": ", single source", "all_to_all": ", all to all"}[self.sources]
        return f"{SHORT[self.dataset]}, {self.network}, {attack}{kind}"

    def recipe(self) -> dict[str, Any]:
        """Keyword arguments of the training."""
        recipe = {**RECIPES[self.network], "width": self.width}
        return recipe if self.nb_epochs is None else {**recipe, "nb_epochs": self.nb_epochs}


def run_in_flight(
    cases: Sequence[InFlightCase],
    root: str | Path,
    out: Path,
    command: str,
    *,
    with_baselines: bool = True,
    download: bool = False,
    verbose: bool = True,
    on_run: Callable[[dict[str, Any]], None] = lambda run: None,
) -> dict[str, Any]:
    """
    Run every case and write ``record.json`` and ``table.md``.

    A finished case is kept under ``out/unfinished`` until the end, so that the same call goes on where it stopped.

    :param root: Folder with ``<dataset>.npz``.
    :return: The record.
    """
    start = time.perf_counter()
    unfinished = out / "unfinished"
    record: dict[str, Any] = {"command": command, "versions": versions(), "seconds": 0.0, "runs": []}
    for case in cases:
        file = unfinished / f"{_identity(case, with_baselines)}.json"
        if file.is_file():
            run = json.loads(file.read_text(encoding="utf-8"))
        else:
            run = run_case(case, root, with_baselines=with_baselines, download=download, verbose=verbose)
            write_json(file, run)
        record["runs"].append(run)
        on_run(run)
    record["seconds"] = time.perf_counter() - start
    write_json(out / "record.json", record)
    write_text(out / "table.md", in_flight_report(record))
    shutil.rmtree(unfinished, ignore_errors=True)
    return record


def run_case(
    case: InFlightCase, root: str | Path, *, with_baselines: bool = True, download: bool = False, verbose: bool = True
) -> dict[str, Any]:
    """
    Train the attacked model, make sure that the attack works, and judge it.

    :raises InvalidInputError: For an unknown name, or an attack that works on less than 95 % of the images.
    """
    check_case(case)
    data = image_data(case.dataset, root, download)
    train = partial(train_image_classifier, data.x_train, data.y_train, len(data.class_names))
    settings = {"network": case.network, "random_state": case.seed, "verbose": verbose, **case.recipe()}
    run: dict[str, Any] = {"title": case.title, "seed": case.seed, "case": asdict(case), "recipe": case.recipe()}
    run |= {"n_train": len(data.y_train), "target": TARGET}
    if case.trigger == "none":
        return run | _clean_model(train(**settings), data, case, verbose)
    trigger = TRIGGERS[case.trigger](case.dataset, data.x_train.shape[1:])
    if case.sources == "all_to_all":
        attack = poison_all_to_all(data, trigger, case.n_poison // len(data.class_names), case.seed)
    else:
        sources = [0] if case.sources == "single" else None
        n_sources = 1 if case.sources == "single" else len(data.class_names) - 1
        attack = poison_images(data, trigger, sources, TARGET, case.n_poison // n_sources, case.seed)
    start = time.perf_counter()
    classifier = train_backdoored(attack, **settings)
    run |= {"n_poison": int(attack.is_poison.sum()), "training_seconds": time.perf_counter() - start}
    if case.sources == "all_to_all":
        run["target"] = None  # there is none to find
        run["model"] = assert_attack_works(classifier, attack, least=0.0)
        run |= _inversion_only(classifier, data, case, verbose)
        run["inversion"]["right_target"] = run["inversion"]["target_class"] is not None
        return run
    run["model"] = assert_attack_works(classifier, attack)
    split = split_test_set(data.x_test, data.y_test, trigger, [*attack.sources], _n_defence(data), case.seed)
    return run | evaluate_in_flight(
        classifier, split, TARGET, with_baselines=with_baselines, random_state=case.seed, verbose=verbose
    )


def check_case(case: InFlightCase) -> None:
    """
    :raises InvalidInputError: For a name that does not exist.
    """
    for name, value, known in (
        ("dataset", case.dataset, SHORT),
        ("trigger", case.trigger, [*TRIGGERS, "none"]),
        ("sources", case.sources, SOURCES),
        ("network", case.network, RECIPES),
    ):
        if value not in known:
            raise InvalidInputError(f"{name} must be one of {', '.join(known)}; received {value!r}.")


def _clean_model(classifier: Any, data: Any, case: InFlightCase, verbose: bool) -> dict[str, Any]:
    accuracy = float((classifier.predict(data.x_test).argmax(axis=1) == data.y_test).mean())
    model = {"clean_accuracy": accuracy, "attack_success": None, "n_clean_test": len(data.y_test)}
    return {"target": None, "model": model} | _inversion_only(classifier, data, case, verbose)


def _inversion_only(classifier: Any, data: Any, case: InFlightCase, verbose: bool) -> dict[str, Any]:
    split = split_test_set(data.x_test, data.y_test, lambda x: x, [], _n_defence(data), case.seed)
    start = time.perf_counter()
    found = invert_triggers(classifier, split.x_defence, split.y_defence, random_state=case.seed, verbose=verbose)
    return {"inversion": inversion_row(found, None, time.perf_counter() - start)}


def _n_defence(data: Any) -> int:
    """100 a class, as in the paper; half of the test images where there are fewer than 200."""
    return int(min(100, np.bincount(data.y_test).min() // 2))


def _identity(case: InFlightCase, with_baselines: bool) -> str:
    settings = (asdict(case), case.recipe(), with_baselines, versions())
    return f"{case.dataset}-{case.trigger}-{case.seed}-{hashlib.sha256(repr(settings).encode()).hexdigest()[:12]}"
