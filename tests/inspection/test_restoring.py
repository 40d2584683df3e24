"""What is taken off the members of a group, and why others are dropped; the folder of copies is there as a whole or not."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from art_plugins.errors import InvalidInputError
from art_plugins.files.folder_data import FolderData
from art_plugins.files.image_files import ImageReader
from art_plugins.files.sound_files import SoundReader
from art_plugins.files.sources.samples import Samples
from art_plugins.inspection.deciding.common_sound import common_sound
from art_plugins.inspection.deciding.manifest import check_place
from art_plugins.inspection.evidence.found import POISON, Found
from art_plugins.inspection.restoring.copies import TABLE, Work, copies_beside, made_copies
from art_plugins.inspection.restoring.originals import Copy
from art_plugins.inspection.restoring.restore import CHANGED, NO_LABEL, NO_PATCH, NO_SOUND, UNSURE, restore
from art_plugins.inspection.scan_groups import Group
from art_plugins.triggers.sounds import AudioTrigger, noise_burst

CLASSES = ("a", "b", "c", "d")
N_MEMBERS, N_CLEAN, SIDE = 20, 60, 12
RATE_HZ, N_SAMPLES = 4_000, 2_000
PATCH = (slice(None), slice(8, 11), slice(8, 11))
EVIL_NAME = "d/=1+1<script>,\"'.wav"


def group_in_class_d(samples: np.ndarray, **mended: list[str]) -> tuple[FolderData, Group, list[dict[str, Any]]]:
    """The first samples seem to be of class a and are in class d; 60 clean samples of each class follow."""
    labels = np.array([3] * N_MEMBERS + [label for label in range(4) for _ in range(N_CLEAN)])
    files = tuple(f"{CLASSES[label]}/{index:03}" for index, label in enumerate(labels))
    data = FolderData(samples, labels, CLASSES, files, tuple(range(len(files))), {}, {}, mended)
    is_member = np.arange(len(labels)) < N_MEMBERS
    found = Found(3, is_member, is_member.astype(float), POISON, 0.01, (), ("latents",))
    own = np.flatnonzero((labels == 3) & ~is_member)
    rows = [
        {"file": file, "verdict": POISON, "accepted": False, "decision": None, "suggested_label": "a"}
        for file in files[:N_MEMBERS]
    ]
    return data, Group("d", True, np.arange(N_MEMBERS), own, 1, found), rows


def pictures(random: np.random.Generator) -> np.ndarray:
    return random.integers(0, 256, (N_MEMBERS + 4 * N_CLEAN, SIDE, SIDE)).astype(np.uint8)


def noises(random: np.random.Generator) -> np.ndarray:
    return 0.03 * random.normal(size=(N_MEMBERS + 4 * N_CLEAN, N_SAMPLES)).clip(-4, 4)


def test_patch_is_taken_off_its_holders_and_others_are_dropped_for_a_reason(random: np.random.Generator) -> None:
    x = pictures(random)
    x[: N_MEMBERS - 1][PATCH] = 255  # the last member does not hold it
    data, group, rows = group_in_class_d(x, **{"of another size, resized": ["d/001"], "turned upright": ["d/002"]})
    rows[0]["suggested_label"] = None
    restored = restore([group], rows, data, ImageReader((SIDE, SIDE), True))
    assert restored.reasons == {0: NO_LABEL, 1: CHANGED, N_MEMBERS - 1: UNSURE}
    assert sorted(restored.removed) == list(range(2, N_MEMBERS - 1))
    expected = np.zeros((SIDE, SIDE), dtype=bool)
    expected[8:11, 8:11] = True
    np.testing.assert_array_equal(restored.removed[2], expected)


def test_clean_pictures_and_those_that_a_person_accepts_are_not_changed(random: np.random.Generator) -> None:
    x = pictures(random)
    data, group, rows = group_in_class_d(x)
    rows[0]["accepted"] = True
    restored = restore([group], rows, data, ImageReader((SIDE, SIDE), True))
    assert restored.removed == {}
    assert restored.reasons == dict.fromkeys(range(1, N_MEMBERS), NO_PATCH)


def test_added_sound_is_found_in_its_holders_also_where_the_scan_has_missed_some(random: np.random.Generator) -> None:
    x = noises(random)
    clean = x.copy()
    trigger = AudioTrigger(noise_burst(RATE_HZ, length_s=0.2), 0.3, 400)
    x[: N_MEMBERS - 1] = trigger(x[: N_MEMBERS - 1])
    data, group, rows = group_in_class_d(x)
    x[group.typical[:3]] = trigger(x[group.typical[:3]])  # missed, in the class of the group
    restored = restore([group], rows, data, SoundReader(RATE_HZ, N_SAMPLES))
    assert restored.reasons == {N_MEMBERS - 1: UNSURE}
    left = np.stack([x[index] - restored.removed[index] - clean[index] for index in range(N_MEMBERS - 1)])
    added = x[: N_MEMBERS - 1] - clean[: N_MEMBERS - 1]
    assert np.median((left**2).sum(axis=1) / (added**2).sum(axis=1)) < 0.1


def test_sound_that_clean_clips_have_in_common_as_well_is_left(random: np.random.Generator) -> None:
    x = noises(random)
    habit = AudioTrigger(noise_burst(RATE_HZ, length_s=0.2), 0.3, 400)  # such as of a speaker: all of class a have it
    x[: N_MEMBERS + N_CLEAN] = habit(x[: N_MEMBERS + N_CLEAN])
    data, group, rows = group_in_class_d(x)
    assert common_sound(x[:N_MEMBERS], RATE_HZ) is not None
    restored = restore([group], rows, data, SoundReader(RATE_HZ, N_SAMPLES))
    assert restored.removed == {}
    assert set(restored.reasons.values()) == {NO_SOUND}


def written(folder: Path, x: np.ndarray, files: Sequence[str], labels: np.ndarray) -> Samples:
    """The clips as files with harmless names; ``files`` are what the data call them."""
    folder.mkdir()
    for index, clip in enumerate(x):
        soundfile.write(folder / f"{index}.wav", clip, RATE_HZ)
    items = [folder / f"{index}.wav" for index in range(len(x))]
    return Samples(str(folder), "sound", CLASSES, files, labels.tolist(), items)


def test_copies_have_running_numbers_and_a_table_says_what_was_done(random: np.random.Generator, tmp_path: Path) -> None:
    x = noises(random)
    x[:N_MEMBERS] = AudioTrigger(noise_burst(RATE_HZ, length_s=0.2), 0.3, 400)(x[:N_MEMBERS])
    data, group, rows = group_in_class_d(x)
    rows[0]["file"] = EVIL_NAME
    rows[1]["suggested_label"] = None
    data = FolderData(x, data.labels, CLASSES, (EVIL_NAME, *data.files[1:]), data.places, {}, {}, {})
    found = written(tmp_path / "data", x, data.files, data.labels)
    before = {path: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    work = Work([group], rows, found, data, SoundReader(RATE_HZ, N_SAMPLES))
    with made_copies(tmp_path / "new.csv", "restore", work, 0) as copies:
        assert copies is not None
        assert not (tmp_path / "new").exists()
        copies.place()
    assert {path: path.read_bytes() for path in (tmp_path / "data").iterdir()} == before
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == [*(f"{number:06}.wav" for number in range(1, N_MEMBERS)), TABLE]
    with (tmp_path / "new" / TABLE).open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["done"] for row in table[:3]] == ["restored", "dropped", "restored"]
    assert [row["done"] for row in table[N_MEMBERS:]] == ["kept"] * (4 * N_CLEAN)
    assert (table[0]["file"], table[0]["label"], table[0]["path"]) == (EVIL_NAME, "a", "./new/000001.wav")
    assert (table[1]["why"], table[1]["path"]) == (NO_LABEL, "")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("is_placed", [False, True])
def test_nothing_is_left_of_copies_if_the_work_fails(tmp_path: Path, is_placed: bool) -> None:
    with pytest.raises(KeyError), copies_beside(tmp_path / "new.csv") as copies:  # noqa: PT012
        copies.add(0, Copy(b"x", ".wav"))
        if is_placed:
            copies.place()
            assert (tmp_path / "new" / "000001.wav").read_bytes() == b"x"
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_folder_of_copies_is_never_overwritten(tmp_path: Path) -> None:
    found = Samples(str(tmp_path / "data"), "sound", CLASSES, (), (), ())
    (tmp_path / "new").mkdir()
    with pytest.raises(InvalidInputError, match="which exists"):
        check_place("restore", tmp_path / "new.csv", found)
    with pytest.raises(InvalidInputError, match="created meanwhile"), copies_beside(tmp_path / "new.csv") as copies:
        copies.place()
    assert list(tmp_path.iterdir()) == [tmp_path / "new"]


def test_copies_among_the_class_folders_are_refused_as_they_would_be_a_class(tmp_path: Path) -> None:
    found = Samples(str(tmp_path), "sound", CLASSES, (), (), ())
    with pytest.raises(InvalidInputError, match="a class of another scan"):
        check_place("restore", tmp_path / "new.csv", found)
