"""What --apply writes: manifests that a scan and pandas read again, and that a spreadsheet does not run."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from art_plugins.errors import InvalidInputError
from art_plugins.files.folder_data import FolderData
from art_plugins.files.sources.manifests import read_manifest
from art_plugins.files.sources.open_samples import open_samples
from art_plugins.files.sources.reading import Reading
from art_plugins.files.sources.samples import Samples
from art_plugins.inspection.deciding.manifest import apply_decisions, check_place

NAMES = ("=a/1.png", "=a/2.png", 'b/3,"x.png', "b/5.png", "b/<b>.png", "c/6.png")


@pytest.fixture
def data(tmp_path: Path) -> tuple[Samples, FolderData]:
    """Six images in three class folders; names have a formula, a comma with a quote, and markup in them."""
    for index, name in enumerate(NAMES):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), 9 * index, np.uint8)).save(tmp_path / "data" / name)
    with open_samples(tmp_path / "data", None, Reading()) as found:
        places = tuple(range(len(found.files)))
        labels = np.array(found.labels)
        return found, FolderData(labels, labels, found.class_names, tuple(found.files), places, {}, {}, {})


def suspect(file: str, **changed: Any) -> dict[str, Any]:
    return {"file": file, "verdict": "poison", "accepted": False, "decision": None} | changed


SUSPECTS = [
    suspect("=a/1.png"),
    suspect("=a/2.png", suggested_label="b"),
    suspect("b/<b>.png", accepted=True, decision="accept"),
    suspect("b/5.png", verdict="look here"),
]


def test_drop_manifest_is_read_again_by_a_scan_and_by_pandas(data: tuple[Samples, FolderData], tmp_path: Path) -> None:
    new = tmp_path / "clean.csv"
    applied = apply_decisions("drop", new, *data, SUSPECTS)
    assert applied.counts == {"kept": 4, "dropped": 2, "relabelled": 0}
    assert "lists 4 files. Dropped as poison: 2." in applied.notes[0]
    new.write_text(applied.text, encoding="utf-8")
    again = read_manifest(new, Reading())
    assert [again.items[index] for index in range(4)] == [tmp_path / "data" / name for name in NAMES[2:]]
    assert all(again.items[index].is_file() for index in range(4))
    table = pd.read_csv(new)
    assert list(table.columns) == ["path", "label", "original_label", "verdict", "decision"]
    assert table.path.tolist() == [f"data/{name}" for name in NAMES[2:]]
    assert table.label.tolist() == ["b", "b", "b", "c"]
    assert table.verdict.fillna("").tolist() == ["", "look here", "poison", ""]
    assert table.decision.fillna("").tolist() == ["", "", "accept", ""]


def test_relabel_manifest_has_the_suggested_label_and_drops_what_has_none(
    data: tuple[Samples, FolderData], tmp_path: Path
) -> None:
    new = tmp_path / "data" / "clean.csv"  # beside the class folders, so that a path starts as a formula does
    applied = apply_decisions("relabel", new, *data, SUSPECTS)
    assert applied.counts == {"kept": 4, "dropped": 1, "relabelled": 1}
    assert "Listed under an inferred label: 1." in applied.notes[0]
    first = next(csv.DictReader(io.StringIO(applied.text)))
    assert first == {"path": "./=a/2.png", "label": "b", "original_label": "'=a", "verdict": "poison", "decision": ""}
    new.write_text(applied.text, encoding="utf-8")
    again = read_manifest(new, Reading())
    assert again.items[0] == tmp_path / "data" / "=a/2.png"
    assert again.skipped_files == {}


def test_keep_list_leaves_out_poison_that_nobody_has_accepted(data: tuple[Samples, FolderData], tmp_path: Path) -> None:
    applied = apply_decisions("list", tmp_path / "keep.txt", *data, SUSPECTS)
    assert applied.text.splitlines() == list(NAMES[2:])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (None, "name it with --apply-to"),
        ("data/clean.txt", "whose name ends with .csv"),
        ("out/clean.csv", "name a file in a folder that holds all of the data"),
    ],
)
def test_manifest_that_could_not_be_read_again_is_refused_before_the_work(
    data: tuple[Samples, FolderData], tmp_path: Path, name: str | None, sentence: str
) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        check_place("drop", None if name is None else tmp_path / name, data[0])
    check_place("list", tmp_path / "anywhere" / "keep.txt", data[0])
    check_place("drop", tmp_path / "clean.csv", data[0])
