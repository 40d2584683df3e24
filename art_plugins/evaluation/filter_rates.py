"""Measures filters of training sets over a grid: data sets, attacks, shares of poison, networks, filters and seeds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from art_plugins.attacks.cases import (
    INPUT_AWARE,
    NO_NETWORK,
    AttackedModel,
    Folders,
    ModelCase,
    attacked_model,
    check_case,
)
from art_plugins.attacks.datasets.images import image_data
from art_plugins.attacks.poisoning import PoisonedData, unpoisoned
from art_plugins.attacks.speech_cases import SPEECH, SpeechCase, attacked_speech, speech_data
from art_plugins.attacks.success import attack_success, too_weak
from art_plugins.attacks.tasks import Task
from art_plugins.attacks.zoo.registry import SOUND_ATTACKS, ZOO
from art_plugins.errors import ArtPluginsError, InvalidInputError
from art_plugins.evaluation.filters import FILTERS, filter_named, trusted_samples
from art_plugins.evaluation.metrics import filter_metrics, measured
from art_plugins.evaluation.running.runs import Recording, recorded_runs, run_name
from art_plugins.parameters import check_choice
from art_plugins.reports.record_files import FILTER_RATES

BATCH_SIZE = 128  # of the forward pass that the filter's time is compared with
CLEAN = "none"
# Trigger and sources of each attack, as ModelCase names them.
ATTACKS = {
    CLEAN: ("none", "multi"),
    "patch": ("white_box", "multi"),
    "random_patch": ("random_patch", "multi"),
    "all_to_all": ("white_box", "all_to_all"),
    "untargeted": ("white_box", "untargeted"),
    "two_targets": ("white_box", "two_targets"),
    "chessboard": ("chessboard", "multi"),
    "blended": ("blended", "multi"),
    "watermark": ("watermark", "multi"),
    "warp": ("warp", "multi"),
    "sig": ("sig", "clean_label"),
    "sig_dirty_label": ("sig", "multi"),
    "clean_label": ("four_corners", "adversarial"),
    "input_aware": (INPUT_AWARE, "multi"),
    "adaptive_patch": ("adaptive_patch", "multi"),
    "adaptive_blend": ("adaptive_blend", "multi"),
    **{name: (name, "multi") for name in ZOO},
}


@dataclass(frozen=True)
class Grid:
    """
    What is combined with what. A clean set is measured once, whatever the shares.

    :param datasets: Names of data sets, as :class:`~art_plugins.attacks.cases.ModelCase` names them, or
        ``"speech_commands"``.
    :param attacks: Names in ``ATTACKS``, or in ``SOUND_ATTACKS`` for speech; ``"none"``: a clean set.
    :param shares: Shares of poison, of the whole training set, above 0 and below 1.
    :param networks: Names of networks for images; ``"none"``: no model is trained, and only filters that need none are
        measured. Speech has the small convolutional network.
    :param filters: Names of filters in the registry.
    :param seeds: Random seeds of the draw of the images, the poison, the training and the filter.
    :param n_train: Number of training images that are drawn; ``None``: all. For speech it is the most clips of each class,
        unless ``n_clips`` says otherwise.
    :param nb_epochs: Number of training epochs; ``None``: by network.
    :param width: Channels of the network's first stage; ``None``: the network's default.
    :param n_clips: For speech: the most clips of each class.
    """

    datasets: Sequence[str]
    attacks: Sequence[str]
    shares: Sequence[float]
    networks: Sequence[str]
    filters: Sequence[str] = ("layerwise",)
    seeds: Sequence[int] = (0,)
    n_train: int | None = None
    nb_epochs: int | None = None
    width: int | None = None
    n_clips: int | None = None


class Cell(NamedTuple):
    """One attacked model, and its attack by name; ``share``: the share of poison, ``None`` for a clean set."""

    attack: str
    share: float | None
    case: ModelCase | SpeechCase

    @property
    def title(self) -> str:
        """Title of the row, without the seed."""
        return self.case.title if self.share is None else f"{self.case.title}, {100 * self.share:g} %"


class Opened(NamedTuple):
    """
    An attacked model with the figures that all filters share; ``model`` is that of ``attack_success``. Without a network
    there is no classifier, and no figure of one.
    """

    classifier: Any
    attack: PoisonedData
    model: dict[str, Any]
    forward_seconds: float | None


def run_filters(grid: Grid, folders: Folders, recording: Recording, n_trusted: int = 0) -> dict[str, Any]:
    """
    Measure every filter on every attacked set and write ``record.json`` and ``table.md``; the same call goes on where it
    stopped.

    :param n_trusted: Trusted test images of each class, for the filters that take ``x_val``; 0: nothing is trusted.
    :return: The record.
    :raises InvalidInputError: Before any training: if a name is unknown, a number out of range, or a data set missing.
    """
    lengths = _check(grid, folders, n_trusted)
    opened = lru_cache(maxsize=1)(partial(open_model, folders=folders, verbose=recording.verbose))
    jobs = {}
    for cell, name in product(cells(grid, lengths), grid.filters):
        settings = (asdict(cell.case), cell.case.recipe(), cell.attack, cell.share, name, n_trusted)
        stem = f"{cell.case.dataset}-{cell.attack}-{name}-{cell.case.seed}"
        jobs[run_name(stem, settings)] = partial(measure, cell, name, opened, n_trusted)
    return recorded_runs(FILTER_RATES, jobs, recording)


def cells(grid: Grid, lengths: dict[str, int]) -> list[Cell]:
    """
    All attacked models of a grid, those with the same data set, network and seed together.

    :param lengths: Number of training images of each data set.
    """
    found: list[Cell] = []
    for seed, dataset in product(grid.seeds, grid.datasets):
        found += _of_speech(grid, seed) if dataset == SPEECH else _of_images(grid, seed, dataset, lengths[dataset])
    return found


def _of_images(grid: Grid, seed: int, dataset: str, length: int) -> list[Cell]:
    found = []
    for network, attack in product(grid.networks, grid.attacks):
        trigger, sources = ATTACKS[attack]
        n_train = length if grid.n_train is None else min(grid.n_train, length)
        for share in [None] if attack == CLEAN else grid.shares:
            n_poison = None if share is None else round(share * n_train)
            drawn = None if n_train == length else n_train
            case = ModelCase(dataset, trigger, sources, network, n_poison, grid.width, grid.nb_epochs, seed, drawn)
            found.append(Cell(attack, share, case))
    return found


def _of_speech(grid: Grid, seed: int) -> list[Cell]:
    return [
        Cell(attack, share, SpeechCase(attack, share, grid.n_clips or grid.n_train, grid.nb_epochs, seed))
        for attack in grid.attacks
        for share in ([None] if attack == CLEAN else grid.shares)
    ]


def open_model(case: ModelCase | SpeechCase, folders: Folders, verbose: bool = True) -> Opened:
    """
    Train the model of a case, or read it; measure its accuracy, its backdoor and one forward pass over its training set.

    :raises InvalidInputError: If the data set has too few samples for the attack.
    """
    make = attacked_speech if isinstance(case, SpeechCase) else attacked_model
    model: AttackedModel = make(case, folders, verbose)  # type: ignore[arg-type]
    attack = unpoisoned(model.data) if model.attack is None else model.attack
    if model.classifier is None:
        return Opened(None, attack, {"clean_accuracy": None, "attack_success": None}, None)
    if model.attack is None:
        correct = model.classifier.predict(model.data.x_test).argmax(axis=1) == model.data.y_test
        figures = {"clean_accuracy": float(correct.mean()), "attack_success": None, "n_clean_test": len(correct)}
    else:
        figures = attack_success(model.classifier, attack)
    start = time.perf_counter()
    model.classifier.predict(attack.x_train, batch_size=BATCH_SIZE)
    return Opened(model.classifier, attack, figures, time.perf_counter() - start)


def measure(cell: Cell, filter_name: str, opened: Callable[[Any], Opened], n_trusted: int = 0) -> dict[str, Any]:
    """
    Filter the training set of one attacked model.

    :param opened: Gives the model of a case, as :func:`open_model` does.
    :return: JSON-safe. ``note`` says why there are no rates: the attack is too weak, or it or the filter cannot be had for
        these data. Else the counts and rates of :func:`~art_plugins.evaluation.metrics.filter_metrics` over the whole set,
        ``n_cover_removed``, ``removed_by_class`` (removed and all samples of every label), ``fraction_classes_called``,
        ``clearness_by_class`` (how clear the clearest group of each class is; ``None``: the filter does not tell), and
        wall-clock and CPU seconds. A class is called if the filter removes at least one of its samples.
    """
    one = filter_named(filter_name)
    run: dict[str, Any] = {"title": cell.title, "attack": cell.attack, "share": cell.share, "seed": cell.case.seed}
    run |= {"case": asdict(cell.case), "recipe": cell.case.recipe(), "n_trusted": n_trusted}
    run |= {"filter": one.name, "filter_title": one.title, "note": None}
    try:
        classifier, attack, model, forward_seconds = opened(cell.case)
    except InvalidInputError as error:
        return run | {"model": None, "note": f"the attack cannot be made: {error}"}
    run |= {"model": model, "n_train": len(attack.y_train), "n_poison": int(attack.is_poison.sum())}
    run |= {"n_cover": int(attack.is_cover.sum()), "forward_seconds": forward_seconds, "data_notes": attack.clean.notes}
    if note := too_weak(model, "samples"):
        return run | {"note": note}
    task = Task(cell.title, cell.title, attack, {}, cell.case.seed)
    settings = dict(one.of_task(task))
    if n_trusted and one.takes_trusted:
        settings |= trusted_samples(task, n_trusted)
    made = one.make(classifier, attack.x_train, attack.y_train, cell.case.seed, **settings)
    cpu = time.process_time()
    try:
        with measured() as cost:
            report, is_clean = made.detect_poison()
    except ArtPluginsError as error:
        return run | {"note": f"the filter refuses: {error}"}
    run |= {"seconds": cost.seconds, "cpu_seconds": time.process_time() - cpu, "peak_memory_mb": cost.peak_memory_mb}
    by_class = [report.get(f"Class_{label}", {}).get("clearness") for label in range(len(attack.clean.class_names))]
    run["clearness_by_class"] = None if None in by_class else by_class
    return run | _rates(attack, np.asarray(is_clean) == 0, getattr(made, "outlier_scores_", None))


def _rates(attack: PoisonedData, removed: np.ndarray, scores: np.ndarray | None) -> dict[str, Any]:
    nb_classes, labels = len(attack.clean.class_names), attack.y_train
    scores = scores if scores is not None and np.isfinite(scores).all() else None
    figures = filter_metrics(~removed, attack.is_poison, labels == attack.target, scores)
    del figures["ari_target"]  # an attack may have several target classes
    by_class = np.stack([np.bincount(labels[removed], minlength=nb_classes), np.bincount(labels, minlength=nb_classes)], 1)
    return figures | {
        "n_cover_removed": int((removed & attack.is_cover).sum()),
        "removed_by_class": by_class.tolist(),
        "fraction_classes_called": float((by_class[:, 0] > 0).mean()),
    }


def _check(grid: Grid, folders: Folders, n_trusted: int) -> dict[str, int]:
    """
    Check a grid.

    :return: Number of training images of each data set.
    :raises InvalidInputError: As :func:`run_filters` does.
    """
    for value in grid.filters:
        check_choice("filter", value, [one.name for one in FILTERS])
    for dataset, attack in product(grid.datasets, grid.attacks):
        check_choice("attack", attack, [CLEAN, *SOUND_ATTACKS] if dataset == SPEECH else ATTACKS)
    for share in grid.shares:
        if not 0 < share < 1:
            raise InvalidInputError(f"share must be above 0 and below 1, such as .05; received {share}.")
    if n_trusted < 0:
        raise InvalidInputError(f"n_trusted must be at least 0; received {n_trusted}.")
    for cell in cells(grid, dict.fromkeys(grid.datasets, 1_000_000)):
        if isinstance(cell.case, ModelCase):
            check_case(cell.case, needs_network=False)
    needing = [name for name in grid.filters if filter_named(name).needs_model]
    if NO_NETWORK in grid.networks and needing:
        raise InvalidInputError(
            f"{', '.join(needing)} looks at a model, so a network is needed. Without one, "
            f"{', '.join(one.name for one in FILTERS if not one.needs_model)} can be measured."
        )
    if SPEECH in grid.datasets:
        speech_data(folders.root, grid.n_clips or grid.n_train, grid.seeds[0])
    images = [name for name in grid.datasets if name != SPEECH]
    return {name: len(image_data(name, folders.root, folders.download).y_train) for name in images}
