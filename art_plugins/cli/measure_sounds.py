"""The command that measures detectors of triggers on classifiers of sounds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from art_plugins.cli.app import app, console
from art_plugins.cli.options import QUICK_CLIPS, QUICK_EPOCHS, Models, Seeds, _check_quick, _command
from art_plugins.cli.shown import _show, _show_sound_detector_run

CAP, EPOCHS = 300, 15


@app.command("sound-detectors")
def sound_detectors(
    root: Annotated[
        Path | None,
        typer.Option(help="Folder that holds Speech Commands, in SpeechCommands; default: synthesised words."),
    ] = None,
    trigger: Annotated[
        list[str] | None, typer.Option(help="A trigger, by a name that compare takes; repeat. Default: seven attacks.")
    ] = None,
    view: Annotated[list[str], typer.Option(help="What the classifier takes: waveform or spectrogram; repeat.")] = [  # noqa: B006
        "waveform",
        "spectrogram",
    ],
    share: Annotated[float, typer.Option(help="Share of the whole training set that is poison.")] = 0.05,
    cap: Annotated[
        int | None, typer.Option(min=20, help=f"Use at most so many training clips of each class; default: {CAP}.")
    ] = None,
    n_trusted: Annotated[int, typer.Option(min=2, help="Clips of each class that are known to be clean.")] = 20,
    nb_epochs: Annotated[
        int | None, typer.Option(min=1, help=f"Training epochs of the classifier; default: {EPOCHS}.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help=f"A trial: {QUICK_CLIPS} training clips of each class, {QUICK_EPOCHS} epochs.")
    ] = False,
    seed: Seeds = [0],  # noqa: B006
    models: Models = Path("out/models"),
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/sound-detectors"),
) -> None:
    """Attack classifiers of sounds with named triggers, and measure what detects the triggers at test time."""
    from art_plugins.attacks.datasets import speech_commands, synthetic_speech
    from art_plugins.attacks.datasets.labelled import raised
    from art_plugins.evaluation.running.runs import Recording
    from art_plugins.evaluation.sound_detectors import SEVEN, cases_of, padded, run_sound_detectors
    from art_plugins.reports.studies.sound_detector_tables import sound_detector_tables

    _check_quick(quick, {"--cap": cap, "--nb-epochs": nb_epochs})
    cap, nb_epochs = (QUICK_CLIPS, QUICK_EPOCHS) if quick else (cap or CAP, nb_epochs or EPOCHS)
    rate_hz = speech_commands.SAMPLE_RATE_HZ
    if root is None:
        words = synthetic_speech.synthetic_speech(n_per_class=cap)
        data = padded(raised(words, synthetic_speech.SAMPLE_RATE_HZ, rate_hz), rate_hz)
    else:
        data = speech_commands.speech_commands(root, cap=cap)
    cases = cases_of(trigger or SEVEN, view, seed, len(data.class_names), share=share, nb_epochs=nb_epochs)
    recording = Recording(out, _command(), _show_sound_detector_run)
    record = run_sound_detectors(data, rate_hz, cases, recording, n_trusted, models)
    for table in sound_detector_tables(record):
        _show(table)
    console.print(f"Written: {out / 'record.json'}, {out / 'table.md'}", markup=False)
