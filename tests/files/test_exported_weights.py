"""The weights in a program of torch.export: all of them, as torch saved them, or a clear refusal."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from art_plugins.errors import InvalidInputError
from art_plugins.features.vae.training import seeded
from art_plugins.files.exported_weights import CONFIG, TYPES, is_exported, read_exported
from art_plugins.files.model_files import check_model_file
from art_plugins.files.weight_files import read_weights


def network() -> nn.Module:
    """Two layers that share their weights, batch normalisation with its counter, and a number in half precision."""
    with seeded(0):
        shared = nn.Linear(4, 4)
        found = nn.Sequential(shared, nn.BatchNorm1d(4), shared)
    found.register_buffer("small", torch.tensor([0.5, 2.0], dtype=torch.float16))
    return found.eval()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "program.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(network(), (torch.zeros(2, 4),)), path)
    return path


def test_all_weights_are_read(program: Path) -> None:
    expected, found = network().state_dict(), read_weights(program)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        torch.testing.assert_close(found[name], value, rtol=0, atol=0)


def test_without_a_factory_the_refusal_names_both_remedies(program: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"torch\.export \(\.pt2\).*torch\.jit\.trace.*--factory.*taken from this"):
        check_model_file(program, None)
    assert check_model_file(program, "package.module:function") is False


def test_types_are_those_of_torch() -> None:
    schema = pytest.importorskip("torch._export.serde.schema")
    for number, kind in TYPES.items():
        assert schema.ScalarType(number).name.lower() in {
            torch.uint8: "byte", torch.int8: "char", torch.int16: "short", torch.int32: "int", torch.int64: "long",
            torch.float16: "half", torch.float32: "float", torch.float64: "double", torch.bool: "bool",
            torch.bfloat16: "bfloat16",
        }[kind]  # fmt: skip


def rewritten(
    program: Path, path: Path, change: Callable[[dict[str, Any]], None], packing: int = zipfile.ZIP_STORED
) -> Path:
    """A copy of the program with another list of weights, or packed in another way."""
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(path, "w", packing) as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith(CONFIG):
                listed = json.loads(data)
                change(listed["config"])
                data = json.dumps(listed).encode()
            new.writestr(name, data)
    return path


def first(change: dict[str, Any], about: bool = False) -> Callable[[dict[str, Any]], None]:
    def apply(listed: dict[str, Any]) -> None:
        one = listed["0.weight"]
        (one["tensor_meta"] if about else one).update(change)

    return apply


CHANGES = {
    "pickled": (first({"use_pickle": True}), "pickled, and reading it would run code"),
    "elsewhere": (first({"path_name": "../../version"}), "cannot be read"),
    "unknown type": (first({"dtype": 99}, about=True), "cannot be read"),
    "beyond its bytes": (first({"sizes": [{"as_int": 400}, {"as_int": 400}]}, about=True), "cannot be read"),
    "far offset": (first({"storage_offset": {"as_int": 10**9}}, about=True), "cannot be read"),
    "negative stride": (first({"strides": [{"as_int": -4}, {"as_int": 1}]}, about=True), "cannot be read"),
    "one value repeated": (
        first({"sizes": [{"as_int": 10**9}, {"as_int": 10**9}], "strides": [{"as_int": 0}, {"as_int": 0}]}, about=True),
        "more values than its file",
    ),
    "sizes in symbols": (first({"sizes": [{"as_expr": "s0"}]}, about=True), "cannot be read"),
    "no list": (lambda listed: listed.update({"0.weight": 3}), "cannot be read"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_weights_that_are_no_plain_bytes_are_refused(program: Path, tmp_path: Path, name: str) -> None:
    change, reason = CHANGES[name]
    path = rewritten(program, tmp_path / "changed.pt2", change)
    assert is_exported(path)
    with pytest.raises(InvalidInputError, match=reason):
        read_exported(path)


def test_compressed_weights_are_refused(program: Path, tmp_path: Path) -> None:
    path = rewritten(program, tmp_path / "packed.pt2", lambda listed: None, zipfile.ZIP_DEFLATED)
    with pytest.raises(InvalidInputError, match="compressed"):
        read_exported(path)


def test_other_files_are_no_programs(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "weights.pt")
    (tmp_path / "text.pt2").write_text("hello")
    assert not any(is_exported(path) for path in tmp_path.iterdir())
