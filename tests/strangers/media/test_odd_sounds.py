"""Sound files as strangers have them: every subtype, rate, length and damage, each with the line that a scan says of it."""

from __future__ import annotations

import io
import itertools
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import pytest

from art_plugins.errors import InvalidInputError
from art_plugins.files.sound_files import SoundReader, choose_sound_reader

soundfile = pytest.importorskip("soundfile")

RATE_HZ, SECONDS = 8_000, 0.5
READER = SoundReader(RATE_HZ, 4_000)
WAV = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM")
FLAC = ("PCM_S8", "PCM_16", "PCM_24")
EIGHT_BIT = ("PCM_U8", "PCM_S8", "ULAW", "ALAW")
BLOCKS = ("IMA_ADPCM", "MS_ADPCM")  # whose length is rounded up to a whole block
WRONG_LENGTH = "wrong length in its header, read to its end"


class Case(NamedTuple):
    """
    ``line``: "read", "mended: ...", or "skipped: ..." with a regular expression for the reason; ``tone_s``: length of
    the tone that the clip is to begin with.
    """

    name: str
    content: bytes
    line: str
    tone_s: float = 0.0


def tone(rate_hz: int = RATE_HZ, seconds: float = SECONDS, channels: int = 1) -> np.ndarray:
    one = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate_hz)) / rate_hz)
    return np.repeat(one[:, None], channels, axis=1)


def encoded(
    format: str = "WAV", subtype: str = "PCM_16", samples: np.ndarray | None = None, rate_hz: int = RATE_HZ, **kwargs
):
    buffer = io.BytesIO()
    soundfile.write(buffer, tone() if samples is None else samples, rate_hz, format=format, subtype=subtype, **kwargs)
    return buffer.getvalue()


def line_of(*mended: str) -> str:
    return f"mended: {'; '.join(mended)}" if mended else "read"


def healthy() -> Iterator[Case]:
    """Files that hold the same tone in every form."""
    subtypes = [("WAV", subtype) for subtype in WAV] + [("FLAC", subtype) for subtype in FLAC]
    for (format, subtype), channels, rate_hz, length in itertools.product(
        subtypes, (1, 2), (8_000, 11_025, 44_100), (0.2, 0.5, 0.8)
    ):
        if subtype in BLOCKS and rate_hz == RATE_HZ and length == SECONDS:
            continue  # whether it is a few samples longer is the encoder's choice
        mended = []
        if subtype in EIGHT_BIT:
            mended.append("8-bit")
        if channels > 1:
            mended.append("mixed down to mono")
        if rate_hz != RATE_HZ:
            mended.append("resampled")
        samples = tone(rate_hz, length, channels)
        n_whole = int(np.ceil(len(samples) * RATE_HZ / rate_hz))
        if n_whole != 4_000 and subtype not in BLOCKS:
            mended.append("padded" if n_whole < 4_000 else "cropped")
        if subtype in BLOCKS:
            if length == SECONDS:
                continue
            mended.append("padded" if length < SECONDS else "cropped")
        name = f"{subtype}-{channels}ch-{rate_hz}-{length}s.{format.lower()}"
        yield Case(name, encoded(format, subtype, samples, rate_hz), line_of(*mended), min(length, SECONDS))
    for format, subtype in (("WAVEX", "PCM_16"), ("RF64", "PCM_16"), ("WAVEX", "FLOAT")):
        yield Case(f"{format}-{subtype}.wav", encoded(format, subtype), "read", SECONDS)
    yield Case("big-endian.wav", encoded(endian="BIG"), "read", SECONDS)
    for format, subtype in (("AIFF", "PCM_16"), ("AU", "PCM_16"), ("FLAC", "PCM_16"), ("W64", "PCM_16"), ("CAF", "PCM_16")):
        yield Case(f"{format}-under-the-name-of.wav", encoded(format, subtype), "read", SECONDS)
    for channels in (3, 8, 64):
        yield Case(
            f"{channels}-channels.wav", encoded(samples=tone(channels=channels)), "mended: mixed down to mono", SECONDS
        )
    yield Case("silent.wav", encoded(samples=np.zeros(4_000)), "mended: near silent")
    yield Case("quiet.flac", encoded("FLAC", samples=tone()[:, 0] * 1e-3), "mended: near silent")
    yield Case("one-sample.wav", encoded(samples=np.full(1, 0.5)), "mended: padded")
    for subtype in ("FLOAT", "DOUBLE"):
        loud = encoded(subtype=subtype, samples=3 * tone())
        yield Case(f"loud-{subtype}.wav", loud, "mended: louder than full scale, clipped")
        for value in (np.nan, np.inf, -np.inf):
            spoilt = tone()
            spoilt[17] = value
            yield Case(
                f"{value}-{subtype}.wav", encoded(subtype=subtype, samples=spoilt), "skipped: it holds NaN or infinity"
            )


