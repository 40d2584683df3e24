"""The outputs of a detection: held by one run, all of them or none, and what they say of a search that broke off."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from art_plugins.errors import InvalidInputError
from art_plugins.files.image_files import ImageReader
from art_plugins.files.outputs import held_folder
from art_plugins.inspection import detect
from art_plugins.inspection.detect import detect_folder
from art_plugins.inspection.detect_inputs import find_inputs
from art_plugins.inspection.detect_page import detect_page
from art_plugins.inspection.detect_record import UNDECIDED, rank_classes
from art_plugins.inspection.detect_words import detector_cautions, finding
from art_plugins.inspection.isolation import messages as judge_messages
from art_plugins.inspection.isolation.judge import FittedDetector, ModelFacts
from art_plugins.inspection.settings import DetectSettings
from art_plugins.storage import load_arrays
from art_plugins.triggers.found import Inversion, InvertedTriggers

NAMES = ["ant", "bee", "cat"]


def write_classes(root: Path, names: str = "abc") -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(np.full((8, 8), 40 * i, dtype=np.uint8)).save(root / name / f"{i}.png")
    return root


def test_two_detections_with_one_folder_for_results_do_not_collide(tmp_path):
    (tmp_path / "m.pt").write_bytes(b"")
    write_classes(tmp_path / "clean")
    folders = tmp_path / "m.pt", tmp_path / "clean", tmp_path / "clean", tmp_path / "out"
    with held_folder(tmp_path / "out"), pytest.raises(InvalidInputError, match=r"Another run is writing to .*out; wait"):
        detect_folder(*folders)
    with pytest.raises(InvalidInputError, match=r"m\.pt"):  # of the empty model
        detect_folder(*folders)
    assert not (tmp_path / "out").exists()


KILLED = """
import sys, time
from art_plugins.inspection import detect

def wait(*_):
    print("ready", flush=True)
    time.sleep(60)

