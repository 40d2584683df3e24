"""Commands that measure filters of sounds: side by side, over many attacks, and part by part."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from art_plugins.cli.app import app, console
from art_plugins.cli.options import Cap, Precision, Root, Seeds, Source, Target, Trigger, _check_autoencoder, _command
from art_plugins.cli.shown import _show, _show_comparison
from art_plugins.errors import InvalidInputError


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
    autoencoder: Annotated[
        str | None, typer.Option(help="Use this saved autoencoder, or speech, which comes with the package; train none.")
    ] = None,
    autoencoder_epochs: Annotated[int, typer.Option(min=1, help="Training epochs of the autoencoder (paper: 30).")] = 30,
    precision: Precision = "32-true",
    seed: Seeds = [0],  # noqa: B006
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Number of models that are trained again at a time; default: as many as cores."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/compare"),
) -> None:
    """Compare filters: poison a data set, filter it with each, train again, and show what is left of the attack."""
    if dataset == "speech_commands" and root is None:
        raise InvalidInputError("--dataset speech_commands needs --root DIR, the folder that holds (or gets) the data.")
    if dataset != "speech_commands" and (root or autoencoder or download):
        raise InvalidInputError("--root, --download and --autoencoder need --dataset speech_commands.")
    if autoencoder is not None:
        _check_autoencoder(autoencoder)
    from art_plugins.attacks import tasks
    from art_plugins.evaluation.compare_run import run_comparisons
    from art_plugins.optional import import_optional
    from art_plugins.reports.packages import report_is_possible

    if dataset != "digits":
        import_optional("torchaudio.transforms")  # what is missing is said before the first data set, not after it

    defence: dict[str, Any] = {"nb_epochs": autoencoder_epochs, "precision": precision}
    if autoencoder is not None:
        defence = {"autoencoder": autoencoder}
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
                    tasks.SpeechAttack(trigger, source, target, fraction, cap),
                    number,
                    silence=silence,
                    download=download,
                    classifier={"network": classifier, "nb_epochs": nb_epochs},
                    defence=defence,
                )
            )
    run_comparisons(makers, out, _command(), _show_comparison, jobs)
    page = out / "report.html"
    console.print(f"Written: {out / 'record.json'}, {out / 'table.md'}" + (f", {page}" if report_is_possible() else ""))
    if not report_is_possible():
        console.print('For a page with figures: pip install "art-plugins[report]"')


@app.command()
def sweep(
    root: Root,
    autoencoder: Annotated[
        str,
        typer.Option(
            help="File of a saved autoencoder; compare writes one beside its results. speech: the one of the package."
        ),
    ],
    trigger: Annotated[list[str], typer.Option(help="The trigger, by a name that compare takes; repeat for several.")] = [  # noqa: B006
        "clapping",
        "whistle",
    ],
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
    _check_autoencoder(autoencoder)
    if not all(pair.count(":") == 1 for pair in curve):
        raise InvalidInputError(f"--curve is source:target, such as right:left; received {curve}.")
    from art_plugins.attacks.datasets.speech_commands import speech_commands
    from art_plugins.evaluation.running.parallel import check_backend
    from art_plugins.evaluation.running.runs import Recording
    from art_plugins.evaluation.running.workers import Workers
    from art_plugins.evaluation.sweep import SweepPlan, check_sweep, run_sweep
    from art_plugins.features.vae.shipped import load_autoencoder
    from art_plugins.reports.studies.sweep_figures import write_sweep_figures
    from art_plugins.reports.studies.sweep_tables import sweep_tables

    check_backend(backend, address, jobs)
    data = speech_commands(root, cap=cap, random_state=seed)
    curves = [(pair.split(":")[0], pair.split(":")[1]) for pair in curve]
    check_sweep(data.class_names, trigger, curves)
    plan = SweepPlan(trigger, clean, curves, pairs, seed)
    workers = Workers(backend, address, jobs)
    record = run_sweep(data, load_autoencoder(autoencoder), plan, Recording(out, _command()), workers)
    for table in sweep_tables(record):
        _show(table)
    figures = write_sweep_figures(record, out)
    console.print(f"Written: {', '.join(map(str, (out / 'record.json', out / 'table.md', *figures)))}", markup=False)


@app.command()
def sounds(
    root: Root,
    trigger: Annotated[list[str], typer.Option(help="The trigger, by a name that compare takes; repeat for several.")] = [  # noqa: B006
        "clap_anywhere",
        "whistle_anywhere",
        "tone",
        "burst_anywhere",
        "echo",
        "reverb",
    ],
    fraction: Annotated[
        list[float], typer.Option(help="Share of the source class that is poisoned; repeat for several.")
    ] = [0.1, 0.33],  # noqa: B006
    pairs: Annotated[int, typer.Option(min=1, help="Attack so many pairs of classes, drawn at random.")] = 10,
    clean: Annotated[int, typer.Option(min=0, help="Number of draws without poison, which show the false alarms.")] = 20,
    cap: Cap = 400,
    seed: Annotated[int, typer.Option(min=0, help="Number that fixes the random draws: of samples, pairs and poison.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/sounds"),
) -> None:
    """Attack pairs of classes with sounds at random places and with filters; find them without an autoencoder."""
    from art_plugins.attacks.datasets.speech_commands import speech_commands
    from art_plugins.evaluation.running.runs import Recording
    from art_plugins.evaluation.shared_sounds import SoundPlan, run_shared_sounds
    from art_plugins.reports.studies.sound_tables import sound_tables

    plan = SoundPlan(trigger, fraction, pairs, clean, seed)
    record = run_shared_sounds(speech_commands(root, cap=cap, random_state=seed), plan, Recording(out, _command()))
    for table in sound_tables(record):
        _show(table)
    console.print(f"Written: {out / 'record.json'}, {out / 'table.md'}", markup=False)


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
    from art_plugins.evaluation.ablation import VARIANTS, AutoencoderTraining, run_ablation
    from art_plugins.evaluation.running.runs import Recording
    from art_plugins.evaluation.running.workers import Workers
    from art_plugins.evaluation.sweep import SweepPlan, check_sweep
    from art_plugins.features.devices import make_fabric
    from art_plugins.reports.studies.ablation_tables import ablation_tables
    from art_plugins.triggers.sounds import armory_sound

    variants = variant or list(VARIANTS)
    unknown = [name for name in variants if name not in VARIANTS]
    if unknown:
        raise InvalidInputError(f"--variant must be one of {', '.join(VARIANTS)}; received {unknown[0]!r}.")
    make_fabric(precision)  # one that is unknown is said before the data are read
    data = speech_commands(root, cap=cap, random_state=seed)
    check_sweep(data.class_names, trigger, [])
    attacked = poison(data, armory_sound("clapping"), "_unknown_", "left", 0.1, random_state=seed)

    def on_run(run: dict[str, Any]) -> None:
        console.print(f"{run['variant']}: {len(run['sets'])} sets judged", markup=False)

    record = run_ablation(
        data,
        attacked.x_train,
        SweepPlan(trigger, clean, n_pairs=pairs, seed=seed),
        Recording(out, _command(), on_run),
        variants=variants,
        training=AutoencoderTraining(nb_epochs, precision, seed),
        workers=Workers(jobs=jobs),
    )
    for table in ablation_tables(record):
        _show(table)
    console.print(f"Written: {out / 'record.json'}, {out / 'table.md'}", markup=False)
