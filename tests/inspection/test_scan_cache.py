"""Decoded samples that are kept: only new files are decoded, damage is mended, and the answer is that of a whole scan."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from art_plugins.files.image_files import ImageReader
from art_plugins.inspection.evidence import cache
from art_plugins.inspection.evidence.cache import CachedReader, cached
from art_plugins.inspection.scan import scan
from art_plugins.inspection.settings import ScanSettings

OUTPUTS = ("record.json", "report.html", "suspects.csv")
TINY = {"latent_dim": 3, "step_latent_dim": 1, "embedding_dim": 16, "hidden_dim": 16, "channels": 4}


def write(root: Path, name: str, seed: int) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are decoded."""
    names: list[str] = []
    read = ImageReader.read

    def counted(self: ImageReader, item: Any) -> Any:
        names.append(item.name)
        return read(self, item)

    monkeypatch.setattr(ImageReader, "read", counted)
    return names


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


def test_cache_damaged_file_is_removed_and_its_samples_are_decoded_again(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MOST_ROWS", 2)
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
    assert len(CachedReader(reader, tmp_path / "cache").places) == 1


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
    assert len(whole.places) == 20
    assert len(list((tmp_path / "cache").rglob("*.partial"))) == 0
