"""Copies of original files without a trigger keep what the file is: its rate, channels, format, depth and colours."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from art_plugins.errors import InvalidInputError
from art_plugins.features.resampling import resample
from art_plugins.files.open_image import is_sixteen_bit, open_image, sixteen_bit_values
from art_plugins.files.sources.items import Clip
from art_plugins.inspection.restoring.originals import clean_clip, clean_picture, deep_png

RATE_HZ = 8_000


@pytest.fixture
def burst(random: np.random.Generator) -> np.ndarray:
    """A second in which a burst lies at 0.25 s, in steps of 16 bits."""
    part = np.zeros(RATE_HZ)
    part[2_000:2_600] = random.integers(-3_000, 3_000, 600) / 2**15
    return part


@pytest.mark.parametrize(
    ("ending", "subtype", "bits"),
    [(".wav", "PCM_16", 16), (".flac", "PCM_16", 16), (".wav", "PCM_24", 24), (".wav", "PCM_U8", 8), (".wav", "FLOAT", 24)],
)
def test_copy_of_a_clip_has_its_format_and_is_the_clean_clip(
    tmp_path: Path, random: np.random.Generator, burst: np.ndarray, ending: str, subtype: str, bits: int
) -> None:
    step = 2.0 ** (1 - bits)
    burst = np.rint(burst / step) * step
    clean = np.rint(random.normal(0, 0.1, RATE_HZ + 500).clip(-0.5, 0.5) / step) * step
    triggered = clean + np.pad(burst, (0, 500))
    soundfile.write(tmp_path / f"x{ending}", triggered, RATE_HZ, subtype=subtype)
    copy = clean_clip(tmp_path / f"x{ending}", burst, RATE_HZ)
    assert copy.ending == ending
    info = soundfile.info(io.BytesIO(copy.content))
    assert (info.samplerate, info.channels, info.subtype, info.frames) == (RATE_HZ, 1, subtype, RATE_HZ + 500)
    restored, _ = soundfile.read(io.BytesIO(copy.content), dtype="float64")
    before, _ = soundfile.read(tmp_path / f"x{ending}", dtype="float64")
    np.testing.assert_array_equal(restored[burst.nonzero()[0][-1] + 1 :], before[burst.nonzero()[0][-1] + 1 :])
    np.testing.assert_allclose(restored, before - np.pad(burst, (0, 500)), atol=step / 1_000)


def test_copy_of_a_clip_of_a_lower_rate_has_this_rate(random: np.random.Generator, burst: np.ndarray) -> None:
    fast = resample(burst, RATE_HZ, 2 * RATE_HZ)
    clean = 0.1 * random.normal(size=RATE_HZ)
    copy = clean_clip(Clip(clean + burst, RATE_HZ), fast, 2 * RATE_HZ)
    restored, rate_hz = soundfile.read(io.BytesIO(copy.content), dtype="float64")
    assert rate_hz == RATE_HZ
    left = restored - clean
    assert (left**2).sum() < 0.1 * (burst**2).sum()  # what lies near half of the rate is lost by a resampling


def test_clip_of_a_higher_rate_is_not_restored(burst: np.ndarray) -> None:
    with pytest.raises(InvalidInputError, match="sample rate is higher"):
        clean_clip(Clip(np.ones(100), 2 * RATE_HZ), burst, RATE_HZ)


def test_channels_that_hold_the_sound_alike_are_restored_and_others_are_not(
    random: np.random.Generator, burst: np.ndarray
) -> None:
    clean = 0.02 * random.normal(size=(RATE_HZ, 2))
    copy = clean_clip(Clip((clean + burst[:, None]).astype(np.float32), RATE_HZ), burst, RATE_HZ)
    restored, _ = soundfile.read(io.BytesIO(copy.content))
    np.testing.assert_allclose(restored, clean, atol=1e-6)
    for levels in ([2.0, 0.0], [1.5, 0.5]):  # the mean over the channels is the same
        with pytest.raises(InvalidInputError, match="not as loud in each"):
            clean_clip(Clip((clean + burst[:, None] * levels).astype(np.float32), RATE_HZ), burst, RATE_HZ)


def pixels() -> np.ndarray:
    mask = np.zeros((10, 12), dtype=bool)
    mask[4:7, 5:8] = True
    return mask


@pytest.mark.parametrize("shape", [(10, 12), (10, 12, 3)])
def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path, random: np.random.Generator, shape: tuple[int, ...]) -> None:
    values = random.integers(0, 2**16, shape).astype(np.uint16)
    slope = np.arange(12, dtype=np.uint16) * 1_001 + 7
    values[2:9, 3:10] = slope[3:10] if len(shape) == 2 else slope[3:10, None]  # harmonic, so that it is known what is right
    stamped = values.copy()
    stamped[pixels()] = 2**16 - 1
    (tmp_path / "x.png").write_bytes(deep_png(stamped))
    copy = clean_picture(tmp_path / "x.png", pixels())
    with open_image(copy.content) as image:
        assert is_sixteen_bit(image)
        np.testing.assert_array_equal(sixteen_bit_values(image, copy.content), values)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P"])
def test_colours_and_transparency_stay(tmp_path: Path, random: np.random.Generator, mode: str) -> None:
    slope = np.tile(np.arange(0, 240, 20, dtype=np.uint8), (10, 1))
    clean = Image.fromarray(slope).convert("RGB" if mode == "P" else mode)
    if mode in ("RGBA", "LA"):
        clean.putalpha(Image.fromarray(random.integers(0, 256, (10, 12)).astype(np.uint8)))
    stamped = np.asarray(clean).copy()
    colours = stamped if stamped.ndim == 2 else stamped[..., : {"RGBA": 3, "LA": 1}.get(mode, 3)]
    colours[pixels()] = 255
    image = Image.fromarray(stamped)
    (image.quantize(32) if mode == "P" else image).save(tmp_path / "x.png")
    restored = Image.open(io.BytesIO(clean_picture(tmp_path / "x.png", pixels()).content))
    assert restored.mode == ("RGB" if mode == "P" else mode)
    np.testing.assert_array_equal(np.asarray(restored), np.asarray(clean))


def test_picture_of_another_size_is_not_restored() -> None:
    with pytest.raises(InvalidInputError, match="another size"):
        clean_picture(np.zeros((5, 5), dtype=np.uint8), pixels())
