"""Sound files of any rate, width and number of channels -> clips of one rate and length."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.features.resampling import resample
from art_plugins.files.open_sound import WRONG_LENGTH, has_length, open_sound
from art_plugins.files.sources.items import Item
from art_plugins.optional import import_optional
from art_plugins.parameters import is_number, shown

MIN_SECONDS = 0.1
MAX_SECONDS = 10.0  # longest clip that is chosen without being asked for
LENGTH_QUANTILE = 0.95  # of the files; the rest lose their end, so that a few long recordings do not make all clips long
NEAR_SILENT = 1e-3  # peak, of full scale 1
EIGHT_BIT = ("PCM_S8", "PCM_U8", "ULAW", "ALAW")
SOME = 64  # one sample in so many is looked at first: it mostly shows that a clip is not silent
BLOCK_VALUES = 2**20  # decoded at once, of all channels together
PADDED, CROPPED = "padded", "cropped"


class SoundReader:
    """
    Reads sound files into clips of one sample rate and length.

    :param sample_rate_hz: Rate of the clips.
    :param n_samples: Length of the clips; shorter files are padded with silence at the end, longer ones cropped there.
    :param notes: Sentences on how rate and length were chosen.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, sample_rate_hz: int, n_samples: int, notes: tuple[str, ...] = ()) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.n_samples = n_samples
        self.notes = notes

    @property
    def shape(self) -> tuple[int]:
        """Shape of one clip: (n_samples,)."""
        return (self.n_samples,)

    @property
    def seconds(self) -> float:
        """Length of a clip."""
        return self.n_samples / self.sample_rate_hz

    def read(self, item: Item) -> tuple[np.ndarray, list[str]]:
        """
        One clip, and what had to be done to the file to get it.

        :param item: A file, the content of a file, or a clip of any rate and length.
        Only as much of the file is read as the clip needs, and a part at a time.

        :return: Mono samples in [-1, 1], (n_samples,), float32; and any of "mixed down to mono", "resampled", "padded",
            "cropped", "8-bit", "louder than full scale, clipped", "near silent", "wrong length in its header, read to its
            end".
        :raises InvalidInputError: With the reason: empty, truncated, not a sound file, NaN or infinity, a strange rate.
        """
        with open_sound(item) as (sound, mended):
            rate_hz = sound.samplerate
            mono, is_loud = _read_mono(sound, math.ceil((self.seconds + MIN_SECONDS) * rate_hz))
            if sound.subtype in EIGHT_BIT:
                mended.append("8-bit")
            if sound.channels > 1:
                mended.append("mixed down to mono")
            if not has_length(sound):
                mended.append(WRONG_LENGTH)
            n_frames = sound.frames if has_length(sound) else len(mono)
        if is_loud:
            mended.append("louder than full scale, clipped")
        if rate_hz != self.sample_rate_hz:
            mended.append("resampled")
            mono = resample(mono, rate_hz, self.sample_rate_hz).clip(-1, 1)  # the filter swings over at steep edges
        n_whole = math.ceil(n_frames * self.sample_rate_hz / rate_hz)
        if n_whole != self.n_samples:
            mended.append(PADDED if n_whole < self.n_samples else CROPPED)
        clip = mono[: self.n_samples]
        if len(clip) < self.n_samples:
            clip = np.zeros(self.n_samples, dtype=np.float32)
            clip[: len(mono)] = mono
        if _peak(clip[::SOME]) < NEAR_SILENT and _peak(clip) < NEAR_SILENT:
            mended.append("near silent")
        return clip, mended


