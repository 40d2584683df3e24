from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from art_plugins.errors import FileFormatError, InvalidInputError
from art_plugins.storage import (
    FORMAT_VERSION,
    atomic_path,
    load_arrays,
    read_record,
    save_arrays,
    write_json,
    write_text,
)

ARRAYS = {
    "weights": np.arange(12, dtype=np.float32).reshape(3, 4),
    "steps": np.array(7),
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "empty": np.zeros((0, 3), dtype=np.int8),
}
SETTINGS = {"mean": 0.1, "shape": [3, 4], "name": "ä", "nothing": None}


@pytest.fixture
def saved(tmp_path) -> Path:
    path = tmp_path / "thing.safetensors"
    save_arrays(path, "thing", ARRAYS, SETTINGS)
    return path


def header_of(path: Path) -> dict:
    with safetensors.safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["art_plugins"])


def rewrite(path: Path, arrays: dict, header: object) -> None:
    safetensors.numpy.save_file(arrays, path, metadata={"art_plugins": json.dumps(header)})


def contiguous() -> dict[str, np.ndarray]:
    return {name: np.asarray(array, order="C") for name, array in ARRAYS.items()}


def write_half(path: Path, interruption: BaseException) -> None:
    with atomic_path(path) as partial:
        partial.write_text("half")
        raise interruption


def test_save_arrays_round_trip_keeps_values_shapes_and_types(saved):
    arrays, settings = load_arrays(saved, "thing")
    assert settings == SETTINGS
    assert arrays.keys() == ARRAYS.keys()
    for name, expected in ARRAYS.items():
        assert arrays[name].dtype == expected.dtype
        assert arrays[name].shape == expected.shape
        np.testing.assert_array_equal(arrays[name], expected)


def test_save_arrays_file_is_plain_safetensors(saved):
    found = safetensors.numpy.load_file(saved)
    np.testing.assert_array_equal(found["weights"], ARRAYS["weights"])


def test_atomic_path_exception_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        write_half(tmp_path / "new.txt", ZeroDivisionError())
    assert list(tmp_path.iterdir()) == []


def test_atomic_path_exception_keeps_the_old_file(tmp_path):
    path = tmp_path / "old.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_half(path, KeyboardInterrupt())
    assert [entry.name for entry in tmp_path.iterdir()] == ["old.txt"]
    assert path.read_text() == "old"


