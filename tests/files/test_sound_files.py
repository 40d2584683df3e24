"""Sound files as people have them: every rate, width and defect."""

from __future__ import annotations

import io
import struct
import sys

import numpy as np
import pytest
import soundfile

from art_plugins.errors import InvalidInputError, MissingPackageError
from art_plugins.files import sound_files
from art_plugins.files.sound_files import MAX_SECONDS, SoundReader, choose_sound_reader, wav_bytes

RATE_HZ = 8_000
READER = SoundReader(RATE_HZ, 4_000)


def tone(rate_hz: int = RATE_HZ, seconds: float = 0.5, frequency_hz: float = 440.0, peak: float = 0.5) -> np.ndarray:
    return peak * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate_hz)) / rate_hz)


@pytest.fixture
def write(tmp_path):
    def write_one(name="a.wav", samples=None, rate_hz=RATE_HZ, **kwargs):
        soundfile.write(tmp_path / name, tone() if samples is None else samples, rate_hz, **kwargs)
        return tmp_path / name

    return write_one


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_read_ordinary_file_gives_its_samples_and_nothing_mended(write, name):
    clip, mended = READER.read(write(name))
    assert clip.dtype == np.float32
    assert mended == []
    np.testing.assert_allclose(clip, tone(), atol=2**-15)


def test_read_stereo_gives_the_mean_of_the_channels(write):
    clip, mended = READER.read(write(samples=np.column_stack([tone(), np.zeros(4_000)])))
    assert mended == ["mixed down to mono"]
    np.testing.assert_allclose(clip, tone() / 2, atol=2**-15)


def test_read_other_rate_keeps_the_pitch_and_the_time(write):
    clip, mended = READER.read(write(samples=tone(22_050), rate_hz=22_050))
    assert mended == ["resampled"]
    assert np.abs(clip - tone())[200:-200].max() < 0.01


@pytest.mark.parametrize("rate_hz", [7_919, 999_983])
def test_read_rate_without_common_divisor_keeps_the_pitch_and_the_time(write, rate_hz):
    clip, mended = READER.read(write(samples=tone(rate_hz), rate_hz=rate_hz))
    assert "resampled" in mended
    assert np.abs(clip - tone())[200:-200].max() < 0.01


@pytest.mark.parametrize("rate_hz", [1, 99, 1_999_999_973])
def test_read_rate_of_no_recording_is_refused(write, rate_hz):
    path = write()
    content = bytearray(path.read_bytes())
    content[24:28] = struct.pack("<I", rate_hz)
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=f"its header is damaged: a sample rate of {rate_hz} Hz"):
        READER.read(path)


def test_read_short_file_is_padded_at_the_end(write):
    clip, mended = READER.read(write(samples=tone(seconds=0.2)))
    assert mended == ["padded"]
    assert np.abs(clip[:1_600]).max() > 0.4
    assert not clip[1_600:].any()


def test_read_long_file_is_cropped_at_the_end(write):
    samples = np.concatenate([tone(), tone(peak=0.9)])
    clip, mended = READER.read(write(samples=samples))
    assert mended == ["cropped"]
    np.testing.assert_allclose(clip, samples[:4_000], atol=2**-15)


def test_read_eight_bit_file_is_centred_on_zero(write):
    clip, mended = READER.read(write(subtype="PCM_U8"))
    assert mended == ["8-bit"]
    np.testing.assert_allclose(clip, tone(), atol=2**-6)


def test_read_quiet_file_is_marked_and_loud_file_clipped(write):
    assert READER.read(write(samples=tone(peak=5e-4)))[1] == ["near silent"]
    clip, mended = READER.read(write(samples=tone(peak=3.0), subtype="FLOAT"))
    assert mended == ["louder than full scale, clipped"]
    assert np.abs(clip).max() == 1


def test_read_several_defects_are_all_named(write):
    path = write(samples=np.zeros((500, 2)), rate_hz=4_000, subtype="PCM_U8")
    assert set(READER.read(path)[1]) == {"8-bit", "mixed down to mono", "resampled", "padded", "near silent"}


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_read_sample_that_is_not_finite_is_refused(write, value):
    samples = tone()
    samples[17] = value
    with pytest.raises(InvalidInputError, match="NaN or infinity"):
        READER.read(write(samples=samples, subtype="DOUBLE"))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda content: b"", "empty"),
        (lambda content: content[:44], r"empty \(no samples\)"),
        (lambda content: content[:20], "not a readable sound file"),
        (lambda content: b"no sound at all, only text", "not a readable sound file"),
        (lambda content: content[:40] + bytes(4), r"empty \(no samples\)"),
        (lambda content: content[:40] + bytes(4) + b"LIST" + struct.pack("<I", 8) + b"INFOsoft", r"empty \(no samples\)"),
    ],
)
def test_read_damaged_wav_gives_the_reason(write, spoil, reason):
    path = write()
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(InvalidInputError, match=reason):
        READER.read(path)


def test_read_truncated_flac_gives_the_reason(write):
    path = write("a.flac", samples=np.random.default_rng(0).uniform(-0.5, 0.5, 4_000))
    path.write_bytes(path.read_bytes()[:3_000])
    with pytest.raises(InvalidInputError, match="truncated"):
        READER.read(path)


