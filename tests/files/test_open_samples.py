"""Any data set as samples by position: each form holds the same twelve pictures or clips, and all are read alike."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from art_plugins.errors import InvalidInputError
from art_plugins.files.image_files import choose_image_reader
from art_plugins.files.sound_files import choose_sound_reader
from art_plugins.files.sources.open_samples import open_samples
from art_plugins.files.sources.reading import Reading
from art_plugins.files.sources.samples import Samples

N, RATE_HZ = 12, 8_000
WORDS = ["no" if row % 2 else "yes" for row in range(N)]
PICTURES = np.random.default_rng(3).integers(0, 256, size=(N, 6, 5, 3), dtype=np.uint8)
CLIPS = np.random.default_rng(4).uniform(-0.5, 0.5, size=(N, 1_000)).astype(np.float32)


def png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def wav(clip: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, clip, RATE_HZ, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def folder(root: Path) -> Path:
    for row, word in enumerate(WORDS):
        (root / "classes" / word).mkdir(parents=True, exist_ok=True)
        (root / "classes" / word / f"{row:02}.png").write_bytes(png(PICTURES[row]))
    return root / "classes"


def manifest(root: Path, name: str) -> Path:
    folder(root)
    rows = [{"file": f"classes/{word}/{row:02}.png", "label": word} for row, word in enumerate(WORDS)]
    path = root / name
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["file", "label"])
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def npz(root: Path) -> Path:
    np.savez(root / "data.npz", x=PICTURES, y=np.array(WORDS))
    return root / "data.npz"


def npy(root: Path) -> Path:
    np.save(root / "x.npy", PICTURES)
    np.save(root / "y.npy", np.array(WORDS))
    return root / "x.npy"


def hdf5(root: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(root / "data.h5", "w") as file:
        file.create_dataset("group/images", data=PICTURES, chunks=(5, 6, 5, 3), compression="gzip")
        file["group/labels"] = WORDS
    return root / "data.h5"


def shards(root: Path) -> Path:
    (root / "shards").mkdir()
    for part in range(2):
        with tarfile.open(root / "shards" / f"{part}.tar", "w") as shard:
            for row in range(6 * part, 6 * part + 6):
                add(shard, f"{row:02}.png", png(PICTURES[row]))
                add(shard, f"{row:02}.cls", WORDS[row].encode())
    return root / "shards"


def add(shard: tarfile.TarFile, name: str, content: bytes, **kwargs: Any) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in kwargs.items():
        setattr(member, key, value)
    shard.addfile(member, io.BytesIO(content))


def hugging_face() -> Any:
    datasets = pytest.importorskip("datasets")
    rows = {"image": [{"bytes": png(picture), "path": None} for picture in PICTURES], "word": [0, 1] * (N // 2)}
    features = datasets.Features({"image": datasets.Image(), "word": datasets.ClassLabel(names=["yes", "no"])})
    return datasets.Dataset.from_dict(rows, features)


def parquet(root: Path) -> Path:
    hugging_face().to_parquet(root / "data.parquet")
    return root / "data.parquet"


def arrow(root: Path) -> Path:
    hugging_face().save_to_disk(root / "saved")
    return next((root / "saved").glob("*.arrow"))


def saved(root: Path) -> Path:
    hugging_face().save_to_disk(root / "saved")
    return root / "saved"


def torch_dataset(_: Path) -> Any:
    class Pairs:
        def __len__(self) -> int:
            return N

        def __getitem__(self, row: int) -> tuple[Any, str]:
            return Image.fromarray(PICTURES[row]), WORDS[row]

    return Pairs()


FORMS: dict[str, Callable[[Path], Any]] = {
    "folder": folder,
    "csv": lambda root: manifest(root, "list.csv"),
    "json lines": lambda root: manifest(root, "list.jsonl"),
    "json": lambda root: manifest(root, "list.json"),
    "npz": npz,
    "npy": npy,
    "npy folder": lambda root: npy(root).parent,
    "hdf5": hdf5,
    "shards": shards,
    "parquet": parquet,
    "arrow": arrow,
    "saved": saved,
    "dataset": lambda _: hugging_face(),
    "torch": torch_dataset,
}


@pytest.mark.parametrize("form", FORMS)
def test_pictures_of_every_form_are_the_same_and_have_their_words(form: str, tmp_path: Path) -> None:
    reading = Reading(label_column="word") if form in ("parquet", "arrow", "saved", "dataset") else Reading()
    with open_samples(FORMS[form](tmp_path), reading=reading) as found:
        assert (found.kind, sorted(found.class_names)) == ("image", ["no", "yes"])
        assert len(set(found.files)) == len(found.files) == len(found.items) == N
        assert content(found) == sorted((picture.tobytes(), word) for picture, word in zip(PICTURES, WORDS, strict=True))


def content(found: Samples) -> list[tuple[bytes, str]]:
    """Every decoded picture with the name of its class."""
    reader = choose_image_reader(found.items)
    return sorted(
        (reader.read(found.items[row])[0].tobytes(), found.class_names[found.labels[row]])
        for row in range(len(found.files))
    )


def test_pictures_in_memory_of_any_range_and_place_of_the_colours_are_the_same() -> None:
    channels_first = np.moveaxis(PICTURES, 3, 1)
    for x in (PICTURES, channels_first, PICTURES / 255, (channels_first / 255).astype(np.float32), PICTURES.astype(int)):
        with open_samples(x, WORDS) as found:
            got = content(found)
        expected = sorted((picture.tobytes(), word) for picture, word in zip(PICTURES, WORDS, strict=True))
        assert got == expected


def test_pictures_of_standardised_values_are_stretched_and_a_note_says_so() -> None:
    x = (PICTURES.astype(np.float32) - 128) / 64
    with open_samples(x, WORDS) as found:
        assert any("from -2 to 1.98438 are read as 0 to 255" in note for note in found.notes)
        assert content(found)[0][1] in ("no", "yes")
        reader = choose_image_reader(found.items)
        assert np.array_equal(reader.read(found.items[0])[0], PICTURES[0])


@pytest.mark.parametrize("highest", [1, 16])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
def test_pictures_of_few_levels_are_not_black(dtype: Any, highest: int) -> None:
    with open_samples(np.round(PICTURES / PICTURES.max() * highest).astype(dtype), WORDS) as found:
        reader = choose_image_reader(found.items)
        pictures = np.stack([reader.read(found.items[row])[0] for row in range(N)])
    assert pictures.max() == 255
    assert len(np.unique(pictures)) <= 17


def test_dim_pictures_of_many_levels_stay_as_they_are() -> None:
    with open_samples((PICTURES // 4).astype(np.float32), WORDS) as found:
        assert np.array_equal(choose_image_reader(found.items).read(found.items[0])[0], PICTURES[0] // 4)


@pytest.mark.parametrize("low", [0, -1])
def test_one_picture_that_nobody_scaled_does_not_make_the_others_black(low: int) -> None:
    x = (PICTURES / 255 * (1 - low) + low).astype(np.float32)
    x[2] *= 255
    with open_samples(x, WORDS) as found:
        assert any("far beyond the others. These are cut off" in note for note in found.notes)
        assert np.abs(choose_image_reader(found.items).read(found.items[0])[0].astype(int) - PICTURES[0]).max() <= 1


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_clips_of_16_bits_in_a_wider_type_are_not_silence(dtype: Any) -> None:
    numbers = np.round(CLIPS / np.abs(CLIPS).max() * 20_000).astype(dtype)
    with open_samples(numbers, WORDS, Reading(rate_hz=RATE_HZ)) as found:
        assert any("divided by 32,768" in note for note in found.notes)
        clip, _ = choose_sound_reader(found.items, seconds=numbers.shape[1] / RATE_HZ).read(found.items[0])
    np.testing.assert_allclose(np.ravel(clip)[: numbers.shape[1]], numbers[0].ravel() / 32768, atol=1e-4)


def clips_in(form: str, root: Path) -> Any:
    if form == "shards":
        with tarfile.open(root / "a.tar", "w") as shard:
            for row in range(N):
                add(shard, f"{row}.wav", wav(CLIPS[row]))
                add(shard, f"{row}.json", json.dumps({"label": WORDS[row]}).encode())
        return root / "a.tar"
    if form == "npz":
        np.savez_compressed(root / "a.npz", x_train=CLIPS[:8], y_train=WORDS[:8], x_test=CLIPS[8:], y_test=WORDS[8:])
        return root / "a.npz"
    if form == "torchaudio":
        torch = pytest.importorskip("torch")
        return [(torch.from_numpy(CLIPS[row : row + 1]), RATE_HZ, WORDS[row], "speaker") for row in range(N)]
    datasets = pytest.importorskip("datasets")
    rows = {"audio": [{"bytes": wav(clip), "path": None} for clip in CLIPS], "label": WORDS}
    return datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio())


@pytest.mark.parametrize("form", ["shards", "npz", "torchaudio", "dataset"])
def test_clips_of_every_form_are_the_same(form: str, tmp_path: Path) -> None:
    with open_samples(
        clips_in(form, tmp_path), reading=Reading(rate_hz=None if form == "torchaudio" else RATE_HZ)
    ) as found:
        assert (found.kind, found.class_names) == ("sound", ("no", "yes"))
        reader = choose_sound_reader(found.items, seconds=1_000 / RATE_HZ)
        assert reader.sample_rate_hz == RATE_HZ
        got = sorted(reader.read(found.items[row])[0].tobytes() for row in range(N))
        assert got == sorted(clip.tobytes() for clip in CLIPS)


def test_splits_of_arrays_are_used_together_or_as_asked(tmp_path: Path) -> None:
    path = clips_in("npz", tmp_path)
    with open_samples(path, reading=Reading(rate_hz=RATE_HZ)) as found:
        assert len(found.files) == N
        assert any("test, train are splits" in note for note in found.notes)
    with open_samples(path, reading=Reading(rate_hz=RATE_HZ, split="test")) as found:
        assert list(found.files) == [f"x_test[{row}]" for row in range(4)]
    with pytest.raises(InvalidInputError, match="has no array 'z'; it has x_train, y_train"), ExitStack() as stack:
        stack.enter_context(open_samples(path, reading=Reading(rate_hz=RATE_HZ, path_column="z")))
    with pytest.raises(InvalidInputError, match="has no split 'val'; it has test, train"), ExitStack() as stack:
        stack.enter_context(open_samples(path, reading=Reading(rate_hz=RATE_HZ, split="val")))


def test_folder_with_pictures_is_one_of_classes_although_a_table_lies_in_it(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "metadata.parquet").write_bytes(b"not read")
    (root / "yes" / "x.npy").write_bytes(b"not read")
    with open_samples(root) as found:
        assert found.class_names == ("no", "yes")
        assert found.ignored_files == {"another type: .npy": 1, "another type: .parquet": 1}


def test_splits_of_shards_are_told_by_the_names_of_files_or_folders(tmp_path: Path) -> None:
    shards(tmp_path)
    for name in ("train-0.tar", "test/1.tar"):
        (tmp_path / "new" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "shards" / name[-5:]).rename(tmp_path / "new" / name)
    with open_samples(tmp_path / "new", reading=Reading(split="train")) as found:
        assert [name.split("/")[0] for name in found.files] == ["train-0.tar"] * 6
        assert found.class_names == ("no", "yes")


def test_labels_that_are_numbers_words_or_one_hot_and_missing_ones(tmp_path: Path) -> None:
    numbers = [row % 3 for row in range(N)]
    for labels in (numbers, np.eye(3)[numbers], np.array(numbers)[:, None], [float(one) for one in numbers]):
        with open_samples(PICTURES, labels) as found:
            assert found.class_names == ("0", "1", "2")
            assert list(found.labels) == numbers
    with open_samples(PICTURES, [None, float("nan"), "", *WORDS[3:]]) as found:
        assert len(found.files) == N - 3
        assert set(found.skipped_files) == {"x[0]", "x[1]", "x[2]"}
        assert np.array_equal(found.items[0], PICTURES[3])
    with open_samples(PICTURES, [10 if row % 2 else 9 for row in range(N)]) as found:
        assert found.class_names == ("9", "10")  # by size, not by letter
    names = np.array(["zero", "one", "two"])
    np.savez(tmp_path / "a.npz", x=PICTURES, y=np.array(numbers), class_names=names)
    with open_samples(tmp_path / "a.npz") as found:
        assert found.class_names == ("one", "two", "zero")
        assert [found.class_names[label] for label in found.labels] == [names[number] for number in numbers]


def test_numbers_that_are_not_finite_are_skipped_with_a_reason() -> None:
    x = PICTURES / np.float32(255)
    x[3, 0, 0, 0] = np.nan
    with open_samples(x, WORDS) as found, pytest.raises(InvalidInputError, match="holds NaN or infinity"):
        choose_image_reader(found.items).read(found.items[3])


def test_manifest_counts_what_it_passes_over(tmp_path: Path) -> None:
    folder(tmp_path)
    lines = [f"classes/{word}/{row:02}.png,{word},train" for row, word in enumerate(WORDS)]
    lines += [
        "classes/yes/00.png,yes,train",
        "classes/yes/00.png,no,train",
        "notes.txt,yes,train",
        "classes/no/01.png,,train",
    ]
    (tmp_path / "list.csv").write_text("\n".join(["where,what,split", *lines, "x.png,yes,test"]) + "\n", encoding="utf-8")
    reading = Reading(path_column="where", label_column="what", split="train")
    with open_samples(tmp_path / "list.csv", reading=reading) as found:
        assert len(found.files) == N + 1
        assert "classes/yes/00.png (line 15)" in found.files
        assert found.ignored_files == {"another type: .txt": 1, "of another split": 1}
        assert set(found.skipped_files.values()) == {"it is listed twice", "it has no label"}
        assert any("1 files are listed with more than one label" in note for note in found.notes)
        assert np.array_equal(choose_image_reader(found.items).read(found.items[N])[0], PICTURES[0])


@pytest.mark.parametrize("sign", [";", "\t"])
def test_manifest_of_a_spreadsheet_in_another_language_is_read(sign: str, tmp_path: Path) -> None:
    folder(tmp_path)
    lines = [f"classes\\{word}\\{row:02}.png{sign}{word}" for row, word in enumerate(WORDS)]
    (tmp_path / "list.csv").write_bytes("\r\n".join([f"file{sign}label", *lines, ""]).encode("utf-8-sig"))
    with open_samples(tmp_path / "list.csv") as found:
        assert len(found.files) == N
        assert content(found)[0][1] in ("no", "yes")
    (tmp_path / "long.csv").write_text(f"file{sign}label\n.\\{'x' * 300}.png{sign}yes\nclasses/no/01.png{sign}no\n")
    with open_samples(tmp_path / "long.csv") as found:
        assert len(found.files) == 2
    (tmp_path / "old.csv").write_bytes(f"file{sign}label\r\na.png{sign}Größe\r\n".encode("cp1252"))
    with pytest.raises(InvalidInputError, match=r"old\.csv is not written in UTF-8 .*save it in Excel as 'CSV UTF-8'"):
        ExitStack().enter_context(open_samples(tmp_path / "old.csv"))


@pytest.mark.parametrize(
    ("data", "labels", "sentence"),
    [
        (PICTURES, None, "has no labels of its own"),
        (PICTURES, WORDS[:3], "12 samples and 3 labels"),
        (PICTURES, ["a"] * N, "holds 1 class"),
        (PICTURES, [["a"]] * N, "is a list, and no single value"),
        (CLIPS, WORDS, "Give their sample rate"),
        (PICTURES[..., :2], WORDS, "1, 3 or 4 colours"),
        (np.zeros((N, 4, 4)), WORDS, "nothing to tell apart"),
        (PICTURES.astype(object), WORDS, "dtype object"),
        (iter([]), None, "cannot be scanned; give a path"),
        ([PICTURES[0]] * 3, None, "no pair of sample and label"),
        ("data.txt", None, "does not exist"),
        (__file__, None, "cannot be scanned|no data set that can be scanned"),
    ],
)
def test_data_that_cannot_be_read_are_refused_in_one_sentence(data: Any, labels: Any, sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence) as error, ExitStack() as stack:
        stack.enter_context(open_samples(data, labels))
    assert "\n" not in str(error.value)
