"""Speech Commands (Warden 2018, CC BY 4.0) as Armory labels it, from torchaudio's folder layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.errors import InvalidInputError
from art_plugins.optional import import_optional

SAMPLE_RATE_HZ = 16_000
COMMANDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
SILENCE, UNKNOWN = "_silence_", "_unknown_"
BACKGROUND = "_background_noise_"
STAND_INS = ("eight", "five", "one", "zero")  # for commands that the folder holds too few clips of
MIN_CLIPS = 100
HELD_OUT = ("testing", "validation")
FOLDER = Path("SpeechCommands") / "speech_commands_v0.02"
Parts = list[tuple[np.ndarray, np.ndarray]]


def speech_commands(
    root: str | Path,
    *,
    cap: int | None = 3_000,
    silence: bool = False,
    download: bool = False,
    held_out: str = "testing",
    random_state: int = 0,
) -> LabelledData:
    """
    Load the twelve-class task of TFDS and Armory: ten commands, ``_silence_`` and ``_unknown_`` (every other word).

    Waveforms are divided by 2^15 and zero-padded at the end to 16,000 samples, float32. The test set holds the clips that
    one of the two lists in the folder names; the training set holds the clips that neither list names. A command with
    fewer than 100 clips in the folder is replaced by the next of eight, five, one, zero, and a note says so.

    :param root: Folder that holds ``SpeechCommands/speech_commands_v0.02``, as torchaudio unpacks it.
    :param cap: Most training samples of one class, drawn without replacement; ``None``: all.
    :param silence: Also cut ``_silence_`` from the background noise files. The paper leaves this class out of its
        analysis, so the default does too.
    :param download: Let torchaudio download version 0.02 (2.3 GB) if it is not there.
    :param held_out: ``"testing"`` or ``"validation"``: the list that names the test set.
    :param random_state: Random seed of the cap and of the silence.
    :return: Class order: the ten commands, then ``_silence_`` if asked for, then ``_unknown_``.
    :raises InvalidInputError: If the folder is missing or a file in it cannot be read.
    """
    folder = Path(root) / FOLDER
    if download and not folder.is_dir():
        _download(Path(root))
    folder = _existing(Path(root))
    if held_out not in HELD_OUT:
        raise InvalidInputError(f"held_out must be one of {', '.join(HELD_OUT)}; received {held_out!r}.")
    clips = _clips(folder)
    names, notes = _choose_commands(clips)
    class_names = (*names, *((SILENCE,) if silence else ()), UNKNOWN)
    listed = {name: _listed(folder, f"{name}_list.txt") for name in HELD_OUT}
    not_training = set().union(*listed.values())
    random = np.random.default_rng(random_state)
    train: list[tuple[Path, int]] = []
    test: list[tuple[Path, int]] = []
    for label, name in enumerate(class_names):
        if name == SILENCE:
            continue
        words = [name] if name != UNKNOWN else [word for word in clips if word not in names]
        files = {f"{file.parent.name}/{file.name}": file for word in words for file in clips[word]}
        training = _at_most(cap, [file for key, file in files.items() if key not in not_training], random)
        train += [(file, label) for file in training]
        test += [(file, label) for key, file in files.items() if key in listed[held_out]]
    parts = [_read_all(train), _read_all(test)]
    if silence:
        parts = _with_silence(parts, folder, class_names, random)
    (x_train, y_train), (x_test, y_test) = parts
    return LabelledData(x_train, y_train, x_test, y_test, class_names, tuple(notes))


def pretraining_clips(
    root: str | Path, *, cap: int | None = 3_000, random_state: int = 0
) -> tuple[np.ndarray, dict[str, Any]]:
    """
    Load clips for an autoencoder that later judges other words by other speakers, so that this can be measured.

    The words are all but the ten commands. The speakers are those whose number, by which a file's name begins, is even.

    :param root: As for :func:`speech_commands`.
    :param cap: Most clips of one word, drawn without replacement; ``None``: all.
    :param random_state: Random seed of the cap.
    :return: Waveforms as :func:`speech_commands` gives them, (n, 16,000), and what they are, JSON-safe: ``words`` and the
        numbers ``n_clips`` and ``n_speakers``.
    :raises InvalidInputError: If the folder is missing, holds no such clips, or a file in it cannot be read.
    """
    clips = _clips(_existing(Path(root)))
    random = np.random.default_rng(random_state)
    chosen: list[tuple[Path, int]] = []
    for label, word in enumerate(word for word in clips if word not in COMMANDS):
        files = [file for file in clips[word] if _is_even(_speaker(file))]
        chosen += [(file, label) for file in _at_most(cap, files, random)]
    if not chosen:
        raise InvalidInputError(
            f"{Path(root) / FOLDER} holds no words besides {', '.join(COMMANDS)} by speakers of an even number; "
            "unpack the whole data set."
        )
    words = sorted({file.parent.name for file, _ in chosen})
    speakers = {_speaker(file) for file, _ in chosen}
    return _read_all(chosen)[0], {"words": words, "n_clips": len(chosen), "n_speakers": len(speakers)}


def _existing(root: Path) -> Path:
    """The folder of the clips of all words."""
    folder = root / FOLDER
    if not folder.is_dir():
        raise InvalidInputError(
            f"{folder} does not exist; give the folder that torchaudio's SPEECHCOMMANDS was unpacked in, or --download."
        )
    return folder


def _clips(folder: Path) -> dict[str, list[Path]]:
    """The clips of each word, by name."""
    words = [word for word in sorted(folder.iterdir()) if word.is_dir() and not word.name.startswith("_")]
    return {word.name: sorted(word.glob("*.wav")) for word in words}


def _speaker(file: Path) -> str:
    """The hexadecimal number of the speaker, such as 0a7c2a8d of 0a7c2a8d_nohash_0.wav."""
    return file.stem.partition("_")[0]


def _is_even(number: str) -> bool:
    return number[-1:].lower() in "02468ace"


def _at_most(cap: int | None, files: list[Path], random: np.random.Generator) -> list[Path]:
    """Draw so many of the files without replacement and keep their order; ``None``: keep all of them."""
    if cap is None or len(files) <= cap:
        return files
    return [files[index] for index in np.sort(random.choice(len(files), size=cap, replace=False))]


def _with_silence(parts: Parts, folder: Path, class_names: tuple[str, ...], random: np.random.Generator) -> Parts:
    """The training and the test set, each with as many samples of silence as a command has on average."""
    n_commands, label = len(class_names) - 2, class_names.index(SILENCE)
    sizes = [max(1, len(y) // n_commands) for _, y in parts]
    noise = _silence(folder, sum(sizes), random)
    return [
        (np.concatenate([x, rows]), np.concatenate([y, np.full(len(rows), label)]))
        for (x, y), rows in zip(parts, np.split(noise, [sizes[0]]), strict=True)
    ]


def _choose_commands(clips: dict[str, list[Path]]) -> tuple[tuple[str, ...], list[str]]:
    spare = [word for word in STAND_INS if len(clips.get(word, [])) >= MIN_CLIPS]
    names, notes = [], []
    for command in COMMANDS:
        if len(clips.get(command, [])) >= MIN_CLIPS:
            names.append(command)
        elif spare:
            names.append(spare.pop(0))
            notes.append(
                f"'{names[-1]}' stands in for '{command}', of which the folder holds {len(clips.get(command, []))} clips"
            )
        else:
            raise InvalidInputError(
                f"The folder has too few clips of {command!r}, and no stand-in with {MIN_CLIPS} clips is left; "
                "unpack the whole data set."
            )
    return tuple(names), notes


def _listed(folder: Path, name: str) -> set[str]:
    path = folder / name
    if not path.is_file():
        raise InvalidInputError(
            f"{path} is missing; it tells the test speakers from the others. Unpack the whole data set."
        )
    return set(path.read_text(encoding="utf-8").split())


def _read_all(files: list[tuple[Path, int]]) -> tuple[np.ndarray, np.ndarray]:
    x = np.zeros((len(files), SAMPLE_RATE_HZ), dtype=np.float32)
    for row, (file, _) in zip(x, files, strict=True):
        samples = _read(file)[: len(row)]
        row[: len(samples)] = samples
    return x, np.array([label for _, label in files], dtype=np.int64)


def _read(file: Path) -> np.ndarray:
    soundfile = import_optional("soundfile")
    try:
        samples, rate_hz = soundfile.read(file, dtype="int16")
    except (soundfile.LibsndfileError, OSError) as error:
        raise InvalidInputError(f"{file} cannot be read ({error}); unpack the data set again.") from error
    if rate_hz != SAMPLE_RATE_HZ or samples.ndim != 1:
        raise InvalidInputError(f"{file} is not {SAMPLE_RATE_HZ} Hz mono; Speech Commands is. Unpack the data set again.")
    return np.asarray(samples, dtype=np.float32) / 2**15


def _silence(folder: Path, n_clips: int, random: np.random.Generator) -> np.ndarray:
    """Cut pieces of one second from the background noise, at random places and with random levels."""
    noises = [_read(file) for file in sorted((folder / BACKGROUND).glob("*.wav"))]
    if not noises:
        raise InvalidInputError(f"{folder / BACKGROUND} holds no wav file; silence is cut from those.")
    pieces = np.empty((n_clips, SAMPLE_RATE_HZ), dtype=np.float32)
    for piece in pieces:
        noise = noises[random.integers(len(noises))]
        start = random.integers(len(noise) - SAMPLE_RATE_HZ + 1)
        piece[:] = random.uniform(0, 1) * noise[start : start + SAMPLE_RATE_HZ]
    return pieces


def _download(root: Path) -> None:
    datasets = import_optional("torchaudio.datasets")
    root.mkdir(parents=True, exist_ok=True)
    try:
        datasets.SPEECHCOMMANDS(root, download=True)
    except Exception as error:  # urllib, HTTP and archive errors of many types
        raise InvalidInputError(f"torchaudio could not download Speech Commands to {root}: {error}") from error
