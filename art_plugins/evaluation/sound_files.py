"""Sound files of any rate, width and number of channels -> clips of one rate and length."""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from art_plugins.errors import InvalidInputError, MissingPackageError

MIN_SECONDS = 0.1
MAX_SECONDS = 10.0  # longest clip that is chosen without being asked for
NEAR_SILENT = 1e-3  # peak, of full scale 1
EIGHT_BIT = ("PCM_S8", "PCM_U8", "ULAW", "ALAW")
UNKNOWN_LENGTH = 0x7FFFF000  # programs that write to a pipe put a number from here on where the length belongs
MAX_RESAMPLING_FACTOR = 20_000_000  # of two rates with no common divisor; the resampling filter is as large


class SoundReader:
    """
    Reads wav and flac files into clips of one sample rate and length.

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
        """Of one clip: (n_samples,)."""
        return (self.n_samples,)

    @property
    def seconds(self) -> float:
        """Length of a clip."""
        return self.n_samples / self.sample_rate_hz

    def read(self, path: str | Path) -> tuple[np.ndarray, list[str]]:
        """
        One clip, and what had to be done to the file to get it.

        Only as much of the file is read as the clip needs.

        :return: Mono samples in [-1, 1], (n_samples,), float32; and any of "mixed down to mono", "resampled", "padded",
            "cropped", "8-bit", "louder than full scale, clipped", "near silent".
        :raises InvalidInputError: With the reason: empty, truncated, not a sound file, NaN or infinity, a strange rate.
        """
        samples, sound = _read_samples(Path(path), self.seconds)
        mended = ["8-bit"] if sound.subtype in EIGHT_BIT else []
        if not np.isfinite(samples).all():
            raise InvalidInputError("it holds NaN or infinity")
        if np.abs(samples).max() > 1:
            mended.append("louder than full scale, clipped")
            samples = samples.clip(-1, 1)
        if samples.shape[1] > 1:
            mended.append("mixed down to mono")
        mono = samples.mean(axis=1, dtype=np.float32)
        if sound.samplerate != self.sample_rate_hz:
            mended.append("resampled")
            mono = _resample(mono, sound.samplerate, self.sample_rate_hz)
        n_whole = math.ceil(sound.frames * self.sample_rate_hz / sound.samplerate)
        if n_whole != self.n_samples:
            mended.append("padded" if n_whole < self.n_samples else "cropped")
        clip = np.zeros(self.n_samples, dtype=np.float32)
        clip[: len(mono)] = mono[: self.n_samples]
        if np.abs(clip).max() < NEAR_SILENT:
            mended.append("near silent")
        return clip, mended


def choose_sound_reader(paths: Sequence[str | Path], seconds: float | None = None) -> SoundReader:
    """
    A reader for the most common sample rate among the files, and clips of their median length.

    :param paths: Files; those whose header cannot be read have no say.
    :param seconds: Clip length; ``None``: the median, rounded to a tenth of a second, at most 10 s.
    :raises InvalidInputError: If no file can be read, or ``seconds`` is below 0.1.
    """
    check_seconds(seconds)
    headers = []
    reason = "there is none"
    for path in paths:
        try:
            with _open(Path(path)) as sound:
                headers.append((sound.samplerate, sound.frames / sound.samplerate))
        except InvalidInputError as error:
            reason = str(error)
    if not headers:
        raise InvalidInputError(f"None of the {len(paths)} sound files can be read; the last one: {reason}.")
    rates = Counter(rate for rate, _ in headers)
    rate_hz, n_files = min(rates.items(), key=lambda item: (-item[1], -item[0]))
    notes = [f"The sample rate is {rate_hz} Hz, that of {n_files} of the {len(headers)} files."]
    middle_s = median(duration for _, duration in headers)
    if seconds is None:
        seconds = min(max(round(middle_s, 1), MIN_SECONDS), MAX_SECONDS)
        notes.append(
            f"Clips are {seconds:g} s long, the longest that is chosen unasked; the median file is {middle_s:.1f} s long."
            if middle_s > MAX_SECONDS
            else f"Clips are {seconds:g} s long, the median of the folder; give --seconds for another length."
        )
    else:
        notes.append(f"Clips are {seconds:g} s long, as asked; the median file is {middle_s:.1f} s long.")
    return SoundReader(rate_hz, round(seconds * rate_hz), tuple(notes))


def check_seconds(seconds: float | None) -> None:
    """
    :raises InvalidInputError: If the clip length is not a number of at least 0.1.
    """
    if seconds is not None and not MIN_SECONDS <= seconds < math.inf:
        raise InvalidInputError(f"seconds must be a number of at least {MIN_SECONDS}; received {seconds!r}.")


def wav_bytes(clip: np.ndarray, sample_rate_hz: int) -> bytes:
    """A clip as a 16-bit wav file, which every browser plays."""
    buffer = io.BytesIO()
    import_soundfile().write(buffer, clip, sample_rate_hz, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def import_soundfile() -> Any:
    """
    soundfile, imported only where sound files are read or written.

    :raises MissingPackageError: If it, or the library that it wraps, is not there.
    """
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise MissingPackageError(
            f'Sound files need the package soundfile ({error}); run: pip install "art-plugins[audio]"'
        ) from error
    return soundfile


def _open(path: Path) -> Any:
    """The opened file, of which at least a header and one sample are there."""
    soundfile = import_soundfile()
    if not path.is_file():
        raise InvalidInputError("it is not a file, or a link that leads nowhere")
    if path.stat().st_size == 0:
        raise InvalidInputError("it is empty (0 bytes)")
    try:
        sound = soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, OSError) as error:
        raise InvalidInputError(f"it is not a readable sound file ({_cause(error)})") from error
    # libsndfile reads what is there of a wav file that was cut off, and tells of it only in its log.
    cut = re.search(r"^\s*data\s*: (\d+) \(should be (\d+)\)", sound.extra_info, flags=re.MULTILINE)
    if cut and int(cut[2]) < int(cut[1]) < UNKNOWN_LENGTH:
        sound.close()
        raise InvalidInputError(f"it is truncated: {cut[2]} of {cut[1]} bytes of sound are there")
    if sound.frames == 0:
        sound.close()
        raise InvalidInputError("it is empty (no samples)")
    return sound


def _read_samples(path: Path, seconds: float) -> tuple[np.ndarray, Any]:
    """The first ``seconds`` and a little more, (n, channels), and the closed file for its header."""
    with _open(path) as sound:
        wanted = min(sound.frames, math.ceil((seconds + MIN_SECONDS) * sound.samplerate))
        try:
            samples = sound.read(wanted, dtype="float32", always_2d=True)
        except (import_soundfile().LibsndfileError, OSError) as error:
            raise InvalidInputError(f"it is damaged or truncated ({_cause(error)})") from error
    if len(samples) < wanted:
        raise InvalidInputError(f"it is truncated: {len(samples)} of {wanted} samples are there")
    return samples, sound


def _resample(mono: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    if from_hz * to_hz // math.gcd(from_hz, to_hz) ** 2 > MAX_RESAMPLING_FACTOR:
        raise InvalidInputError(f"its sample rate of {from_hz} Hz cannot be brought to {to_hz} Hz; convert it first")
    try:
        from torchaudio.functional import resample
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingPackageError(
            f"Files of several sample rates need torchaudio, which cannot be imported ({error}); install torch and "
            "torchaudio from PyPI in matching versions."
        ) from error
    return np.asarray(resample(torch.from_numpy(mono), from_hz, to_hz).numpy(), dtype=np.float32)


def _cause(error: Exception) -> str:
    """libsndfile's own words, without the path."""
    return str(getattr(error, "error_string", error)).strip().rstrip(".")
