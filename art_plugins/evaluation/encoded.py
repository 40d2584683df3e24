"""Encodes every clip of a data set once as it is and once with each trigger of a sweep, and keeps what was encoded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm.auto import tqdm

from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.errors import FileFormatError
from art_plugins.evaluation.running.environment import versions
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.views import SETTINGS as VIEW_SETTINGS
from art_plugins.features.views import Views, describe_alike
from art_plugins.storage import load_arrays, save_arrays
from art_plugins.triggers.named_sounds import named_sound

FILE_KIND = "sweep_views"


class EncodedData(NamedTuple):
    """
    An encoded data set.

    ``labels`` (n,); ``class_names``; ``clean``: the views of every clip; ``triggered``: for each trigger the views of
    every clip with it.
    """

    labels: np.ndarray
    class_names: tuple[str, ...]
    clean: Views
    triggered: dict[str, Views]


def encode_all(
    data: LabelledData, autoencoder: Autoencoder, triggers: Sequence[str], cache: Path, verbose: bool = True
) -> EncodedData:
    """
    Encode all training clips, clean and with each trigger.

    :param cache: Folder where the views are kept; they are read from there if they have been encoded before.
    """
    digest = hashlib.sha256(json.dumps([autoencoder.state_settings(), versions(), VIEW_SETTINGS]).encode())
    for array in (*autoencoder.state_arrays().values(), data.x_train[::64], data.y_train):
        digest.update(np.ascontiguousarray(array).tobytes())
    files = {name: cache / f"{name}-{digest.hexdigest()[:16]}.safetensors" for name in ("clean", *triggers)}
    if not all(map(_is_whole, files.values())):

        def versions_of_all() -> Iterator[np.ndarray]:
            for name in tqdm(files, desc="encoding", disable=not verbose or None):
                yield data.x_train if name == "clean" else named_sound(name)(data.x_train)

        for file, views in zip(files.values(), describe_alike(autoencoder, versions_of_all()), strict=True):
            arrays = {f"window_{i:03d}": window for i, window in enumerate(views.windows)}
            save_arrays(file, FILE_KIND, {"latents": views.latents, **arrays}, {"n_steps": len(views.steps)})
    read = {name: _read(file) for name, file in files.items()}
    return EncodedData(data.y_train, data.class_names, read.pop("clean"), read)


def _is_whole(file: Path) -> bool:
    try:
        load_arrays(file, FILE_KIND)
    except FileFormatError:
        return False
    return True


def _read(file: Path) -> Views:
    arrays, settings = load_arrays(file, FILE_KIND)
    latents = arrays.pop("latents")
    windows = [arrays[name] for name in sorted(arrays)]
    return Views(latents, windows[: settings["n_steps"]], windows[settings["n_steps"] :])
