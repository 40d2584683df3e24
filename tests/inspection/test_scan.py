"""A scan of folders with a planted cluster, with every defect that folders have, and with arguments that cannot work."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import shutil
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from art_plugins import disk_room
from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.errors import FileFormatError, InvalidInputError, MissingPackageError
from art_plugins.evaluation.running.environment import versions
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.vae import training
from art_plugins.files import folder_data
from art_plugins.files.class_folders import find_class_folders
from art_plugins.files.folder_data import read_folder
from art_plugins.files.sound_files import SoundReader
from art_plugins.inspection import scan_page
from art_plugins.inspection.deciding import group_views
from art_plugins.inspection.evidence.found import LOOK_HERE
from art_plugins.inspection.scan import scan_folder
from art_plugins.inspection.scan_groups import order_halves
from art_plugins.inspection.scan_words import file_rows
from art_plugins.inspection.settings import ScanSettings
from art_plugins.inspection.suspect_rows import COLUMNS

RATE_HZ = 1_600
CLASSES = ("ba", "da", "ga", "ka", "pa")
N_FILES = 24
PLANTED = tuple(f"ga/{i:02}.wav" for i in range(8))
EVIL_NAME = "<script>alert(1)<&'\".wav"


def scan(folder: Path, out: Path, **options: Any) -> dict[str, Any]:
    """A scan whose options are settings of the scan or parameters of the defence."""
    names = {field.name for field in fields(ScanSettings)}
    settings = ScanSettings(**{name: value for name, value in options.items() if name in names})
    return scan_folder(folder, out, settings, **{name: value for name, value in options.items() if name not in names})


def write_sounds(root: Path, planted: bool = True) -> Path:
    """Half-second tones in noise, of a pitch by class; in a third of "ga" a loud burst at the start."""
    random = np.random.default_rng(11)
    times_s = np.arange(RATE_HZ // 2) / RATE_HZ
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for i in range(N_FILES):
            clip = 0.2 * np.exp(0.3 * random.normal()) * np.sin(2 * np.pi * (200 + 60 * label) * times_s)
            clip += 0.02 * random.normal(size=len(clip))
            if planted and f"{name}/{i:02}.wav" in PLANTED:
                clip[:400] = 0.9 * random.uniform(-1, 1, size=400)
            soundfile.write(root / name / f"{i:02}.wav", clip, RATE_HZ)
    return root


def write_images(root: Path) -> Path:
    """Blurred stripes by class; in a third of class "2" a white corner."""
    random = np.random.default_rng(12)
    for label in range(5):
        (root / str(label)).mkdir(parents=True)
        for i in range(N_FILES):
            picture = random.uniform(0, 60, size=(8, 8))
            picture[:, label : label + 3] += random.uniform(60, 120)
            if label == 2 and i < 8:
                picture[5:, 5:] = 255
            Image.fromarray(picture.astype(np.uint8)).save(root / str(label) / f"{i:02}.png")
    return root


# Three latents and five classes give no common covariance to compare with.
SCORING = {"scoring": "paper", "threshold": 2.24, "class_rule": "mad"}
SOUND_SETTINGS = {  # of the quickest scan that finds the planted cluster, whatever the seed
    "n_mels": 8,
    "window_s": 0.02,
    "hop_s": 0.05,
    "latent_dim": 3,
    "step_latent_dim": 1,
    "embedding_dim": 32,
    "hidden_dim": 32,
    "channels": 8,
    "nb_epochs": 15,
    "batch_size": 16,
    "learning_rate": 3e-3,
    "verbose": False,
    **SCORING,
}


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    """A folder with a planted cluster, scanned once: its root, the results' folder and the record."""
    root = write_sounds(tmp_path_factory.mktemp("sounds") / "words")
    record = scan(root, root.parent / "out", save_autoencoder=root.parent / "a.safetensors", **SOUND_SETTINGS)
    return root, root.parent / "out", record


