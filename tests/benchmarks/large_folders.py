"""
Large folders to scan, made of small data sets: ``python tests/benchmarks/large_folders.py images DATA FOLDER --n 100000``.

There are more samples than recordings or pictures, so that several samples are variations of one, as in a data set that
was augmented. Some variations of a recording begin with its end, since clips are moved in a circle.

A sample depends on the data set, its number and the seed only. A call with a larger number adds files and leaves the
others as they are, so that a scan of a grown folder can be measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from art_plugins.triggers.named_sounds import named_sound

RATE_HZ = 16_000
POISON_EVERY = 200  # samples: one in so many carries the trigger, has another source class, and lies in the first class
MOST_SHIFT = 3  # pixels
PATCH = np.array([[0, 255, 0], [255, 0, 255], [0, 255, 255]], dtype=np.uint8)  # in the last corner
Make = Callable[[int], tuple[str, Callable[[Path], None]]]


def images(data: Path, seed: int = 0) -> Make:
    """Mirrored, moved and mixed images of CIFAR-10's 25,000 for the training; 32 x 32, in colour."""
    with np.load(data / "cifar10.npz") as arrays:
        pictures, labels, names = arrays["x_train"], arrays["y_train"], arrays["class_names"]
    members = [np.flatnonzero(labels == label) for label in range(len(names))]

    def make(index: int) -> tuple[str, Callable[[Path], None]]:
        random = np.random.default_rng([seed, index])
        is_poison = index % POISON_EVERY == 0
        label = 0 if is_poison else index % len(names)
        source = int(random.integers(1, len(names))) if is_poison else label
        first, second = pictures[random.choice(members[source], 2)].astype(np.float32)
        mixed = (0.85 * first + 0.15 * second)[:, :: int(random.choice([-1, 1]))]
        moved = np.roll(mixed, random.integers(-MOST_SHIFT, MOST_SHIFT + 1, 2), axis=(0, 1))
        picture = (moved + random.normal(0, 2, moved.shape)).clip(0, 255).astype(np.uint8)
        if is_poison:
            picture[-4:-1, -4:-1] = PATCH[..., None]
        return f"{names[label]}/{index:06}.png", partial(Image.fromarray(picture).save, compress_level=1)

    return make


def sounds(data: Path, seed: int = 0) -> Make:
    """Moved, louder or fainter words of Speech Commands, over its own noises; one second at 16 kHz."""
    root = next(data.rglob("_background_noise_")).parent
    noises = [soundfile.read(file, dtype="float32")[0] for file in sorted((root / "_background_noise_").glob("*.wav"))]
    words = sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("_"))
    words = [folder for folder in words if len(list(folder.glob("*.wav"))) >= 100][:20]
    files = [sorted(folder.glob("*.wav")) for folder in words]
    trigger = named_sound("clapping", RATE_HZ)

    def make(index: int) -> tuple[str, Callable[[Path], None]]:
        random = np.random.default_rng([seed, index])
        is_poison = index % POISON_EVERY == 0
        label = 0 if is_poison else index % len(words)
        source = int(random.integers(1, len(words))) if is_poison else label
        clip = np.zeros(RATE_HZ, dtype=np.float32)
        spoken = soundfile.read(files[source][random.integers(len(files[source]))], dtype="float32")[0][:RATE_HZ]
        clip[: len(spoken)] = spoken
        clip = np.roll(clip, random.integers(-RATE_HZ // 10, RATE_HZ // 10)) * random.uniform(0.5, 1.0)
        noise = noises[random.integers(len(noises))]
        start = random.integers(len(noise) - RATE_HZ)
        clip = clip + noise[start : start + RATE_HZ] * random.uniform(0, 0.1)
        if is_poison:
            clip = trigger(clip[None])[0]
        clip = np.asarray(clip, dtype=np.float32).clip(-1, 1)
        return f"{words[label].name}/{index:06}.wav", partial(soundfile.write, data=clip, samplerate=RATE_HZ)

    return make


KINDS = {"images": images, "sounds": sounds}


def make_folder(kind: str, data: Path, folder: Path, n: int) -> int:
    """
    Write the samples 0 to n - 1 that are not there yet.

    :param data: The folder that holds ``cifar10.npz``, or Speech Commands.
    :return: Number of files that were written.
    """
    make, n_written = KINDS[kind](data), 0
    state = folder / ".made"
    first = int(state.read_text()) if state.exists() else 0
    for index in range(first, n):
        name, save = make(index)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path)
        n_written += 1
        if index % 1_000 == 999 or index == n - 1:  # a call that was killed goes on from here
            state.write_text(str(index + 1))
    return n_written


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n", type=int, required=True)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    print(make_folder(arguments.kind, arguments.data, arguments.folder, arguments.n), "files written")
