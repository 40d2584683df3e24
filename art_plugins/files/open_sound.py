"""Open a sound file. Limits are checked before anything is decoded. Wav files with a wrong length are read to their end."""

from __future__ import annotations

import errno
import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError, MissingPackageError
from art_plugins.files.quiet import without_output
from art_plugins.files.sources.clip_file import ClipFile
from art_plugins.files.sources.items import Clip, Item, opened
from art_plugins.optional import import_optional

WRONG_LENGTH = "wrong length in its header, read to its end"
# Outside of these a header is damaged or hostile: no microphone array that a person puts into class folders is larger, no
# recorder is faster, and what is slower is no sound. They bound what has to be decoded for a clip.
MAX_CHANNELS = 64
MIN_RATE_HZ, MAX_RATE_HZ = 100, 1_000_000
UNKNOWN_FRAMES = 2**62  # libsndfile's number for a flac file without a length is 2 ** 63 - 1
# How a file is called in a decoder's words: the reason is listed beside its name, and is to be the same on each machine.
NAME_OF_FILE = re.compile(r" <_io\.\w+ object at 0x[0-9a-f]+>|(?<=cannot identify image file) .*")
NOT_RECOGNISED = "Format not recognised"
# First bytes of the forms that are read: wav of each kind, NIST as in TIMIT, flac, ogg, aiff, AU, W64, CAF. libsndfile
# knows as many again, of samplers and old machines; one of their decoders prints to the terminal.
SIGNS = (b"RIFF", b"RIFX", b"RF64", b"NIST", b"fLaC", b"OggS", b"FORM", b".snd", b"dns.", b"riff", b"caff")
MP3_IN_WAV = b"\x55\0"  # at byte 20
RIFF_SIZE_AT = 4  # where a wav file says how long it is
CHUNK_HEADER_BYTES = 8
DATA_AT = 44  # bytes of the shortest header of a wav file


@contextmanager
def open_sound(item: Item) -> Iterator[tuple[Any, list[str]]]:
    """
    Open a sound file, without decoding it. The results are the ``soundfile.SoundFile`` and notes on repairs of its header.

    The header of a wav file may say that the file is longer than it is, or empty. This happens if a recorder crashes, or if
    a program writes to a pipe. Such a file is opened with its real length.

    :param item: The file, its content, or a clip, which is opened like a file of its values.
    :raises InvalidInputError: If the file is absent, empty or no sound file, if its rate or number of channels is out of
        range, or if anything goes wrong in the block. The message says why.
    :raises MissingPackageError: If soundfile cannot be imported.
    """
    soundfile = import_optional("soundfile")
    what = "it is not a readable sound file"
    try:
        n_bytes = check_item(item)
        if isinstance(item, Clip):
            sound = ClipFile(item)
            _check_header(sound)
            yield sound, []
            return
        if isinstance(item, np.ndarray):
            raise InvalidInputError("it is a picture, and no sound")
        head = _first_bytes(item)
        is_mp3 = _is_mp3(head, item)
        patches, mended = ({}, []) if _is_plain_wav(head, n_bytes) else _wrong_length(item)
        # The decoder of mp3 writes a line to the terminal for each frame that is damaged.
        quiet = without_output() if is_mp3 else nullcontext()
        with quiet, _patched(item, patches) as file, soundfile.SoundFile(file) as sound:
            what = "it is damaged or truncated"
            _check_header(sound)
            sound.seekable = _never  # else each read ends with a seek, which fails where a flac file says no length
            yield sound, mended
    except (InvalidInputError, MissingPackageError):
        raise
    except Exception as error:  # soundfile and libsndfile raise many types for damaged data
        raise InvalidInputError(reason_of(error, what)) from error


def check_item(item: Item) -> int:
    """
    :return: The number of bytes of a file, or of its content; 0 for another item.
    :raises InvalidInputError: If the item is no file, or empty.
    """
    n_values = len(item) if isinstance(item, bytes) else None
    if isinstance(item, Path):
        try:
            status = item.stat()
        except (OSError, ValueError):
            status = None
        if status is None or not stat.S_ISREG(status.st_mode):
            raise InvalidInputError("it is not a file, or it is a broken link")
        n_values = status.st_size
    if n_values == 0:
        raise InvalidInputError("it is empty (0 bytes)")
    return n_values or 0


def has_length(sound: Any) -> bool:
    """Say whether the header gives the length of the sound."""
    return bool(sound.frames < UNKNOWN_FRAMES)


def reason_of(error: Exception, otherwise: str) -> str:
    """Why a file cannot be read: the words of the operating system where it is to blame, else the decoder's."""
    if isinstance(error, MemoryError):
        return "it is too large for the memory"
    if isinstance(error, OSError) and error.errno is not None:
        return f"it cannot be read ({error.strerror or errno.errorcode.get(error.errno, error.errno)})"
    words = str(getattr(error, "error_string", error)).strip().rstrip(".") or type(error).__name__
    words = NAME_OF_FILE.sub("", words)
    if "not a regular file" in words:  # libsndfile says so of an mp3 without a frame, and the file is there
        words = NOT_RECOGNISED
    return f"{otherwise} ({words})"


