"""The command ``art-plugins``: compare filters on an attacked data set, scan a folder, measure the curve of Fig. 7."""

from __future__ import annotations

import logging
import shlex
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

from art_plugins.errors import ArtPluginsError, InvalidInputError

# Whatever imports torch or ART is imported inside the commands, so that --help and a bad argument are answered at once.

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Published defences against backdoor poisoning, beside the baselines of the Adversarial Robustness Toolbox.",
)
console = Console()

Root = Annotated[Path, typer.Option(help="Folder that holds SpeechCommands/speech_commands_v0.02.")]
Trigger = Annotated[
    Literal["clapping", "whistle", "car_horn", "dog_clicker"], typer.Option(help="Sound of Armory's, from armory-testbed.")
]
Source = Annotated[str, typer.Option(help="Class whose samples are poisoned.")]
Target = Annotated[str, typer.Option(help="Class that they are relabelled to.")]
Cap = Annotated[int, typer.Option(min=1, help="Most training samples of one class.")]
Seeds = Annotated[list[int], typer.Option("--seed", min=0, help="Repeat the option for several runs.")]
Precision = Annotated[str, typer.Option(help="Of the autoencoder's training, in Lightning's words: 32-true, bf16-mixed.")]


@app.command()
def compare(
    dataset: Annotated[
        Literal["default", "digits", "synthetic_speech", "speech_commands"],
        typer.Option(help="default: digits and synthetic speech, which need no download."),
    ] = "default",
    root: Annotated[Path | None, typer.Option(help="Folder that holds SpeechCommands/speech_commands_v0.02.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Let torchaudio download it there (2.3 GB).")] = False,
    trigger: Trigger = "clapping",
    source: Source = "_unknown_",
    target: Target = "left",
    fraction: Annotated[float, typer.Option(help="Share of the source class, above 0 and at most 1.")] = 0.1,
    cap: Cap = 3000,
    silence: Annotated[bool, typer.Option("--silence", help="Keep the class _silence_; the paper leaves it out.")] = False,
    classifier: Annotated[
        Literal["cnn", "resnet18_narrow", "resnet18", "resnet50"], typer.Option(help="Classifier of Speech Commands.")
    ] = "cnn",
    nb_epochs: Annotated[int, typer.Option(min=1, help="Its training epochs.")] = 15,
    autoencoder: Annotated[Path | None, typer.Option(help="A saved autoencoder, used instead of training one.")] = None,
    autoencoder_epochs: Annotated[int, typer.Option(min=1, help="Training epochs of the autoencoder (paper: 30).")] = 30,
    precision: Precision = "32-true",
    seed: Seeds = [0],  # noqa: B006
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/compare"),
) -> None:
    """Poison a data set, run every filter, retrain, and tabulate what each removed and what is left of the attack."""
    if dataset == "speech_commands" and root is None:
        raise InvalidInputError("--dataset speech_commands needs --root DIR, the folder that holds (or gets) the data.")
    if dataset != "speech_commands" and (root or autoencoder or download):
        raise InvalidInputError("--root, --download and --autoencoder need --dataset speech_commands.")
    if autoencoder is not None and not autoencoder.is_file():
        raise InvalidInputError(f"--autoencoder {autoencoder} does not exist.")
    from art_plugins.evaluation import tasks
    from art_plugins.evaluation.experiment import report_is_possible, run_comparisons

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
    folder: Annotated[Path, typer.Argument(help="Holds one folder for each class, with wav, flac, png or jpg files.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/scan"),
    apply_to: Annotated[Path | None, typer.Option(help="Write the list of files to keep here; nothing is deleted.")] = None,
    autoencoder: Annotated[Path | None, typer.Option(help="A saved autoencoder, used instead of training one.")] = None,
    save_autoencoder: Annotated[Path | None, typer.Option(help="Keep the trained autoencoder for other scans.")] = None,
    kind: Annotated[Literal["auto", "sound", "image"], typer.Option(help="What the files are.")] = "auto",
    seconds: Annotated[float | None, typer.Option(help="Length of a clip; default: the median of the folder.")] = None,
    threshold: Annotated[float, typer.Option(help="A class is poisoned when its index is above it.")] = 2.24,
    nb_epochs: Annotated[int, typer.Option(min=1, help="Training epochs of the autoencoder.")] = 30,
    precision: Precision = "32-true",
    max_listed: Annotated[int, typer.Option(min=1, help="Files shown of each kind and class on the page.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Of training and clustering.")] = 0,
) -> None:
    """Rank the classes of a folder by suspicion, with no ground truth, and show the suspects to a person."""
    from art_plugins.evaluation.scan import scan_folder

    # The page and the record name the classes; the defence's own warnings know only their numbers.
    logging.getLogger("art_plugins.defences.latent_clustering").setLevel(logging.ERROR)
    record = scan_folder(
        folder,
        out,
        kind=kind,
        seconds=seconds,
        autoencoder=autoencoder,
        save_autoencoder=save_autoencoder,
        apply_to=apply_to,
        threshold=threshold,
        nb_epochs=nb_epochs,
        random_state=seed,
        max_listed=max_listed,
        precision=precision,
        command=_command(),
    )
    table = Table(title="Classes, most suspicious first", caption="Higher = more suspicious.")
    for title in ("class", "files", "index", "suspects", "verdict"):
        table.add_column(title, justify="left" if title in ("class", "verdict") else "right")
    for row in record["classes"]:
        index = "-" if row["mad_index"] is None else f"{row['mad_index']:.2f}"
        table.add_row(escape(row["name"]), str(row["n_files"]), index, str(row["n_called_poison"]), row["verdict"])
    console.print(table)
    for sentence in (record["finding"], *record["notes"]):
        console.print(sentence, markup=False)
    console.print(f"Written: {out / 'report.html'}, {out / 'suspects.csv'}, {out / 'record.json'}", markup=False)


