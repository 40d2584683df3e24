"""Data sets that a stranger made: nothing is unpickled, no other file is read, no script runs, no bomb fills the disk."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zipfile
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