def test_atomic_path_until_the_block_ends_the_old_file_stands(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with atomic_path(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_atomic_path_missing_folders_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "ä")
    assert (tmp_path / "a" / "b" / "c.txt").read_text(encoding="utf-8") == "ä"


@pytest.mark.skipif(os.name != "posix", reason="an open file cannot be replaced elsewhere")
def test_atomic_path_replaced_file_is_another_file_for_who_reads_the_old_one(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with path.open() as reader:
        write_text(path, "new")
        assert reader.read() == "old"


@pytest.mark.skipif(os.name != "posix", reason="file modes of POSIX")
def test_atomic_path_written_file_has_the_usual_mode_of_the_process(tmp_path):
    (tmp_path / "plain").write_text("")
    write_text(tmp_path / "atomic", "")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_atomic_path_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="cannot be written"):
        write_text(tmp_path / "file" / "inside.txt", "")


def test_atomic_path_target_that_is_a_folder_is_refused_and_left(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidInputError, match="cannot be written"):
        write_text(tmp_path / "folder", "")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_write_json_value_is_read_back(tmp_path):
    write_json(tmp_path / "value.json", SETTINGS)
    assert json.loads((tmp_path / "value.json").read_text()) == SETTINGS


def test_write_json_has_null_for_what_is_not_finite(tmp_path):
    write_json(
        tmp_path / "value.json", {"a": float("nan"), "b": [1.5, float("inf"), (-np.inf, np.float64("nan"))], "c": "NaN"}
    )
    text = (tmp_path / "value.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"a": None, "b": [1.5, None, [None, None]], "c": "NaN"}


def test_write_json_what_json_cannot_hold_is_refused_and_writes_nothing(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "value.json", {"value": object()})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\0" * 40, b'{"runs": [', b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_read_record_damaged_file_is_none_and_logged(tmp_path, caplog, content):
    file = tmp_path / "record.json"
    assert read_record(file) is None
    assert not caplog.records
    file.write_bytes(content)
    assert read_record(file) is None
    assert str(file) in caplog.text
    write_json(file, {"a": 1})
    assert read_record(file) == {"a": 1}


def test_save_arrays_settings_that_json_cannot_hold_write_nothing(tmp_path):
    with pytest.raises((ValueError, TypeError)):
        save_arrays(tmp_path / "thing", "thing", ARRAYS, {"value": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_load_arrays_absent_file_says_so(tmp_path):
    with pytest.raises(FileFormatError, match="does not exist"):
        load_arrays(tmp_path / "none", "thing")


def test_load_arrays_other_kind_is_refused(saved):
    with pytest.raises(FileFormatError, match="holds a 'thing', not a 'chair'"):
        load_arrays(saved, "chair")


def test_load_arrays_other_version_is_refused(saved):
    rewrite(saved, contiguous(), {**header_of(saved), "format_version": FORMAT_VERSION + 1})
    with pytest.raises(FileFormatError, match=f"version {FORMAT_VERSION + 1}; this release reads {FORMAT_VERSION}"):
        load_arrays(saved, "thing")


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_load_arrays_truncated_file_is_refused(saved, length):
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(FileFormatError, match=r"not a readable safetensors file"):
        load_arrays(saved, "thing")


def test_load_arrays_every_changed_byte_is_noticed(saved):
    """Any single byte: of the arrays, of the settings, or of the frame around them."""
    good = saved.read_bytes()
    for position in range(0, len(good), 7):
        changed = bytearray(good)
        changed[position] ^= 1
        saved.write_bytes(bytes(changed))
        with pytest.raises(FileFormatError):
            load_arrays(saved, "thing")


def test_load_arrays_changed_values_are_noticed(saved):
    arrays = contiguous()
    arrays["weights"][0, 0] += 1
    rewrite(saved, arrays, header_of(saved))
    with pytest.raises(FileFormatError, match="checksum"):
        load_arrays(saved, "thing")


@pytest.mark.parametrize("change", ["shape", "dtype", "name", "missing"])
def test_load_arrays_changed_shape_type_or_name_is_noticed(saved, change):
    arrays = contiguous()
    weights = arrays.pop("weights")
    if change == "shape":
        arrays["weights"] = weights.reshape(4, 3)
    elif change == "dtype":
        arrays["weights"] = weights.view(np.int32)
    elif change == "name":
        arrays["weight"] = weights
    rewrite(saved, arrays, header_of(saved))
    with pytest.raises(FileFormatError, match="checksum"):
        load_arrays(saved, "thing")


def test_load_arrays_changed_settings_are_noticed(saved):
    header = header_of(saved)
    header["settings"]["mean"] = 0.2
    rewrite(saved, contiguous(), header)
    with pytest.raises(FileFormatError, match="checksum"):
        load_arrays(saved, "thing")


@pytest.mark.parametrize(
    "header", [{}, [], None, "text", {"kind": "thing", "format_version": 1, "sha256": "", "settings": 3}]
)
def test_load_arrays_foreign_header_is_refused(saved, header):
    rewrite(saved, contiguous(), header)
    with pytest.raises(FileFormatError, match="not saved by art_plugins"):
        load_arrays(saved, "thing")


def test_load_arrays_other_peoples_safetensors_are_refused(tmp_path):
    safetensors.numpy.save_file(contiguous(), tmp_path / "foreign.safetensors")
    with pytest.raises(FileFormatError, match="not saved by art_plugins"):
        load_arrays(tmp_path / "foreign.safetensors", "thing")


class Bomb:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("maker", ["pickle", "npy", "pt"])
def test_load_arrays_pickles_under_our_name_are_refused_and_not_run(tmp_path, maker):
    path, proof = tmp_path / "renamed.safetensors", tmp_path / "exploded"
    with path.open("wb") as file:
        if maker == "pickle":
            pickle.dump(Bomb(proof), file)
        elif maker == "npy":
            np.save(file, np.array([Bomb(proof)], dtype=object), allow_pickle=True)
        else:
            torch.save({"bomb": Bomb(proof)}, file)
    with pytest.raises(FileFormatError):
        load_arrays(path, "thing")
    assert not proof.exists()
