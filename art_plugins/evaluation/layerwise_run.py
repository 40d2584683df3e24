"""The evaluation of layer-wise feature analysis: trains attacked models, guards them, and filters their training sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.attacks.cases import INPUT_AWARE, Folders, ModelCase, attacked_model, check_case
from art_plugins.attacks.success import attack_success, too_weak
from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.detectors import detectors_of
from art_plugins.evaluation.filters import left_out
from art_plugins.evaluation.held_out import split_test_set
from art_plugins.evaluation.layerwise import evaluate_detectors, evaluate_filters
from art_plugins.evaluation.running.runs import Recording, recorded_runs, run_name
from art_plugins.files.outputs import file_stem
from art_plugins.reports.drawing import png_bytes
from art_plugins.reports.record_files import LAYERWISE
from art_plugins.reports.studies import layerwise_figures as figures
from art_plugins.reports.tables import judged, runs_by_title
from art_plugins.storage import atomic_path, write_text


def run_layerwise(
    cases: Sequence[ModelCase],
    folders: Folders,
    recording: Recording,
    *,
    n_trusted: int = 100,
    with_filters: bool = True,
    with_peers: bool | Sequence[str] = False,
) -> dict[str, Any]:
    """
    Run every case and write ``record.json`` and ``table.md``; the same call goes on where it stopped.

    :param n_trusted: Trusted images of each class; at most half of the test images of a class are taken.
    :param with_filters: Filter the training set as well, with these rules and with ART's.
    :param with_peers: Measure detectors and filters of other authors as well, where their packages are installed. Titles
        of detectors: only these detectors, and all filters.
    :return: The record.
    :raises InvalidInputError: As :func:`run_case` does.
    """
    for case in cases:
        _check(case, with_filters)
    _check_peers(with_peers)
    what: dict[str, Any] = {"n_trusted": n_trusted, "with_filters": with_filters, "with_peers": with_peers}
    jobs = {
        run_name(f"{case.dataset}-{case.trigger}-{case.seed}", asdict(case), case.recipe(), what): partial(
            run_case, case, folders, verbose=recording.verbose, **what
        )
        for case in cases
    }
    record = recorded_runs(LAYERWISE, jobs, recording)
    draw(record, recording.out)
    return record


def draw(record: dict[str, Any], out: Path) -> list[Path]:
    """
    Write the figures of every attack as PNG files, and their descriptions in words as ``figures.txt``.

    :return: The PNG files.
    """
    pictures: dict[str, tuple[Any, str]] = {}
    for title, runs in runs_by_title(judged(record["runs"])).items():
        stem = file_stem(title)
        pictures[f"{stem}_profile.png"] = figures.profile_figure(runs[0]), figures.profile_words(runs[0])
        pictures[f"{stem}_layers_of_interest.png"] = figures.interest_figure(runs), figures.interest_words(runs)
        pictures[f"{stem}_tau.png"] = figures.tau_figure(runs), figures.tau_words(runs)
    for name, (figure, _) in pictures.items():
        with atomic_path(out / name) as partial_file:
            partial_file.write_bytes(png_bytes(figure))
    write_text(out / "figures.txt", "".join(f"{name}: {words}\n" for name, (_, words) in pictures.items()))
    return [out / name for name in pictures]


def run_case(
    case: ModelCase,
    folders: Folders,
    *,
    n_trusted: int = 100,
    with_filters: bool = True,
    with_peers: bool | Sequence[str] = False,
    verbose: bool = True,
) -> dict[str, Any]:
    """
    Train the attacked model of a case, and measure the defences on it if the attack works.

    :return: JSON-safe. ``note`` says why nothing is measured: the attack works on too few of the triggered test images.
    :raises InvalidInputError: If a name is unknown, the model has no backdoor, or there is no poisoned training set to
        filter.
    """
    _check(case, with_filters)
    classifier, data, attack, _ = attacked_model(case, folders, verbose=verbose)
    run: dict[str, Any] = {"title": case.title, "seed": case.seed, "case": asdict(case), "recipe": case.recipe()}
    assert attack is not None
    run["model"] = attack_success(classifier, attack)
    run["note"] = too_weak(run["model"])
    if run["note"]:
        return run
    n_trusted = int(min(n_trusted, np.bincount(data.y_test).min() // 2))
    split = split_test_set(data.x_test, data.y_test, attack.trigger, [*attack.sources], n_trusted, case.seed)
    run |= {"target": attack.target, "n_train": len(data.y_train), "n_poison": int(attack.is_poison.sum())}
    run |= {"n_trusted": len(split.y_defence), "class_names": list(data.class_names)}
    if with_peers and left_out(classifier):
        run["notes"] = left_out(classifier)
    run |= evaluate_detectors(classifier, split, attack.target, case.seed, with_peers)
    if with_filters:
        run["filters"] = evaluate_filters(classifier, attack, split.x_defence, split.y_defence, case.seed, bool(with_peers))
    return run


def _check_peers(titles: bool | Sequence[str]) -> None:
    known = [one.title for one in detectors_of(LAYERWISE)]
    for title in [] if isinstance(titles, bool) else titles:
        if title not in known:
            raise InvalidInputError(
                f"{title!r} is no detector of other authors that can run here; known: {', '.join(known)}."
            )


def _check(case: ModelCase, with_filters: bool) -> None:
    check_case(case)
    if case.trigger == "none":
        raise InvalidInputError("Layer-wise analysis is measured on attacked models; name a trigger other than 'none'.")
    if case.sources in ("all_to_all", "untargeted", "two_targets"):
        raise InvalidInputError(
            f"Layer-wise analysis is measured on attacks with one target class; received the sources {case.sources!r}. "
            "Filters are measured on the others: art-plugins filters."
        )
    if case.trigger == INPUT_AWARE and case.n_poison is None and with_filters:
        raise InvalidInputError(
            "The input-aware attack leaves no poisoned training set that could be filtered. Ask for the detectors alone: "
            "--no-filters; or give --n-poison for a training set that its generator has stamped."
        )
