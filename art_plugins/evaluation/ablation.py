"""Measures what each part of latent clustering brings: autoencoders that differ in one setting judge the same sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.evaluation.running.runs import Recording, recorded_runs, run_name
from art_plugins.evaluation.running.workers import LOCAL_WORKERS, Workers
from art_plugins.evaluation.sweep import SweepPlan, run_sweep
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.devices import make_fabric
from art_plugins.features.vae.settings import AutoencoderSettings
from art_plugins.files.outputs import file_stem
from art_plugins.reports.record_files import ABLATION

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


@dataclass(frozen=True)
class AutoencoderTraining:
    """
    How every autoencoder of an ablation is trained.

    :param nb_epochs: Training epochs.
    :param precision: Number format of the training, in Lightning's words: ``"32-true"`` or ``"bf16-mixed"``.
    :param random_state: Random seed of the weights and of the order of the samples.
    """

    nb_epochs: int = 30
    precision: str = "32-true"
    random_state: int = 0


def run_ablation(
    data: LabelledData,
    x_train: np.ndarray,
    plan: SweepPlan,
    recording: Recording,
    *,
    variants: Sequence[str] = tuple(VARIANTS),
    training: AutoencoderTraining = AutoencoderTraining(),
    workers: Workers = LOCAL_WORKERS,
) -> dict[str, Any]:
    """
    Train an autoencoder for every variant, and let each judge the same attacks and the same clean draws.

    An interrupted call goes on where it stopped. Trained autoencoders stay in the folder of the results, each variant in a
    folder of its own.

    :param data: Clean samples, which are attacked.
    :param x_train: Samples that the autoencoders are trained on, (n, samples).
    :param plan: The sets that every variant judges.
    :param variants: Names in ``VARIANTS``.
    :param training: How every autoencoder is trained.
    :param workers: Who judges the sets; the training is done in this process.
    :return: The record. Each run has ``variant``, ``settings``, ``nb_epochs``, and under ``sets`` the runs of its sweep.
    """

    def one(name: str) -> dict[str, Any]:
        folder = recording.out / file_stem(name)
        autoencoder = _trained(x_train, VARIANTS[name], folder, training, recording.verbose)
        # The runs of its sweep are no runs of the ablation.
        swept = run_sweep(data, autoencoder, plan, Recording(folder, recording.command, verbose=recording.verbose), workers)
        return {"variant": name, "settings": VARIANTS[name], "nb_epochs": training.nb_epochs, "sets": swept["runs"]}

    tasks = {run_name(file_stem(name), VARIANTS[name], training, plan): partial(one, name) for name in variants}
    return recorded_runs(ABLATION, tasks, recording)


def _trained(
    x: np.ndarray, settings: Mapping[str, Any], folder: Path, training: AutoencoderTraining, verbose: bool
) -> Autoencoder:
    """Read the autoencoder of a variant from the folder, or train it and keep it there."""
    what = (training.nb_epochs, training.precision, training.random_state)
    file = folder / f"{run_name('autoencoder', sorted(settings.items()), *what)}.safetensors"
    if file.is_file():
        return Autoencoder.load(file)
    autoencoder = Autoencoder(AutoencoderSettings(**settings)).fit(
        x,
        nb_epochs=training.nb_epochs,
        random_state=training.random_state,
        checkpoint=file.with_suffix(".checkpoint"),
        fabric=make_fabric(training.precision),
        verbose=verbose,
    )
    autoencoder.save(file)
    return autoencoder
