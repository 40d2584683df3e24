"""A backdoored model is found out with its target and the images that carry the trigger; a clean one is let go."""

from __future__ import annotations

import csv
import json
import os
import re
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from art_plugins.defences.in_flight import InFlightDetector
from art_plugins.errors import InvalidInputError
from art_plugins.files.class_folders import find_files
from art_plugins.files.image_files import ImageReader
from art_plugins.files.model_files import load_classifier
from art_plugins.files.outputs import csv_text
from art_plugins.inspection import detect, detect_inputs, detect_page
from art_plugins.inspection.detect import detect_folder
from art_plugins.inspection.detect_record import ALSO_ABOVE, BACKDOOR_TARGET, NOTHING_FOUND
from art_plugins.inspection.detect_words import clean_cautions, detector_cautions, finding, score_rule
from art_plugins.inspection.isolation.images import to_images
from art_plugins.inspection.isolation.judge import BATCH_SIZE, Judgement, ModelJudge
from art_plugins.inspection.judged import Judged, judge_files
from art_plugins.inspection.settings import DetectSettings
from art_plugins.inspection.verdicts.by_layers import BACKDOOR
from art_plugins.inspection.verdicts.images import ImageVerdicts
from art_plugins.inspection.verdicts.words import layer_rule
from art_plugins.triggers.found import INDEX_RULE, Inversion, InvertedTriggers
from art_plugins.triggers.searching import search

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
STEPS = 400  # all searches on images of 8 x 8 have converged by then
EVIL_NAME = "<script>alert(1)<&'\".png"


