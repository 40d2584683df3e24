"""The command ``art-plugins``: compare filters, scan a folder, look for a model's backdoor, measure the curve of Fig. 7."""

from __future__ import annotations

import json
import logging
import shlex
import signal
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from art_plugins.cli.terminal import FittedTable, messages_beside_bars, say
from art_plugins.errors import ArtPluginsError, InvalidInputError

# Whatever imports torch or ART is imported inside the commands, so that --help and a bad argument are answered at once.

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Published defences against backdoor poisoning, beside the baselines of the Adversarial Robustness Toolbox.",
)
console = Console(emoji=False)  # a class may be named :cat:
MAX_LISTED = 10  # caught images, or reasons why files were skipped
INTERRUPTED = 130  # exit status: 128 and the number of the signal of Ctrl-C
STOPPED = 143  # the same of SIGTERM
ENDED = {INTERRUPTED: "Interrupted", STOPPED: "Stopped"}

Root = Annotated[Path, typer.Option(help="Folder that holds the data set, in its folder SpeechCommands.")]
Trigger = Annotated[
    Literal["clapping", "whistle", "car_horn", "dog_clicker"],
    typer.Option(help="The sound, one of Armory's, that is mixed into the poisoned clips."),
]
Source = Annotated[str, typer.Option(help="The class whose samples are poisoned.")]
Target = Annotated[str, typer.Option(help="The class that the poisoned samples are labelled as.")]
Cap = Annotated[int, typer.Option(min=1, help="Use at most so many training samples of each class.")]
Seeds = Annotated[
    list[int], typer.Option("--seed", min=0, help="Number that fixes the random draws; repeat the option for several runs.")
]
Precision = Annotated[str, typer.Option(help="Number format of the autoencoder's training: 32-true, or bf16-mixed.")]


@app.command()
def compare(
    dataset: Annotated[
        Literal["default", "digits", "synthetic_speech", "speech_commands"],
        typer.Option(help="The data that are poisoned. default: digits and synthetic speech, with no download."),
    ] = "default",
    root: Annotated[Path | None, typer.Option(help="Folder that holds the data set, in its folder SpeechCommands.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Download Speech Commands to --root (2.3 GB).")] = False,
    trigger: Trigger = "clapping",
    source: Source = "_unknown_",
    target: Target = "left",
    fraction: Annotated[float, typer.Option(help="Share of the source class that is poisoned: above 0, at most 1.")] = 0.1,
    cap: Cap = 3000,
    silence: Annotated[
        bool, typer.Option("--silence", help="Keep the class _silence_, which the paper leaves out.")
    ] = False,
    classifier: Annotated[
        Literal["cnn", "resnet18_narrow", "resnet18", "resnet50"],
        typer.Option(help="The network that is attacked; for Speech Commands only."),
    ] = "cnn",
    nb_epochs: Annotated[int, typer.Option(min=1, help="Training epochs of --classifier.")] = 15,
    autoencoder: Annotated[Path | None, typer.Option(help="Use this saved autoencoder and train none.")] = None,
    autoencoder_epochs: Annotated[int, typer.Option(min=1, help="Training epochs of the autoencoder (paper: 30).")] = 30,
    precision: Precision = "32-true",
    seed: Seeds = [0],  # noqa: B006
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/compare"),
) -> None:
    """Compare filters: poison a data set, filter it with each, train again, and show what is left of the attack."""
    if dataset == "speech_commands" and root is None:
        raise InvalidInputError("--dataset speech_commands needs --root DIR, the folder that holds (or gets) the data.")
    if dataset != "speech_commands" and (root or autoencoder or download):
        raise InvalidInputError("--root, --download and --autoencoder need --dataset speech_commands.")
    if autoencoder is not None and not autoencoder.is_file():
        raise InvalidInputError(f"--autoencoder {autoencoder} does not exist.")
    from art_plugins.attacks import tasks
    from art_plugins.evaluation.compare_run import report_is_possible, run_comparisons

    defence: dict[str, Any] = {"nb_epochs": autoencoder_epochs, "precision": precision}
    if autoencoder is not None:
        defence = {"autoencoder": str(autoencoder)}
    makers: list[Any] = []
    for number in seed:
        if dataset in ("default", "digits"):
            makers.append(partial(tasks.digits_task, number))
        if dataset in ("default", "synthetic_speech"):
            makers.append(partial(tasks.synthetic_speech_task, number))
        if dataset == "speech_commands":
            makers.append(
                partial(
                    tasks.speech_commands_task,
                    str(root),
                    trigger=trigger,
                    source=source,
                    target=target,
                    fraction=fraction,
                    cap=cap,
                    seed=number,
                    silence=silence,
                    download=download,
                    classifier=classifier,
                    nb_epochs=nb_epochs,
                    defence=defence,
                )
            )
    run_comparisons(makers, out, _command(), _show_comparison)
    page = out / "report.html"
    console.print(f"Written: {out / 'record.json'}, {out / 'table.md'}" + (f", {page}" if report_is_possible() else ""))
    if not report_is_possible():
        console.print('For a page with figures: pip install "art-plugins[report]"')


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