@pytest.fixture(scope="module")
def scanned_odd(scanned, tmp_path_factory):
    """The same with files of every oddity, judged by the saved autoencoder."""
    root = tmp_path_factory.mktemp("odd") / "words"
    shutil.copytree(scanned[0], root)
    samples, _ = soundfile.read(root / "pa" / "00.wav")
    soundfile.write(root / "pa" / "stereo.WAV", np.column_stack([samples, samples]), RATE_HZ, format="WAV")
    soundfile.write(root / "pa" / "half.wav", samples[::2], RATE_HZ // 2)
    (root / "pa" / "deep").mkdir()
    soundfile.write(root / "pa" / "deep" / "eight.wav", samples, RATE_HZ, subtype="PCM_U8")
    (root / "pa" / "empty.wav").write_bytes(b"")
    (root / "pa" / "cut.wav").write_bytes((root / "pa" / "00.wav").read_bytes()[:500])
    (root / "pa" / "two\nlines.wav").write_bytes(b"")
    (root / "pa" / "notes.txt").write_text("by hand")
    (root / "pa" / "._00.wav").write_bytes(b"left by a file manager")
    (root / "_background_noise_").mkdir()
    soundfile.write(root / "_background_noise_" / "noise.wav", samples, RATE_HZ)
    (root / ".hidden").mkdir()
    (root / "spoilt").mkdir()
    (root / "spoilt" / "a.wav").write_bytes(b"not a sound")
    before = sorted(path.relative_to(root) for path in root.rglob("*"))
    autoencoder, keep = scanned[0].parent / "a.safetensors", root.parent / "keep.txt"
    record = scan(root, root.parent / "out", autoencoder=autoencoder, apply_to=keep, verbose=False, **SCORING)
    assert sorted(path.relative_to(root) for path in root.rglob("*")) == before
    return root, root.parent / "out", record


def test_the_same_call_goes_on_where_a_training_was_stopped(scanned, tmp_path, monkeypatch):
    root, _, record = scanned
    real, calls = training._epoch, []

    def stopped(*args):
        calls.append(1)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return real(*args)

    out = tmp_path / "out"
    monkeypatch.setattr(training, "_epoch", stopped)
    with pytest.raises(KeyboardInterrupt):
        scan(root, out, **SOUND_SETTINGS)
    (out / ".training-of-other-data").write_bytes(b"left behind")
    changed = tmp_path / "changed"
    shutil.copytree(root, changed)
    clip, _ = soundfile.read(changed / "ga" / "11.wav")
    soundfile.write(changed / "ga" / "11.wav", clip / 2, RATE_HZ)
    with monkeypatch.context() as whole:
        whole.setattr(training, "_epoch", real)
        before = {path.name for path in out.iterdir()}
        assert scan(changed, tmp_path / "of_changed", **SOUND_SETTINGS)["finding"]
        shutil.copytree(out, tmp_path / "copied")
        scan(
            changed, tmp_path / "copied", **SOUND_SETTINGS
        )  # a file in the middle is another one: the training begins anew
    assert len(before) == 2
    again = scan(root, out, **SOUND_SETTINGS)
    assert len(calls) == 10 + SOUND_SETTINGS["nb_epochs"] - 9
    assert again["autoencoder_history"] == record["autoencoder_history"]
    assert sorted(path.name for path in out.iterdir()) == ["record.json", "report.html", "suspects.csv"]


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "suspects.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def players_of(page: Any) -> list[dict[str, str]]:
    """The players of samples, also those on later pages of a list; not the one of what a group has in common."""
    return [player for player in page.all("audio") if player["aria-label"].startswith(("suspect: ", "typical: "))]


def test_scan_planted_cluster_is_ranked_first_and_its_files_are_listed(scanned):
    _, out, record = scanned
    assert record["classes"][0]["name"] == "ga"
    assert [row["verdict"] == "poisoned" for row in record["classes"]] == [True] + 4 * [False]
    assert "ga (8 suspects among 24 files)" in record["finding"]
    rows = rows_of(out)
    assert {row["file"] for row in rows} == set(PLANTED)
    assert {(row["class"], row["verdict"]) for row in rows} == {("ga", "poison")}
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] > 0