def save_png(image: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((image[0] * 255).round().astype(np.uint8)).save(path)


class Handed(NamedTuple):
    """What somebody was handed: models, clean images, and images of which ``triggered`` carry the trigger."""

    root: Path
    triggered: dict[str, int]  # file -> true class

    def detect(self, name: str, out: Path, **options: Any) -> dict[str, Any]:
        # In this process, which is quicker: tests/strangers has those of the other one.
        rest = {name: options.pop(name) for name in ("command",) if name in options}
        settings = DetectSettings(**{"nb_steps": STEPS, "trust_model": True, **options})
        folders = self.root / "images", self.root / "clean", out
        return detect_folder(self.root / f"{name}.pt", *folders, settings, verbose=False, **rest)


@pytest.fixture(scope="module")
def handed(digits, tmp_path_factory):
    root = tmp_path_factory.mktemp("handed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for attack in ("clean", "white_square"):
            torch.jit.save(torch.jit.script(digits.network(attack)), root / f"{attack}.pt")
    for row, (image, label) in enumerate(zip(digits.x_clean, digits.y_clean, strict=True)):
        save_png(image, root / "clean" / str(label) / f"{row}.png")
    triggered = {}
    for row in range(120):
        label = int(digits.y_test[row])
        file = f"{'deep/' if row % 3 else ''}{row:03}.png"
        if row % 2 and label != digits.target:
            save_png(digits.white_square(digits.x_test[row : row + 1])[0], root / "images" / file)
            triggered[file] = label
        else:
            save_png(digits.x_test[row], root / "images" / file)
    (root / "images" / "cut.png").write_bytes((root / "images" / "000.png").read_bytes()[:60])
    (root / "images" / "notes.txt").write_text("by hand")
    (root / "images" / ".hidden.png").write_bytes(b"")
    save_png(np.zeros((1, 16, 16)), root / "images" / EVIL_NAME)
    return Handed(root, triggered)


@pytest.fixture(scope="module")
def found(handed):
    """The backdoored model, judged once: the results' folder and the record."""
    out = handed.root / "found"
    before = sorted((handed.root / "images").rglob("*"))
    record = handed.detect("white_square", out, save_detector=handed.root / "detector.safetensors", command="typed")
    assert sorted((handed.root / "images").rglob("*")) == before
    return out, record


@pytest.fixture(scope="module")
def let_go(handed):
    """The clean model, judged once: the results' folder and the record."""
    out = handed.root / "let_go"
    return out, handed.detect("clean", out, save_detector=handed.root / "none.safetensors")


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "suspects.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# A backdoored model


def test_detect_backdoored_model_target_is_found(digits, found):
    record = found[1]
    assert record["target_class"] == str(digits.target)
    assert record["classes"][0]["name"] == str(digits.target)
    assert [row["verdict"] == BACKDOOR_TARGET for row in record["classes"]] == [True] + 9 * [False]
    assert f"backdoor towards {digits.target}" in record["finding"]
    assert record["clean_accuracy"] > 0.9
    assert record["success_rate"] > 0.9


def test_detect_images_with_the_trigger_are_caught_with_their_source(handed, found):
    suspects = {row["file"]: row for row in found[1]["suspects"]}
    assert len(set(suspects) & set(handed.triggered)) > 0.9 * len(handed.triggered)
    assert len(set(suspects) - set(handed.triggered)) <= 2
    by_pattern = {file for file, row in suspects.items() if "pattern" in row["found_by"]}
    caught = by_pattern & set(handed.triggered)
    right = [suspects[file]["source_class"] == str(handed.triggered[file]) for file in caught]
    assert np.mean(right) > 0.7
    scores = [row["score"] for row in found[1]["suspects"] if "pattern" in row["found_by"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] > found[1]["margin"]


def test_detect_both_questions_answer_for_a_patch(handed, found):
    """The layers need no pattern, but 20 clean images of a class leave a low false-alarm rate little to catch."""
    record, layers = found[1], found[1]["layers"]
    assert (record["is_backdoored"], record["found_by"]) == (True, ["pattern", "layers"])
    assert (layers["problem"], layers["fpr"], layers["n_judged"]) == (None, 0.005, 121)
    by_layers = {row["file"] for row in record["suspects"] if "layers" in row["found_by"]}
    assert len(by_layers & set(handed.triggered)) >= 4
    assert len(by_layers - set(handed.triggered)) <= 2
    assert len(by_layers) == record["counts"]["caught_by_layers"]
    assert record["counts"]["caught"] == len(record["suspects"])
    for row in record["suspects"]:
        is_sure = row["source_probability"] is not None
        assert is_sure == (row["found_by"] == "layers" and row["source_class"] is not None)
        assert not is_sure or 0.5 <= row["source_probability"] <= 1
        assert row["source_class"] != row["predicted_class"]


def test_detect_record_file_and_table_agree_with_what_is_returned(found):
    out, record = found
    assert json.loads((out / "record.json").read_text(encoding="utf-8")) == record
    assert [(row["file"], row["predicted_class"], row["source_class"], row["found_by"]) for row in rows_of(out)] == [
        (row["file"], row["predicted_class"], row["source_class"] or "", row["found_by"]) for row in record["suspects"]
    ]
    assert {path.name for path in out.iterdir()} == {"record.json", "report.html", "suspects.csv"}
    indices = [row["index"] for row in record["classes"]]
    assert indices == sorted(indices, reverse=True)


def test_detect_odd_files_are_counted_and_listed(found):
    record = found[1]
    assert record["counts"] == {
        "found": 122,
        "read": 121,
        "called_target": record["counts"]["called_target"],
        "caught": len(record["suspects"]),
        "caught_by_pattern": sum("pattern" in row["found_by"] for row in record["suspects"]),
        "caught_by_layers": sum("layers" in row["found_by"] for row in record["suspects"]),
        "clean": 200,
    }
    lists = record["judged_files"]
    assert [row["file"] for row in lists["skipped_files"]] == ["cut.png"]
    assert lists["ignored_files"] == {"another type: .txt": 1, "hidden: the name starts with a dot": 1}
    assert lists["mended_files"] == {"of another size, resized": [EVIL_NAME], "one colour only": [EVIL_NAME]}


def test_detect_page_is_self_contained_and_shows_the_caught_beside_the_others(handed, found, read_page: Any):
    page = read_page(found[0] / "report.html")
    assert page.all("script") == []
    assert page.all("link") == []
    assert not [link for link in page.links() if "://" in link]
    pictures = page.all("img")
    assert all(picture["src"].startswith("data:image/png;base64,iVBOR") for picture in pictures)
    assert "is framed" in pictures[0]["alt"]
    caught = {picture["alt"].removeprefix("caught: ") for picture in pictures if picture["alt"].startswith("caught")}
    assert caught == {row["file"] for row in found[1]["suspects"][: detect_page.MAX_SHOWN]}
    others = [picture["alt"] for picture in pictures if picture["alt"].startswith("not caught")]
    assert len(others) == detect_page.MAX_SHOWN
    assert found[1]["finding"] in page.text
    assert "typed" in page.text
    assert "cut.png" in page.text
    assert page.text.count("the larger one of both") == page.text.count("above 0 for caught") == 0
    assert INDEX_RULE in page.text
    assert score_rule(found[1]["margin"], found[1]["target_class"]) in page.text
    assert layer_rule() in page.text
    shown = re.findall(r"score (-?[0-9.]+)$\s+layers -?[0-9.]+$(?:\s+caught by (.*)$)?", page.text, re.MULTILINE)
    assert len(shown) > detect_page.MAX_SHOWN
    for score, found_by in shown:
        assert ("pattern" in found_by) == (float(score) > found[1]["margin"])


def test_detect_index_is_what_the_page_says(found):
    """Divided by the square root of two, the number of kinds; one of which no pattern works is left out."""
    assert "the highest of its indices by each kind of pattern and of the sum of its indices by each kind" in INDEX_RULE
    assert "kind of pattern, divided by the square root of the number of kinds" in INDEX_RULE
    for row in found[1]["classes"]:
        indices = [pattern["index"] for pattern in row["patterns"].values() if pattern["index"] is not None]
        assert row["index"] == (pytest.approx(max(sum(indices) / len(indices) ** 0.5, *indices)) if indices else None)
        assert (row["verdict"] in (BACKDOOR_TARGET, ALSO_ABOVE)) == (row["index"] is not None and row["index"] > 4.2)


def test_detect_score_rule_says_which_images_are_caught(handed, found):
    record = found[1]
    assert f"above the margin, {record['margin']:.2f}." in score_rule(record["margin"], "0")
    classifier = load_classifier(handed.root / "white_square.pt", (8, 8), is_grey=True)
    detector = InFlightDetector.load(handed.root / "detector.safetensors", classifier)
    judged = judge_all(detector, handed.root / "images")
    np.testing.assert_array_equal(judged.is_trigger, np.nan_to_num(judged.scores, nan=-np.inf) > record["margin"])


def test_detect_page_shows_untrusted_names_as_text(handed, found, monkeypatch, read_page: Any):
    monkeypatch.setattr(detect_page, "MAX_SHOWN", 1000)
    record = {**found[1], "kind": "patch"}
    names = record["settings"]["class_names"]
    judged = Judged([EVIL_NAME], np.array([3]), np.array([True]), np.array([1]), np.array([2.0]), {}, {})
    images = ImageVerdicts(np.array([True]), np.array([False]), None)
    outcome: Any = SimpleNamespace(inversion=made_up([1.0] * 10, target=3), judged=judged, images=images)
    given = {"kind": "image", "folder": handed.root / "images", "reader": ImageReader((8, 8), True)}
    inputs: Any = SimpleNamespace(class_names=names, **given)
    text = detect_page.detect_page(record, outcome, inputs)
    page = read_page(text)
    assert page.all("script") == []
    assert any(picture["alt"] == f"caught: {EVIL_NAME}" for picture in page.all("img"))
    assert EVIL_NAME in page.text


@pytest.mark.slow
def test_detect_same_seed_gives_the_same_results(handed, found, tmp_path):
    again = handed.detect("white_square", tmp_path / "again")
    for key in ("classes", "suspects", "finding", "counts"):
        assert again[key] == found[1][key]


def test_detect_saved_detector_judges_alike_in_python(handed, found):
    classifier = load_classifier(handed.root / "white_square.pt", (8, 8), is_grey=True)
    detector = InFlightDetector.load(handed.root / "detector.safetensors", classifier)
    judged = judge_all(detector, handed.root / "images")
    caught = [file for file, is_trigger in zip(judged.files, judged.is_trigger, strict=True) if is_trigger]
    assert sorted(caught) == sorted(row["file"] for row in found[1]["suspects"] if "pattern" in row["found_by"])


def judge_all(detector: Any, folder: Path) -> Judged:
    def detect_batch(x: np.ndarray) -> Judgement:
        report, is_trigger = detector.detect(x)
        return Judgement(report["predicted_class"], is_trigger, report["source_class"], report["outlier_scores"])

    return judge_files(detect_batch, True, folder, find_files(folder, "image"), ImageReader((8, 8), True), False)


class OddIsTriggered:
    """A detector that catches images whose first pixel is odd."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def detect(self, x: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
        self.sizes.append(len(x))
        first = (x[:, 0, 0, 0] * 255).round().astype(int)
        return {"predicted_class": first, "source_class": first + 1, "outlier_scores": first / 2}, first % 2 == 1


def test_judge_files_keeps_files_and_judgements_together_over_batches(tmp_path):
    for value in range(BATCH_SIZE + 3):
        save_png(np.full((1, 8, 8), value % 250 / 255), tmp_path / f"{value:04}.png")
    (tmp_path / "0100.png").write_bytes(b"")
    detector = OddIsTriggered()
    judged = judge_all(detector, tmp_path)
    assert detector.sizes == [BATCH_SIZE, 2]
    assert list(judged.skipped_files) == ["0100.png"]
    values = [int(file[:4]) % 250 for file in judged.files]
    assert judged.predicted.tolist() == values
    assert judged.is_trigger.tolist() == [value % 2 == 1 for value in values]


def test_judge_files_nothing_readable_gives_no_rows(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    judged = judge_all(OddIsTriggered(), tmp_path)
    assert judged.files == []
    assert len(judged.scores) == 0
    assert list(judged.skipped_files) == ["a.png"]


# A model without a backdoor


def test_detect_clean_model_says_so_and_lists_nothing(handed, let_go, read_page: Any):
    out, record = let_go
    assert record["finding"].startswith("No backdoor was found")
    assert (record["target_class"], record["kind"], record["found_by"]) == (None, None, [])
    assert {row["verdict"] for row in record["classes"]} == {NOTHING_FOUND}
    # The square is only a stain here: it makes images stand out, but no model sure of another class.
    assert record["layers"]["verdict"] != BACKDOOR
    assert {row["found_by"] for row in record["suspects"]} <= {"layers"}
    assert len(rows_of(out)) == len(record["suspects"])
    assert not (handed.root / "none.safetensors").exists()
    assert any("none.safetensors was not written" in note for note in record["notes"])
    page = read_page(out / "report.html")
    assert "framed" not in page.text
    assert "Images that stand out" in page.text


# The order of the classes, and other cautions


def test_detect_wrong_order_of_classes_is_an_error_that_names_the_right_one(handed, tmp_path):
    order = [str(number) for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 0)]
    with pytest.raises(InvalidInputError, match=r"with --classes 0,1,2,3,4,5,6,7,8,9$"):
        handed.detect("clean", tmp_path / "out", classes=order)
    assert not (tmp_path / "out").exists()


def test_clean_cautions_low_accuracy_without_a_better_order_is_said():
    y = np.repeat(np.arange(5), 20)
    predicted = np.zeros(100, dtype=int)
    (caution,) = clean_cautions(predicted, y, "abcde")
    assert "only 0.200 of the clean images" in caution
    assert clean_cautions(y, y, "abcde") == []


def test_clean_cautions_few_images_and_few_classes_are_said():
    y = np.repeat(np.arange(4), 5)
    few, classes = clean_cautions(y, y, "abcd")
    assert "only 5 clean images" in few
    assert "With only 4 classes" in classes


def made_up(index: list[float], target: int | None = None, success: float = 0.99) -> Inversion:
    """An inversion of one kind, with patterns of 8 x 8."""
    k = len(index)
    one = InvertedTriggers(
        "patch",
        np.ones((k, 1, 8, 8)),
        np.ones((k, 1, 8, 8)),
        np.arange(1.0, k + 1),
        np.full(k, success),
        np.array(index),
        (0.0, 1.0),
    )
    kind = None if target is None else "patch"
    return Inversion((one,), np.ones(len(index)), np.array(index), target, kind, None if target is None else success)


def caught_by_pattern(count: int, n_judged: int = 9) -> ImageVerdicts:
    """Give verdicts of the pattern alone: the first images are caught."""
    return ImageVerdicts(np.arange(n_judged) < count, np.zeros(n_judged, dtype=bool), None)


def test_finding_in_words():
    names = ["ant", "bee", "cat"]
    assert finding(made_up([1.0, 2.0, np.nan]), names, 3, None).startswith(
        "No backdoor was found: no class stands out. The highest index is 2.00, that of bee, and the threshold is 3. "
        "No image was judged. Only small patterns were searched for."
    )
    assert "could not be judged" in finding(made_up([np.nan] * 3), names, 3, None)
    assert finding(made_up([1.0, 5.0, 0.0], target=1), names, 3, caught_by_pattern(1)) == (
        "The model has a backdoor towards bee: a patch of 2.0 pixels sends 0.990 of the clean images of other classes "
        "there (index 5.00, threshold 3). 1 of the 9 images carries the trigger."
    )
    nothing = finding(made_up([1.0, 5.0, 0.0], target=1), names, 3, caught_by_pattern(0))
    assert nothing.endswith("None of the 9 images carry the trigger.")
    from_one = made_up([1.0, 5.0, 0.0], target=1)
    from_one = from_one._replace(by_source=from_one.inverted, source_class=2)
    assert "a patch of 3.0 pixels sends 0.990 of the clean images of cat there" in finding(
        from_one, names, 3, caught_by_pattern(1)
    )


def test_detector_cautions_second_class_above_and_weak_pattern_are_said():
    names = ["ant", "bee", "cat"]
    second, weak = detector_cautions(0.7, made_up([4.0, 5.0, np.nan], target=1), 3, names)
    assert second.startswith("The index of ant is also above the threshold")
    assert "at most 0.700" in weak
    assert detector_cautions(0.99, made_up([1.0, 5.0, np.nan], target=1), 3, names) == []


def test_detect_many_clean_images_are_drawn_by_the_seed(handed, tmp_path, monkeypatch):
    monkeypatch.setattr(detect_inputs, "MAX_CLEAN", 11)
    monkeypatch.setattr(search, "WINDOW", 1)
    record = handed.detect("clean", tmp_path / "out", nb_steps=1)
    assert record["counts"]["clean"] == 110
    assert record["notes"][0] == (
        "There are 200 clean images, and at most 11 of each class are used: 110 images, drawn at random."
    )


# What cannot work


def write_classes(root: Path, names: str, n: int = 2) -> Path:
    for name in names:
        for i in range(n):
            save_png(np.random.default_rng(i).random((1, 8, 8)), root / name / f"{i}.png")
    return root


@pytest.mark.parametrize(
    ("what", "options", "sentence"),
    [
        ({"model": "gone.pt"}, {}, r"gone\.pt does not exist; give a model file"),
        ({"folder": "gone"}, {}, "gone does not exist; give a folder that holds image files"),
        ({"folder": "empty"}, {}, "empty holds no image file; convert the files to png, jpg"),
        ({"clean": "gone"}, {}, "gone does not exist; give a folder that holds one folder"),
        ({"clean": "empty"}, {}, "holds no class folders"),
        ({"clean": "two"}, {}, "tells 10 classes apart, and .* holds 2 class folders"),
        ({"clean": "four"}, {}, "tells 10 classes apart, and .* holds 4 class folders"),
        ({"clean": "spoilt"}, {}, "No clean image of class k can be read"),
        ({}, {"classes": ["0", "1", "x"]}, "not named: 2, 3, .*; names without a folder: x"),
        ({}, {"classes": list("00123456789")}, "--classes must name every class folder once"),
        ({}, {"size": (2, 2)}, "size must be a width and a height"),
        ({}, {"size": (9, 9)}, "neither grey nor coloured images of 9 x 9"),
        ({}, {"threshold": 0.0}, "threshold must be a number above 0; received 0"),
        ({}, {"nb_steps": 0}, "nb_steps must be a whole number of at least 1; received 0"),
        ({}, {"timeout_s": 0.0}, "timeout_s must be a number of seconds above 0; received 0"),
        ({}, {"timeout_s": float("nan")}, "timeout_s must be a number of seconds"),
        ({}, {"std": [0.0]}, "--std must be"),
        ({}, {"factory": "a:b"}, "leave out the factory"),
        ({}, {"save_detector": "clean.pt"}, "exists and is not overwritten"),
        ({"out": "clean.pt"}, {}, "is a file; name a folder"),
    ],
)
def test_detect_what_cannot_work_is_one_sentence_and_writes_nothing(handed, tmp_path, monkeypatch, what, options, sentence):
    for name in ("clean.pt", "clean", "images"):
        (tmp_path / name).symlink_to(handed.root / name)
    (tmp_path / "empty").mkdir()
    write_classes(tmp_path / "two", "ab")
    write_classes(tmp_path / "four", "abcd")
    write_classes(tmp_path / "spoilt", "abcdefghij")
    (tmp_path / "spoilt" / "k").mkdir()
    (tmp_path / "spoilt" / "a" / "0.png").rename(tmp_path / "spoilt" / "b" / "3.png")
    (tmp_path / "spoilt" / "a" / "1.png").rename(tmp_path / "spoilt" / "k" / "1.png")
    (tmp_path / "spoilt" / "a").rmdir()
    (tmp_path / "spoilt" / "k" / "1.png").write_bytes(b"spoilt")
    before = sorted(os.listdir(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ModelJudge, "invert", lambda *_, **__: pytest.fail("heavy work has begun"))
    named = {"model": "clean.pt", "folder": "images", "clean": "clean", "out": "out", **what}

    def call() -> None:
        settings = DetectSettings(**{"nb_steps": STEPS, "trust_model": True, **options})
        detect_folder(*(Path(named[key]) for key in named), settings, verbose=False)

    with pytest.raises(InvalidInputError, match=sentence) as error:
        call()
    assert "\n" not in str(error.value)
    assert sorted(os.listdir(tmp_path)) == before


def test_detect_failure_while_the_page_is_made_leaves_no_results(handed, tmp_path, monkeypatch):
    def fail(*_: object) -> str:
        raise RuntimeError("planted")

    monkeypatch.setattr(detect, "detect_page", fail)
    with pytest.raises(RuntimeError, match="planted"):
        handed.detect("clean", tmp_path / "out", nb_steps=1)
    assert os.listdir(tmp_path) == []


# Small parts


@pytest.mark.parametrize(
    ("shape", "channels_first", "expected"),
    [((4, 5), True, (1, 4, 5)), ((4, 5), False, (4, 5, 1)), ((4, 5, 3), True, (3, 4, 5)), ((4, 5, 3), False, (4, 5, 3))],
)
def test_to_images_scales_and_orders_channels(shape, channels_first, expected, random):
    pictures = random.integers(0, 256, size=(2, *shape), dtype=np.uint8)
    images = to_images(pictures, channels_first)
    assert images.shape == (2, *expected)
    assert images.dtype == np.float32
    value = images[1, -1, 2, 3] if channels_first else images[1, 2, 3, -1]
    assert value * 255 == pytest.approx(pictures[1, 2, 3] if len(shape) == 2 else pictures[1, 2, 3, 2])


def test_find_files_lists_one_kind_at_any_depth(tmp_path):
    for name in ("b.png", "a/c.JPG", "a/d.wav", "_x/e.png", "e"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = find_files(tmp_path, "image")
    assert found.files == ["a/c.JPG", "b.png"]
    assert found.ignored_files == {"another type: .wav": 1, "no suffix that tells the type": 1}
    assert list(found.skipped_folders) == ["_x"]
    assert find_files(tmp_path, "sound").files == ["a/d.wav"]


def test_csv_text_formulas_become_text_and_numbers_stay():
    text = csv_text(("name", "score"), [("=1+1", "-1.5"), ("@a", "2"), ("-x", "+3")])
    assert text == "name,score\n'=1+1,-1.5\n'@a,2\n'-x,+3\n"


# What the layers need


def test_detect_without_images_says_that_only_small_patterns_were_searched_for(
    handed, tmp_path, monkeypatch, read_page: Any
):
    monkeypatch.setattr(search, "WINDOW", 1)
    settings = DetectSettings(nb_steps=1, trust_model=True)
    model, clean = handed.root / "clean.pt", handed.root / "clean"
    record = detect_folder(model, None, clean, tmp_path / "out", settings, verbose=False)
    assert (record["folder"], record["is_backdoored"], record["suspects"]) == (None, False, [])
    assert "Only small patterns were searched for." in record["finding"]
    assert record["finding"].endswith("Give images that came to the model, which are then judged by their layers.")
    assert record["layers"]["problem"] is None
    assert "There were no images to judge." in read_page(tmp_path / "out" / "report.html").text


def test_detect_with_too_few_clean_images_for_the_layers_says_so_and_what_to_do(handed, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "WINDOW", 1)
    record = handed.detect("clean", tmp_path / "out", nb_steps=1, false_alarm_rate=0.001)
    assert "Only small patterns were searched for." in record["finding"]
    assert record["finding"].endswith(
        "There are 200 clean images, and a threshold that 0.001 of them exceed needs at least 1000; give more images with "
        "--clean, or a higher --false-alarm-rate."
    )
    assert (record["counts"]["read"], record["suspects"]) == (0, [])
