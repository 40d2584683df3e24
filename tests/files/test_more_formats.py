"""Sounds and images of further types are read as those of the common ones, from a file and from its content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from art_plugins.errors import InvalidInputError
from art_plugins.files.class_folders import SUFFIXES, find_class_folders
from art_plugins.files.image_files import ImageReader, choose_image_reader
from art_plugins.files.sound_files import SoundReader, choose_sound_reader

RATE_HZ = 16_000
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32)
PICTURE = np.random.default_rng(2).integers(0, 256, size=(8, 12, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("suffix", "form", "subtype"),
    [(".mp3", "MP3", None), (".ogg", "OGG", "VORBIS"), (".opus", "OGG", "OPUS"), (".aiff", "AIFF", "PCM_16")],
)
def test_sounds_of_further_types_are_read(tmp_path: Path, suffix: str, form: str, subtype: str | None) -> None:
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, TONE, RATE_HZ, format=form, subtype=subtype)
    reader = choose_sound_reader([path], seconds=1.0)
    assert reader.sample_rate_hz in (RATE_HZ, 48_000)  # opus has 48 kHz inside, and some versions say so
    of_path, mended = SoundReader(RATE_HZ, RATE_HZ).read(path)
    of_bytes, _ = SoundReader(RATE_HZ, RATE_HZ).read(path.read_bytes())
    assert np.array_equal(of_path, of_bytes)
    middle = slice(4_000, 12_000)
    assert np.corrcoef(of_path[middle], TONE[middle])[0, 1] > 0.9 or suffix == ".mp3"  # which begins with silence
    assert np.abs(of_path[middle]).max() == pytest.approx(0.5, abs=0.05)
    assert set(mended) <= {"padded", "cropped", "resampled", "louder than full scale, clipped"}  # opus rings at the start


@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".webp", {"lossless": True}), (".bmp", {}), (".tif", {}), (".tiff", {"compression": "tiff_lzw"})],
)
def test_images_of_further_types_are_read(tmp_path: Path, suffix: str, options: dict[str, object]) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(PICTURE).save(path, **options)
    for item in (path, path.read_bytes(), PICTURE):
        picture, mended = ImageReader((12, 8), is_grey=False).read(item)
        assert np.array_equal(picture, PICTURE)
        assert mended == []


def test_first_frame_of_a_gif_is_read_and_said(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((8, 12), value, dtype=np.uint8)) for value in (0, 255)]
    frames[0].putpixel((0, 0), 7)
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    picture, mended = choose_image_reader([tmp_path / "a.gif"]).read(tmp_path / "a.gif")
    assert picture.max() <= 7
    assert "first frame of several" in mended


def test_tiff_that_lies_on_its_side_is_turned_once(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PICTURE).save(tmp_path / "a.tif", exif=exif)
    Image.fromarray(PICTURE).save(tmp_path / "a.png", exif=exif)
    reader = choose_image_reader([tmp_path / "a.png"])
    assert reader.size == choose_image_reader([tmp_path / "a.tif"]).size == (8, 12)
    assert np.array_equal(reader.read(tmp_path / "a.tif")[0], reader.read(tmp_path / "a.png")[0])


def test_tiff_of_floating_point_numbers_is_refused_and_of_16_bits_is_scaled(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(0, 1, 96).reshape(8, 12).astype(np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(InvalidInputError, match="floating-point numbers; save it with 8 or 16 bits"):
        ImageReader((12, 8), is_grey=True).read(tmp_path / "a.tif")
    values = np.linspace(0, 65_535, 96).reshape(8, 12).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "b.tif")
    picture, mended = ImageReader((12, 8), is_grey=True).read(tmp_path / "b.tif")
    assert np.abs(picture - values / 257).max() <= 0.5
    assert mended == ["16-bit, made 8-bit"]


def test_folder_finds_every_type(tmp_path: Path) -> None:
    for word in ("a", "b"):
        (tmp_path / word).mkdir()
        for suffix in SUFFIXES["image"]:
            (tmp_path / word / f"x{suffix.upper()}").write_bytes(b"")
    assert len(find_class_folders(tmp_path).files) == 2 * len(SUFFIXES["image"])