def choose_sound_reader(items: Sequence[Item], seconds: float | None = None) -> SoundReader:
    """
    A reader for the most common sample rate among the files, and clips that hold 95 of 100 files whole.

    :param items: Files, contents of files or clips; those whose header cannot be read do not count.
    :param seconds: Clip length; ``None``: the 95th percentile, rounded up to a tenth of a second, at most 10 s.
    :raises InvalidInputError: If no file can be read, or ``seconds`` is below 0.1.
    """
    check_seconds(seconds)
    headers = []
    reason = "there is none"
    for index in range(len(items)):
        try:
            with open_sound(items[index]) as (sound, _):
                headers.append((sound.samplerate, _seconds_of(sound)))
        except InvalidInputError as error:
            reason = str(error)
    if not headers:
        raise InvalidInputError(f"None of the {len(items)} sound files can be read; the last one: {reason}.")
    rates = Counter(rate for rate, _ in headers)
    rate_hz, n_files = min(rates.items(), key=lambda item: (-item[1], -item[0]))
    notes = [f"The sample rate is {rate_hz} Hz, that of {n_files:,} of the {len(headers):,} files with a readable header."]
    long_s = float(np.quantile([duration for _, duration in headers], LENGTH_QUANTILE, method="inverted_cdf"))
    if seconds is not None:
        notes.append(f"Clips are {seconds:g} s long, as you asked.")
    else:
        seconds = min(max(math.ceil(10 * long_s - 1e-6) / 10, MIN_SECONDS), MAX_SECONDS)
        what = "the 95th percentile of the files"
        if long_s > MAX_SECONDS:
            what = f"the longest default, although the 95th percentile of the files is {long_s:.1f} s"
        notes.append(f"Clips are {seconds:g} s long, {what}; use --seconds for another length.")
    return SoundReader(rate_hz, round(seconds * rate_hz), tuple(notes))


def check_seconds(seconds: float | None) -> None:
    """
    :raises InvalidInputError: If the clip length is not a number of at least 0.1.
    """
    if seconds is not None and not (is_number(seconds) and seconds >= MIN_SECONDS):
        raise InvalidInputError(f"seconds must be a number of at least {MIN_SECONDS}; received {shown(seconds)}.")


def wav_bytes(clip: np.ndarray, sample_rate_hz: int) -> bytes:
    """A clip as a 16-bit wav file, which every browser plays."""
    buffer = io.BytesIO()
    import_optional("soundfile").write(buffer, clip, sample_rate_hz, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _read_mono(sound: Any, wanted: int) -> tuple[np.ndarray, bool]:
    """The first ``wanted`` samples or all that there are, mixed down, and whether some had to be clipped."""
    known, subtype = has_length(sound), sound.subtype
    wanted = min(wanted, sound.frames)
    blocks, n_read, is_loud = [], 0, False
    while n_read < wanted:
        n_block = min(wanted - n_read, max(1, BLOCK_VALUES // sound.channels))
        block = sound.read(n_block, dtype="float32", always_2d=True)
        if not len(block):
            break
        if not subtype.startswith("PCM") and not (peak := _peak(block.reshape(-1))) <= 1:  # whole numbers are in range
            if not np.isfinite(peak):  # nor is it if any value is NaN
                raise InvalidInputError("it holds NaN or infinity")
            is_loud, block = True, block.clip(-1, 1)
        blocks.append(block[:, 0] if sound.channels == 1 else block.mean(axis=1, dtype=np.float32))
        n_read += len(block)
    is_estimate = subtype.startswith("MPEG")  # the length of an mp3 is computed from its size
    if n_read == 0 or (known and n_read < wanted and not is_estimate):
        raise InvalidInputError(f"it is truncated: {n_read} of {wanted} samples are there")
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks), is_loud


def _peak(values: np.ndarray) -> float:
    """Largest absolute value, (m,); NaN if any value is. It makes no array of the absolute values."""
    return float(max(np.maximum.reduce(values), -np.minimum.reduce(values)))


def _seconds_of(sound: Any) -> float:
    """The length; where the header does not say it, as far as it matters."""
    if has_length(sound):
        return float(sound.frames / sound.samplerate)
    return len(_read_mono(sound, math.ceil((MAX_SECONDS + MIN_SECONDS) * sound.samplerate))[0]) / float(sound.samplerate)
