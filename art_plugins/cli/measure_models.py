"""Commands that attack models of images, and measure what detects the backdoor and its triggers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from art_plugins.cli.app import app, console
from art_plugins.cli.options import Download, Models, NetworkEpochs, Seeds, Width, _command
from art_plugins.cli.shown import _show_in_flight_run, _show_layerwise_run


@app.command("in-flight")
def in_flight(
    root: Annotated[Path, typer.Option(help="Folder that holds mnist.npz, fashion_mnist.npz or cifar10.npz.")],
    dataset: Annotated[
        list[str], typer.Option(help="mnist, fashion_mnist, cifar10, emnist_letters, gtsrb32, mixed46 or mixed92; repeat.")
    ] = [  # noqa: B006
        "mnist",
        "fashion_mnist",
    ],
    trigger: Annotated[
        list[str], typer.Option(help="A pattern, such as white_box; none: a model without a backdoor. Repeat for several.")
    ] = [  # noqa: B006
        "white_box",
        "chessboard",
        "none",
    ],
    sources: Annotated[
        list[str], typer.Option(help="Which classes are poisoned: multi, single or all_to_all; repeat for several.")
    ] = [  # noqa: B006
        "multi"
    ],
    network: Annotated[list[str], typer.Option(help="A network, such as lenet5 or resnet18_cifar; repeat for several.")] = [  # noqa: B006
        "lenet5"
    ],
    width: Width = None,
    n_train: Annotated[
        int | None, typer.Option(min=20, help="Number of training images that are drawn at random; default: all.")
    ] = None,
    n_poison: Annotated[
        int | None, typer.Option(min=1, help="Number of poisoned training images; default: the same share as in the paper.")
    ] = None,
    nb_epochs: NetworkEpochs = None,
    n_clean: Annotated[
        list[int], typer.Option(min=1, help="Clean images of each class that the defender has; repeat for several.")
    ] = [100],  # noqa: B006
    nb_steps: Annotated[int, typer.Option(min=1, help="Use at most so many steps to reconstruct a trigger.")] = 400,
    baselines: Annotated[bool, typer.Option(help="Run the other methods Neural Cleanse, B3D and STRIP as well.")] = True,
    download: Download = False,
    seed: Seeds = [0],  # noqa: B006
    models: Models = Path("out/models"),
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/in-flight"),
) -> None:
    """Reconstruct the triggers of backdoored models, and catch the images that carry them, beside other methods."""
    from art_plugins.attacks.cases import Folders, ModelCase, check_case
    from art_plugins.evaluation.in_flight_run import run_in_flight
    from art_plugins.evaluation.running.runs import Recording

    cases = [
        ModelCase(name, pattern, kind, one, n_poison, width, nb_epochs, number, n_train)
        for number in seed
        for one in network
        for name in dataset
        for kind in sources
        for pattern in trigger
    ]
    for case in cases:
        check_case(case)
    folders, recording = Folders(root, models, download), Recording(out, _command(), _show_in_flight_run)
    run_in_flight(cases, folders, recording, n_clean=n_clean, nb_steps=nb_steps, with_baselines=baselines)
    console.print(f"Written: {out / 'record.json'}, {out / 'table.md'}", markup=False)


@app.command()
def layerwise(
    root: Annotated[Path, typer.Option(help="Folder that holds mnist.npz, fashion_mnist.npz, cifar10.npz, gtsrb32.npz.")],
    dataset: Annotated[list[str], typer.Option(help="mnist, fashion_mnist, cifar10 or gtsrb32; repeat for several.")] = [  # noqa: B006
        "mnist",
        "fashion_mnist",
    ],
    trigger: Annotated[
        list[str], typer.Option(help="A pattern, warp, or input_aware (each image has its own trigger); repeat.")
    ] = ["white_box", "chessboard"],  # noqa: B006
    network: Annotated[
        str,
        typer.Option(help="The network that is attacked: lenet5, plain_cnn, vit, resnet18_cifar, mobilenet_v2 or vgg16."),
    ] = "lenet5",
    width: Width = None,
    n_poison: Annotated[
        int | None,
        typer.Option(min=1, help="Number of poisoned training images; default: the same share as Li et al. 2022."),
    ] = None,
    nb_epochs: NetworkEpochs = None,
    n_trusted: Annotated[int, typer.Option(min=1, help="Images of each class that are known to be clean.")] = 100,
    filters: Annotated[bool, typer.Option(help="Also filter the training set, and compare with ART's filters.")] = True,
    peers: Annotated[
        bool,
        typer.Option(
            "--peers", help="Also run the detectors and the filters of other authors, such as STRIP, TED, SPECTRE and PSBD."
        ),
    ] = False,
    peer: Annotated[
        list[str] | None, typer.Option(help="Run this detector of other authors alone, such as TED++; repeat for several.")
    ] = None,
    n_train: Annotated[
        int | None, typer.Option(min=20, help="Number of training images that are drawn at random; default: all.")
    ] = None,
    download: Download = False,
    seed: Seeds = [0],  # noqa: B006
    models: Models = Path("out/models"),
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/layerwise"),
) -> None:
    """Look for triggers in every layer of backdoored models: in test images, and as a filter of training sets."""
    from art_plugins.attacks.cases import Folders, ModelCase
    from art_plugins.evaluation.layerwise_run import run_layerwise
    from art_plugins.evaluation.running.runs import Recording

    cases = [
        ModelCase(name, pattern, "multi", network, n_poison, width, nb_epochs, number, n_train)
        for number in seed
        for name in dataset
        for pattern in trigger
    ]
    folders, recording = Folders(root, models, download), Recording(out, _command(), _show_layerwise_run)
    run_layerwise(cases, folders, recording, n_trusted=n_trusted, with_filters=filters, with_peers=peer or peers)
    console.print(f"Written: {out / 'record.json'}, {out / 'table.md'}, and figures", markup=False)
