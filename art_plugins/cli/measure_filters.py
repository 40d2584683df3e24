"""The command that measures filters of training sets on many attacks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from art_plugins.cli.app import app
from art_plugins.cli.options import (
    QUICK_CLIPS,
    QUICK_EPOCHS,
    QUICK_TRAIN,
    Download,
    Models,
    NetworkEpochs,
    Seeds,
    Width,
    _check_quick,
    _command,
)
from art_plugins.cli.shown import _show, _show_filter_run, _show_written


@app.command("filters")
def filters(
    root: Annotated[
        Path, typer.Option(help="Folder that holds the data sets, each a file such as mnist.npz, or SpeechCommands.")
    ],
    dataset: Annotated[
        list[str],
        typer.Option(help="mnist, fashion_mnist, emnist_letters, cifar10, gtsrb32 or speech_commands; repeat for several."),
    ] = ["fashion_mnist"],  # noqa: B006
    attack: Annotated[
        list[str],
        typer.Option(
            help="An attack, such as patch, untargeted, refool or tact, or for speech tempo or equaliser; none: a clean "
            "set. Repeat."
        ),
    ] = ["patch", "none"],  # noqa: B006
    share: Annotated[
        list[float], typer.Option(help="Share of the whole training set that is poison; repeat for several.")
    ] = [0.05],  # noqa: B006
    network: Annotated[
        list[str],
        typer.Option(
            help="Network for images: lenet5, plain_cnn, vit, resnet18_cifar, mobilenet_v2 or vgg16; none: no model is "
            "trained, for filters that need none. Repeat for several."
        ),
    ] = ["lenet5"],  # noqa: B006
    filter_name: Annotated[
        list[str], typer.Option("--filter", help="A filter by the name that records give it; repeat for several.")
    ] = ["layerwise"],  # noqa: B006
    n_train: Annotated[
        int | None,
        typer.Option(min=20, help="Number of training images that are drawn; of speech, at most so many of each class."),
    ] = None,
    n_trusted: Annotated[int, typer.Option(min=0, help="Samples of each class that are known to be clean.")] = 0,
    width: Width = None,
    nb_epochs: NetworkEpochs = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help=f"A trial: {QUICK_TRAIN:,} images or {QUICK_CLIPS} clips a class, {QUICK_EPOCHS} epochs."
        ),
    ] = False,
    download: Download = False,
    seed: Seeds = [0],  # noqa: B006
    models: Models = Path("out/models"),
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/filters"),
) -> None:
    """Measure filters of training sets on many attacks: what they find and what they remove of clean samples."""
    from art_plugins.attacks.cases import Folders
    from art_plugins.evaluation.filter_rates import Grid, run_filters
    from art_plugins.evaluation.running.runs import Recording
    from art_plugins.reports.studies.attack_picture import write_attack_picture
    from art_plugins.reports.studies.filter_tables import filter_rate_tables

    _check_quick(quick, {"--n-train": n_train, "--nb-epochs": nb_epochs})
    if quick:
        n_train, nb_epochs = QUICK_TRAIN, QUICK_EPOCHS
    n_clips = QUICK_CLIPS if quick else None
    grid = Grid(dataset, attack, share, network, filter_name, seed, n_train, nb_epochs, width, n_clips)
    recording = Recording(out, _command(), _show_filter_run)
    record = run_filters(grid, Folders(root, models, download), recording, n_trusted)
    for table in filter_rate_tables(record):
        _show(table)
    _show_written(out, ["record.json", "table.md"], [write_attack_picture([record], out)])