detect.find_inputs = wait
detect.detect_folder("m.pt", "images", "clean", "out")
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals and locks of POSIX")
def test_a_killed_detection_leaves_nothing_that_blocks_the_next(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    with pytest.raises(InvalidInputError, match="Another run is writing"), held_folder(tmp_path / "out"):
        pytest.fail("both write")
    process.kill()
    process.wait()
    process.stdout.close()
    with held_folder(tmp_path / "out"):
        pass


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes the outputs of a detection that found a backdoor."""
    fitted = FittedDetector(1.0, 2.0, {}, {"a": np.arange(3)}, {"b": 1})
    monkeypatch.setattr(detect, "detect_page", lambda *_: "page")

    def call() -> None:
        inputs: Any = SimpleNamespace(class_names=NAMES, folder=tmp_path, reader=None)
        outcome: Any = SimpleNamespace(detector=fitted)
        settings = DetectSettings(save_detector=tmp_path / "d.safetensors")
        detect._write(tmp_path / "out", {"suspects": []}, inputs, settings, outcome)

    return call


@pytest.mark.parametrize("full_at", ["suspects.csv", "report.html", "record.json", "d.safetensors"])
def test_full_disk_at_the_end_is_one_sentence_keeps_old_results_and_the_same_call_works(
    tmp_path, monkeypatch, write, full_at
):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "record.json").write_text("old")
    text, arrays = Path.write_text, detect.save_arrays

    def full(call: Any, path: Path, *rest: Any, **options: Any) -> Any:
        if path.name == full_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return call(path, *rest, **options)

    with monkeypatch.context() as small:
        small.setattr(Path, "write_text", lambda *rest, **options: full(text, *rest, **options))
        small.setattr(detect, "save_arrays", lambda *rest: full(arrays, *rest))
        with pytest.raises(InvalidInputError, match=r"cannot be written \(No space left on device\); make room"):
            write()
    assert sorted(os.listdir(tmp_path)) == ["out"]
    assert os.listdir(tmp_path / "out") == ["record.json"]
    assert (tmp_path / "out" / "record.json").read_text() == "old"
    write()
    assert sorted(os.listdir(tmp_path / "out")) == ["record.json", "report.html", "suspects.csv"]
    assert load_arrays(tmp_path / "d.safetensors", detect.DETECTOR_FILE)[0]["a"].tolist() == [0, 1, 2]


def test_a_detector_that_has_come_to_exist_meanwhile_is_not_overwritten(tmp_path, write):
    (tmp_path / "d.safetensors").write_text("precious")
    with pytest.raises(InvalidInputError, match="was created meanwhile"):
        write()
    assert (tmp_path / "d.safetensors").read_text() == "precious"
    assert not (tmp_path / "out" / "record.json").exists()


def test_what_was_noticed_about_the_clean_images_and_the_images_is_in_the_notes(tmp_path):
    clean, images = write_classes(tmp_path / "clean"), write_classes(tmp_path / "images", "x")
    outside = write_classes(tmp_path / "outside", "y") / "y" / "0.png"
    (clean / "a" / "linked.png").symlink_to(outside)
    (images / "linked.png").symlink_to(outside)
    notes = find_inputs(images, clean, DetectSettings()).notes
    assert f"1 file lies outside {clean}, is reached by a link, and is used." in notes
    assert f"1 file lies outside {images}, is reached by a link, and is used." in notes


# A search that broke off


def broken(target: int | None = None) -> Inversion:
    """The search towards "bee" broke off."""
    index = np.array([1.0, np.nan, 5.0 if target is not None else 0.5])
    one = InvertedTriggers(
        "patch",
        np.ones((3, 1, 8, 8)),
        np.ones((3, 1, 8, 8)),
        np.arange(1.0, 4),
        np.full(3, 0.99),
        index,
        (0.0, 1.0),
        np.array([False, True, False]),
    )
    found = (None, None) if target is None else ("patch", 0.99)
    return Inversion((one,), np.ones(3), index, target, *found, () if target is None else (one,))


def test_a_search_that_broke_off_is_said_in_the_finding_and_in_the_verdict():
    text = finding(broken(), NAMES, 4.2, None)
    assert text.startswith(
        "The result is not decided. The search for a pattern towards bee broke off, because the model gave"
    )
    assert "No backdoor" not in text
    rows = {row["name"]: row for row in rank_classes(broken(), NAMES, 4.2)}
    assert rows["bee"]["verdict"] == UNDECIDED
    assert {name: row["patterns"]["patch"]["broke_off"] for name, row in rows.items()} == {
        "ant": False,
        "bee": True,
        "cat": False,
    }
    assert "broke off" in detector_cautions(0.99, broken(2), 4.2, NAMES)[0]


def test_a_search_that_broke_off_is_said_on_the_page_as_an_alarm(tmp_path, read_page):
    lists: dict[str, Any] = {"skipped_files": [], "skipped_folders": [], "ignored_files": {}, "mended_files": {}}
    record = {
        "command": "",
        "model": "m.pt",
        "model_sha256": "0",
        "folder": "images",
        "finding": finding(broken(), NAMES, 4.2, None),
        "notes": [],
        "kind_of_file": "image",
        "is_backdoored": False,
        "found_by": [],
        "layers": {"problem": "There are too few."},
        "target_class": None,
        "undecided_classes": ["bee"],
        "kind": None,
        "margin": None,
        "clean_accuracy": 1.0,
        "classes": rank_classes(broken(), NAMES, 4.2),
        "suspects": [],
        "counts": {"found": 1, "read": 0, "called_target": 0, "caught": 0, "clean": 6},
        "judged_files": lists,
        "clean_files": lists,
        "settings": {"threshold": 4.2, "clean": "clean"},
        "versions": {},
        "seconds": 1.0,
    }
    outcome: Any = SimpleNamespace(inversion=broken(), judged=None, images=None)
    inputs: Any = SimpleNamespace(class_names=NAMES, kind="image", folder=tmp_path, reader=ImageReader((8, 8), True))
    text = detect_page(record, outcome, inputs)
    assert 'class="finding alarm"' in text
    page = read_page(text)
    assert "The result is not decided." in page.text
    assert UNDECIDED in page.text
    assert "Images in images: 1 found, none judged;" in page.text


@pytest.mark.parametrize("target", [None, 2])
def test_a_search_that_broke_off_comes_through_from_the_process_of_the_model(target):
    facts = ModelFacts((1, 8, 8), True, 3)
    packed = judge_messages.packed(*judge_messages.pack_inversion(broken(target)))
    text, _ = judge_messages.lengths(packed[:16], 2**20)
    message = judge_messages.unpacked(packed[16 : 16 + text], packed[16 + text :])
    back = judge_messages.unpack_inversion(message, facts)
    assert back.undecided == [1]
    assert back.target_class == target
    message.arrays["inverted.patch.broke_off"] = np.zeros(3)
    with pytest.raises(InvalidInputError, match=r"no inverted\.patch\.broke_off of shape"):
        judge_messages.unpack_inversion(message, facts)
