"""The commands whose records the items are read off, in three sizes: quick, for a CPU, and the papers' own for a GPU."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Size = Literal["quick", "cpu", "gpu"]
# Options that say where something lies or runs, not what is measured.
PLACES = ("--root", "--out", "--models", "--autoencoder", "--jobs", "--backend", "--address", "--download")


@dataclass(frozen=True)
class Study:
    """
    One command of ``art-plugins`` with its options; the paths are added when it is run.

    :param name: Name of the study and of its folder.
    :param arguments: Command and options for each size, as on a command line; a size that is missing is not run.
    :param autoencoder: Name of the study whose autoencoder this study uses; ``None``: it uses none.
    """

    name: str
    arguments: dict[Size, str]
    autoencoder: str | None = None

    def command(self, size: Size, root: Path, out: Path, download: bool = False) -> list[str]:
        """
        The arguments of ``art-plugins`` that run the study.

        :param root: Folder of the data sets.
        :param out: Folder of all studies of this size.
        :param download: Download data sets that are missing.
        """
        arguments = [*shlex.split(self.arguments[size]), "--root", str(root), "--out", str(out / self.name)]
        if self.autoencoder:
            arguments += ["--autoencoder", str(autoencoder_file(out, self.autoencoder))]
        if arguments[0] in ("in-flight", "layerwise"):
            arguments += ["--models", str(out / "models")]
        return arguments + ["--download"] * download

    def is_recorded_by(self, command: str, size: Size) -> bool:
        """Whether the command of a record measured this study, wherever its files lay."""
        return what_is_measured(shlex.split(command)[1:]) == what_is_measured(shlex.split(self.arguments[size]))


def autoencoder_file(out: Path, study: str) -> Path:
    """The file in which the comparison on Speech Commands keeps the autoencoder of its first seed."""
    return out / study / "speech_commands.autoencoder.safetensors"


def what_is_measured(arguments: Sequence[str]) -> list[tuple[str, ...]]:
    """
    Options of a command that say what is measured, each with its values, in a fixed order; options for places are left
    out.
    """
    options: list[list[str]] = []
    for argument in arguments:
        if argument.startswith("--") or not options:
            options.append([argument])
        else:
            options[-1].append(argument)
    return sorted(tuple(option) for option in options if option[0] not in PLACES)


CIFAR = "--dataset cifar10 --network resnet18_cifar"
NARROW = f"{CIFAR} --width 16 --nb-epochs 12"
GTSRB = "--dataset gtsrb32 --network mobilenet_v2"
PATTERNS = "--trigger white_box --trigger chessboard --trigger single_pixel"
SEEDS = "--seed 0 --seed 1 --seed 2"

STUDIES = {
    study.name: study
    for study in (
        Study(
            "speech_commands",
            {
                "quick": "compare --dataset speech_commands --cap 150 --nb-epochs 4 --autoencoder-epochs 4",
                "cpu": f"compare --dataset speech_commands --precision bf16-mixed {SEEDS}",
                "gpu": f"compare --dataset speech_commands --classifier resnet50 --nb-epochs 20 {SEEDS}",
            },
        ),
        Study(
            "sweep",
            {
                "quick": "sweep --cap 150 --pairs 6 --clean 10 --curve _unknown_:left",
                "cpu": "sweep",
                "gpu": "sweep",
            },
            autoencoder="speech_commands",
        ),
        Study(
            "in_flight",
            {
                "quick": "in-flight --nb-epochs 2 --nb-steps 100 --dataset mnist --trigger white_box --trigger none",
                "cpu": f"in-flight {SEEDS}",
                "gpu": f"in-flight {SEEDS}",
            },
        ),
        Study(
            "in_flight_cifar10",
            {
                "cpu": f"in-flight {NARROW} --n-poison 900 {PATTERNS}",
                "gpu": f"in-flight {CIFAR} --nb-epochs 150 {PATTERNS} {SEEDS}",
            },
        ),
        Study(
            "in_flight_cifar10_single",
            {
                "cpu": f"in-flight {NARROW} --sources single --nb-steps 200 --no-baselines --trigger white_box "
                "--trigger chessboard",
                "gpu": f"in-flight {CIFAR} --nb-epochs 150 --sources single {PATTERNS} {SEEDS}",
            },
        ),
        Study(  # with the paper's share of poison, a narrow network learns the pixel for .87 of the images in 12 epochs
            "in_flight_cifar10_single_pixel",
            {
                "cpu": f"in-flight {NARROW} --n-poison 900 --sources single --nb-steps 200 --no-baselines "
                "--trigger single_pixel",
            },
        ),
        Study(
            "in_flight_cifar10_clean",
            {
                "cpu": f"in-flight {NARROW} --no-baselines --trigger none",
                "gpu": f"in-flight {CIFAR} --nb-epochs 150 --no-baselines --trigger none {SEEDS}",
            },
        ),
        Study(
            "layerwise_cifar10",
            {
                "quick": "layerwise --nb-epochs 2 --dataset mnist --trigger white_box --no-filters",
                "cpu": f"layerwise {NARROW} --n-poison 900 {PATTERNS} --trigger blended --no-filters {SEEDS}",
                "gpu": f"layerwise {CIFAR} --nb-epochs 150 {PATTERNS} --trigger blended --no-filters {SEEDS}",
            },
        ),
        Study(
            "layerwise_input_aware_cifar10",
            {
                "cpu": f"layerwise {CIFAR} --width 16 --nb-epochs 20 --trigger input_aware --no-filters",
                "gpu": f"layerwise {CIFAR} --nb-epochs 150 --trigger input_aware --no-filters {SEEDS}",
            },
        ),
        Study(
            "layerwise_warp",
            {
                "cpu": f"layerwise {NARROW} --n-poison 2500 --trigger warp --no-filters {SEEDS}",
                "gpu": f"layerwise {CIFAR} --nb-epochs 150 --n-poison 5000 --trigger warp --no-filters {SEEDS}",
            },
        ),
        Study(
            "layerwise_gtsrb",
            {
                "cpu": f"layerwise {GTSRB} --width 16 --nb-epochs 10 --n-poison 1300 --trigger white_box --trigger blended "
                f"--no-filters {SEEDS}",
                "gpu": f"layerwise {GTSRB} --nb-epochs 50 --n-poison 1300 --trigger white_box --trigger blended "
                f"--no-filters {SEEDS}",
            },
        ),
        Study(  # a narrow network learns the warp slowly: .917 of the images in 10 epochs
            "layerwise_gtsrb_warp",
            {
                "cpu": f"layerwise {GTSRB} --width 16 --nb-epochs 20 --n-poison 1300 --trigger warp --no-filters {SEEDS}",
                "gpu": f"layerwise {GTSRB} --nb-epochs 50 --n-poison 1300 --trigger warp --no-filters {SEEDS}",
            },
        ),
    )
}
