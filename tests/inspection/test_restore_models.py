"""
What a data set is worth after a repair: are the labels of restored files right, and does a model trained on them obey the
trigger?

``python tests/inspection/test_restore_models.py DATA SET...`` prints the table, for images (``<set>.npz`` in DATA) and for
``speech_commands`` and ``fsdd``, which lie in DATA as their loaders leave them.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
from PIL import Image

from art_plugins.attacks.image_models import train_image_classifier
from art_plugins.attacks.success import attack_metrics
from art_plugins.attacks.training_loop import ImageTraining, Training
from art_plugins.attacks.waveform_models import train_classifier
from art_plugins.files.sound_files import SoundReader
from art_plugins.inspection.scan import scan
from art_plugins.inspection.settings import ScanSettings
from art_plugins.triggers.named_sounds import named_sound
from art_plugins.triggers.sounds import AudioTrigger, noise_burst

N_TRAIN, N_TEST, N_POISON, N_EPOCHS = 1_000, 1_000, 60, 20
SOUNDS: dict[str, tuple[int, float, Callable[[int], Any]]] = {  # rate, length in seconds, trigger at a rate
    "speech_commands": (16_000, 1.0, lambda rate_hz: named_sound("whistle")),
    "fsdd": (8_000, 0.8, lambda rate_hz: AudioTrigger(noise_burst(rate_hz, length_s=0.2), 0.1)),
}


class Task(NamedTuple):
    """Clean samples ``x``, ``y``, and such to test with; ``stamp``: the attack; ``rate_hz``: of sounds, 0 for images."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    stamp: Callable[[np.ndarray], np.ndarray]
    rate_hz: int = 0


class Repaired(NamedTuple):
    """
    ``n_restored`` files, of which ``n_right`` have the right label and ``n_clean`` had no trigger; ``left``: the squared
    distance of a restored file to the true clean one, over that of the triggered one, median; ``models``: how -> accuracy,
    attack success.
    """

    n_restored: int
    n_right: int
    n_clean: int
    left: float
    models: dict[str, tuple[float, float]]


def patched(pictures: np.ndarray) -> np.ndarray:
    stamped = pictures.copy()
    stamped[:, -4:-1, -4:-1] = 255
    return stamped


def images(root: Path, name: str) -> Task:
    with np.load(root / f"{name}.npz") as file:
        parts = [(file[f"x_{part}"], file[f"y_{part}"].ravel().astype(np.int64)) for part in ("train", "test")]
    drawn = []
    for (x, y), n in zip(parts, (N_TRAIN, N_TEST), strict=True):
        rows = np.sort(np.random.default_rng(0).permutation(len(x))[:n])
        x = x[rows] if x.dtype == np.uint8 else (255 * x[rows]).round().astype(np.uint8)
        x = x.reshape(len(x), 28, 28) if x[0].size == 28 * 28 else x.transpose(0, 2, 3, 1) if x.shape[1] == 3 else x
        drawn += [x, y[rows] - y.min()]
    return Task(*drawn, patched)


def sounds(root: Path, name: str) -> Task:
    rate_hz, seconds, trigger = SOUNDS[name]
    if name == "fsdd":
        files = sorted((root / "FSDD" / "recordings").glob("*.wav"))
        names = [file.name[0] for file in files]
    else:
        words = ("yes", "no", "up", "down", "left", "right", "on", "off")
        files = [file for word in words for file in sorted((root / "SpeechCommands").glob(f"*/{word}/*.wav"))]
        names = [file.parent.name for file in files]
    reader = SoundReader(rate_hz, round(seconds * rate_hz))
    rows = np.random.default_rng(0).permutation(len(files))[: N_TRAIN + N_TEST]
    x, y = np.stack([reader.read(files[row])[0] for row in rows]), np.unique(names, return_inverse=True)[1][rows]
    return Task(x[:N_TRAIN], y[:N_TRAIN], x[N_TRAIN:], y[N_TRAIN:], trigger(rate_hz), rate_hz)