def _first_bytes(item: Path | bytes) -> bytes:
    if isinstance(item, bytes):
        return item[:DATA_AT]
    with item.open("rb", buffering=0) as file:
        return file.read(DATA_AT)


def _is_mp3(head: bytes, item: Item) -> bool:
    """
    :param head: First bytes of the file.
    :raises InvalidInputError: If the file has none of the forms that are read.
    """
    if head.startswith(SIGNS):
        return head[20:22] == MP3_IN_WAV
    starts = head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")
    if starts or (isinstance(item, Path) and item.suffix.lower() == ".mp3"):  # there may be padding before the first frame
        return True
    raise InvalidInputError(f"it is not a readable sound file ({NOT_RECOGNISED})")


def _never() -> bool:
    return False


def _check_header(sound: Any) -> None:
    if sound.frames == 0:
        raise InvalidInputError("it is empty (no samples)")
    if not MIN_RATE_HZ <= sound.samplerate <= MAX_RATE_HZ:
        raise InvalidInputError(
            f"its header is damaged: a sample rate of {sound.samplerate} Hz, and not of {MIN_RATE_HZ} to {MAX_RATE_HZ:,} Hz"
        )
    if sound.channels > MAX_CHANNELS:
        raise InvalidInputError(
            f"it has {sound.channels} channels, and at most {MAX_CHANNELS} are read; convert it to fewer channels"
        )


def _is_plain_wav(head: bytes, n_bytes: int) -> bool:
    """Whether this is the shortest header of a wav file, with a length that is there: most files have it."""
    is_shortest = head[:4] == b"RIFF" and head[8:20] == b"WAVEfmt \x10\0\0\0" and head[36:40] == b"data"
    return is_shortest and 0 < int.from_bytes(head[40:], "little") <= n_bytes - DATA_AT


def _wrong_length(item: Path | bytes) -> tuple[dict[int, bytes], list[str]]:
    """If the header of a wav file has a wrong length: the bytes that replace it, by their place; and what was mended."""
    with opened(item) as file:
        return _wrong_length_in(file)


def _wrong_length_in(file: Any) -> tuple[dict[int, bytes], list[str]]:
    n_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return {}, []
    while len(chunk := file.read(CHUNK_HEADER_BYTES)) == CHUNK_HEADER_BYTES:
        said, start = int.from_bytes(chunk[4:], "little"), file.tell()
        if chunk[:4] != b"data":
            file.seek(said + said % 2, os.SEEK_CUR)
            continue
        there = n_bytes - start
        if said > there > 0:
            return {}, [WRONG_LENGTH]  # libsndfile reads what is there
        if said == 0 and there > 0 and not _are_chunks(file, n_bytes):
            sizes = {RIFF_SIZE_AT: n_bytes - CHUNK_HEADER_BYTES, start - 4: there}
            return {at: min(size, 2**32 - 1).to_bytes(4, "little") for at, size in sizes.items()}, [WRONG_LENGTH]
        break
    return {}, []


def _are_chunks(file: Any, n_bytes: int) -> bool:
    """Whether what follows is a row of chunks up to the end of the file, such as a list of titles, and no sound."""
    while len(chunk := file.read(CHUNK_HEADER_BYTES)) == CHUNK_HEADER_BYTES:
        size = int.from_bytes(chunk[4:], "little")
        if not chunk[:4].isascii() or not chunk[:4].decode("ascii").isprintable() or file.tell() + size > n_bytes:
            return False
        file.seek(size + size % 2, os.SEEK_CUR)
    return not chunk


def _patched(item: Path | bytes, patches: dict[int, bytes]) -> Any:
    """What soundfile opens, as a context: the path itself where nothing has to be patched."""
    if isinstance(item, Path):
        return _PatchedFile(item, patches) if patches else nullcontext(item)
    content = bytearray(item)
    for at, replacement in patches.items():
        content[at : at + len(replacement)] = replacement
    return io.BytesIO(content)


class _PatchedFile(io.FileIO):
    """A file that is read with other bytes at some places."""

    def __init__(self, path: Path, patches: dict[int, bytes]) -> None:
        super().__init__(path, "rb")
        self.patches = patches

    def readinto(self, buffer: Any) -> int:
        start, n_read = self.tell(), super().readinto(buffer)
        view = memoryview(buffer).cast("B")
        for at, content in self.patches.items():
            for place, byte in enumerate(content, start=at - start):
                if 0 <= place < n_read:
                    view[place] = byte
        return n_read
