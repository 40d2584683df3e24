"""The data sets of the configs: splits, shapes, label order, and Armory's generator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from armory_scenarios import datasets
from art_plugins.errors import InvalidInputError


def split(folder: Path, name: str, n_validation: int = 20) -> tuple[np.ndarray, np.ndarray]:
    return datasets.image_split("mnist", name, str(folder), True, n_validation, download=False)


def test_image_split_test_and_validation_are_disjoint_and_whole(digit_files: Path) -> None:
    x_test, y_test = split(digit_files, "test")
    x_held_out, y_held_out = split(digit_files, "validation")
    x_all, y_all = split(digit_files, "test", 0)
    assert np.bincount(y_held_out).tolist() == [20] * 10
    assert len(y_test) + len(y_held_out) == len(y_all)
    together = np.concatenate([x_test, x_held_out]).reshape(len(y_all), -1)
    assert np.array_equal(np.unique(together, axis=0), np.unique(x_all.reshape(len(y_all), -1), axis=0))


def test_image_split_channels_last_is_a_transpose(digit_files: Path) -> None:
    x, _ = split(digit_files, "train")
    last, _ = datasets.image_split("mnist", "train", str(digit_files), False, 0, download=False)
    assert x.shape == (1000, 1, 28, 28)
    assert np.array_equal(last, x.transpose(0, 2, 3, 1))


@pytest.mark.parametrize(("name", "n_validation"), [("validation", 0), ("test", 60), ("test", -1), ("dev", 0)])
def test_image_split_bad_arguments_are_refused(digit_files: Path, name: str, n_validation: int) -> None:
    with pytest.raises(InvalidInputError, match="received"):
        split(digit_files, name, n_validation)


def test_root_is_argument_then_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(datasets.ROOT_VARIABLE, "named")
    assert datasets._root(None) == "named"
    assert datasets._root("given") == "given"


def test_batches_hold_every_row_once_an_epoch_in_a_fixed_order() -> None:
    x, y = np.arange(10), np.arange(10)
    first, again = (list(datasets._batches(x, y, 2, 4, False)) for _ in range(2))
    assert [len(rows) for rows, _ in first] == [4, 4, 2] * 2
    assert sorted(np.concatenate([rows for rows, _ in first[:3]])) == list(range(10))
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(first, again, strict=True))
    assert not np.array_equal(np.concatenate([rows for rows, _ in first[:3]]), x)


def test_batches_reshuffled_differ_between_epochs() -> None:
    x = np.arange(50)
    one, two = (rows for rows, _ in datasets._batches(x, x, 2, 50, True))
    assert not np.array_equal(one, two)


def test_resized_constant_image_stays_constant() -> None:
    x = np.full((2, 3, 32, 32), 0.25, dtype=np.float32)
    assert datasets._resized(x, 32) is x
    assert datasets._resized(x, 48).shape == (2, 3, 48, 48)
    assert np.allclose(datasets._resized(x, 48), 0.25)


def test_mnist_is_armorys_generator(engine: None, digit_files: Path) -> None:
    from armory.data.datasets import ArmoryDataGenerator

    made = datasets.mnist("test", batch_size=64, dataset_dir=str(digit_files), n_validation=20)
    batches = list(made)
    assert isinstance(made, ArmoryDataGenerator)
    assert len(made) == len(batches) == 10
    assert sum(len(y) for _, y in batches) == 597
    assert batches[0][0].shape == (64, 28, 28, 1)


def test_speech_commands_have_tfds_label_order(engine: None, data_root: Path) -> None:
    made = datasets.speech_commands("train", batch_size=64, dataset_dir=str(data_root), cap=12, download=False)
    x, y = (np.concatenate(parts) for parts in zip(*made, strict=True))
    assert x.shape[1:] == (16_000,)
    assert np.abs(x).max() <= 1
    assert np.bincount(y).tolist() == [*[12] * 10, 13, 12]  # silence is a tenth of the words
    for label, word in ((2, "left"), (8, "up")):
        files = (data_root / "SpeechCommands" / "speech_commands_v0.02" / word).glob("*.wav")
        clips = {padded(file).tobytes() for file in files}
        assert {row.tobytes() for row in x[y == label]} <= clips
    assert datasets._speech(str(data_root), 12, False, "testing", 0).class_names[10:] == ("_silence_", "_unknown_")


def padded(file: Path) -> np.ndarray:
    samples, _ = soundfile.read(file, dtype="int16")
    return np.pad(samples, (0, 16_000 - len(samples))).astype(np.float32) / 2**15


def test_speech_commands_splits_share_no_clip(engine: None, data_root: Path) -> None:
    clips = {}
    for name in datasets.SPLITS:
        made = datasets.speech_commands(name, batch_size=64, dataset_dir=str(data_root), cap=12, download=False)
        clips[name] = {row.tobytes() for x, _ in made for row in x}
    assert not clips["test"] & clips["validation"]
    assert not clips["train"] & (clips["test"] | clips["validation"])


def test_speech_commands_unpadded_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="pad_data must be true"):
        datasets.speech_commands(pad_data=False)


@pytest.mark.parametrize(("split", "caps"), [("train", {"cap": 7}), ("test", {"test_cap": 7})])
def test_caps_take_so_many_samples_of_each_class(engine: None, digit_files: Path, split: str, caps: dict[str, int]) -> None:
    def labels(**caps: int) -> np.ndarray:
        return np.concatenate([y for _, y in datasets.mnist(split, 1, 50, str(digit_files), **caps)])

    assert np.bincount(labels(**caps)).tolist() == [7] * 10
    assert len(labels()) == (1000 if split == "train" else 797)
    with pytest.raises(InvalidInputError, match="at least 1 sample of each class; received 0"):
        labels(**dict.fromkeys(caps, 0))
