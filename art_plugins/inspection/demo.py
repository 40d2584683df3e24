"""A folder of sounds with a planted trigger, so that a scan can be tried without any data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from art_plugins.errors import InvalidInputError
from art_plugins.files.outputs import csv_text
from art_plugins.files.sound_files import wav_bytes
from art_plugins.inspection.suspect_rows import is_poison
from art_plugins.optional import import_optional
from art_plugins.storage import atomic_path, write_text

FOLDER, PLANTED = "demo", "planted.csv"  # in the folder for the results
AUTOENCODER = "speech"  # it trains none, so that the answer comes within two minutes


class Demo(NamedTuple):
    """``folder``: what to scan; ``planted``: the files with the trigger; ``attack``: what was done, in one sentence."""

    folder: Path
    planted: tuple[str, ...]
    attack: str


def write_demo(out: Path) -> Demo:
    """
    Write the synthesised words of ``art-plugins compare`` as wav files, a folder for each class, with the poison in place.

    No name tells which files carry the trigger. ``planted.csv`` beside the folder does. The scan does not read it.

    :param out: Folder for the results; the words go into its folder ``demo``.
    :raises InvalidInputError: If this folder holds anything else.
    :raises MissingPackageError: If soundfile or torchaudio is missing.
    """
    for package in ("soundfile", "torchaudio.transforms"):
        import_optional(package)
    # Only here: the attacks take seconds and 300 MB to import, and any other scan needs none of them.
    from art_plugins.attacks.datasets.synthetic_speech import SAMPLE_RATE_HZ
    from art_plugins.attacks.tasks import synthetic_speech_task

    task = synthetic_speech_task()
    data, names = task.data, task.data.clean.class_names
    files = [f"{names[label]}/{index:03}.wav" for index, label in enumerate(data.y_train)]
    folder = out / FOLDER
    _check_empty(folder, files)
    for file, clip in zip(files, data.x_train, strict=True):
        _write(folder / file, wav_bytes(clip, SAMPLE_RATE_HZ))
    planted = [file for file, is_planted in zip(files, data.is_poison, strict=True) if is_planted]
    write_text(out / PLANTED, csv_text(("file", "spoken"), [(file, task.attack["source"]) for file in planted]))
    words = "{trigger} was mixed into {n} clips of the word {source}, and these were put among those of {target}"
    return Demo(folder, tuple(planted), f"A {words.format(n=len(planted), **task.attack)}.")


def demo_sentence(demo: Demo, suspects: Sequence[Mapping[str, Any]]) -> str:
    """What was planted, and how much of it the scan calls poison."""
    called, planted = {row["file"] for row in suspects if is_poison(row)}, set(demo.planted)
    return (
        f"{demo.attack} The scan calls {len(called & planted)} of these {len(planted)} clips poison, and "
        f"{len(called - planted)} of the other clips. {PLANTED} lists what was planted; the scan has not read it."
    )


def _check_empty(folder: Path, files: Sequence[str]) -> None:
    wanted = {folder / file for file in files}
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"{folder} is a file, and the demo is written there; name another folder with --out.")
    strange = next((path for path in sorted(folder.rglob("*")) if not path.is_dir() and path not in wanted), None)
    if strange is not None:
        raise InvalidInputError(
            f"{folder} holds {strange.name}, which is none of the demo's files; name another folder with --out."
        )


def _write(path: Path, content: bytes) -> None:
    """A file that is there already is kept if it is the same."""
    if path.exists():
        if path.is_file() and path.read_bytes() == content:
            return
        raise InvalidInputError(f"{path} exists and is not overwritten; name another folder with --out.")
    with atomic_path(path) as partial:
        partial.write_bytes(content)