@app.command("fraction-curve")
def fraction_curve(
    root: Root,
    autoencoder: Annotated[Path, typer.Option(help="A saved autoencoder; one is trained and saved here if it is absent.")],
    trigger: Trigger = "clapping",
    source: Source = "_unknown_",
    target: Target = "left",
    cap: Cap = 3000,
    precision: Precision = "32-true",
    nb_epochs: Annotated[int, typer.Option(min=1, help="Training epochs of the autoencoder.")] = 30,
    seed: Seeds = [0, 1, 2],  # noqa: B006
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/fraction-curve"),
) -> None:
    """Fig. 7 of Mehlman et al. 2023: how well the poison is found for shares of .01 to .30 of the source class."""
    from art_plugins.evaluation.experiment import run_fraction_curve

    attack = {"trigger": trigger, "source": source, "target": target, "cap": cap}
    record = run_fraction_curve(str(root), autoencoder, attack, seed, nb_epochs, precision, out, _command())
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
            str(point["rank"]),
            "yes" if point["found"] else "no",
        )
    console.print(table)
    console.print(f"Written: {out / 'record.json'}", markup=False)


def main() -> None:
    """Run the command line; an error of this package is one sentence on standard error and exit status 2."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    warnings.filterwarnings("ignore", module="lightning")
    try:
        app(standalone_mode=True)
    except ArtPluginsError as error:
        print(f"Error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("Interrupted; run the same command again to go on.", file=sys.stderr)
        sys.exit(130)


def _show_comparison(task: dict[str, Any]) -> None:
    before = task["undefended"]
    table = Table(
        title=f"{task['title']}, seed {task['seed']}: {task['n_poison']} of {task['n_train']} training samples are poison",
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
    table.add_column("filter", no_wrap=True, min_width=35)
    for title in columns:
        table.add_column(title, justify="right", no_wrap=True, min_width=5)
    for row in task["defences"]:
        cells = (f"{row[key]:.1f}" if key == "seconds" else _cell(row[key]) for key in columns.values())
        table.add_row(row["title"], *cells)
    console.print(table)


def _cell(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _command() -> str:
    return shlex.join(["art-plugins", *sys.argv[1:]])


if __name__ == "__main__":
    main()
