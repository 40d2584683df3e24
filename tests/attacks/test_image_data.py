"""Image data sets: layouts of the file, ranges, labels, notes, and files that are something else."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from art_plugins.attacks.datasets.downloads import CIFAR_TRAIN, SOURCES, Source, read_cifar10
from art_plugins.attacks.datasets.images import MIXED, PARTS, SETS, Published, image_data
from art_plugins.errors import FileFormatError, InvalidInputError


def arrays(shape: tuple[int, ...] = (28, 28), **others: Any) -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {
        "x_train": random.integers(0, 256, size=(12, *shape), dtype=np.uint8),
        "y_train": np.arange(12) % 10,
        "x_test": random.integers(0, 256, size=(5, *shape), dtype=np.uint8),
        "y_test": np.arange(5),
        **others,
    }


def test_image_data_of_kerass_mnist_file_are_channels_first_and_in_range(tmp_path: Path) -> None:
    stored = arrays()
    np.savez(tmp_path / "mnist.npz", **stored)
    data = image_data("mnist", tmp_path)
    assert data.x_train.shape == (12, 1, 28, 28)
    assert data.x_train.dtype == np.float32
    np.testing.assert_allclose(data.x_train[:, 0], stored["x_train"] / 255, rtol=1e-6)
    np.testing.assert_array_equal(data.y_train, stored["y_train"])
    assert data.y_test.dtype == np.int64
    assert data.class_names == tuple("0123456789")
    assert data.notes == ("10 of 10 classes, 12 of 60000 training images and 5 of 10000 test images",)


def test_image_data_of_the_whole_published_set_need_no_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "mnist.npz", **arrays())
    monkeypatch.setitem(SETS, "mnist", Published(tuple("0123456789"), 12, 5))
    assert image_data("mnist", tmp_path).notes == ()


def test_image_data_of_colour_images_move_the_channels_and_take_the_files_names(tmp_path: Path) -> None:
    stored = arrays((32, 31, 3), y_train=np.arange(12)[:, None] % 3, y_test=np.eye(3)[[0, 1, 2, 0, 1]])
    np.savez(tmp_path / "gtsrb32.npz", **stored, class_names=np.array(["01", "05", "38"]))
    data = image_data("gtsrb32", tmp_path)
    assert data.x_test.shape == (5, 3, 32, 31)
    assert data.x_test[4, 2, 7, 30] == np.float32(stored["x_test"][4, 7, 30, 2]) / np.float32(255)
    assert data.y_train.tolist() == [0, 1, 2] * 4
    assert data.y_test.tolist() == [0, 1, 2, 0, 1]
    assert data.class_names == ("01", "05", "38")
    assert data.notes[0].startswith("3 of 43 classes")


def test_image_data_of_floats_are_taken_as_they_are(tmp_path: Path) -> None:
    x = np.random.default_rng(0).uniform(size=(5, 28, 28, 1))
    np.savez(tmp_path / "fashion_mnist.npz", **arrays(x_train=x, y_train=np.arange(5)))
    data = image_data("fashion_mnist", tmp_path)
    np.testing.assert_array_equal(data.x_train[:, 0], x[..., 0].astype(np.float32))
    assert data.class_names[9] == "Ankle boot"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": np.zeros((12, 28, 28), dtype=object)}, "without pickles"),
        ({"x_train": np.zeros((12, 28))}, r"x_train of .*received \(12, 28\)"),
        ({"x_test": np.zeros((5, 28, 28, 2))}, "x_test of"),
        ({"x_train": np.full((12, 28, 28), 2.0)}, "bytes, or floats of 0 to 1"),
        ({"x_train": np.full((12, 28, 28), np.nan)}, "bytes, or floats of 0 to 1"),
        ({"x_test": np.zeros((5, 32, 32))}, "no file of mnist"),
        ({"y_train": np.arange(12)}, "12 classes with 10 names"),
        ({"class_names": np.array(["a", "b"])}, "10 classes with 2 names"),
    ],
)
def test_image_data_of_a_file_with_other_arrays_say_what_is_wrong(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / "mnist.npz", **arrays(**changes))
    with pytest.raises(FileFormatError, match=message):
        image_data("mnist", tmp_path)


def test_image_data_of_a_file_without_a_test_set_name_what_it_lacks(tmp_path: Path) -> None:
    stored = arrays()
    np.savez(tmp_path / "mnist.npz", x_train=stored["x_train"], y_train=stored["y_train"])
    with pytest.raises(FileFormatError, match="lacks x_test, y_test"):
        image_data("mnist", tmp_path)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_image_data_of_a_damaged_file_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mnist.npz").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"mnist\.npz cannot be read"):
        image_data("mnist", tmp_path)


def test_image_data_of_a_single_array_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "mnist.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(FileFormatError, match="cannot be read"):
        image_data("mnist", tmp_path)


def test_image_data_of_an_unknown_name_or_a_missing_file_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="one of mnist, fashion_mnist"):
        image_data("imagenet", tmp_path)
    with pytest.raises(InvalidInputError, match="download=True"):
        image_data("cifar10", tmp_path)
    with pytest.raises(InvalidInputError, match="gtsrb32 is not one that is downloaded"):
        image_data("gtsrb32", tmp_path)
    with pytest.raises(InvalidInputError, match="fashion_mnist is not one that is downloaded"):
        image_data("fashion_mnist", tmp_path, download=True)


def of_cifar(random: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 32, 32, 3) and labels (n,), bytes."""
    return random.integers(0, 256, (n, 32, 32, 3), np.uint8), random.integers(0, 10, n, np.uint8)