@app.command("in-flight")
def in_flight(
    root: Annotated[Path, typer.Option(help="Folder that holds mnist.npz, fashion_mnist.npz or cifar10.npz.")],
    dataset: Annotated[list[str], typer.Option(help="mnist, fashion_mnist or cifar10; repeat the option for several.")] = [  # noqa: B006
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
    network: Annotated[
        Literal["lenet5", "resnet18_cifar", "vgg16"], typer.Option(help="The network that is attacked.")
    ] = "lenet5",
    width: Annotated[
        int | None, typer.Option(min=1, help="Channels of the network's first stage; default: by network.")
    ] = None,
    n_poison: Annotated[
        int | None, typer.Option(min=1, help="Number of poisoned training images; default: the same share as in the paper.")
    ] = None,
    nb_epochs: Annotated[
        int | None, typer.Option(min=1, help="Training epochs of the network; default: by network.")
    ] = None,
    n_clean: Annotated[
        list[int], typer.Option(min=1, help="Clean images of each class that the defender has; repeat for several.")
    ] = [100],  # noqa: B006
    nb_steps: Annotated[int, typer.Option(min=1, help="Use at most so many steps to reconstruct a trigger.")] = 400,
    baselines: Annotated[bool, typer.Option(help="Run the other methods Neural Cleanse, B3D and STRIP as well.")] = True,
    download: Annotated[
        bool, typer.Option("--download", help="Download MNIST or CIFAR-10 to --root where they are missing.")
    ] = False,
    seed: Seeds = [0],  # noqa: B006
    models: Annotated[
        Path, typer.Option(help="Folder that keeps the trained models; one that is there is not trained again.")
    ] = Path("out/models"),
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/in-flight"),
) -> None:
    """Reconstruct the triggers of backdoored models, and catch the images that carry them, beside other methods."""
    from art_plugins.attacks.cases import ModelCase, check_case
    from art_plugins.evaluation.in_flight_run import run_in_flight

    cases = [
        ModelCase(name, pattern, kind, network, n_poison, width, nb_epochs, number)
        for number in seed
        for name in dataset
        for kind in sources
        for pattern in trigger
    ]
    for case in cases:
        check_case(case)
    options: dict[str, Any] = {"n_clean": n_clean, "nb_steps": nb_steps, "with_baselines": baselines, "download": download}
    run_in_flight(cases, root, out, _command(), models, **options, on_run=_show_in_flight_run)
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
        str, typer.Option(help="The network that is attacked: lenet5, resnet18_cifar, mobilenet_v2 or vgg16.")
    ] = "lenet5",
    width: Annotated[
        int | None, typer.Option(min=1, help="Channels of the network's first stage; default: by network.")
    ] = None,
    n_poison: Annotated[
        int | None,
        typer.Option(min=1, help="Number of poisoned training images; default: the same share as Li et al. 2022."),
    ] = None,
    nb_epochs: Annotated[
        int | None, typer.Option(min=1, help="Training epochs of the network; default: by network.")
    ] = None,
    n_trusted: Annotated[int, typer.Option(min=1, help="Images of each class that are known to be clean.")] = 100,
    filters: Annotated[bool, typer.Option(help="Also filter the training set, and compare with ART's filters.")] = True,
    peers: Annotated[
        bool, typer.Option("--peers", help="Also run STRIP, SCALE-UP, Beatrix and TED, and the filters SPECTRE and PyOD's.")
    ] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Download MNIST or CIFAR-10 to --root where they are missing.")
    ] = False,
    seed: Seeds = [0],  # noqa: B006
    models: Annotated[
        Path, typer.Option(help="Folder that keeps the trained models; one that is there is not trained again.")
    ] = Path("out/models"),
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/layerwise"),
) -> None:
    """Look for triggers in every layer of backdoored models: in test images, and as a filter of training sets."""
    from art_plugins.attacks.cases import ModelCase
    from art_plugins.evaluation.layerwise_run import run_layerwise

    cases = [
        ModelCase(name, pattern, "multi", network, n_poison, width, nb_epochs, number)
        for number in seed
        for name in dataset
        for pattern in trigger
    ]
    options: dict[str, Any] = {"n_trusted": n_trusted, "with_filters": filters, "with_peers": peers, "download": download}
    run_layerwise(cases, root, out, _command(), models, **options, on_run=_show_layerwise_run)
    console.print(f"Written: {out / 'record.json'}, {out / 'table.md'}, and figures", markup=False)