def test_scan_ranking_falls_and_higher_is_more_suspicious(scanned):
    classes = scanned[2]["classes"]
    for key in ("mad_index", "class_score"):
        values = [row[key] for row in classes]
        assert values == sorted(values, reverse=True)


def test_scan_odd_files_are_counted_and_listed(scanned_odd):
    record = scanned_odd[2]
    assert record["counts"] == {
        "found": 127,
        "read": 124,
        "mended": 4,
        "skipped": 3,
        "skipped_folders": 3,
        "ignored": 2,
        "called_poison": 8,
        "look_here": 0,
        "likely_label_errors": 0,
    }
    assert record["mended_files"] == {
        "8-bit": ["pa/deep/eight.wav"],
        "mixed down to mono": ["pa/stereo.WAV"],
        "padded": ["pa/cut.wav"],
        "resampled": ["pa/half.wav"],
        "wrong length in its header, read to its end": ["pa/cut.wav"],
    }
    skipped = {row["file"]: row["reason"] for row in record["skipped_files"]}
    assert set(skipped) == {"pa/empty.wav", "pa/two\\nlines.wav", "spoilt/a.wav"}
    assert "empty" in skipped["pa/empty.wav"]
    assert "line break" in skipped["pa/two\\nlines.wav"]
    assert {row["folder"] for row in record["skipped_folders"]} == {"_background_noise_", ".hidden", "spoilt"}
    assert record["ignored_files"] == {"another type: .txt": 1, "hidden: the name starts with a dot": 1}
    assert sum(row["n_files"] for row in record["classes"]) == 124


def test_scan_keep_list_is_every_read_file_that_is_not_called_poison(scanned_odd):
    root, _, record = scanned_odd
    kept = (root.parent / "keep.txt").read_text(encoding="utf-8").splitlines()
    skipped = {row["file"] for row in record["skipped_files"]}
    readable = {path.relative_to(root).as_posix() for path in root.glob("?a/**/*") if path.suffix.lower() == ".wav"}
    readable = {name for name in readable if "\n" not in name and "/._" not in name}
    assert set(kept) == readable - skipped - set(PLANTED)
    assert len(kept) == len(set(kept))
    assert all((root / line).is_file() for line in kept)


def test_scan_record_file_is_the_record_and_json(scanned):
    _, out, record = scanned
    assert json.loads((out / "record.json").read_text(encoding="utf-8")) == record
    assert set(record["versions"]) == set(versions())
    assert record["settings"]["sample_rate_hz"] == RATE_HZ
    assert len(record["autoencoder_history"]) == SOUND_SETTINGS["nb_epochs"]


def test_scan_page_is_self_contained_and_players_hold_the_clips(scanned, read_page):
    page = read_page(scanned[1] / "report.html")
    assert not [script for script in page.all("script") if "src" in script]
    assert page.all("link") == []
    players = players_of(page)
    assert len(players) == 16  # 8 suspects and 8 typical samples
    assert all(re.match(r"data:audio/wav;base64,UklGR", player["src"]) for player in players)
    assert {player["aria-label"].removeprefix("suspect: ") for player in players[:8]} == set(PLANTED)
    assert not {player["aria-label"].removeprefix("typical: ") for player in players[8:]} & set(PLANTED)
    assert len(page.all("caption")) == len(page.all("table"))
    assert not [link for link in page.links() if "://" in link]


def test_scan_page_and_table_show_untrusted_names_as_text(scanned, tmp_path, read_page):
    root, folder = scanned[0], tmp_path / "words"
    shutil.copytree(root, folder)
    for name in PLANTED:
        (folder / name).rename(folder / f"{name}{EVIL_NAME}")
    (folder / "ga").rename(folder / "=ga")
    scan(folder, tmp_path / "out", autoencoder=root.parent / "a.safetensors", verbose=False, **SCORING)
    page = read_page(tmp_path / "out" / "report.html")
    assert len(page.all("script")) == 3  # members of the group, earlier decisions, and the code of the page
    assert EVIL_NAME in page.text
    assert any(EVIL_NAME in player["aria-label"] for player in page.all("audio"))
    rows = rows_of(tmp_path / "out")
    assert len(rows) == len(PLANTED)
    assert all(EVIL_NAME in row["file"] for row in rows)
    assert all(row["file"].startswith("'=ga/") and row["class"] == "'=ga" for row in rows)