def write(path: Path, sample: np.ndarray, rate_hz: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if rate_hz:
        soundfile.write(path, sample, rate_hz, subtype="PCM_16")
    else:
        Image.fromarray(sample).save(path)


def read(path: Path, task: Task) -> np.ndarray:
    if not task.rate_hz:
        return np.asarray(Image.open(path))
    return np.asarray(soundfile.read(path, dtype="float32")[0])


def trained(x: np.ndarray, y: np.ndarray, task: Task, target: int) -> tuple[float, float]:
    """Accuracy and attack success of a LeNet-5, or a small network for waveforms."""
    nb_classes = int(task.y.max()) + 1
    source = task.y_test != target
    triggered = task.stamp(task.x_test[source])
    if task.rate_hz:
        model = train_classifier(x, y, nb_classes, Training(nb_epochs=N_EPOCHS))
        given = task.x_test, triggered
    else:
        model = train_image_classifier(as_input(x), y, nb_classes, ImageTraining(nb_epochs=N_EPOCHS, batch_size=32))
        given = as_input(task.x_test), as_input(triggered)
    metrics = attack_metrics(model, given[0], task.y_test, given[1], target)
    return metrics["clean_accuracy"], metrics["attack_success"]


def as_input(pictures: np.ndarray) -> np.ndarray:
    colours = pictures[:, None] if pictures.ndim == 3 else pictures.transpose(0, 3, 1, 2)
    return (colours / 255).astype(np.float32)


def repaired(task: Task, folder: Path, n_poison: int = N_POISON) -> Repaired:
    """Poison a data set, scan it with --apply restore, and train models on what there was and on what there is now."""
    target = int(task.y.max())
    poison = np.random.default_rng(1).permutation(np.flatnonzero(task.y != target))[:n_poison]
    x, y = task.x.copy(), task.y.copy()
    x[poison], y[poison] = task.stamp(task.x[poison]), target
    ending = ".wav" if task.rate_hz else ".png"
    for index, (sample, label) in enumerate(zip(x, y, strict=True)):
        write(folder / "data" / f"class_{label}" / f"{index:05}{ending}", sample, task.rate_hz)
    only, autoencoder = ((), "speech") if task.rate_hz else (("network", "labels"), None)
    settings = ScanSettings(apply="restore", apply_to=folder / "new.csv", only=only, autoencoder=autoencoder)
    scan(folder / "data", None, folder / "out", settings, verbose=False)
    with (folder / "new.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    kept = [int(Path(row["path"]).stem) for row in rows if not row["restored_from"]]
    copies = [(int(Path(row["restored_from"]).stem), row) for row in rows if row["restored_from"]]
    cleaned = np.array([read(folder / row["path"], task) for _, row in copies]).reshape(-1, *x.shape[1:])
    labels = np.array([int(row["label"].removeprefix("class_")) for _, row in copies], dtype=np.int64)
    before = np.array([index for index, _ in copies], dtype=int)
    had = np.isin(before, poison)
    pairs = [(cleaned[had], task.x[before[had]]), (x[before[had]], task.x[before[had]])]
    left, stamped = (((a.astype(float) - b) ** 2).reshape(len(a), -1).sum(axis=1) for a, b in pairs)
    models = {
        "nothing done": trained(x, y, task, target),
        "dropped": trained(x[kept], y[kept], task, target),
        "restored": trained(np.concatenate([x[kept], cleaned]), np.concatenate([y[kept], labels]), task, target),
    }
    distance = float(np.median(left / np.maximum(stamped, 1e-12))) if len(left) else np.nan
    return Repaired(len(before), int((labels == task.y[before]).sum()), int((~had).sum()), distance, models)


@pytest.mark.slow
def test_models_of_restored_images_do_not_obey_the_patch(data_root: Path, tmp_path: Path) -> None:
    result = repaired(images(data_root, "mnist"), tmp_path)
    assert result.n_restored >= 0.8 * N_POISON
    assert result.n_clean <= 1
    assert result.n_right >= 0.8 * result.n_restored
    assert result.left < 0.1
    assert result.models["nothing done"][1] > 0.8
    assert result.models["restored"][1] < 0.05
    assert result.models["restored"][0] > result.models["dropped"][0] - 0.02


def line(name: str, result: Repaired) -> str:
    models = " | ".join(f"{accuracy:.3f} / {success:.3f}" for accuracy, success in result.models.values())
    share = f"{result.n_restored} of {N_POISON} | {result.n_right} | {result.n_clean} | {result.left:.4f}"
    return f"| {name} | {share} | {models} |"


if __name__ == "__main__":
    print("| data | restored | label right | clean | distance left | nothing done | dropped | restored |")
    for chosen in sys.argv[2:]:
        with tempfile.TemporaryDirectory() as where:
            task = (sounds if chosen in SOUNDS else images)(Path(sys.argv[1]), chosen)
            print(line(chosen, repaired(task, Path(where))), flush=True)
