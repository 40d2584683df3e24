"""The user's own model as evidence: its layers are looked at in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from art_plugins.errors import InvalidInputError
from art_plugins.files.folder_data import FolderData
from art_plugins.files.image_files import ImageReader
from art_plugins.files.model_files import check_model_file
from art_plugins.inspection.evidence.network import Labelled, LayerFindings, LayerSearch
from art_plugins.inspection.evidence.trusted import Trusted
from art_plugins.inspection.isolation import sandbox
from art_plugins.inspection.isolation.judge import ModelFacts
from art_plugins.inspection.isolation.process import JudgeProcess

TIMEOUT_S = 3600.0  # of the model in total, as of a detection


def check_model(path: str | Path | None, kind: str) -> None:
    """
    Check what can be checked before the files are read.

    :param kind: ``"sound"`` or ``"image"``.
    :raises InvalidInputError: If the file is no TorchScript file, it cannot be run safely here, or the data are no images.
    """
    if path is None:
        return
    if kind != "image":
        raise InvalidInputError("model is for images, and these are sounds; leave it out.")
    check_model_file(Path(path), None)
    if not sandbox.sandbox_is_possible():
        raise InvalidInputError(
            f"{path} is a program, and this system has no way to run it without rights (that needs Linux with seccomp on "
            "x86_64 or aarch64); leave out model."
        )


def look_with_model(
    path: str | Path, reader: ImageReader, data: FolderData, trusted: Trusted | None, false_alarm_rate: float, seed: int
) -> LayerFindings:
    """
    Run the layer-wise filter on a model, in a process that can only compute.

    The images are held in memory, as bytes here, and as numbers of 32 bits there.

    :raises InvalidInputError: If the model cannot be used, or tells another number of classes apart.
    """
    options = {"is_grey": reader.is_grey, "mean": None, "std": None}
    with JudgeProcess(Path(path), reader.size, options, TIMEOUT_S) as judge:
        _check_fits(path, judge.facts, reader, data.class_names)
        known = None if trusted is None else Labelled(trusted.x, trusted.labels)
        return judge.look_at_layers(LayerSearch(Labelled(data.x, data.labels), false_alarm_rate, known, seed))


def _check_fits(path: str | Path, facts: ModelFacts, reader: ImageReader, class_names: Sequence[str]) -> None:
    if facts.nb_classes != len(class_names):
        raise InvalidInputError(
            f"{path} tells {facts.nb_classes} classes apart, and the data have {len(class_names)}; give the model that was "
            "trained on these classes, in the order of their names."
        )
    n_channels = facts.input_shape[0 if facts.channels_first else -1]
    if (n_channels == 1) != reader.is_grey:
        raise InvalidInputError(
            f"{path} takes images of {n_channels} channels, and the images are {'grey' if reader.is_grey else 'coloured'}."
        )
