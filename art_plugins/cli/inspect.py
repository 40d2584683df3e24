"""Commands for data and models of unknown origin: scan a folder, look for a model's backdoor."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from art_plugins.cli.app import app, console
from art_plugins.cli.options import Precision, _command, _keyword_arguments, _numbers, _size
from art_plugins.cli.shown import MAX_LISTED, _show_files
from art_plugins.cli.terminal import FittedTable
from art_plugins.errors import InvalidInputError


@app.command()
def scan(
    folder: Annotated[
        Path,
        typer.Argument(help="Holds one folder for each class, with wav, flac, png or jpg files; or train, test and so on."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/scan"),
    apply_to: Annotated[Path | None, typer.Option(help="Write the list of files to keep here; nothing is deleted.")] = None,
    autoencoder: Annotated[Path | None, typer.Option(help="A saved autoencoder, used instead of training one.")] = None,
    save_autoencoder: Annotated[Path | None, typer.Option(help="Keep the trained autoencoder for other scans.")] = None,
    kind: Annotated[Literal["auto", "sound", "image"], typer.Option(help="What the files are.")] = "auto",
    split: Annotated[str | None, typer.Option(help="Scan only this one of train, test and so on; default: all.")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Length of a clip; default: the 95th percentile of the folder, at most 10.")
    ] = None,
    false_alarm_rate: Annotated[
        float, typer.Option(help="Accepted chance that a folder without poison has any class called poisoned.")
    ] = 0.05,
    nb_epochs: Annotated[int, typer.Option(min=1, help="Training epochs of the autoencoder.")] = 30,
    precision: Precision = "32-true",
    max_listed: Annotated[int, typer.Option(min=1, help="Files shown of each kind and class on the page.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Of training and clustering.")] = 0,
) -> None:
    """Rank the classes of a folder by suspicion, with no ground truth, and show the suspects to a person."""
    from art_plugins.inspection.scan import scan_folder
    from art_plugins.inspection.scan_words import file_rows, files_sentence

    # The page and the record name the classes; the defence's own warnings know only their numbers.
    logging.getLogger("art_plugins.defences.latent_clustering").setLevel(logging.ERROR)
    record = scan_folder(
        folder,
        out,
        kind=kind,
        split=split,
        seconds=seconds,
        autoencoder=autoencoder,
        save_autoencoder=save_autoencoder,
        apply_to=apply_to,
        false_alarm_rate=false_alarm_rate,
        nb_epochs=nb_epochs,
        random_state=seed,
        max_listed=max_listed,
        precision=precision,
        command=_command(),
    )
    table = Table(
        title="Classes, most suspicious first",
        caption="Index: higher = more suspicious. False alarms: chance of a class so far out without poison.",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("class", overflow="fold")
    for title in ("files", "index", "false alarms", "called poison"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("verdict")
    for row in record["classes"]:
        index = "-" if row["mad_index"] is None else f"{row['mad_index']:.2f}"
        chance = "-" if row["p_value"] is None else f"{row['p_value']:.2g}"
        table.add_row(escape(row["name"]), str(row["n_files"]), index, chance, str(row["n_called_poison"]), row["verdict"])
    console.print(FittedTable(table))
    for sentence in (record["finding"], *record["notes"], files_sentence(record["counts"])):
        console.print(sentence, markup=False)
    _show_files(file_rows(record))
    written = [out / "report.html", out / "suspects.csv", out / "record.json", apply_to, save_autoencoder]
    console.print(f"Written: {', '.join(str(path) for path in written if path is not None)}", markup=False)


@app.command()
def detect(
    model: Annotated[
        Path,
        typer.Argument(
            help="A TorchScript file, which runs in a process that can only compute; or weights, safetensors or "
            "state_dict, which are read as data: see --factory."
        ),
    ],
    folder: Annotated[Path, typer.Argument(help="Holds the png or jpg images to judge, at any depth.")],
    clean: Annotated[Path, typer.Option(help="Holds one folder of clean images for each class, 10 to 100 each.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/detect"),
    classes: Annotated[
        str | None, typer.Option(help="The class folders in the order of the model's outputs: a,b,c.")
    ] = None,
    factory: Annotated[
        str | None,
        typer.Option(help="package.module:function that makes the network of the weights; your own code, run as such."),
    ] = None,
    factory_args: Annotated[str | None, typer.Option(help='Its arguments as JSON, such as {"num_classes": 10}.')] = None,
    size: Annotated[
        str | None, typer.Option(help="WxH in pixels; default: the most common size of the clean images.")
    ] = None,
    mean: Annotated[str | None, typer.Option(help="Subtracted from the images (0 to 1); one a channel: .5,.5,.5.")] = None,
    std: Annotated[str | None, typer.Option(help="Then divided by; 0.0039216 for a model of images from 0 to 255.")] = None,
    save_detector: Annotated[Path | None, typer.Option(help="Keep the detector, to judge other images in Python.")] = None,
    threshold: Annotated[float, typer.Option(help="Index above which a class is a backdoor's target.")] = 4.2,
    nb_steps: Annotated[int, typer.Option(min=1, help="Most steps of the trigger inversion.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Of the inversion.")] = 0,
    timeout: Annotated[float, typer.Option(help="Most seconds that a TorchScript file may take, all in all.")] = 3600.0,
    trust_model: Annotated[
        bool, typer.Option("--trust-model", help="Run a TorchScript file with your rights and without limits.")
    ] = False,
) -> None:
    """
    Is a trained image classifier backdoored, towards which class, and which of these images carry the trigger?

    No file is unpickled. A TorchScript file that does more than compute is refused before it runs; what runs cannot write,
    start programs or reach a network, and has limits on time and memory (Linux; elsewhere TorchScript needs --trust-model).
    """
    options: dict[str, Any] = {
        "classes": None if classes is None else [name.strip() for name in classes.split(",")],
        "size": _size(size),
        "mean": _numbers("--mean", mean),
        "std": _numbers("--std", std),
        "factory_args": _keyword_arguments(factory_args),
    }
    if factory_args is not None and factory is None:
        raise InvalidInputError("--factory-args are the arguments of --factory package.module:function, which is missing.")
    from art_plugins.inspection.detect import TARGET, detect_folder
    from art_plugins.inspection.detect_words import INDEX_RULE

    # The page and the record name the classes; the detector's own warnings know only their numbers.
    logging.getLogger("art_plugins.defences.in_flight").setLevel(logging.ERROR)
    record = detect_folder(
        model,
        folder,
        clean,
        out,
        factory=factory,
        trust_model=trust_model,
        timeout_s=timeout,
        save_detector=save_detector,
        threshold=threshold,
        nb_steps=nb_steps,
        random_state=seed,
        command=_command(),
        **options,
    )
    kinds = list(record["classes"][0]["patterns"])
    table = Table(
        title="Smallest pattern towards each class, most suspicious first",
        caption="px: size of the patch in pixels. L2: norm of the additive pattern. success: share of the clean images "
        "of the other classes that it sends to the class. " + INDEX_RULE,
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("class", overflow="fold")
    for kind in kinds:
        for title in (f"{kind}, px" if kind == "patch" else f"{kind}, L2", "success"):
            table.add_column(title, justify="right", no_wrap=True)
    table.add_column("index", justify="right", no_wrap=True)
    table.add_column("verdict")
    for row in record["classes"]:
        cells = [
            cell
            for kind in kinds
            for cell in (f"{row['patterns'][kind]['norm']:.2f}", f"{row['patterns'][kind]['success_rate']:.3f}")
        ]
        index = "-" if row["index"] is None else f"{row['index']:.2f}"
        style = "bold" if row["verdict"] == TARGET else None
        table.add_row(escape(row["name"]), *cells, index, row["verdict"], style=style)
    console.print(FittedTable(table))
    for sentence in (record["finding"], *record["notes"]):
        console.print(sentence, markup=False)
    for row in record["suspects"][:MAX_LISTED]:
        console.print(
            f"  {row['file']}: {row['predicted_class']} to the model, probably {row['source_class']} "
            f"(score {row['score']:.1f})",
            markup=False,
            highlight=False,
        )
    if len(record["suspects"]) > MAX_LISTED:
        console.print(f"  and {len(record['suspects']) - MAX_LISTED} more, listed in {out / 'suspects.csv'}", markup=False)
    written = [out / "report.html", out / "suspects.csv", out / "record.json"]
    if save_detector is not None and record["target_class"] is not None:
        written.append(save_detector)
    console.print(f"Written: {', '.join(map(str, written))}", markup=False)
