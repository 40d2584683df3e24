"""Options that several commands share, and how the text of an option is read."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from art_plugins.errors import InvalidInputError

QUICK_TRAIN, QUICK_EPOCHS = 2_000, 30  # of --quick; with fewer epochs, so few images leave no backdoor
QUICK_CLIPS = 100  # of each class

Root = Annotated[Path, typer.Option(help="Folder that holds the data set, in its folder SpeechCommands.")]
Trigger = Annotated[
    Literal[
        "clapping",
        "whistle",
        "car_horn",
        "dog_clicker",
        "tone",
        "burst",
        "clap_anywhere",
        "whistle_anywhere",
        "burst_anywhere",
        "chord",
        "high_tone",
        "echo",
        "reverb",
        "pitch",
        "ultrasonic",
        "room",
        "tempo",
        "rhythm",
        "pitch_boost",
        "timbre",
        "flanger",
        "phaser",
        "equaliser",
        "style_chain",
    ],
    typer.Option(help="The trigger that is put into the poisoned clips: a sound, or a change of the whole clip."),
]
Source = Annotated[str, typer.Option(help="The class whose samples are poisoned.")]
Target = Annotated[str, typer.Option(help="The class that the poisoned samples are labelled as.")]
Cap = Annotated[int, typer.Option(min=1, help="Use at most so many training samples of each class.")]
Seeds = Annotated[
    list[int], typer.Option("--seed", min=0, help="Number that fixes the random draws; repeat the option for several runs.")
]
Precision = Annotated[
    str,
    typer.Option(
        help="Number format of the autoencoder's training: 32-true or bf16-mixed (32 bits where the processor lacks it)."
    ),
]
Width = Annotated[int | None, typer.Option(min=1, help="Channels of the network's first stage; default: by network.")]
NetworkEpochs = Annotated[int | None, typer.Option(min=1, help="Training epochs of the network; default: by network.")]
Download = Annotated[bool, typer.Option("--download", help="Download MNIST or CIFAR-10 to --root where they are missing.")]
Clean = Annotated[Path, typer.Option(help="Folder that holds one folder of 10 to 100 clean images for each class.")]
Classes = Annotated[
    str | None, typer.Option(help="The class folders in the order of the model's outputs, such as a,b,c; default: by name.")
]
Factory = Annotated[
    str | None,
    typer.Option(help="package.module:function that returns the network of the weights. It runs as your own code."),
]
FactoryArgs = Annotated[str | None, typer.Option(help='Arguments of this function as JSON, such as {"num_classes": 10}.')]
Size = Annotated[
    str | None,
    typer.Option(help="Width and height for the model, such as 32x32; default: the most common size of --clean."),
]
Mean = Annotated[
    str | None,
    typer.Option(help="This is subtracted from the images (0 to 1): one number, or one for each channel, as .5,.5,.5."),
]
Threshold = Annotated[
    float,
    typer.Option(help="A class whose index is above it is called a backdoor's target if it stands apart from the others."),
]
Steps = Annotated[int, typer.Option(min=1, help="Most optimisation steps of the trigger inversion.")]
TrustModel = Annotated[
    bool, typer.Option("--trust-model", help="Run a TorchScript file with your rights and without limits.")
]
Models = Annotated[Path, typer.Option(help="Folder that keeps the trained models; one that is there is not trained again.")]


def _check_quick(quick: bool, sizes: Mapping[str, int | None]) -> None:
    """
    :param sizes: The options that --quick stands for, and what was given for each.
    :raises InvalidInputError: If one of them is given beside --quick.
    """
    if quick and any(value is not None for value in sizes.values()):
        raise InvalidInputError(f"--quick has its own size, so leave {' and '.join(sizes)} out.")


def _check_factory(factory: str | None, arguments: str | None) -> None:
    """
    :raises InvalidInputError: If there are arguments of a factory, but no factory.
    """
    if arguments is not None and factory is None:
        raise InvalidInputError("--factory-args are the arguments of --factory package.module:function, which is missing.")


def _check_autoencoder(given: str) -> None:
    """
    :raises InvalidInputError: If ``given`` is neither a file nor the name of an autoencoder that comes with the package.
    """
    from art_plugins.features.vae.shipped import SHIPPED

    if given not in SHIPPED and not Path(given).is_file():
        raise InvalidInputError(f"--autoencoder {given} does not exist; give a saved one, or {', '.join(SHIPPED)}.")


def _size_of_machine(quick: bool, size: str) -> Any:
    if quick:
        return "quick"
    if size != "auto":
        return size
    import torch

    return "gpu" if torch.cuda.is_available() else "cpu"


def _size(text: str | None) -> tuple[int, int] | None:
    """WxH."""
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.strip().isdecimal() for side in sides):
        raise InvalidInputError(f"--size is a width and a height in pixels, such as 32x32; received {text!r}.")
    return int(sides[0]), int(sides[1])


def _names(text: str | None) -> list[str] | None:
    """a, b, c"""
    return None if text is None else [name.strip() for name in text.split(",")]


def _numbers(option: str, text: str | None) -> list[float] | None:
    """a,b,c"""
    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InvalidInputError(
            f"{option} is one number, or one number for each channel, such as .5,.5,.5; received {text!r}."
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