def archive_of_cifar(path: Path, batches: dict[str, tuple[np.ndarray, np.ndarray]]) -> Source:
    """The binary version, as its makers describe it: in each row a label, then the bytes of red, green and blue."""
    with tarfile.open(path, "w:gz") as archive:
        for name, (x, y) in batches.items():
            content = b"".join(
                bytes([label]) + image.transpose(2, 0, 1).tobytes() for image, label in zip(x, y, strict=True)
            )
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return Source(path.as_uri(), hashlib.sha256(path.read_bytes()).hexdigest(), read_cifar10)


def test_image_data_that_are_downloaded_are_kept_and_never_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    batches = {name: of_cifar(random, 4) for name in (*reversed(CIFAR_TRAIN), "test_batch.bin")}
    source = archive_of_cifar(tmp_path / "made.tar.gz", batches)
    monkeypatch.setitem(SOURCES, "cifar10", source)
    data = image_data("cifar10", tmp_path / "new", download=True)
    expected = np.concatenate([batches[name][0] for name in CIFAR_TRAIN]) / 255
    np.testing.assert_allclose(data.x_train.transpose(0, 2, 3, 1), expected, atol=1e-6)
    assert data.y_train.tolist() == [label for name in CIFAR_TRAIN for label in batches[name][1]]
    assert data.y_test.tolist() == batches["test_batch.bin"][1].tolist()
    assert data.class_names[3] == "cat"
    (tmp_path / "made.tar.gz").unlink()
    np.testing.assert_array_equal(image_data("cifar10", tmp_path / "new", download=True).x_train, data.x_train)


def test_image_data_of_an_npz_file_are_downloaded_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "made.npz"
    np.savez(made, **arrays())
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    monkeypatch.setitem(SOURCES, "mnist", Source(made.as_uri(), digest))
    image_data("mnist", tmp_path / "new", download=True)
    assert (tmp_path / "new" / "mnist.npz").read_bytes() == made.read_bytes()


