"""Data sets that a stranger made: nothing is unpickled, no other file is read, no script runs, no bomb fills the disk."""

from __future__ import annotations

import io
import json
import pickle
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from art_plugins.errors import InvalidInputError
from art_plugins.files.sources.open_samples import open_samples
from art_plugins.files.sources.reading import Reading
from art_plugins.files.sources.safe_names import why_unsafe

PICTURES = np.random.default_rng(3).integers(0, 256, size=(4, 6, 5), dtype=np.uint8)


def refusal(path: Path, **reading: Any) -> str:
    """The sentence with which a data set is refused."""
    with pytest.raises(InvalidInputError) as error, ExitStack() as stack:
        stack.enter_context(open_samples(path, reading=Reading(**reading)))
    assert "\n" not in str(error.value)
    return str(error.value)


class Evil:
    """Pickled, it makes a file when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_pickled_objects_in_arrays_are_refused_and_never_loaded(tmp_path: Path, suffix: str) -> None:
    trace, evil = tmp_path / "trace", np.array([Evil(tmp_path / "trace")] * 4, dtype=object)
    if suffix == ".npz":
        np.savez(tmp_path / "x.npz", x=PICTURES, y=evil)
    else:
        np.save(tmp_path / "x.npy", PICTURES)
        np.save(tmp_path / "y.npy", evil)
    assert "pickle" in refusal(tmp_path / f"x{suffix}")
    assert not trace.exists()
    pickle.loads(pickle.dumps(Evil(trace)))  # the trap works
    assert trace.exists()


def test_zip_bomb_is_refused_by_what_it_says(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**31, 1)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header.getvalue())
    member = bytearray((tmp_path / "x.npz").read_bytes())
    at = member.rindex(b"PK\x01\x02") + 24  # where the list of the members says the size
    member[at : at + 4] = (2**31).to_bytes(4, "little")
    (tmp_path / "x.npz").write_bytes(member)
    assert "decompression bomb" in refusal(tmp_path / "x.npz")


def test_array_whose_header_says_more_than_is_there_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**40, 2)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue() + b"abc")
        archive.writestr("y.npy", header.getvalue() + b"abc")
    assert "is damaged" in refusal(tmp_path / "x.npz")
    (tmp_path / "x.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:60])
    assert "cannot be read" in refusal(tmp_path / "x.npz")


def test_hdf5_that_takes_values_from_other_files_is_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(b"secret" * 20)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (4, 6, 5), "u1", external=[(str(tmp_path / "secret"), 0, 120)])
        file["y"] = [0, 1, 0, 1]
    assert "other files, which are not opened" in refusal(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["y"] = [0, 1, 0, 1]
        file["x"] = h5py.ExternalLink(str(tmp_path / "a.h5"), "/x")
        file["loop"] = h5py.SoftLink("/")
    assert "their names do not tell" in refusal(tmp_path / "b.h5")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.create_dataset("x", (2**20, 2**20), "u1", chunks=(1024, 1024), compression="gzip")
        file["y"] = [0, 1]
    assert "decompression bomb" in refusal(tmp_path / "c.h5")


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../a.png", "a/../../b.png", "C:\\a.png", "\\\\host\\a.png", "a\\..\\b", "a\nb", ""]
)
def test_names_that_lead_out_of_the_data_set_are_unsafe(name: str) -> None:
    assert why_unsafe(name) is not None
    assert why_unsafe("a/b c.d/..e.png") is None


def test_manifest_that_leads_out_of_its_folder_is_listed_and_not_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for row, picture in enumerate(PICTURES):
        Image.fromarray(picture).save(tmp_path / "in" / f"{row}.png")
        Image.fromarray(picture).save(tmp_path / f"{row}.png")
    rows = [f"{row}.png,{row % 2}" for row in range(4)] + ["../0.png,1", f"{tmp_path}/1.png,0"]
    (tmp_path / "in" / "list.csv").write_text("\n".join(["file,label", *rows]), encoding="utf-8")
    with open_samples(tmp_path / "in" / "list.csv") as found:
        assert list(found.files) == ["0.png", "1.png", "2.png", "3.png"]
        assert sorted(reason.split(",")[0] for reason in found.skipped_files.values()) == [
            "its path is absolute",
            "its path leads out of the data set (..)",
        ]


@pytest.mark.parametrize("content", ["file,label\n\x00,\x00\n", '{"a": 1', "[[1]]", '["a"]', "[" * 100_000, '"file\n'])
@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl"])
def test_damaged_manifest_is_refused_in_one_sentence(tmp_path: Path, content: str, suffix: str) -> None:
    (tmp_path / f"list{suffix}").write_text(content, encoding="utf-8")
    assert str(tmp_path / f"list{suffix}") in refusal(tmp_path / f"list{suffix}")


def test_shard_members_that_are_no_plain_files_or_lead_out_are_listed(tmp_path: Path) -> None:
    def png(picture: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format="PNG")
        return buffer.getvalue()

    def add(name: str, content: bytes, kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
        member = tarfile.TarInfo(name)
        member.size, member.type, member.linkname = len(content), kind, link
        shard.addfile(member, io.BytesIO(content))

    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        for row, picture in enumerate(PICTURES):
            add(f"{row}.png", png(picture))
            add(f"{row}.cls", str(row % 2).encode())
        add("../../out.png", png(PICTURES[0]))
        add("/abs.png", png(PICTURES[0]))
        add("link.png", b"", tarfile.SYMTYPE, "/etc/passwd")
        add("hard.png", b"", tarfile.LNKTYPE, "0.png")
        add("pipe.png", b"", tarfile.FIFOTYPE)
        add("0.png", png(PICTURES[1]))
        add("label.png", png(PICTURES[1]))
        add("label.json", b"[" * 100_000)
    with open_samples(tmp_path / "a.tar") as found:
        assert list(found.files) == [f"a.tar/{row}.png" for row in range(4)]
        assert len(found.skipped_files) == 7
        assert not (tmp_path.parent / "out.png").exists()
    content = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(b"\x1f\x8b" + content[2:])
    assert "unpacked first" in refusal(tmp_path / "a.tar")


def test_saved_data_set_that_names_files_elsewhere_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "saved").mkdir()
    for name in ("../other.arrow", "/etc/passwd"):
        state = {"_data_files": [{"filename": name}], "_fingerprint": "a", "_format_type": None}
        (tmp_path / "saved" / "state.json").write_text(json.dumps(state), encoding="utf-8")
        (tmp_path / "saved" / "dataset_info.json").write_text("{}", encoding="utf-8")
        assert f"names the file '{name}'" in refusal(tmp_path / "saved")
    (tmp_path / "saved" / "state.json").write_text("{}", encoding="utf-8")
    assert "is damaged" in refusal(tmp_path / "saved")


def test_tables_name_no_files_run_no_script_and_are_checked(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "data.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w')", encoding="utf-8")
    rows = {"image": [{"bytes": None, "path": str(tmp_path / "secret.png")}] * 2, "label": [0, 1]}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    datasets.Dataset.from_dict(rows, features).to_parquet(tmp_path / "data" / "a.parquet")
    sentence = "names a file in place of holding it"
    with open_samples(tmp_path / "data") as found, pytest.raises(InvalidInputError, match=sentence):
        found.items[0]
    assert not (tmp_path / "trace").exists()
    content = bytearray((tmp_path / "data" / "a.parquet").read_bytes())
    content[8:60] = b"\xff" * 52
    (tmp_path / "data" / "a.parquet").write_bytes(content)
    assert "cannot be read as a table" in refusal(tmp_path / "data")


def test_parquet_bomb_is_refused_while_it_is_written_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("datasets")
    monkeypatch.setattr("art_plugins.files.sources.damage.ALWAYS_ALLOWED", 2**20)
    table = arrow.table({"image": [b"\0" * 2**16] * 400, "label": [0, 1] * 200})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 2**18  # the value is there once
    assert "decompression bomb" in refusal(tmp_path / "a.parquet")


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def header_of(shape: tuple[Any, ...], kind: str = "<U1") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": kind, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


LABELS = npy(np.array([0, 1, 0, 1]))
NO_LETTERS = header_of((4,)) + b"\xff" * 16


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        (npy(PICTURES), npy(np.array(3)), "are a single value; give an array"),
        (npy(np.array(3)), LABELS, "are a single value; give an array"),
        (npy(PICTURES), NO_LETTERS, "are damaged"),
        (header_of((True, 4, 30), "|u1") + bytes(120), LABELS, "cannot be read"),
        (npy(np.full(PICTURES.shape, np.nan)), LABELS, "hold no finite value"),
        (npy(np.where(PICTURES > 99, 1.7e308, -1.7e308)), LABELS, "too far to be sounds or images"),
        (npy(PICTURES), npy(np.array(["a" * 300, "b" * 300] * 2)), "its label is too long"),
        (npy(PICTURES), npy(np.array([np.inf, -np.inf] * 2)), "holds 0 class"),
    ],
    ids=["label-alone", "sample-alone", "no-letters", "bool-in-shape", "NaN", "too-far", "long-labels", "infinite-labels"],
)
@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_odd_arrays_are_refused_in_one_sentence(tmp_path: Path, x: bytes, y: bytes, reason: str, suffix: str) -> None:
    if suffix == ".npz":
        with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
            archive.writestr("x.npy", x)
            archive.writestr("y.npy", y)
    else:
        (tmp_path / "x.npy").write_bytes(x)
        (tmp_path / "y.npy").write_bytes(y)
    assert reason in refusal(tmp_path / f"x{suffix}")


def test_archive_under_the_name_of_an_array_and_names_without_letters_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=PICTURES, y=np.array([0, 1, 0, 1]))
    (tmp_path / "x.npy").write_bytes((tmp_path / "a.npz").read_bytes())
    (tmp_path / "y.npy").write_bytes(LABELS)
    assert "is an archive, and no .npy file" in refusal(tmp_path / "x.npy")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        for name, content in {"x": npy(PICTURES), "y": LABELS, "class_names": NO_LETTERS}.items():
            archive.writestr(f"{name}.npy", content)
    assert "The names of the classes" in refusal(tmp_path / "b.npz")


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_inside_a_packed_array_is_refused(tmp_path: Path, packing: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 20, 20), dtype=np.uint8)
    with zipfile.ZipFile(tmp_path / "x.npz", "w", packing) as archive:
        archive.writestr("x.npy", npy(noise))
        archive.writestr("y.npy", LABELS)
    for place in range(60, 1_000, 47):
        content = bytearray((tmp_path / "x.npz").read_bytes())
        content[place : place + 20] = b"\xa5" * 20
        (tmp_path / "a.npz").write_bytes(content)
        assert "cannot be read" in refusal(tmp_path / "a.npz")


def test_hdf5_of_a_type_without_counterpart_is_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = PICTURES, [0, 1, 0, 1]
        h5py.h5d.create(file.id, b"when", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((3,)))
    assert "cannot be read" in refusal(tmp_path / "a.h5")


def listed(folder: Path, *rows: str) -> Path:
    """A manifest of four pictures and of further lines."""
    for row, picture in enumerate(PICTURES):
        Image.fromarray(picture).save(folder / f"{row}.png")
    lines = [json.dumps({"file": f"{row}.png", "label": row % 2}) for row in range(4)]
    (folder / "list.jsonl").write_text("\n".join([*lines, *rows]), encoding="utf-8")
    return folder / "list.jsonl"


@pytest.mark.parametrize("label", ["[1]", '{"a": 1}', f'"{"a" * 300}"', f"{2**70}", "Infinity", "NaN", "null"])
def test_one_label_that_is_none_is_listed_and_the_others_are_read(tmp_path: Path, label: str) -> None:
    with open_samples(listed(tmp_path, f'{{"file": "3.png", "label": {label}}}')) as found:
        assert list(found.files) == ["0.png", "1.png", "2.png", "3.png"]
        ((name, reason),) = found.skipped_files.items()
        assert name == "3.png (line 5)"
        assert reason.startswith(("it has no label", "its label is"))


def test_number_without_end_in_a_manifest_is_refused(tmp_path: Path) -> None:
    assert "cannot be read as a manifest" in refusal(listed(tmp_path, '{"file": "3.png", "label": ' + "9" * 5_000 + "}"))


def test_names_that_look_like_those_of_repeated_lines_are_read_as_they_are(tmp_path: Path) -> None:
    name = "0 (line 7).png"
    path = listed(tmp_path, *(json.dumps({"file": name, "label": label}) for label in (0, 1)))
    (tmp_path / name).write_bytes((tmp_path / "0.png").read_bytes())
    with open_samples(path) as found:
        assert [found.items[place] for place in (4, 5)] == [tmp_path / name] * 2


def test_labels_of_one_name_are_one_class(tmp_path: Path) -> None:
    with open_samples(listed(tmp_path, '{"file": "0.png", "label": "1"}')) as found:
        assert found.class_names == ("0", "1")
        assert list(found.labels) == [0, 1, 0, 1, 1]


def test_labels_that_are_no_whole_numbers_do_not_become_another_class() -> None:
    class Named(list[Any]):
        classes = ("zero", "one")

    rows = Named([(Image.fromarray(picture), row % 2 + 0.5 * (row == 3)) for row, picture in enumerate(PICTURES)])
    with open_samples(rows) as found:
        assert list(found.labels) == [1, 0, 1]  # in the order of the names
        assert "which the 2 names of the classes do not have" in found.skipped_files["row[3]"]


def test_one_sample_of_a_shard_without_a_label_is_listed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        for row, fields in enumerate(({"label": 0}, {"label": 1}, {"other": 2}, {}, [1])):
            buffer = io.BytesIO()
            Image.fromarray(PICTURES[row % 4]).save(buffer, format="PNG")
            for suffix, content in (("png", buffer.getvalue()), ("json", json.dumps(fields).encode())):
                member = tarfile.TarInfo(f"{row}.{suffix}")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
    with open_samples(tmp_path / "a.tar") as found:
        assert list(found.files) == ["a.tar/0.png", "a.tar/1.png"]
        assert set(found.skipped_files) == {"a.tar/2.png", "a.tar/3.png", "a.tar/4.png"}


def test_saved_splits_that_lead_out_of_their_folder_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["../other"]}', encoding="utf-8")
    assert "names the file '../other': its path leads out" in refusal(tmp_path / "saved")


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """What is opened while the test runs: files, and connections to a network."""
    names: list[str] = []
    is_on = [True]

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if is_on[0] and event in ("open", "socket.connect", "socket.getaddrinfo"):
            names.append(str(arguments[1] if event == "socket.connect" else arguments[0]))

    sys.addaudithook(note)  # it cannot be taken away
    yield names
    is_on[0] = False


@pytest.mark.parametrize("place", ["{0}/secret.png", "http://127.0.0.1:9/secret.png"])
@pytest.mark.parametrize(
    ("kind", "column"),
    [("Image", "label"), ("Audio", "label"), ("Video", "image"), ("Pdf", "image"), ("List", "image")],
)
def test_no_decoder_opens_what_a_table_names(tmp_path: Path, opened: list[str], place: str, kind: str, column: str) -> None:
    pytest.importorskip("datasets")
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    Image.fromarray(PICTURES[0]).save(tmp_path / "secret.png")
    named = {"bytes": None, "path": place.format(tmp_path)}
    form = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    hostile = arrow.array([[named]] * 4, arrow.list_(form)) if kind == "List" else arrow.array([named] * 4, form)
    feature: dict[str, Any] = {"_type": "List", "feature": {"_type": "Image"}} if kind == "List" else {"_type": kind}
    other = arrow.array([0, 1, 0, 1]) if column == "image" else arrow.array([{"bytes": b"x", "path": None}] * 4, form)
    plain = {"_type": "Value", "dtype": "int64"} if column == "image" else {"_type": "Image"}
    rest = "label" if column == "image" else "image"
    features = {"info": {"features": {column: feature, rest: plain}}}
    table = arrow.table({column: hostile, rest: other}).replace_schema_metadata({"huggingface": json.dumps(features)})
    parquet.write_table(table, tmp_path / "a.parquet")
    opened.clear()
    with pytest.raises(InvalidInputError), open_samples(tmp_path / "a.parquet", reading=Reading(kind="image")) as found:
        found.items[0]
    assert not any("secret" in name or "127.0.0.1" in name for name in opened)
    (tmp_path / "secret.png").read_bytes()
    assert "secret.png" in opened[-1]  # the trap works
