"""
The evaluation of Li et al. 2022: trains attacked models, inverts their triggers, guards them, and records the results.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from art_plugins.attacks.cases import Folders, ModelCase, attacked_model
from art_plugins.attacks.poisoning import SEVERAL
from art_plugins.attacks.success import attack_success, too_weak
from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.held_out import split_test_set
from art_plugins.evaluation.in_flight import evaluate_in_flight, inversion_row
from art_plugins.evaluation.running.runs import Recording, recorded_runs, run_name
from art_plugins.reports.record_files import IN_FLIGHT
from art_plugins.triggers.inversion import invert_triggers

SOURCES = ("multi", "single", "all_to_all")  # with other sources, no class or several are the right answer


def run_in_flight(
    cases: Sequence[ModelCase],
    folders: Folders,
    recording: Recording,
    *,
    n_clean: Sequence[int] = (100,),
    nb_steps: int = 400,
    with_baselines: bool = True,
) -> dict[str, Any]:
    """
    Run every case and write ``record.json`` and ``table.md``.

    A finished case is kept under ``out/unfinished`` until the end, so that the same call goes on where it stopped.

    :param n_clean: Clean images of each class that the defender has, one or several numbers; at most half of the test
        images of a class are taken.
    :param nb_steps: Most steps of the trigger inversion.
    :param with_baselines: Measure Neural Cleanse, B3D and STRIP as well.
    :return: The record.
    :raises InvalidInputError: If the sources of a case leave no single answer to what its target class is.
    """
    for case in cases:
        if case.sources not in SOURCES:
            raise InvalidInputError(
                f"Inverted triggers are measured for the sources {', '.join(SOURCES)}; received {case.sources!r}. "
                "Filters are measured on the others: art-plugins filters."
            )
    options: dict[str, Any] = {"nb_steps": nb_steps, "with_baselines": with_baselines, "verbose": recording.verbose}
    jobs = {
        run_name(
            f"{case.dataset}-{case.trigger}-{case.seed}", asdict(case), case.recipe(), number, nb_steps, with_baselines
        ): partial(run_case, case, folders, n_clean=number, **options)
        for case, number in product(cases, n_clean)
    }
    return recorded_runs(IN_FLIGHT, jobs, recording)


def run_case(
    case: ModelCase,
    folders: Folders,
    *,
    n_clean: int = 100,
    nb_steps: int = 400,
    with_baselines: bool = True,
    verbose: bool = True,
) -> dict[str, Any]:
    """
    Train the attacked model of a case, and measure the defences on it if the attack works.

    :return: JSON-safe. ``note`` says why nothing is measured: the attack works on too few of the triggered test images.
    :raises InvalidInputError: If a name is unknown.
    """
    classifier, data, attack, seconds = attacked_model(case, folders, verbose=verbose)
    run: dict[str, Any] = {"title": case.title, "seed": case.seed, "case": asdict(case), "recipe": case.recipe()}
    options: dict[str, Any] = {"nb_steps": nb_steps, "random_state": case.seed, "verbose": verbose}
    options["precision"] = case.recipe().get("precision", "32-true")
    n_clean = int(min(n_clean, np.bincount(data.y_test).min() // 2))
    if n_clean != 100:
        run["title"] += f", {n_clean} clean images a class"
    run |= {"n_train": len(data.y_train), "n_clean": n_clean, "training_seconds": seconds, "note": None}
    if attack is None:
        accuracy = float((classifier.predict(data.x_test).argmax(axis=1) == data.y_test).mean())
        run["model"] = {"clean_accuracy": accuracy, "attack_success": None, "n_clean_test": len(data.y_test)}
    else:
        run["n_poison"] = int(attack.is_poison.sum())
        run["model"] = attack_success(classifier, attack)
        if attack.target != SEVERAL and (note := too_weak(run["model"])):
            return run | {"note": note}
    if attack is None or attack.target == SEVERAL:  # no single target to guard
        split = split_test_set(data.x_test, data.y_test, lambda x: x, [], n_clean, case.seed)
        start = time.perf_counter()
        found = invert_triggers(classifier, split.x_defence, split.y_defence, **options)
        inversion = inversion_row(found, None, time.perf_counter() - start)
        inversion["right_target"] = (found.target_class is None) == (attack is None)
        return run | {"target": None, "inversion": inversion}
    split = split_test_set(data.x_test, data.y_test, attack.trigger, [*attack.sources], n_clean, case.seed)
    run["target"] = attack.target
    return run | evaluate_in_flight(classifier, split, attack.target, with_baselines=with_baselines, **options)