@app.command("fraction-curve")
def fraction_curve(
    root: Root,
    autoencoder: Annotated[
        Path, typer.Option(help="File of the autoencoder; where there is none, one is trained and saved there.")
    ],
    trigger: Trigger = "clapping",
    source: Source = "_unknown_",
    target: Target = "left",
    cap: Cap = 3000,
    scoring: Annotated[
        Literal["contrastive", "paper"],
        typer.Option(help="contrastive: judge each class against the others; paper: each by itself."),
    ] = "contrastive",
    precision: Precision = "32-true",
    nb_epochs: Annotated[int, typer.Option(min=1, help="Training epochs of the autoencoder.")] = 30,
    seed: Seeds = [0, 1, 2],  # noqa: B006
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/fraction-curve"),
) -> None:
    """Fig. 7 of Mehlman et al. 2023: how well the poison is found for shares of .01 to .30 of the source class."""
    from art_plugins.evaluation.compare_run import run_fraction_curve

    attack = {"trigger": trigger, "source": source, "target": target, "cap": cap}
    record = run_fraction_curve(str(root), autoencoder, attack, seed, scoring, nb_epochs, precision, out, _command())
    table = Table(title=f"Adjusted Rand index on {target!r}, by share of {source!r} poisoned with {trigger}")
    for title in ("fraction", "seed", "poison", "share of target", "ARI", "rank", "called poisoned"):
        table.add_column(title, justify="right")
    for point in record["points"]:
        table.add_row(
            f"{point['fraction']:.2f}",
            str(point["seed"]),
            str(point["n_poison"]),
            _cell(point["target_share"]),
            _cell(point["ari"]),
            _cell(point["rank"]),
            "yes" if point["found"] else "no",
        )
    console.print(FittedTable(table))
    console.print(f"Written: {out / 'record.json'}", markup=False)