def wrong_lengths() -> Iterator[Case]:
    """Headers that say another length than is there."""
    for subtype, channels in itertools.product(("PCM_U8", "PCM_16", "PCM_24", "FLOAT"), (1, 2)):
        content = encoded(subtype=subtype, samples=tone(channels=channels))
        at = content.index(b"data") + 4
        length = int.from_bytes(content[at : at + 4], "little")
        mended = (["8-bit"] if subtype == "PCM_U8" else []) + (["mixed down to mono"] if channels > 1 else [])
        for said, riff in itertools.product((0, length + 1, length + 7, 10 * length, 0x7FFFF000, 2**32 - 1), (0, 8, None)):
            sizes = content[4:8] if riff is None else struct.pack("<I", riff), struct.pack("<I", said)
            wrong = content[:4] + sizes[0] + content[8:at] + sizes[1] + content[at + 4 :]
            yield Case(f"{subtype}-{channels}ch-says-{said}-{riff}.wav", wrong, line_of(WRONG_LENGTH, *mended), SECONDS)
        for part in (0.25, 0.5, 0.9):
            cut = content[: at + 4 + int(part * length)]
            yield Case(
                f"{subtype}-{channels}ch-cut-at-{part}.wav", cut, line_of(WRONG_LENGTH, *mended, "padded"), part * SECONDS
            )
        yield Case(f"{subtype}-{channels}ch-header-only.wav", content[: at + 4], r"skipped: it is empty \(no samples\)")
        yield Case(
            f"{subtype}-{channels}ch-said-empty-and-titles.wav",
            content[:at] + bytes(4) + b"LIST" + struct.pack("<I", 8) + b"INFOsoft",
            r"skipped: it is empty \(no samples\)",
        )
        yield Case(f"{subtype}-{channels}ch-and-junk-behind.wav", content + b"junk" * 30, line_of(*mended), SECONDS)
    flac = bytearray(encoded("FLAC"))
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    yield Case("no-length.flac", bytes(flac), line_of(WRONG_LENGTH), SECONDS)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 4_000)
    for subtype, part in itertools.product(FLAC, (0.1, 0.5, 0.9)):
        whole = encoded("FLAC", subtype, noise)
        cut = whole[: int(part * len(whole))]
        yield Case(f"{subtype}-cut-at-{part}.flac", cut, "skipped: it is (not a readable|damaged or truncated|truncated)")


def damaged() -> Iterator[Case]:
    """What is no sound, or says so."""
    unreadable = "skipped: it is not a readable sound file"
    for suffix in (".wav", ".flac"):
        content = encoded(suffix[1:].upper())
        yield Case(f"empty{suffix}", b"", r"skipped: it is empty \(0 bytes\)")
        for n_bytes in (1, 3, 4, 8, 12, 20):
            yield Case(f"{n_bytes}-bytes{suffix}", content[:n_bytes], unreadable)
        for name, junk in {
            "text": b"no sound at all, only text",
            "page": b"<!DOCTYPE html><html>404 not found</html>",
            "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 8044\n",
            "zeros": bytes(5_000),
            "ones": b"\xff" * 5_000,
            "png": b"\x89PNG\r\n\x1a\n" + bytes(50),
            "zip": b"PK\x03\x04" + bytes(50),
            "noise": np.random.default_rng(1).bytes(5_000),
        }.items():
            yield Case(f"{name}{suffix}", junk, unreadable)
    content = encoded()
    fields = {"format": (20, "<H"), "channels": (22, "<H"), "rate": (24, "<I"), "block": (32, "<H"), "bits": (34, "<H")}
    for field, value, line in (
        ("format", 0, unreadable),
        ("format", 0x1234, unreadable),
        ("channels", 0, "skipped: "),
        ("channels", 65, "skipped: it has 65 channels, and at most 64"),
        ("channels", 1_024, "skipped: it has 1024 channels, and at most 64"),
        ("channels", 2_000, unreadable),
        ("rate", 0, "skipped: "),
        ("rate", 1, "skipped: its header is damaged: a sample rate of 1 Hz"),
        ("rate", 99, "skipped: its header is damaged: a sample rate of 99 Hz"),
        ("rate", 1_000_001, "skipped: its header is damaged: a sample rate of 1000001 Hz"),
        ("rate", 4_000_000_000, "skipped: "),
        ("bits", 0, "skipped: |mended: |read"),
        ("bits", 7, "skipped: |mended: |read"),
        ("bits", 64, "skipped: |mended: |read"),
        ("block", 0, "skipped: |mended: |read"),
    ):
        at, form = fields[field]
        wrong = bytearray(content)
        struct.pack_into(form, wrong, at, value)
        yield Case(f"{field}-{value}.wav", bytes(wrong), line)
    yield Case("no-data-chunk.wav", content[:36], "skipped: ")
    yield Case("no-format-chunk.wav", content[:12] + content[36:], unreadable)
    yield Case("junk-before.wav", bytes(16) + content, unreadable)
    titles = b"LIST" + struct.pack("<I", 6) + b"INFOab"
    yield Case("titles-before-the-sound.wav", content[:36] + titles + content[36:], "read", SECONDS)
    yield Case("titles-behind-the-sound.wav", content + titles, "read", SECONDS)
    flac = encoded("FLAC", samples=np.random.default_rng(0).uniform(-0.5, 0.5, 4_000))
    for place in (5, 9, 30, 42, 60, 100, 3_000):
        wrong = bytearray(flac)
        wrong[place : place + 4] = b"\xa5\x5a\xa5\x5a"
        yield Case(f"byte-{place}.flac", bytes(wrong), "skipped: |mended: |read")
    wave = bytearray(content)
    wave[3_000:3_016] = bytes(16)
    yield Case("zeros-within.wav", bytes(wave), "read")