@pytest.mark.slow
def test_scan_same_seed_gives_equal_results_and_saved_autoencoder_judges_alike(scanned, tmp_path):
    root, out, record = scanned
    again = scan(root, tmp_path / "again", **SOUND_SETTINGS)
    assert again["classes"] == record["classes"]
    assert rows_of(tmp_path / "again") == rows_of(out)
    autoencoder = root.parent / "a.safetensors"
    loaded = scan(root, tmp_path / "loaded", autoencoder=autoencoder, verbose=False, **SCORING)
    assert [row["name"] for row in loaded["classes"]] == [row["name"] for row in record["classes"]]
    np.testing.assert_allclose(
        [row["mad_index"] for row in loaded["classes"]], [row["mad_index"] for row in record["classes"]], atol=1e-4
    )


def test_scan_nothing_poisoned_lists_the_top_class_as_no_verdict(scanned, tmp_path, read_page):
    root, _, record = scanned
    quiet = scan(
        root,
        tmp_path / "out",
        autoencoder=root.parent / "a.safetensors",
        apply_to=tmp_path / "keep.txt",
        max_listed=2,
        verbose=False,
        **(SCORING | {"threshold": 1e6}),
    )
    assert "None of the 5 classes is called poisoned" in quiet["finding"]
    assert "not a verdict" in quiet["finding"]
    assert {(row["class"], row["verdict"]) for row in rows_of(tmp_path / "out")} == {("ga", LOOK_HERE)}
    assert len((tmp_path / "keep.txt").read_text(encoding="utf-8").splitlines()) == record["counts"]["read"]
    page = read_page(tmp_path / "out" / "report.html")
    assert len(players_of(page)) == 10  # two typical samples, and four pages of two suspects
    assert len(page.all("template")) == 3
    assert "Page 1 of 4" in page.text
    assert "Worth a look, but no verdict: ga" in page.text


def test_scan_classes_too_small_to_judge_give_only_a_header(scanned, tmp_path):
    root = scanned[0]
    for name in CLASSES[:3]:
        (tmp_path / "words" / name).mkdir(parents=True)
        for i in range(4):
            content = (root / name / f"{i:02}.wav").read_bytes()
            (tmp_path / "words" / name / f"{i}.wav").write_bytes(content)
    record = scan(tmp_path / "words", tmp_path / "out", autoencoder=root.parent / "a.safetensors", verbose=False)
    assert record["finding"] == "No class could be judged."
    assert all(row["verdict"].startswith("not judged: 4 samples") for row in record["classes"])
    assert (tmp_path / "out" / "suspects.csv").read_text(encoding="utf-8") == ",".join(COLUMNS) + "\n"
    assert any("Only 0 classes could be judged" in note for note in record["notes"])