@app.command()
def sweep(
    root: Root,
    autoencoder: Annotated[Path, typer.Option(help="File of a saved autoencoder; compare writes one beside its results.")],
    trigger: Annotated[
        list[str], typer.Option(help="clapping, whistle, car_horn, dog_clicker, tone or burst; repeat for several.")
    ] = ["clapping", "whistle"],  # noqa: B006
    pairs: Annotated[
        int | None, typer.Option(min=1, help="Attack so many pairs of classes, drawn at random; default: all pairs.")
    ] = None,
    clean: Annotated[int, typer.Option(min=0, help="Number of draws without poison, which show the false alarms.")] = 100,
    curve: Annotated[
        list[str], typer.Option(help="source:target, for which the poisoned share is varied; repeat for several.")
    ] = [  # noqa: B006
        "_unknown_:left",
        "right:left",
    ],
    cap: Cap = 3000,
    seed: Annotated[int, typer.Option(min=0, help="Number that fixes the random draws: of samples, pairs and poison.")] = 0,
    jobs: Annotated[int | None, typer.Option(min=1, help="Number of local processes; default: as many as cores.")] = None,
    backend: Annotated[
        Literal["local", "dask", "ray"],
        typer.Option(help="Where the work is done: on this machine, or on a cluster of Dask or Ray."),
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Address of the cluster: tcp://host:port for Dask, host:port for Ray.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/sweep"),
) -> None:
    """Fig. 4, 6, 7 of Mehlman et al. 2023: attack every pair of classes, and judge each with one autoencoder."""
    if not autoencoder.is_file():
        raise InvalidInputError(f"--autoencoder {autoencoder} does not exist.")
    if not all(pair.count(":") == 1 for pair in curve):
        raise InvalidInputError(f"--curve is source:target, such as right:left; received {curve}.")
    from art_plugins.attacks.datasets.speech_commands import speech_commands
    from art_plugins.evaluation.running.parallel import check_backend
    from art_plugins.evaluation.sweep import check_sweep, run_sweep
    from art_plugins.features.autoencoder import Autoencoder
    from art_plugins.reports.sweep_figures import write_sweep_figures
    from art_plugins.reports.sweep_tables import sweep_report, sweep_tables

    check_backend(backend, address, jobs)
    data = speech_commands(root, cap=cap, random_state=seed)
    curves = [(pair.split(":")[0], pair.split(":")[1]) for pair in curve]
    check_sweep(data.class_names, trigger, curves)
    record = run_sweep(
        data,
        Autoencoder.load(autoencoder),
        trigger,
        clean,
        curves,
        out,
        _command(),
        sweep_report,
        seed,
        pairs,
        backend=backend,
        address=address,
        jobs=jobs,
    )
    for table in sweep_tables(record):
        _show(table)
    figures = write_sweep_figures(record, out)
    console.print(f"Written: {', '.join(map(str, (out / 'record.json', out / 'table.md', *figures)))}", markup=False)


@app.command()
def ablation(
    root: Root,
    variant: Annotated[
        list[str] | None,
        typer.Option(help="What is changed, such as 'beta x 4'; repeat for several; default: every variant."),
    ] = None,
    trigger: Annotated[list[str], typer.Option(help="As for sweep; repeat for several.")] = [  # noqa: B006
        "clapping",
        "whistle",
        "tone",
        "burst",
    ],
    pairs: Annotated[int, typer.Option(min=1, help="Attack so many pairs of classes, drawn at random.")] = 20,
    clean: Annotated[int, typer.Option(min=1, help="Number of draws without poison, which show the false alarms.")] = 20,
    nb_epochs: Annotated[int, typer.Option(min=1, help="Training epochs of each autoencoder.")] = 30,
    precision: Precision = "32-true",
    cap: Cap = 3000,
    seed: Annotated[
        int, typer.Option(min=0, help="Number that fixes the random draws: of samples, training, pairs and poison.")
    ] = 0,
    jobs: Annotated[int | None, typer.Option(min=1, help="Number of local processes; default: as many as cores.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/ablation"),
) -> None:
    """Measure what each part of latent clustering brings: change one setting at a time, and judge the same attacks."""
    from art_plugins.attacks.datasets.speech_commands import speech_commands
    from art_plugins.attacks.poisoning import poison
    from art_plugins.evaluation.ablation import VARIANTS, run_ablation
    from art_plugins.evaluation.sweep import check_sweep
    from art_plugins.features.training import make_fabric
    from art_plugins.reports.ablation_tables import ablation_report, ablation_tables
    from art_plugins.triggers.sounds import armory_sound

    variants = variant or list(VARIANTS)
    unknown = [name for name in variants if name not in VARIANTS]
    if unknown:
        raise InvalidInputError(f"--variant must be one of {', '.join(VARIANTS)}; received {unknown[0]!r}.")
    make_fabric(precision)  # one that is unknown is said before the data are read
    data = speech_commands(root, cap=cap, random_state=seed)
    check_sweep(data.class_names, trigger, [])
    record = run_ablation(
        data,
        poison(data, armory_sound("clapping"), "_unknown_", "left", 0.1, random_state=seed).x_train,
        trigger,
        pairs,
        clean,
        out,
        _command(),
        ablation_report,
        variants=variants,
        nb_epochs=nb_epochs,
        precision=precision,
        seed=seed,
        jobs=jobs,
        on_run=lambda run: console.print(f"{run['variant']}: {len(run['sets'])} sets judged", markup=False),
    )
    for table in ablation_tables(record):
        _show(table)
    console.print(f"Written: {out / 'record.json'}, {out / 'table.md'}", markup=False)


@app.command()
def reproduce(
    paper: Annotated[str | None, typer.Argument(help="The paper: mehlman, li or preetha; default: all three.")] = None,
    item: Annotated[
        str | None,
        typer.Argument(help="Its figure or table, such as fig2, table1 or retraining; default: all of them."),
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the data sets, for studies that have to be run.")] = None,
    records: Annotated[
        Path | None, typer.Option(help="Folder with records of studies that need not be run again, such as tests/records.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A trial with fewer epochs, pairs and cases; the record says so.")
    ] = False,
    size: Annotated[
        Literal["auto", "cpu", "gpu"],
        typer.Option(help="gpu: models as large as the papers'; cpu: smaller ones; auto: gpu if there is one."),
    ] = "auto",
    download: Annotated[
        bool, typer.Option("--download", help="Download the data sets that are missing to --root.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/reproduce"),
) -> None:
    """Measure every figure and table of the three papers, and show what the papers report beside it."""
    from art_plugins.reports.paper_tables import item_table, summary_table
    from art_plugins.reproduction import runner

    items = runner.find_items(paper, item)
    if quick and size != "auto":
        raise InvalidInputError("--quick is a size of its own; leave --size out.")
    if root is not None and not root.is_dir():
        raise InvalidInputError(f"--root {root} is no folder.")
    if records is not None and not records.is_dir():
        raise InvalidInputError(f"--records {records} is no folder.")

    def run(arguments: list[str]) -> None:
        console.print(shlex.join(["art-plugins", *arguments]), style="bold", markup=False, highlight=False)
        done = subprocess.run([sys.executable, "-m", "art_plugins.cli", *arguments], check=False)
        if done.returncode:
            raise InvalidInputError(
                f"art-plugins {arguments[0]} ended with status {done.returncode}; the same call goes on where it stopped."
            )

    written = runner.reproduce(
        items, _size_of_machine(quick, size), root, out, records, run, download, lambda record: _show(item_table(record))
    )
    _show(summary_table(written))
    console.print(
        f"Written: {out}/PAPER/ITEM/record.json and figures. One page of all: art-plugins report {out}", markup=False
    )


@app.command()
def report(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders with records, at any depth: out/reproduce, tests/records.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for report.html and report.md.")] = Path("out/report"),
    markdown: Annotated[Path | None, typer.Option(help="Write the Markdown to this file, not to report.md.")] = None,
    fill: Annotated[
        Path | None, typer.Option(help="A Markdown file whose blocks <!-- RECORD --> to <!-- end --> are filled anew.")
    ] = None,
) -> None:
    """Make one page of all records: the papers' numbers beside ours, all methods side by side, suspects to hear and see."""
    from art_plugins.reports.evaluation_page import filled, write_evaluation_report
    from art_plugins.reports.pages import import_jinja2
    from art_plugins.reports.records import gather
    from art_plugins.storage import write_text

    import_jinja2()
    if fill is not None and not fill.is_file():
        raise InvalidInputError(f"--fill {fill} does not exist.")
    gathered = gather(folders)
    text = None if fill is None else filled(fill.read_text(encoding="utf-8"), gathered)
    write_evaluation_report(gathered, out, markdown)
    if fill is not None and text is not None:
        write_text(fill, text)
    written = [out / "report.html", markdown or out / "report.md", *([fill] if fill else [])]
    console.print(f"Written: {', '.join(map(str, written))}", markup=False)


def main() -> None:
    """Run the command line; an error of this package is one sentence on standard error and exit status 2."""
    warnings.filterwarnings("ignore", module="lightning")
    signal.signal(signal.SIGTERM, _stop)
    with messages_beside_bars():
        try:
            app(standalone_mode=True)
        except ArtPluginsError as error:
            message, status = f"Error: {' '.join(str(error).split())}", 2
        except SystemExit as end:  # typer makes one of every end, also of Ctrl-C
            if end.code not in ENDED:
                raise
            message, status = f"{ENDED[end.code]}; run the same command again to go on.", end.code
        # Only here are the bars of the functions that failed gone from the screen.
        say(message)
        sys.exit(status)


def _stop(*_: object) -> None:
    """SIGTERM ends the command like any other exit, so that temporary files are removed."""
    sys.exit(STOPPED)


def _show_files(rows: list[tuple[str, int, str]]) -> None:
    """What became of the files that were not simply read."""
    if not rows:
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("files", justify="right", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("why", overflow="fold")
    for what, number, reason in rows[:MAX_LISTED]:
        table.add_row(f"{number:,}", what, escape(reason))
    if len(rows) > MAX_LISTED:
        table.add_row("", "and more", f"{len(rows) - MAX_LISTED} further reasons, listed in report.html")
    console.print(FittedTable(table))


def _show_comparison(task: dict[str, Any]) -> None:
    before = task["undefended"]
    table = Table(
        title=f"{escape(task['title'])}, seed {task['seed']}: {task['n_poison']} of {task['n_train']} training samples are "
        "poison",
        caption=f"No filter: clean {before['clean_accuracy']:.3f}, attack {before['attack_success']:.3f}. TPR: share of "
        "the poison removed. FPR: share of the clean samples removed. ARI: of the target class. clean, attack: "
        "accuracy and attack success of a model retrained on the rest. s: seconds of the filter.",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    columns = {
        "TPR": "tpr",
        "FPR": "fpr",
        "ARI": "ari_target",
        "clean": "clean_accuracy",
        "attack": "attack_success",
        "s": "seconds",
    }
    table.add_column("filter")
    for title in columns:
        table.add_column(title, justify="right")
    for row in task["defences"]:
        cells = (f"{row[key]:.1f}" if key == "seconds" else _cell(row[key]) for key in columns.values())
        table.add_row(escape(row["title"]), *cells)
    console.print(FittedTable(table))


def _show_in_flight_run(run: dict[str, Any]) -> None:
    found = run["inversion"]
    verdict = "no backdoor found" if found["target_class"] is None else f"backdoor towards class {found['target_class']}"
    line = f"{run['title']}, seed {run['seed']}: clean {_cell(run['model']['clean_accuracy'])}, "
    line += f"attack {_cell(run['model']['attack_success'])}; {verdict} ({found['seconds']:.0f} s)"
    if "detectors" in run:
        default = run["detectors"][-1]
        line += f"; TPR {_cell(default['tpr'])}, FPR {_cell(default['fpr'])}, SIA {_cell(default['sia'])}"
    console.print(line, markup=False, highlight=False)


def _show_layerwise_run(run: dict[str, Any]) -> None:
    console.print(f"{run['title']}, seed {run['seed']}: attack {_cell(run['model']['attack_success'])}", markup=False)
    for row in (*run["detectors"], *run.get("filters", [])):
        line = f"  {row['title']}: TPR {_cell(row['tpr'])}, FPR {_cell(row['fpr'])}"
        console.print(line, markup=False, highlight=False)


def _size_of_machine(quick: bool, size: str) -> Any:
    if quick:
        return "quick"
    if size != "auto":
        return size
    import torch

    return "gpu" if torch.cuda.is_available() else "cpu"


def _show(table: Any) -> None:
    """A table of the record's on the terminal."""
    shown = Table(title=escape(table.caption), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading, is_number in table.columns.items():
        shown.add_column(escape(heading.strip()), justify="right" if is_number else "left")
    for row in table.rows:
        shown.add_row(*map(escape, row))
    console.print(FittedTable(shown))


def _cell(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _size(text: str | None) -> tuple[int, int] | None:
    """WxH."""
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.strip().isdecimal() for side in sides):
        raise InvalidInputError(f"--size is a width and a height in pixels, such as 32x32; received {text!r}.")
    return int(sides[0]), int(sides[1])


def _numbers(option: str, text: str | None) -> list[float] | None:
    """a,b,c"""
    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InvalidInputError(
            f"{option} is one number, or one a channel, such as .5,.5,.5; received {text!r}."
        ) from error


def _keyword_arguments(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        arguments = json.loads(text)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise InvalidInputError(f'--factory-args is a JSON object, such as {{"num_classes": 10}}; received {text!r}.')
    return arguments


def _command() -> str:
    return shlex.join(["art-plugins", *sys.argv[1:]])


if __name__ == "__main__":
    main()
