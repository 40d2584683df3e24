"""Command that writes a model with a detector of its backdoor inside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from art_plugins.cli.app import app
from art_plugins.cli.options import (
    Classes,
    Clean,
    Factory,
    FactoryArgs,
    Mean,
    Size,
    Steps,
    Threshold,
    TrustModel,
    _check_factory,
    _keyword_arguments,
    _names,
    _numbers,
    _size,
)
from art_plugins.cli.shown import _show_sentences, _show_written
from art_plugins.cli.terminal import without_warnings_of


@app.command()
def guard(
    model: Annotated[
        Path, typer.Argument(help="Model file: weights, which need --factory, or TorchScript, which needs --trust-model.")
    ],
    clean: Clean,
    out: Annotated[
        Path, typer.Option(help="New file. Its ending gives the format: .pt2 (torch.export), .pt (TorchScript) or .onnx.")
    ] = Path("guarded.pt2"),
    detector: Annotated[
        Path | None, typer.Option(help="Detector that `detect --save-detector` wrote; default: search for a backdoor.")
    ] = None,
    classes: Classes = None,
    factory: Factory = None,
    factory_args: FactoryArgs = None,
    size: Size = None,
    mean: Mean = None,
    std: Annotated[str | None, typer.Option(help="The images are then divided by this.")] = None,
    threshold: Threshold = 3.5,
    nb_steps: Steps = 400,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the trigger inversion.")] = 0,
    trust_model: TrustModel = False,
    layers: Annotated[
        bool,
        typer.Option(
            "--layers", help="Put a layer-wise detector in as well, which needs no pattern; also if no backdoor is found."
        ),
    ] = False,
    false_alarm_rate: Annotated[
        float, typer.Option(help="With --layers: accepted share of images without a trigger that are caught.")
    ] = 0.01,
) -> None:
    """
    Write a model with a detector of its backdoor inside, as one file that runs without this package.

    One forward pass gives the outputs of the model, the trigger score (above 0: caught) and the corrected label; with
    --layers also the score of the layers (above 0: the image stands out). The JSON file beside it says how to read them. If
    no backdoor is found, nothing is written without --layers.
    """
    numbers = _numbers("--mean", mean), _numbers("--std", std)
    names, sides, arguments = _names(classes), _size(size), _keyword_arguments(factory_args)
    _check_factory(factory, factory_args)
    from art_plugins.inspection.guard import guard_model
    from art_plugins.inspection.settings import DetectSettings

    settings = DetectSettings(
        names,
        sides,
        *numbers,
        factory,
        arguments,
        trust_model,
        threshold=threshold,
        nb_steps=nb_steps,
        random_state=seed,
        false_alarm_rate=false_alarm_rate,
    )
    with without_warnings_of("art_plugins.defences"):
        facts = guard_model(model, clean, out, settings, detector=detector, layers=layers)
    target = facts["target_class"]
    against = "triggers that its layers see" if target is None else f"the backdoor towards {target}"
    _show_sentences([f"The model guards against {against}.", facts["rule"]])
    _show_written(out.parent, (), [out, Path(f"{out}.json")])
