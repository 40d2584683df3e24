"""The command that measures how well attacks work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from art_plugins.cli.app import app, console
from art_plugins.cli.options import (
    QUICK_CLIPS,
    QUICK_EPOCHS,
    QUICK_TRAIN,
    Download,
    Models,
    NetworkEpochs,
    Seeds,
    _check_quick,
    _command,
)
from art_plugins.cli.shown import _show, _show_attack_run


@app.command("attacks")
def attacks(
    root: Annotated[
        Path, typer.Option(help="Folder that holds the data sets, each a file such as mnist.npz, or SpeechCommands.")
    ],
    dataset: Annotated[
        list[str],
        typer.Option(help="mnist, fashion_mnist, emnist_letters, cifar10, gtsrb32 or speech_commands; repeat for several."),
    ] = ["fashion_mnist"],  # noqa: B006
    attack: Annotated[
        list[str] | None,
        typer.Option(help="An attack, such as refool or tact, or for speech rhythm or room; repeat. Default: all."),
    ] = None,
    share: Annotated[
        list[float] | None,
        typer.Option(help="Share of the whole training set that is poison; repeat. Default: that of each attack."),
    ] = None,
    network: Annotated[
        str,
        typer.Option(help="Network for images: lenet5, plain_cnn, vit, resnet18_cifar, mobilenet_v2 or vgg16."),
    ] = "lenet5",
    n_train: Annotated[
        int | None, typer.Option(min=20, help="Number of training images; of speech, at most so many of each class.")
    ] = None,
    nb_epochs: NetworkEpochs = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help=f"A trial: {QUICK_TRAIN:,} training images, {QUICK_CLIPS} clips of each class of speech, "
            f"{QUICK_EPOCHS} epochs.",
        ),
    ] = False,
    download: Download = False,
    seed: Seeds = [0],  # noqa: B006
    models: Models = Path("out/models"),
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/attacks"),
) -> None:
    """Measure attacks: poison a training set, train a network on it, and count what the trigger sends to the target."""
    from art_plugins.attacks.cases import Folders
    from art_plugins.evaluation.attack_rates import AttackPlan, run_attacks
    from art_plugins.evaluation.running.runs import Recording
    from art_plugins.reports.studies.attack_tables import attack_tables

    _check_quick(quick, {"--n-train": n_train, "--nb-epochs": nb_epochs})
    plan = AttackPlan(dataset, attack or (), share or (), seed, network, n_train, nb_epochs)
    if quick:
        plan = replace(plan, n_train=QUICK_TRAIN, n_clips=QUICK_CLIPS, nb_epochs=QUICK_EPOCHS)
    record = run_attacks(plan, Folders(root, models, download), Recording(out, _command(), _show_attack_run))
    for table in attack_tables(record):
        _show(table)
    console.print(f"Written: {out / 'record.json'}, {out / 'table.md'}", markup=False)
