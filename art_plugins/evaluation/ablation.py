"""What each part of latent clustering brings: autoencoders that differ in one setting judge the same sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.evaluation.running.runs import recorded_runs, run_name
from art_plugins.evaluation.sweep import run_sweep
from art_plugins.features.autoencoder import Autoencoder, AutoencoderSettings
from art_plugins.features.training import make_fabric
from art_plugins.files.outputs import file_stem
from art_plugins.reports.sweep_tables import sweep_report

WEIGHT = AutoencoderSettings().reconstruction_weight
# Settings that differ from the default; beta weighs the divergences, the reciprocal of the reconstruction's weight.
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "beta x 4": {"reconstruction_weight": WEIGHT / 4},
    "beta / 4": {"reconstruction_weight": WEIGHT * 4},
    "latents of 16 and 6": {"latent_dim": 16, "step_latent_dim": 6},
    "latents of 128 and 48": {"latent_dim": 128, "step_latent_dim": 48},
    "64 mel bands": {"n_mels": 64},
    "full posterior": {"posterior": "full"},
}


def run_ablation(
    data: LabelledData,
    x_train: np.ndarray,
    triggers: Sequence[str],
    n_pairs: int,
    n_clean: int,
    out: Path,
    command: str,
    report: Callable[[Mapping[str, Any]], str],
    *,
    variants: Sequence[str] = tuple(VARIANTS),
    nb_epochs: int = 30,
    precision: str = "32-true",
    seed: int = 0,
    jobs: int | None = None,
    verbose: bool = True,
    on_run: Callable[[dict[str, Any]], None] = lambda run: None,
) -> dict[str, Any]:
    """
    Train every variant and let it judge attacks on the same pairs of classes with every trigger, and the same clean draws.

    An interrupted call goes on where it stopped; trained autoencoders stay in ``out``, a folder for each variant.

    :param data: Clean, that the attacks are made of.
    :param x_train: What the autoencoders are trained on, (n, samples).
    :param n_pairs: Pairs of source and target, drawn at random; a tenth of the source class is poisoned.
    :param variants: Names in ``VARIANTS``.
    :param precision: Of the trainings, in Lightning's words.
    :param jobs: Local processes that judge.
    :return: The record; each run has ``variant``, ``settings``, and under ``sets`` the runs of its sweep.
    """

    def one(name: str) -> dict[str, Any]:
        folder = out / file_stem(name)
        autoencoder = _trained(x_train, VARIANTS[name], folder, nb_epochs, precision, seed, verbose)
        swept = run_sweep(
            data, autoencoder, triggers, n_clean, [], folder, command, sweep_report, seed, n_pairs, verbose, jobs=jobs
        )
        return {"variant": name, "settings": VARIANTS[name], "nb_epochs": nb_epochs, "sets": swept["runs"]}

    what = (nb_epochs, precision, seed, tuple(triggers), n_pairs, n_clean)
    tasks = {run_name(file_stem(name), VARIANTS[name], what): partial(one, name) for name in variants}
    return recorded_runs(tasks, out, command, report, on_run)


def _trained(
    x: np.ndarray,
    settings: Mapping[str, Any],
    folder: Path,
    nb_epochs: int,
    precision: str,
    seed: int,
    verbose: bool,
) -> Autoencoder:
    """From the folder if it lies there."""
    file = folder / f"{run_name('autoencoder', sorted(settings.items()), nb_epochs, precision, seed)}.safetensors"
    if file.is_file():
        return Autoencoder.load(file)
    autoencoder = Autoencoder(AutoencoderSettings(**settings)).fit(
        x,
        nb_epochs=nb_epochs,
        random_state=seed,
        checkpoint=file.with_suffix(".checkpoint"),
        fabric=make_fabric(precision),
        verbose=verbose,
    )
    autoencoder.save(file)
    return autoencoder
