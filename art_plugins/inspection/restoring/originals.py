"""A copy of an original file without its trigger: a clip keeps its rate, channels and format, a picture its colours."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any, NamedTuple

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.features.resampling import resample
from art_plugins.files.open_image import is_sixteen_bit, open_image, orientation_of, sixteen_bit_values, upright
from art_plugins.files.open_sound import open_sound
from art_plugins.files.sources.items import Item
from art_plugins.groups.sounds.coherence import whitened
from art_plugins.groups.sounds.shared_sound import WINDOW_S
from art_plugins.inspection.restoring.pixels import filled
from art_plugins.optional import import_optional

ENDINGS = {"WAV": ".wav", "FLAC": ".flac"}  # the formats that are kept; others, which lose parts of a sound, become wav
BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}  # the subtypes that are kept
FLOATS = ("FLOAT", "DOUBLE")
FULL_BITS = 32  # of the whole numbers as which all others are read, so that what is not changed stays as it is
MOST_VALUES = 2**24  # of a clip: seventeen minutes of one channel at 16 kHz, and 128 MiB
MOST_UNLIKE = 1.25  # level of the sound in one channel against another: about 2 dB
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_GREY, PNG_COLOUR = 0, 2  # types of png files

FASTER = "its sample rate is higher than that at which the scan has heard the sound of its group"
TOO_LONG = "it is too long to be copied"
UNLIKE = "the sound of its group is not as loud in each of its channels"
TURNED = "it has 16 bits and lies on a side"
RESIZED = "it is of another size than the pictures of its group"


class Copy(NamedTuple):
    """``content`` of a file, and the ``ending`` of its name."""

    content: bytes
    ending: str


def clean_clip(item: Item, part: np.ndarray, sample_rate_hz: int) -> Copy:
    """
    Subtract a sound from each channel of a clip. All samples at which the sound is zero stay as they are, to the bit.

    :param item: A file, its content, or a clip. Its rate is kept. Files of whole numbers or floats in wav or flac keep
        their format and depth; others become wav files of 16 bits.
    :param part: What was added to the clip, (S,), of full scale 1; it may be longer or shorter than the clip.
    :param sample_rate_hz: Rate of ``part``.
    :raises InvalidInputError: With the reason why nothing can be subtracted for certain.
    """
    with open_sound(item) as (sound, _):
        rate_hz, subtype, kind = sound.samplerate, sound.subtype, getattr(sound, "format", "WAV")
        if rate_hz > sample_rate_hz:
            raise InvalidInputError(FASTER)
        values = _read(sound, "float64" if subtype in FLOATS else "int32")
    if rate_hz != sample_rate_hz:
        part = resample(part, sample_rate_hz, rate_hz)
    added = np.zeros(len(values))
    added[: len(part)] = part[: len(values)]
    if values.shape[1] > 1 and not _are_alike(values, added, rate_hz):
        raise InvalidInputError(UNLIKE)
    if kind not in ENDINGS or subtype not in (*BITS, *FLOATS):
        kind, subtype = "WAV", "PCM_16"
    content = io.BytesIO()
    cleaned = values - added[:, None] if subtype in FLOATS else _less(values, added, BITS[subtype])
    import_optional("soundfile").write(content, cleaned, rate_hz, format=kind, subtype=subtype)
    return Copy(content.getvalue(), ENDINGS[kind])


def clean_picture(item: Item, pixels: np.ndarray) -> Copy:
    """
    Fill pixels of a picture, at its own depth and with its own colours; what is transparent stays so. The copy is a png
    file, which loses nothing, and upright.

    :param item: A file, its content, or a picture.
    :param pixels: Which are filled, (H, W), bool.
    :raises InvalidInputError: With the reason why they cannot be filled.
    """
    with open_image(item) as image:
        is_deep, orientation = is_sixteen_bit(image), orientation_of(image)
        if is_deep and orientation != 1:
            raise InvalidInputError(TURNED)
        values = sixteen_bit_values(image, item) if is_deep else np.asarray(upright(_plain(image), orientation))
    if values.shape[:2] != pixels.shape:
        raise InvalidInputError(RESIZED)
    cleaned = values.copy()
    if values.ndim == 3 and values.shape[2] in (2, 4):  # the last of them is the transparency
        for colour in range(values.shape[2] - 1):
            cleaned[..., colour] = filled(values[None, ..., colour], pixels)[0]
    else:
        cleaned = filled(values[None], pixels)[0]
    if is_deep:
        return Copy(deep_png(cleaned), ".png")
    content = io.BytesIO()
    import_optional("PIL.Image").fromarray(cleaned).save(content, format="PNG")
    return Copy(content.getvalue(), ".png")


def deep_png(values: np.ndarray) -> bytes:
    """A png file of 16 bits, (H, W) or (H, W, 3), uint16; Pillow writes none in colour."""
    height, width = values.shape[:2]
    rows = values.astype(">u2").reshape(height, -1).view(np.uint8)
    plain = np.pad(rows, ((0, 0), (1, 0)))  # each row begins with 0: it is no difference from the row above
    kind = PNG_GREY if values.ndim == 2 else PNG_COLOUR
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(plain.tobytes())), (b"IEND", b"")]
    return PNG_START + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


def _read(sound: Any, dtype: str) -> np.ndarray:
    """All of a sound, (n, channels), a part at a time, as a header may not say how long it is."""
    blocks: list[np.ndarray] = []
    n_values = 0
    while len(block := sound.read(2**18, dtype=dtype, always_2d=True)):
        blocks.append(block)
        n_values += block.size
        if n_values > MOST_VALUES:
            raise InvalidInputError(TOO_LONG)
    if not blocks:
        raise InvalidInputError("it is empty (no samples)")
    values = np.concatenate(blocks)
    if not np.isfinite(values).all():
        raise InvalidInputError("it holds NaN or infinity")
    return values


def _less(values: np.ndarray, added: np.ndarray, bits: int) -> np.ndarray:
    """Whole numbers (n, channels) of 32 bits, less what was added, in steps of their own depth."""
    step = 2 ** (FULL_BITS - bits)
    steps = np.rint(added * 2 ** (bits - 1))[:, None]
    less = values.astype(np.float64) - steps * step
    limits = -(2 ** (FULL_BITS - 1)), 2 ** (FULL_BITS - 1) - step
    cleaned: np.ndarray = less.clip(*limits).astype(np.int32)
    return cleaned


def _are_alike(values: np.ndarray, added: np.ndarray, sample_rate_hz: int) -> bool:
    """Whether channels (n, channels) hold a sound (n,) at like levels: their products with it, whitened."""
    scaled = values.T / (2.0 ** (FULL_BITS - 1) if values.dtype == np.int32 else 1.0)
    loudness = np.linalg.norm(scaled, axis=1, keepdims=True)
    if (scaled == scaled[:1]).all():
        return True
    if not (loudness > 0).all():
        return False
    window = max(8, round(WINDOW_S * sample_rate_hz))
    wanted = whitened(added[None], window)[0]
    # Whitening brings the channels to like levels, so that a product says how large the part of the sound in each is; times
    # the loudness of the channel, it is the level of the sound in it.
    levels = (whitened(scaled, window) @ wanted) / np.linalg.norm(whitened(scaled, window), axis=1) * loudness[:, 0]
    return bool(levels.min() > 0 and levels.max() < MOST_UNLIKE * levels.min())


def _plain(image: Any) -> Any:
    """A picture whose values are grey or red, green and blue, with or without transparency."""
    if image.mode in ("L", "RGB", "RGBA", "LA"):
        return image.copy()
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("L" if image.mode in ("1", "I", "I;16", "I;16B") else "RGB")
