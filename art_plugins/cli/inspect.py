"""Commands for data and models of unknown origin: scan a folder for poison, look for the backdoor of a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from art_plugins.cli.app import app
from art_plugins.cli.options import (
    Classes,
    Factory,
    FactoryArgs,
    Mean,
    Precision,
    Size,
    Steps,
    Threshold,
    TrustModel,
    _check_factory,
    _command,
    _keyword_arguments,
    _names,
    _numbers,
    _size,
)
from art_plugins.cli.shown import _show_classes, _show_files, _show_patterns, _show_sentences, _show_suspects, _show_written
from art_plugins.cli.terminal import without_warnings_of
from art_plugins.errors import InvalidInputError


@app.command()
def scan(
    data: Annotated[
        Path | None,
        typer.Argument(
            help="Folder that holds one folder of sounds or images for each class, or splits such as train and test that "
            "hold these folders; or a manifest, arrays, parquet or shards."
        ),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Scan synthesised words with a planted trigger, which are written to OUT/demo.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/scan"),
    apply_to: Annotated[
        Path | None, typer.Option(help="Write the list of the files to keep to this new file. No file is deleted.")
    ] = None,
    apply: Annotated[
        Literal["list", "drop", "relabel", "restore"],
        typer.Option(
            help="What --apply-to holds: the list of the files to keep; a manifest without poison; a manifest in which "
            "poison has the label that the scan suggests, if it suggests one; or the same with cleaned copies of poison, "
            "whose sound or patch is taken off."
        ),
    ] = "list",
    autoencoder: Annotated[
        str | None,
        typer.Option(
            help="Use this saved autoencoder instead of training one; speech: the one that comes with the package."
        ),
    ] = None,
    save_autoencoder: Annotated[
        Path | None, typer.Option(help="Save the trained autoencoder to this new file, for other scans.")
    ] = None,
    kind: Annotated[Literal["auto", "sound", "image"], typer.Option(help="The kind of files to scan.")] = "auto",
    split: Annotated[
        str | None, typer.Option(help="Scan only this split, such as train; default: all splits together.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Length of a clip; default: the 95th percentile of the folder, at most 10.")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Size to which all images are brought, such as 64x64; default: the most common."),
    ] = None,
    false_alarm_rate: Annotated[
        float, typer.Option(help="Accepted chance that a folder without poison has any class called poisoned.")
    ] = 0.05,
    nb_epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Most training epochs of the autoencoder; default: as many as the training needs."),
    ] = None,
    precision: Precision = "32-true",
    max_listed: Annotated[
        int, typer.Option(min=1, help="Number of suspects, and of typical samples, that the page shows for a class.")
    ] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the training and of the clustering.")] = 0,
    path_column: Annotated[
        str | None,
        typer.Option(help="Column of a manifest that holds the paths, or the column or array of the samples."),
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(help="Column or array that holds the labels; default: by its usual name.")
    ] = None,
    rate: Annotated[
        int | None, typer.Option(min=1, help="Sample rate of waveforms that come as arrays, which do not say it.")
    ] = None,
    fail_on: Annotated[
        Literal["poison", "look", "never"],
        typer.Option(help="What makes the exit status 1: poison only, anything that a person should look at, or nothing."),
    ] = "poison",
    accepted: Annotated[
        Path | None,
        typer.Option(help="Rows of an earlier suspects.csv that a person has cleared. A new name keeps a file cleared."),
    ] = None,
    decisions: Annotated[
        Path | None,
        typer.Option(help="What a person has accepted and rejected on the page of an earlier scan: the file saved there."),
    ] = None,
    format: Annotated[
        Literal["text", "json", "sarif"], typer.Option(help="What is printed: tables, record.json, or SARIF 2.1.0.")
    ] = "text",
    only: Annotated[
        list[str] | None,
        typer.Option(help="Look at this evidence only: latents, network or labels; repeat it for two. Default: all."),
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Leave out the evidence for which the scan trains a classifier of its own.")
    ] = False,
    model: Annotated[
        Path | None,
        typer.Option(help="TorchScript file of your own classifier of these images, whose layers are then looked at."),
    ] = None,
    trusted: Annotated[
        Path | None, typer.Option(help="Folder of class folders with images that are known to be clean.")
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Keep decoded files, and their features by a saved autoencoder, in this folder, so that a later scan "
            "computes those of new files only."
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            min=1, help="Number of local processes that decode files into --cache, compute features, and split classes."
        ),
    ] = 1,
    backend: Annotated[
        Literal["local", "dask", "ray"], typer.Option(help="Who does so: local processes, or the workers of a cluster.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Address of the cluster: tcp://host:port for Dask, host:port for Ray.")
    ] = None,
) -> None:
    """
    Rank the classes of a data set by suspicion, without any ground truth, and show the suspects to a person.

    The exit status is 0 if nothing was found, 1 if there is poison, and 2 after an error or if no class could be judged.
    """
    if (data is None) != demo:
        raise InvalidInputError("Give the data to scan, or --demo in place of them.")
    from art_plugins.inspection.demo import AUTOENCODER, FOLDER, demo_sentence, write_demo
    from art_plugins.inspection.gate import gate_sentence
    from art_plugins.inspection.sarif import sarif_text
    from art_plugins.inspection.scan import scan_folder
    from art_plugins.inspection.scan_record import json_text
    from art_plugins.inspection.scan_words import evidence_sentences, file_rows, files_sentence
    from art_plugins.inspection.settings import ScanSettings

    if demo and autoencoder is None and save_autoencoder is None and "latents" in (only or ["latents"]):
        autoencoder = AUTOENCODER
    settings = ScanSettings(
        kind, split, seconds, _size(size), autoencoder, save_autoencoder, apply_to, max_listed, accepted, fail_on
    )
    settings = replace(settings, path_column=path_column, label_column=label_column, rate_hz=rate)
    settings = replace(settings, only=tuple(only or ()), fast=fast, model=model, trusted=trusted, cache=cache)
    settings = replace(settings, decisions=decisions, apply=apply, backend=backend, address=address, jobs=jobs)
    shown = write_demo(out) if data is None else None
    # The page and the record name the classes; the defence's own warnings know only their numbers.
    with without_warnings_of("art_plugins.defences"):
        record = scan_folder(
            data or out / FOLDER,
            out,
            settings,
            command=_command(),
            false_alarm_rate=false_alarm_rate,
            nb_epochs=nb_epochs,
            precision=precision,
            random_state=seed,
        )
    if format == "text":
        _show_classes(record["classes"])
        _show_sentences([record["finding"], *record["notes"], files_sentence(record["counts"])])
        _show_sentences(evidence_sentences(record["evidence"], record["counts"]))
        if shown is not None:
            _show_sentences([demo_sentence(shown, record["suspects"])])
        _show_files(file_rows(record))
        _show_written(out, ("report.html", "suspects.csv", "record.json"), [apply_to, save_autoencoder])
        _show_sentences([gate_sentence(record["gate"])])
    else:
        typer.echo(json_text(record) if format == "json" else sarif_text(record), nl=False)
    raise typer.Exit(record["gate"]["status"])


@app.command()
def detect(
    model: Annotated[
        Path,
        typer.Argument(
            help="Model file. A TorchScript file runs in a process that can only compute. Weights (safetensors, a "
            "state_dict, those of a .pt2) are read as data, and need --factory."
        ),
    ],
    clean: Annotated[
        Path, typer.Option(help="Folder that holds one folder of 10 to 100 clean images, or sounds, for each class.")
    ],
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="Folder that holds the images or sounds to judge, at any depth. Without any, only small patterns show."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/detect"),
    classes: Classes = None,
    factory: Factory = None,
    factory_args: FactoryArgs = None,
    size: Size = None,
    mean: Mean = None,
    std: Annotated[
        str | None,
        typer.Option(help="The images are then divided by this; 0.0039216 suits a model of images from 0 to 255."),
    ] = None,
    save_detector: Annotated[
        Path | None, typer.Option(help="Save the detector to this new file, to judge other images in Python.")
    ] = None,
    threshold: Threshold = 3.5,
    nb_steps: Steps = 400,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the trigger inversion.")] = 0,
    timeout: Annotated[float, typer.Option(help="Most seconds that a TorchScript file may take in total.")] = 3600.0,
    trust_model: TrustModel = False,
    false_alarm_rate: Annotated[
        float,
        typer.Option(
            help="Accepted share of images without a trigger that are caught, and accepted chance that images make a clean "
            "model look backdoored."
        ),
    ] = 0.01,
    kind: Annotated[
        Literal["auto", "image", "sound"], typer.Option(help="The kind of files; default: whichever --clean holds.")
    ] = "auto",
    seconds: Annotated[
        float | None,
        typer.Option(
            help="Length of a clip that a model of sounds gets; default: the 95th percentile of --clean, at most 10."
        ),
    ] = None,
    fail_on: Annotated[
        Literal["backdoor", "look", "never"],
        typer.Option(help="What makes the exit status 1: a backdoor, anything that a person should look at, or nothing."),
    ] = "backdoor",
) -> None:
    """
    Find out whether a classifier has a backdoor, towards which class, and which images or sounds carry the trigger.

    A small pattern is searched for first. Then the images are judged by the layers of the model, which needs no pattern, so
    that a warp, a trigger that differs from image to image and an attack on every class show as well. Sounds are judged by
    the layers alone; the model gets waveforms.

    No file is unpickled. A TorchScript file that does more than compute is refused before it runs. A file that runs cannot
    write files, start programs or reach a network, and its time and memory are limited. This needs Linux; on other systems,
    a TorchScript file needs --trust-model.

    The exit status is 0 if no backdoor was found, 1 if there is one, and 2 after an error or if the search or the images do
    not answer the question.
    """
    numbers = _numbers("--mean", mean), _numbers("--std", std)
    names, sides, arguments = _names(classes), _size(size), _keyword_arguments(factory_args)
    _check_factory(factory, factory_args)
    from art_plugins.inspection.detect import detect_folder
    from art_plugins.inspection.detect_words import files_sentences
    from art_plugins.inspection.gate import gate_sentence
    from art_plugins.inspection.scan_words import file_rows
    from art_plugins.inspection.settings import DetectSettings

    loading = (names, sides, *numbers, factory, arguments, trust_model)
    settings = DetectSettings(
        *loading, timeout, save_detector, threshold, nb_steps, seed, false_alarm_rate, kind, seconds, fail_on
    )
    # The page and the record name the classes; the detector's own warnings know only their numbers.
    with without_warnings_of("art_plugins.defences"):
        record = detect_folder(model, folder, clean, out, settings, command=_command())
    if record["classes"]:
        _show_patterns(record["classes"])
    _show_sentences([record["finding"], *record["notes"]])
    _show_suspects(record["suspects"], out / "suspects.csv")
    _show_sentences(files_sentences(record))
    _show_files([*file_rows(record["judged_files"]), *file_rows(record["clean_files"])])
    _show_written(out, ("report.html", "suspects.csv", "record.json"), [save_detector] if record["target_class"] else [])
    _show_sentences([gate_sentence(record["gate"])])
    raise typer.Exit(record["gate"]["status"])