@pytest.mark.slow
def test_scan_images_planted_cluster_is_found_and_shown(tmp_path, read_page):
    root = write_images(tmp_path / "pictures")
    Image.fromarray(np.full((16, 16), 9, dtype=np.uint8)).save(root / "0" / "large.png")
    (root / "0" / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    record = scan(
        root, tmp_path / "out", nb_epochs=12, latent_dim=4, channels=4, batch_size=16, learning_rate=5e-3, verbose=False
    )
    assert record["classes"][0]["name"] == "2"
    assert {row["file"] for row in rows_of(tmp_path / "out")} == {f"2/{i:02}.png" for i in range(8)}
    assert record["mended_files"] == {"of another size, resized": ["0/large.png"], "one colour only": ["0/large.png"]}
    assert record["settings"]["sample_shape"] == [8, 8]
    pictures = read_page(tmp_path / "out" / "report.html").all("img")
    suspects = {picture["alt"] for picture in pictures if picture["alt"].startswith("suspect: ")}
    assert suspects == {f"suspect: 2/{i:02}.png" for i in range(8)}
    assert sum(picture["alt"].startswith(("Mean image", "Where the members")) for picture in pictures) == 3
    assert all(picture["src"].startswith("data:image/png;base64,iVBOR") for picture in pictures)


def test_page_beyond_its_size_names_samples_only(scanned, tmp_path, monkeypatch, read_page):
    root = scanned[0]
    monkeypatch.setattr(scan_page, "MAX_PAGE_BYTES", 5_000)
    scan(root, tmp_path / "out", autoencoder=root.parent / "a.safetensors", verbose=False, **SCORING)
    page = read_page(tmp_path / "out" / "report.html")
    assert len(players_of(page)) == 3  # of 1,644 bytes each
    assert "13 samples are shown by name only" in page.text
    assert all(name in page.text for name in PLANTED)


def fill(root: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not readable")
    return root


@pytest.mark.parametrize(
    ("names", "kwargs", "sentence"),
    [
        ((), {}, "does not exist; give a folder"),
        (("a.wav",), {}, "holds no class folders"),
        (("a/a.txt", "b/b.txt"), {}, "holds no sound .wav, flac, mp3, .* and no image .png, jpg, .* of a class"),
        (("a/a.wav", "b/b.txt"), {}, "holds 1 class folder with sound files. .* at least 2"),
        (("a/a.wav", "_b/b.wav"), {}, "holds 1 class folder"),
        (("a/a.wav", "b/b.png"), {}, "1 sound files and 1 images; choose one kind"),
        (("a/a.wav", "b/b.wav"), {"kind": "image"}, "holds 0 class folder with image files"),
        (("a/a.wav", "b/b.wav"), {"kind": "text"}, "kind must be one of"),
        (("a/a.wav", "b/b.wav"), {}, "None of the 2 sound files can be read"),
        (("a/a.png", "b/b.png"), {}, "None of the 2 images can be read"),
        (("a/a.wav", "b/b.wav"), {"size": (8, 8)}, "size is for images"),
        (("a/a.png", "b/b.png"), {"seconds": 1.0}, "seconds is for sounds"),
        (("a/a.wav", "b/b.wav"), {"seconds": -1.0}, "seconds must be"),
        (("a/a.wav", "b/b.wav"), {"threshold": -1}, "threshold must be"),
        (("a/a.wav", "b/b.wav"), {"false_alarm_rate": 0}, "false_alarm_rate must be"),
        (("a/a.wav", "b/b.wav"), {"nb_epochs": 0}, "nb_epochs must be"),
        (("a/a.wav", "b/b.wav"), {"random_state": -1}, "random_state must be"),
        (("a/a.wav", "b/b.wav"), {"max_listed": 0}, "max_listed must be"),
        (("a/a.wav", "b/b.wav"), {"nb_epoch": 3}, "Unknown parameter nb_epoch"),
        (("a/a.wav", "b/b.wav"), {"sample_rate_hz": 8_000}, "sample_rate_hz cannot be given to a scan"),
        (("a/a.wav", "b/b.wav"), {"autoencoder": "gone.safetensors"}, "does not exist"),
    ],
)
def test_scan_what_cannot_work_is_one_sentence_and_writes_nothing(tmp_path, names, kwargs, sentence):
    fill(tmp_path / "words", names)
    with pytest.raises(InvalidInputError, match=sentence) as error:
        scan(tmp_path / "words", tmp_path / "out", **kwargs)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_scan_one_class_left_after_reading_is_refused(scanned, tmp_path):
    fill(tmp_path / "words", ("a/0.wav", "b/0.wav"))
    (tmp_path / "words" / "a" / "0.wav").write_bytes((scanned[0] / "ba" / "00.wav").read_bytes())
    with pytest.raises(InvalidInputError, match=r"Only 1 class .* at least 2 are needed; 1 files were skipped"):
        scan(tmp_path / "words", tmp_path / "out", verbose=False)
    assert not (tmp_path / "out").exists()


def test_scan_existing_outputs_are_refused_before_any_file_is_read(scanned, tmp_path, monkeypatch):
    root = scanned[0]
    monkeypatch.setattr(SoundReader, "read", lambda *_: pytest.fail("heavy work has begun"))
    keep = tmp_path / "keep.txt"
    keep.write_text("precious")
    with pytest.raises(InvalidInputError, match=r"keep\.txt exists and is not overwritten"):
        scan(root, tmp_path / "out", apply_to=keep)
    with pytest.raises(InvalidInputError, match=r"keep\.txt exists and is not overwritten"):
        scan(root, tmp_path / "out", save_autoencoder=keep)
    with pytest.raises(InvalidInputError, match="is a file; name a folder"):
        scan(root, keep)
    with pytest.raises(InvalidInputError, match="cannot be written"):
        scan(root, keep / "below")
    with pytest.raises(InvalidInputError, match="already the name of another output"):
        scan(root, tmp_path / "out", apply_to=tmp_path / "out" / "report.html")
    with pytest.raises(InvalidInputError, match="already the name of another output"):
        scan(root, tmp_path / "out", apply_to=tmp_path / "new", save_autoencoder=tmp_path / "new")
    with pytest.raises(InvalidInputError, match="leave out autoencoder or save_autoencoder"):
        scan(root, tmp_path / "out", autoencoder=root.parent / "a.safetensors", save_autoencoder=tmp_path / "new")
    assert keep.read_text() == "precious"
    assert os.listdir(tmp_path) == ["keep.txt"]


def test_scan_autoencoder_of_another_kind_or_file_is_refused(scanned, tmp_path):
    root = scanned[0]
    images = write_images(tmp_path / "pictures")
    with pytest.raises(InvalidInputError, match=r"fitted on data of kind 'waveform', and the folder holds images"):
        scan(images, tmp_path / "out", autoencoder=root.parent / "a.safetensors")
    with pytest.raises(InvalidInputError, match="leave out seconds and size"):
        scan(root, tmp_path / "out", autoencoder=root.parent / "a.safetensors", seconds=1.0)
    with pytest.raises(FileFormatError, match="not a readable safetensors file"):
        scan(root, tmp_path / "out", autoencoder=root / "pa" / "00.wav")
    unit_range = np.random.default_rng(0).uniform(size=(20, 8, 8)).astype(np.float32)
    defence = VAELatentDefence(None, unit_range, np.arange(20) % 2, kind="image", channels=2, latent_dim=2, verbose=False)
    defence.detect_poison(nb_epochs=1)
    defence.autoencoder_.save(tmp_path / "unit.safetensors")
    with pytest.raises(InvalidInputError, match="values 0 to 255"):
        scan(images, tmp_path / "out", autoencoder=tmp_path / "unit.safetensors")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("package", "extra"), [("jinja2", "report"), ("soundfile", "audio")])
def test_scan_without_a_package_says_so_before_any_file_is_read(scanned, tmp_path, monkeypatch, package, extra):
    monkeypatch.setattr(SoundReader, "read", lambda *_: pytest.fail("heavy work has begun"))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf'pip install "art-plugins\[{extra}\]"'):
        scan(scanned[0], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_scan_failure_while_the_page_is_made_leaves_no_results(scanned, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("planted")

    monkeypatch.setattr(group_views, "wav_bytes", fail)
    root = scanned[0]
    with pytest.raises(RuntimeError, match="planted"):
        scan(
            root,
            tmp_path / "out",
            autoencoder=root.parent / "a.safetensors",
            apply_to=tmp_path / "keep.txt",
            verbose=False,
        )
    assert os.listdir(tmp_path) == []


def test_scan_full_disk_at_the_end_leaves_nothing_and_the_same_call_is_accepted(scanned, tmp_path, monkeypatch):
    root, written = scanned[0], Path.write_text

    def call():
        keep = tmp_path / "keep.txt"
        autoencoder = root.parent / "a.safetensors"
        return scan(root, tmp_path / "out", autoencoder=autoencoder, apply_to=keep, verbose=False, **SCORING)

    def full(path, text, **kwargs):
        if path.name == "record.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(path, text, **kwargs)

    with monkeypatch.context() as small:
        small.setattr(Path, "write_text", full)
        with pytest.raises(
            InvalidInputError, match=r"record\.json cannot be written \(No space left on device\); make room"
        ):
            call()
    assert os.listdir(tmp_path) == []
    call()
    assert sorted(os.listdir(tmp_path)) == ["keep.txt", "out"]
    assert sorted(os.listdir(tmp_path / "out")) == ["record.json", "report.html", "suspects.csv"]


def test_scan_one_broken_file_of_any_kind_is_that_files(scanned, tmp_path, monkeypatch):
    root = scanned[0]
    for name in ("a", "b"):
        (tmp_path / "words" / name).mkdir(parents=True)
        for i in range(2):
            shutil.copy(root / "ba" / "00.wav", tmp_path / "words" / name / f"{i}.wav")
    real_open = soundfile.SoundFile

    def broken(path, *args, **kwargs):
        if str(path).endswith("b/1.wav"):
            raise AssertionError
        return real_open(path, *args, **kwargs)

    monkeypatch.setattr(soundfile, "SoundFile", broken)
    with read_folder(find_class_folders(tmp_path / "words"), SoundReader(RATE_HZ, 800), verbose=False) as data:
        assert data.files == ("a/0.wav", "a/1.wav", "b/0.wav")
        assert data.skipped_files == {"b/1.wav": "it is not a readable sound file (AssertionError)"}


def test_file_rows_put_like_reasons_together_and_counts_add_up(scanned_odd):
    record = scanned_odd[2]
    counts = record["counts"]
    assert counts["found"] == counts["read"] + counts["skipped"]
    rows = file_rows(record)
    assert sum(n for what, n, _ in rows if what == "skipped") == counts["skipped"]
    assert sum(n for what, n, _ in rows if what == "ignored") == counts["ignored"]
    assert sum(n for what, n, _ in rows if what == "folder skipped") == counts["skipped_folders"]
    assert ("mended", 1, "8-bit") in rows
    twins = [{"reason": f"it is the same file as a/{i}.wav"} for i in range(3)]
    cut = [{"reason": f"it is truncated: {i} of 9 samples are there"} for i in range(2)]
    merged = file_rows({"skipped_files": twins + cut, "skipped_folders": [], "mended_files": {}, "ignored_files": {}})
    assert merged == [("skipped", 3, "it is the same file"), ("skipped", 2, "it is truncated")]


def test_read_folder_streams_to_a_map_without_a_name_on_the_disk(scanned, tmp_path, monkeypatch):
    root = scanned[0]
    monkeypatch.setattr(folder_data.tempfile, "tempdir", str(tmp_path))
    with read_folder(find_class_folders(root), SoundReader(RATE_HZ, 800), verbose=False) as data:
        assert isinstance(data.x, np.memmap)
        assert list(tmp_path.iterdir()) == []  # a process that is killed here leaves nothing
        assert data.class_names == CLASSES
        row = data.files.index("da/03.wav")
        assert data.class_names[data.labels[row]] == "da"
        np.testing.assert_allclose(data.x[row], soundfile.read(root / "da" / "03.wav")[0], atol=1e-6)


@pytest.mark.parametrize("n_at_once", [1, 7, 10_000])
def test_read_folder_writes_every_sample_however_many_at_once(scanned, monkeypatch, n_at_once):
    root = scanned[0]
    monkeypatch.setattr(folder_data, "BLOCK_BYTES", n_at_once * 800 * 4)
    with read_folder(find_class_folders(root), SoundReader(RATE_HZ, 800), verbose=False) as data:
        assert len(data.files) % 7 != 0  # the last block is not full
        for row, name in enumerate(data.files):
            np.testing.assert_allclose(data.x[row], soundfile.read(root / name)[0], atol=1e-6)


@pytest.mark.parametrize("has_fallocate", [True, False])
def test_read_folder_full_disk_is_one_sentence(scanned, monkeypatch, has_fallocate):
    """The room is really taken, so that a full disk is no signal that ends the process."""

    def full(*_):
        raise OSError(errno.ENOSPC if has_fallocate else errno.EOPNOTSUPP, "No space left on device")

    def full_at_the_second(_, content):
        written.append(len(content))
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    written = []
    monkeypatch.setattr(disk_room.os, "posix_fallocate", full, raising=False)
    monkeypatch.setattr(disk_room.os, "write", full_at_the_second)
    monkeypatch.setattr(disk_room, "ZEROS_BYTES", 1_000)
    with (
        pytest.raises(
            InvalidInputError, match=r"The 120 decoded files need 1 MB in .* \(No space left on device\); choose"
        ),
        read_folder(find_class_folders(scanned[0]), SoundReader(RATE_HZ, 800), verbose=False),
    ):
        pytest.fail("there was no room")
    assert written == ([] if has_fallocate else [1_000, 1_000])


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no POSIX")
@pytest.mark.parametrize("has_fallocate", [True, False])
def test_read_folder_takes_the_room_before_it_reads(scanned, monkeypatch, has_fallocate):
    def none(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    def look(*_):
        nonlocal n_blocks
        n_blocks = os.fstat(descriptor[0]).st_blocks
        raise InvalidInputError("not today")

    descriptor, n_blocks, taken = [], 0, disk_room.take_room
    monkeypatch.setattr(disk_room, "take_room", lambda file, *sizes: descriptor.append(file) or taken(file, *sizes))
    monkeypatch.setattr(SoundReader, "read", look)
    if not has_fallocate:
        monkeypatch.setattr(disk_room.os, "posix_fallocate", none)
    with (
        pytest.raises(InvalidInputError, match="Only 0 class"),
        read_folder(find_class_folders(scanned[0]), SoundReader(RATE_HZ, 800), verbose=False),
    ):
        pytest.fail("nothing could be read")
    assert n_blocks * 512 >= 120 * 800 * 4


def test_find_class_folders_names_that_are_no_text_are_skipped(tmp_path):
    root = fill(tmp_path, ("a/1.wav", "a/été  nbsp.wav", "b/1.wav"))
    try:
        (root / "b" / os.fsdecode(b"\xff.wav")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    found = find_class_folders(root)
    assert found.files == ["a/1.wav", "a/été  nbsp.wav", "b/1.wav"]
    assert list(found.skipped_files) == ["b/\\udcff.wav"]


def test_order_halves_by_hand():
    latents = np.array([[0.0], [1.0], [0.4], [10.0], [12.0], [11.0]])
    suspects = np.array([False, False, False, True, True, True])
    scores = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 2.0])
    halves = order_halves(np.array([5, 6, 7, 20, 21, 22]), suspects, scores, latents)
    assert halves.suspects.tolist() == [22, 21, 20]  # the highest score, then the furthest out
    assert halves.typical.tolist() == [7, 5, 6]  # the nearest to the mean of 0.467


def test_order_halves_permuted_samples_give_the_same_samples():
    random = np.random.default_rng(4)
    latents, suspects = random.normal(size=(30, 5)), random.random(30) < 0.3
    scores = np.where(suspects, 2.0, 0.0)
    order = random.permutation(30)
    before = order_halves(np.arange(30), suspects, scores, latents)
    after = order_halves(order, suspects[order], scores[order], latents[order])
    assert before.suspects.tolist() == after.suspects.tolist()
    assert before.typical.tolist() == after.typical.tolist()


def test_versions_name_what_is_installed_and_what_is_not(monkeypatch):
    assert versions()["numpy"] == np.__version__
    monkeypatch.setattr("art_plugins.evaluation.running.environment.PACKAGES", ("no-such-package-at-all",))
    assert versions()["no-such-package-at-all"] == "not installed"


def test_autoencoder_saved_by_a_scan_loads(scanned):
    assert Autoencoder.load(scanned[0].parent / "a.safetensors").settings.sample_rate_hz == RATE_HZ