@pytest.mark.parametrize("riff_size", [0, 8, 36, 8_036, 2**32 - 1])
@pytest.mark.parametrize("data_size", [0, 8_001, 8_004, 60_000, 0x7FFFF000, 2**32 - 1])
@pytest.mark.parametrize("start", ["tone", "silence"])
def test_read_wav_with_a_wrong_length_is_read_to_its_end_and_marked(write, riff_size, data_size, start):
    """A recorder that crashed writes 0, a program that writes to a pipe the largest number, others a few bytes too many."""
    samples = tone() if start == "tone" else np.concatenate([np.zeros(100), tone()[100:]])
    path = write(samples=samples)
    content = path.read_bytes()
    sizes = struct.pack("<I", riff_size), struct.pack("<I", data_size)
    path.write_bytes(content[:4] + sizes[0] + content[8:40] + sizes[1] + content[44:])
    clip, mended = READER.read(path)
    assert mended == ["wrong length in its header, read to its end"]
    np.testing.assert_allclose(clip, samples, atol=2**-15)
    assert choose_sound_reader([path]).n_samples == 4_000


def test_read_wav_that_was_cut_off_is_read_to_its_end_and_marked(write):
    path = write()
    path.write_bytes(path.read_bytes()[:4_044])
    clip, mended = READER.read(path)
    assert mended == ["wrong length in its header, read to its end", "padded"]
    np.testing.assert_allclose(clip[:2_000], tone()[:2_000], atol=2**-15)
    assert not clip[2_000:].any()


def test_read_flac_without_a_length_is_read_to_its_end_and_marked(write):
    path = write("a.flac")
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the 36 bits of the number of samples
    content[22:26] = bytes(4)
    path.write_bytes(content)
    clip, mended = READER.read(path)
    assert mended == ["wrong length in its header, read to its end"]
    np.testing.assert_allclose(clip, tone(), atol=2**-15)
    assert choose_sound_reader([path]).n_samples == 4_000


def test_read_many_channels_are_mixed_a_part_at_a_time(write, monkeypatch):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, size=(4_000, 64))
    monkeypatch.setattr(sound_files, "BLOCK_VALUES", 64 * 300)
    clip, mended = READER.read(write(samples=samples))
    assert mended == ["mixed down to mono"]
    np.testing.assert_allclose(clip, samples.mean(axis=1), atol=2**-15)


def test_read_more_channels_than_a_recording_has_are_refused(write):
    with pytest.raises(InvalidInputError, match="it has 65 channels, and at most 64 are read"):
        READER.read(write(samples=np.zeros((100, 65))))


def test_read_file_that_must_not_be_read_gives_the_reason(write, monkeypatch):
    path = write()

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", denied)
    with pytest.raises(InvalidInputError, match=r"^it cannot be read \(Permission denied\)$"):
        READER.read(path)


def test_read_link_to_nowhere_gives_the_reason(tmp_path):
    (tmp_path / "a.wav").symlink_to(tmp_path / "gone.wav")
    with pytest.raises(InvalidInputError, match="it is a broken link"):
        READER.read(tmp_path / "a.wav")


def test_choose_takes_most_common_rate_and_a_length_that_holds_95_of_100_files(write):
    seconds = [0.2 + 0.01 * i for i in range(19)] + [2.0]
    paths = [write(f"{i}.wav", tone(seconds=length)) for i, length in enumerate(seconds)]
    paths[3] = write("other.wav", tone(22_050, 0.33), rate_hz=22_050)
    paths[0].parent.joinpath("empty.wav").write_bytes(b"")
    reader = choose_sound_reader([*paths, paths[0].parent / "empty.wav"])
    assert (reader.sample_rate_hz, reader.n_samples) == (RATE_HZ, 3_200)  # the 19th of 20 files is .38 s long
    assert "that of 19 of the 20 files with a readable header" in reader.notes[0]
    assert "Clips are 0.4 s long, the 95th percentile" in reader.notes[1]
    assert sum("cropped" in reader.read(path)[1] for path in paths) == 1


def test_choose_given_seconds_is_used(write):
    assert choose_sound_reader([write()], seconds=0.25).n_samples == 2_000


def test_choose_very_long_files_are_limited_and_said(write):
    reader = choose_sound_reader([write(samples=np.zeros(12 * RATE_HZ))])
    assert reader.seconds == MAX_SECONDS
    assert "95th percentile of the files is 12.0 s" in reader.notes[1]


@pytest.mark.parametrize("seconds", [0, -1, 0.05, float("nan"), float("inf")])
def test_choose_bad_seconds_are_refused(write, seconds):
    with pytest.raises(InvalidInputError, match=r"at least 0\.1"):
        choose_sound_reader([write()], seconds)


def test_choose_no_readable_file_names_a_reason(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(InvalidInputError, match=r"None of the 1 sound files can be read.*empty"):
        choose_sound_reader([tmp_path / "a.wav"])


def test_wav_bytes_hold_the_clip():
    samples, rate_hz = soundfile.read(io.BytesIO(wav_bytes(tone().astype(np.float32), RATE_HZ)))
    assert rate_hz == RATE_HZ
    np.testing.assert_allclose(samples, tone(), atol=2**-14)


def test_read_without_soundfile_says_what_to_install(write, monkeypatch):
    path = write()
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingPackageError, match=r'pip install "art-plugins\[audio\]"'):
        READER.read(path)
