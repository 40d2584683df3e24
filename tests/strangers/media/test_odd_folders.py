"""Folders as strangers have them: splits, links, names and rights; each file is taken once, or listed with the reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from art_plugins.errors import InvalidInputError
from art_plugins.files import file_walk
from art_plugins.files.class_folders import find_class_folders, find_files


def fill(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def classes_of(found) -> dict[str, list[str]]:
    classes = {name: [] for name in found.class_names}
    for file, label in zip(found.files, found.labels, strict=True):
        classes[found.class_names[label]].append(file)
    return classes


@pytest.mark.parametrize(
    "splits",
    [
        ("train", "test"),
        ("Train", "VAL", "Test"),
        ("training", "validation", "testing"),
        ("training_set", "test_set"),
        ("dev", "eval"),
        ("train",),
    ],
)
def test_splits_are_never_classes_and_are_taken_together(tmp_path, splits):
    for split in splits:
        fill(tmp_path, *(f"{split}/{name}/{i}.wav" for name in ("yes", "no") for i in range(3)))
    fill(tmp_path, "docs/read.txt", f"{splits[0]}/loose.wav", f"{splits[0]}/rare/1.wav")
    found = find_class_folders(tmp_path)
    assert classes_of(found) == {
        "no": sorted(f"{split}/no/{i}.wav" for split in splits for i in range(3)),
        "rare": [f"{splits[0]}/rare/1.wav"],
        "yes": sorted(f"{split}/yes/{i}.wav" for split in splits for i in range(3)),
    }
    assert all(split in found.notes[0] for split in splits)
    assert found.ignored_files == {"another type: .txt": 1, "in no class folder": 1}
    assert found.skipped_folders == {"docs": "it holds no sound file that can be read"}


def test_split_that_is_asked_for_is_the_only_one(tmp_path):
    root = fill(tmp_path, *(f"{split}/{name}/1.png" for split in ("Train", "test") for name in ("yes", "no")))
    found = find_class_folders(root, split="train")
    assert found.files == ["Train/no/1.png", "Train/yes/1.png"]
    assert found.skipped_folders == {"test": "it is not the split that was asked for"}
    with pytest.raises(InvalidInputError, match=r"has no split 'val'; it has Train, test\."):
        find_class_folders(root, split="val")
    with pytest.raises(InvalidInputError, match="has no split 'train'; it has none, since its folders are the classes"):
        find_class_folders(root / "Train", split="train")


@pytest.mark.parametrize(
    ("names", "classes", "is_said"),
    [
        (("train/1.wav", "bus/1.wav"), ("bus", "train"), False),
        (("train/a/1.wav", "bus/a/1.wav"), ("bus", "train"), False),
        (("train/1.wav", "test/1.wav"), ("test", "train"), True),
    ],
)
def test_classes_that_are_named_like_splits_stay_classes(tmp_path, names, classes, is_said):
    found = find_class_folders(fill(tmp_path, *names))
    assert found.class_names == classes
    assert any("named like splits" in note for note in found.notes) == is_said


def test_unlabelled_split_beside_one_with_classes_is_ignored_and_counted(tmp_path):
    found = find_class_folders(fill(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "test/1.jpg", "test/2.jpg"))
    assert found.files == ["train/cat/1.jpg", "train/dog/1.jpg"]
    assert found.ignored_files == {"in no class folder": 2}


def test_links_are_followed_and_no_file_counts_twice_in_a_class(tmp_path):
    root = fill(tmp_path / "in", "yes/1.wav", "yes/deep/2.wav", "no/1.wav")
    fill(tmp_path, "elsewhere/3.wav", "elsewhere/4.wav", "lone.wav")
    (root / "yes" / "all").symlink_to(tmp_path / "elsewhere")
    (root / "yes" / "again").symlink_to(tmp_path / "elsewhere")
    (root / "yes" / "lone.wav").symlink_to(tmp_path / "lone.wav")
    (root / "yes" / "twin.wav").symlink_to("1.wav")
    os.link(root / "yes" / "1.wav", root / "yes" / "second name.wav")
    (root / "no" / "also.wav").symlink_to("../yes/1.wav")
    (root / "maybe").symlink_to(tmp_path / "elsewhere")
    found = find_class_folders(root)
    assert classes_of(found) == {
        "maybe": ["maybe/3.wav", "maybe/4.wav"],
        "no": ["no/1.wav", "no/also.wav"],
        "yes": ["yes/1.wav", "yes/again/3.wav", "yes/again/4.wav", "yes/deep/2.wav", "yes/lone.wav"],
    }
    assert found.skipped_files == {
        "yes/second name.wav": "it is the same file as yes/1.wav",
        "yes/twin.wav": "it is the same file as yes/1.wav",
    }
    assert found.skipped_folders == {"yes/all": "it is the same folder as yes/again"}
    assert any(note.startswith("5 files lie outside") for note in found.notes)
    assert any(note.startswith("3 files are in more than one class") for note in found.notes)
    assert len(find_files(root, "sound").files) == 6


def test_links_in_a_circle_or_to_nowhere_end_and_are_listed(tmp_path):
    root = fill(tmp_path / "in", "yes/1.wav", "no/1.wav")
    (root / "yes" / "self").symlink_to(".")
    (root / "yes" / "up").symlink_to("../..")
    (root / "yes" / "top").symlink_to("/")
    (root / "no" / "a").symlink_to("b")
    (root / "no" / "b").symlink_to("a")
    (root / "no" / "gone.wav").symlink_to("nowhere.wav")
    (root / "no" / "gone.txt").symlink_to("nowhere.txt")
    (root / "gone").symlink_to("nowhere")
    found = find_class_folders(root)
    assert found.files == ["no/1.wav", "yes/1.wav"]
    assert found.skipped_folders == {
        "yes/self": "it is the same folder as yes",
        "yes/up": "it is the same folder as one that holds it",
        "yes/top": "it is the same folder as one that holds it",
    }
    assert set(found.skipped_files) == {"no/a", "no/b", "no/gone.wav", "gone"}
    assert found.skipped_files["no/gone.wav"] == found.skipped_files["gone"] == "it is a broken link"
    assert found.ignored_files == {"another type: .txt": 1}


def test_pipe_is_listed_and_never_opened(tmp_path):
    root = fill(tmp_path, "yes/1.wav", "no/1.wav")
    os.mkfifo(root / "no" / "pipe.wav")
    assert find_class_folders(root).skipped_files == {"no/pipe.wav": "it is not a file but a pipe, a socket or a device"}


@pytest.mark.parametrize("barred", ["listing", "searching"])
def test_class_folder_without_rights_is_that_folders(tmp_path, monkeypatch, barred):
    """As a user who is not the administrator meets it, for whom there are no barred folders."""
    root = fill(tmp_path, "yes/1.wav", "no/1.wav", "barred/1.wav", "barred/deep/2.wav")
    real_scandir, real_stat = os.scandir, os.stat

    def scandir(path):
        if "barred" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real_scandir(path)

    def stat(path, **kwargs):
        if "barred/" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real_stat(path, **kwargs)

    monkeypatch.setattr(file_walk.os, *(("scandir", scandir) if barred == "listing" else ("stat", stat)))
    found = find_class_folders(root)
    assert found.files == ["no/1.wav", "yes/1.wav"]
    reasons = {**found.skipped_files, **found.skipped_folders}
    assert reasons["barred" if barred == "listing" else "barred/1.wav"] == "it cannot be read (Permission denied)"
    if barred == "searching":
        assert reasons["barred/deep"] == "it cannot be read (Permission denied)"


def test_root_that_must_not_be_listed_is_one_sentence(tmp_path, monkeypatch):
    def denied(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(file_walk.os, "scandir", denied)
    with pytest.raises(InvalidInputError, match=r"cannot be listed \(Permission denied\); change its permissions"):
        find_class_folders(tmp_path)


def test_odd_names_are_read_or_listed_under_a_name_that_can_be_printed(tmp_path):
    readable = [" ", "-rf", "%s", "a'b\"c", "ä ö", "日本", "🎵", "..a", "a.wav", "x" * 240, "$(x)", "a\\b", "[1]", "{x}"]
    unprintable = ["two\nlines", "bell\a", "tab\t", "line\u2028separator"]
    root = fill(tmp_path, "no/1.wav", *(f"yes/{name}.wav" for name in (*readable, *unprintable)), "yes/A.WAV", "yes/.b.wav")
    found = find_class_folders(root)
    assert {Path(file).name for file in found.files} == {f"{name}.wav" for name in readable if name != "..a"} | {
        "1.wav",
        "A.WAV",
    }
    assert len(found.skipped_files) == len(unprintable)
    assert all(name.isprintable() for name in found.skipped_files)
    assert found.ignored_files == {"hidden: the name starts with a dot": 2}


def test_deep_and_wide_folders_end(tmp_path):
    deep = "yes/" + "d/" * 500
    root = fill(tmp_path, f"{deep}1.wav", *(f"no/{i}/1.wav" for i in range(200)))
    assert len(find_class_folders(root).files) == 201