def other_forms() -> Iterator[Case]:
    """Forms that recorders write are read under any name; those of samplers are not, whose decoders print."""
    for form, subtype in (("NIST", "PCM_16"), ("RF64", "PCM_24"), ("W64", "FLOAT")):
        yield Case(f"{form}-of-{subtype}.flac", encoded(form, subtype), "read", SECONDS)
    for form, subtype in (("SDS", "PCM_16"), ("MAT5", "PCM_16"), ("XI", "DPCM_16"), ("VOC", "PCM_16"), ("PAF", "PCM_16")):
        yield Case(f"{form}.wav", encoded(form, subtype), r"skipped: it is not a readable sound file \(Format not recog")
    for name, junk in {"noise": np.random.default_rng(2).bytes(3_000), "byte": b"x", "zeros": bytes(3_000)}.items():
        # libsndfile says of these that they do not exist, or are pipes.
        yield Case(f"{name}.mp3", junk, r"skipped: it is not a readable sound file \(Format not recognised\)$")


CASES = [*healthy(), *wrong_lengths(), *damaged(), *other_forms()]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_odd_sound_gives_its_line(tmp_path, case):
    path = tmp_path / f"a.{case.name.rpartition('.')[2]}"
    path.write_bytes(case.content)
    try:
        clip, mended = READER.read(path)
    except InvalidInputError as error:
        line = f"skipped: {error}"
    else:
        line = line_of(*sorted(mended))
        assert clip.shape == (4_000,)
        assert clip.dtype == np.float32
        assert np.isfinite(clip).all()
        assert np.abs(clip).max() <= 1
        n_tone = round(case.tone_s * RATE_HZ) - 200  # resampling and coding spoil the ends
        if case.tone_s:
            np.testing.assert_allclose(clip[200:n_tone], tone()[200:n_tone, 0], atol=0.05)
    expected = case.line
    if expected.startswith("mended: "):
        expected = line_of(*sorted(case.line.removeprefix("mended: ").split("; ")))
    assert re.match(expected, line) if expected.startswith("skipped") else line == expected
    with suppress(InvalidInputError):  # and never another
        assert choose_sound_reader([path]).n_samples > 0


def test_odd_sounds_are_many_and_their_names_differ():
    assert len(CASES) > 300
    assert len({case.name for case in CASES}) == len(CASES)


def test_square_wave_stays_within_full_scale_when_it_is_resampled(tmp_path):
    square = np.sign(np.sin(2 * np.pi * 300 * np.arange(22_050) / 44_100))
    (tmp_path / "a.wav").write_bytes(encoded(samples=square, rate_hz=44_100))
    clip, _ = READER.read(tmp_path / "a.wav")  # 1.09 and above at the edges, where the filter swings over
    assert np.abs(clip).max() == 1


def test_damaged_mp3_prints_nothing(tmp_path, capfd):
    content = bytearray(encoded("MP3", "MPEG_LAYER_III", tone(16_000, 2.0), 16_000))
    content[2_000:3_500] = bytes(1_500)
    (tmp_path / "a.mp3").write_bytes(content)
    for item in (tmp_path / "a.mp3", bytes(content)):
        clip, _ = READER.read(item)
        assert np.abs(clip).max() > 0.1
    print("still here")
    assert capfd.readouterr() == ("still here\n", "")
    with soundfile.SoundFile(tmp_path / "a.mp3") as sound, suppress(soundfile.LibsndfileError):
        sound.read()
    assert "Illegal Audio-MPEG-Header" in capfd.readouterr().err  # it would have
