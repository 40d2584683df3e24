"""Decoded samples that are kept: only new files are decoded, damage is mended, and the answer is that of a whole scan."""

from __future__ import annotations

import json
import re
import threading
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import soundfile
from PIL import Image

from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.running.workers import Workers
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.encodings import encode_all
from art_plugins.features.vae.settings import AutoencoderSettings
from art_plugins.features.vae.shipped import load_autoencoder
from art_plugins.files.class_folders import find_class_folders
from art_plugins.files.folder_data import read_folder
from art_plugins.files.image_files import ImageReader
from art_plugins.files.sound_files import SoundReader
from art_plugins.inspection.evidence import ahead
from art_plugins.inspection.evidence import shards as kept_shards
from art_plugins.inspection.evidence.cache import CachedReader, cached, kept_features
from art_plugins.inspection.scan import scan
from art_plugins.inspection.settings import ScanSettings

OUTPUTS = ("record.json", "report.html", "suspects.csv")
TINY = {"latent_dim": 3, "step_latent_dim": 1, "embedding_dim": 16, "hidden_dim": 16, "channels": 4}


def write(root: Path, name: str, seed: int) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    return path


def names_read(monkeypatch: pytest.MonkeyPatch, reader: type[Any]) -> list[str]:
    """Names of the files that a kind of reader decodes from now on."""
    names: list[str] = []
    read = reader.read

    def counted(self: Any, item: Any) -> Any:
        names.append(item.name)
        return read(self, item)

    monkeypatch.setattr(reader, "read", counted)
    return names


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the pictures that are decoded."""
    return names_read(monkeypatch, ImageReader)


@pytest.fixture
def decoded_clips(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the sound files that are decoded."""
    return names_read(monkeypatch, SoundReader)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of samples that the autoencoder encodes, call by call."""
    numbers: list[int] = []
    encode_rows = Autoencoder.encode_rows

    def counted(self: Autoencoder, x: np.ndarray, *others: Any) -> Any:
        numbers.append(len(x))
        return encode_rows(self, x, *others)

    monkeypatch.setattr(Autoencoder, "encode_rows", counted)
    return numbers


def kind_of(path: Path) -> str:
    with safetensors.safe_open(path, framework="numpy") as file:
        return str(json.loads(file.metadata()["art_plugins"])["kind"])


def texts(out: Path) -> list[str]:
    """The results without times, and without what names the cache and the folder of the results."""
    return [re.sub(r'"seconds": [\d.e-]+|It took \d+ s', "", (out / name).read_text(encoding="utf-8")) for name in OUTPUTS]


def test_cache_second_scan_of_a_grown_folder_decodes_only_new_files_and_gives_the_bytes_of_a_whole_one(
    tmp_path: Path, decoded: list[str]
) -> None:
    root, kept = tmp_path / "data", tmp_path / "cache"
    for index in range(30):
        write(root, f"{index % 5}/{index:02}.png", index)

    def run(out: str, **settings: Any) -> list[str]:
        scan(root, out=tmp_path / out, settings=ScanSettings(autoencoder=TINY, **settings), nb_epochs=1, verbose=False)
        return texts(tmp_path / out)

    run("first", cache=kept)
    assert len(decoded) == 30
    decoded.clear()
    write(root, "2/new.png", 99)
    (root / "0" / "00.png").rename(root / "0" / "renamed.png")  # the content tells, not the name
    grown = run("second", cache=kept)
    assert decoded == ["new.png"]
    decoded.clear()
    assert grown == run("whole")
    assert len(decoded) == 31
    decoded.clear()
    assert grown == run("third", cache=kept)
    assert decoded == []


def write_clip(root: Path, name: str, seed: int) -> None:
    path, random = root / name, np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, random.normal(0, 0.1, 8_000) * random.uniform(0.2, 1), 16_000)


@pytest.mark.slow
def test_cache_features_of_a_fitted_autoencoder_are_computed_for_new_clips_only_and_the_answer_is_that_of_a_whole_scan(
    tmp_path: Path, encoded: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    root, kept = tmp_path / "data", tmp_path / "cache"
    for index in range(70):
        write_clip(root, f"{index % 5}/{index:02}.wav", index)

    def run(out: str, cache: Path | None = kept) -> list[str]:
        encoded.clear()
        settings = ScanSettings(autoencoder="speech", only=("latents",), cache=cache)
        scan(root, out=tmp_path / out, settings=settings, verbose=False)
        return texts(tmp_path / out)

    assert run("first") == run("without", None)
    write_clip(root, "2/new.wav", 99)
    grown = run("second")
    assert sum(encoded) == 1
    assert grown == run("whole", None)
    assert sum(encoded) == 71
    shards = sorted(path for path in kept.rglob("*.safetensors") if kind_of(path) == "features_of_samples")
    assert len(shards) == 2
    larger = max(shards, key=lambda path: path.stat().st_size)
    content = bytearray(larger.read_bytes())
    content[-1] ^= 1
    larger.write_bytes(content)
    assert run("mended") == grown
    assert sum(encoded) == 70
    assert f"{larger} cannot be used" in caplog.text
    assert run("third") == grown
    assert encoded == []


def test_cache_features_of_another_autoencoder_are_not_taken(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 2_000)).astype(np.float32)
    settings = AutoencoderSettings(**TINY, sample_rate_hz=16_000)
    fits = [Autoencoder(settings).fit(x, nb_epochs=1, random_state=seed, verbose=False) for seed in (0, 1)]
    for fitted in fits:
        with kept_features(fitted, (2_000,), tmp_path) as memory:
            found = encode_all(fitted, x, memory)
        for name, values in encode_all(fitted, x)._asdict().items():
            np.testing.assert_array_equal(getattr(found, name), values)
    assert len(list(tmp_path.iterdir())) == 2


def test_cache_keeps_nothing_of_an_autoencoder_that_is_trained_on_the_data(tmp_path: Path) -> None:
    with kept_features(None, (2_000,), tmp_path) as memory:
        assert memory is None
    assert list(tmp_path.iterdir()) == []


def test_cache_damaged_file_is_removed_and_its_samples_are_decoded_again(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_shards, "MOST_ROWS", 2)
    files = [write(tmp_path, f"{index}.png", index) for index in range(4)]
    reader = ImageReader((8, 8), True)
    with cached(reader, tmp_path / "cache") as keeping:
        expected = [keeping.read(file)[0] for file in files]
    shards = sorted((tmp_path / "cache").rglob("*.safetensors"))
    assert len(shards) == 2
    content = bytearray(shards[0].read_bytes())
    content[-1] ^= 1
    shards[0].write_bytes(content)
    decoded.clear()
    with cached(reader, tmp_path / "cache") as keeping:
        found = [keeping.read(file)[0] for file in files]
    assert len(decoded) == 2
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))
    decoded.clear()
    with cached(reader, tmp_path / "cache") as keeping:
        assert all(np.array_equal(a, keeping.read(file)[0]) for a, file in zip(expected, files, strict=True))
    assert decoded == []


def test_cache_another_reader_does_not_take_the_samples(tmp_path: Path, decoded: list[str]) -> None:
    file = write(tmp_path, "a.png", 0)
    for side in (8, 4):
        with cached(ImageReader((side, side), True), tmp_path / "cache") as keeping:
            assert keeping.read(file)[0].shape == (side, side)
    assert len(decoded) == 2


def test_cache_what_was_decoded_is_kept_when_a_scan_breaks_off(tmp_path: Path, decoded: list[str]) -> None:
    file, reader = write(tmp_path, "a.png", 0), ImageReader((8, 8), True)

    def broken_off() -> None:
        with cached(reader, tmp_path / "cache") as keeping:
            keeping.read(file)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    decoded.clear()
    assert len(CachedReader(reader, tmp_path / "cache").shards) == 1


def test_cache_two_scans_at_once_leave_whole_files(tmp_path: Path) -> None:
    files = [write(tmp_path, f"{index}.png", index) for index in range(20)]
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with cached(ImageReader((8, 8), True), tmp_path / "cache") as keeping:
                for file in files:
                    keeping.read(file)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    whole = CachedReader(ImageReader((8, 8), True), tmp_path / "cache")
    assert len(whole.shards) == 20
    assert len(list((tmp_path / "cache").rglob("*.partial"))) == 0


def test_workers_fill_the_cache_from_which_a_scan_gives_the_answer_of_one_without_workers(
    tmp_path: Path, encoded: list[int], decoded_clips: list[str]
) -> None:
    root, kept = tmp_path / "data", tmp_path / "cache"
    for index in range(30):
        write_clip(root, f"{index % 5}/{index:02}.wav", index)
    (root / "1" / "broken.wav").write_bytes(b"RIFF")
    speech = load_autoencoder("speech").for_shape((8_000,))
    shared = ahead.Reading(SoundReader(16_000, 8_000), kept, (speech.state_arrays(), speech.state_settings()))
    files = sorted(root.rglob("*.wav"))
    assert sum(ahead.read_part(shared, part) for part in (files[:20], files[20:])) == 31
    encoded.clear()
    decoded_clips.clear()
    settings = ScanSettings(autoencoder="speech", only=("latents",), seconds=0.5, cache=kept)
    scan(root, out=tmp_path / "spread", settings=settings, verbose=False)
    assert encoded == []
    assert decoded_clips == ["broken.wav"]
    scan(root, out=tmp_path / "alone", settings=replace(settings, cache=None), verbose=False)
    assert texts(tmp_path / "spread") == texts(tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["local", "dask", "ray"])
def test_workers_of_every_backend_leave_nothing_to_decode(
    backend: str, tmp_path: Path, decoded: list[str], start_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "MOST_FILES", 5)
    for index in range(30):
        write(tmp_path / "data", f"{index % 5}/{index:02}.png", index)
    found, reader = find_class_folders(tmp_path / "data"), ImageReader((8, 8), True)
    with nullcontext(({"jobs": 2}, None)) if backend == "local" else start_cluster(backend, 2) as (arguments, _):
        ahead.read_ahead(found, reader, None, tmp_path / "cache", Workers(**arguments), verbose=False)
    with cached(reader, tmp_path / "cache") as keeping, read_folder(found, keeping, verbose=False) as data:
        assert len(data.files) == 30
    assert decoded == []
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 6


def test_workers_without_a_cache_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="name a folder for it with cache"):
        scan(tmp_path, out=tmp_path / "out", settings=ScanSettings(jobs=2))
    with pytest.raises(InvalidInputError, match="needs an address"):
        scan(tmp_path, out=tmp_path / "out", settings=ScanSettings(backend="dask", cache=tmp_path))


def test_workers_are_not_sent_arrays(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (20, 8, 8), np.uint8)
    with pytest.raises(InvalidInputError, match="Workers read files"):
        scan(pictures, np.arange(20) % 5, tmp_path / "out", ScanSettings(jobs=2, cache=tmp_path / "cache"), verbose=False)
