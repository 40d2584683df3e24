"""Command that writes a model with a detector of its backdoor inside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from art_plugins.cli.app import app
from art_plugins.cli.options import _keyword_arguments, _names, _numbers, _size
from art_plugins.cli.shown import _show_sentences, _show_written
from art_plugins.cli.terminal import without_warnings_of
from art_plugins.errors import InvalidInputError


@app.command()
def guard(
    model: Annotated[
        Path, typer.Argument(help="Model file: weights, which need --factory, or TorchScript, which needs --trust-model.")
    ],
    clean: Annotated[Path, typer.Option(help="Folder that holds one folder of 10 to 100 clean images for each class.")],
    out: Annotated[
        Path, typer.Option(help="New file. Its ending gives the format: .pt2 (torch.export), .pt (TorchScript) or .onnx.")
    ] = Path("guarded.pt2"),
    detector: Annotated[
        Path | None, typer.Option(help="Detector that `detect --save-detector` wrote; default: search for a backdoor.")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="The class folders in the order of the model's outputs, such as a,b,c; default: by name."),
    ] = None,
    factory: Annotated[
        str | None,
        typer.Option(help="package.module:function that returns the network of the weights. It runs as your own code."),
    ] = None,
    factory_args: Annotated[
        str | None, typer.Option(help='Arguments of this function as JSON, such as {"num_classes": 10}.')
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(help="Width and height for the model, such as 32x32; default: the most common size of --clean."),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(help="This is subtracted from the images (0 to 1): one number, or one for each channel, as .5,.5,.5."),
    ] = None,
    std: Annotated[str | None, typer.Option(help="The images are then divided by this.")] = None,
    threshold: Annotated[
        float, typer.Option(help="A class whose index is above it is called the target of a backdoor.")
    ] = 4.2,
    nb_steps: Annotated[int, typer.Option(min=1, help="Most optimisation steps of the trigger inversion.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the trigger inversion.")] = 0,
    trust_model: Annotated[
        bool, typer.Option("--trust-model", help="Run a TorchScript file with your rights and without limits.")
    ] = False,
) -> None:
    """
    Write a model with a detector of its backdoor inside, as one file that runs without this package.

    One forward pass gives the outputs of the model, the trigger score (above 0: caught) and the corrected label. The JSON
    file beside it says how to read them. If no backdoor is found, nothing is written.
    """
    numbers = _numbers("--mean", mean), _numbers("--std", std)
    names, sides, arguments = _names(classes), _size(size), _keyword_arguments(factory_args)
    if factory_args is not None and factory is None:
        raise InvalidInputError("--factory-args are the arguments of --factory package.module:function, which is missing.")
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
    )
    with without_warnings_of("art_plugins.defences"):
        facts = guard_model(model, clean, out, settings, detector=detector)
    _show_sentences([f"The model guards against the backdoor towards {facts['target_class']}.", facts["rule"]])
    _show_written(out.parent, (), [out, Path(f"{out}.json")])