@pytest.mark.parametrize(("digest", "why"), [("0" * 64, "invalid hash value"), (None, "gone.npz")])
def test_image_data_whose_download_fails_say_why_and_leave_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digest: str | None, why: str
) -> None:
    made = tmp_path / ("made.npz" if digest else "gone.npz")
    if digest:
        np.savez(made, **arrays())
    monkeypatch.setitem(SOURCES, "mnist", Source(made.as_uri(), digest or "0" * 64))
    with pytest.raises(InvalidInputError, match=f"mnist could not be downloaded from .*{why}.*; put mnist.npz into"):
        image_data("mnist", tmp_path / "new", download=True)
    assert list((tmp_path / "new").iterdir()) == []


def test_sources_are_fetched_over_tls_and_have_whole_digests() -> None:
    assert all(source.url.startswith("https://") and len(source.sha256) == 64 for source in SOURCES.values())


def three_sets(folder: Path, n_letters: int = 26) -> dict[str, dict[str, Any]]:
    """Digits, clothes and letters: every class has 3 training and 2 test images, the digits have one more."""
    found = {}
    for seed, (name, n_classes) in enumerate({"mnist": 10, "fashion_mnist": 10, "emnist_letters": n_letters}.items()):
        random = np.random.default_rng(seed)
        n_of_class = {"train": 4 if name == "mnist" else 3, "test": 2}
        found[name] = {}
        for part, number in n_of_class.items():
            labels = random.permutation(np.repeat(np.arange(n_classes), number))
            images = random.integers(0, 256, size=(len(labels), 28, 28), dtype=np.uint8)
            found[name] |= {f"x_{part}": images, f"y_{part}": labels}
        np.savez(folder / f"{name}.npz", **found[name])
    return found


def test_image_data_of_46_mixed_classes_are_those_of_three_sets(tmp_path: Path) -> None:
    stored = three_sets(tmp_path)
    data = image_data("mixed46", tmp_path)
    assert (np.bincount(data.y_train) == 3).all()
    assert (np.bincount(data.y_test) == 2).all()
    assert [data.class_names[label] for label in (0, 9, 10, 20, 45)] == [
        "digit 0", "digit 9", "T-shirt/top", "letter A", "letter Z"
    ]  # fmt: skip
    for label, name, own in ((3, "mnist", 3), (14, "fashion_mnist", 4), (45, "emnist_letters", 25)):
        expected = stored[name]["x_train"][stored[name]["y_train"] == own][:3]
        np.testing.assert_allclose(data.x_train[data.y_train == label][:, 0], expected / 255, rtol=1e-6)
    assert "26 of 26 classes, 78 of 124800 training images and 52 of 20800 test images" in data.notes


def test_image_data_of_92_mixed_classes_have_the_negatives_behind(tmp_path: Path) -> None:
    three_sets(tmp_path)
    half, whole = image_data("mixed46", tmp_path), image_data("mixed92", tmp_path)
    assert len(whole.class_names) == 92
    assert whole.class_names[46:48] == ("negative digit 0", "negative digit 1")
    np.testing.assert_array_equal(whole.x_test[whole.y_test < 46], half.x_test)
    np.testing.assert_allclose(whole.x_test[whole.y_test == 46 + 45], 1 - half.x_test[half.y_test == 45], rtol=1e-6)


def test_joined_data_sets_of_two_shapes_are_refused(tmp_path: Path) -> None:
    three_sets(tmp_path)
    np.savez(tmp_path / "emnist_letters.npz", **arrays((32, 32)))
    with pytest.raises(InvalidInputError, match="one shape"):
        image_data("mixed46", tmp_path)


@pytest.mark.parametrize("name", SETS)
def test_image_data_from_real_files_have_every_class(data_root: Path, name: str) -> None:
    parts = PARTS.values() if name in MIXED else (name,)
    if not all((data_root / f"{part}.npz").is_file() for part in parts):
        pytest.skip(f"no {name}.npz in the folder of real data")
    data = image_data(name, data_root)
    assert set(data.y_train) == set(data.y_test) == set(range(len(data.class_names)))
    assert (data.x_train.min(), data.x_train.max()) == (0, 1)
    assert data.x_train.shape[1:] in ((1, 28, 28), (3, 32, 32))
