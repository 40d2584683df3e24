"""Open an image: check limits before anything is decoded, rotate it as the camera says, and read values of 16 bits."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError, MissingPackageError
from art_plugins.files.open_sound import check_item, reason_of
from art_plugins.files.quiet import without_output
from art_plugins.files.sources.items import Clip, Item, openable
from art_plugins.optional import import_optional

# As many as the cameras of telephones give. Four bytes each are decoded, and as many again when the mode changes.
MAX_PIXELS = 50_000_000
MAX_OPENED_SIDE = 65_535  # as of a jpg; each row of a png costs eight bytes more, which a strip of millions of rows abuses
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B")
# How Pillow reads 16-bit colours -> how it reads their low bytes instead; of LA, all four bytes are read as they are.
LOW_BYTES = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L", "LA;16B": "RGBA"}
EXIF_NAMES = ("exif", "Raw profile type exif")  # of a png file's information
ORIENTATION_TAG = 0x0112
TURNS = {  # not Pillow's own function, which fails where other EXIF data are damaged
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


@contextmanager
def open_image(item: Item) -> Iterator[Any]:
    """
    Open an image file. Only its header is read.

    :param item: The file, its content, or a picture (H, W), (H, W, 3) or (H, W, 4), uint8, or (H, W), uint16.
    :raises InvalidInputError: If the file is absent, empty, no such image or too large, or if anything goes wrong in the
        block. The message says why.
    :raises MissingPackageError: If Pillow cannot be imported.
    """
    pillow = import_optional("PIL.Image")
    what = "it is not a readable image file"
    try:
        check_item(item)
        if isinstance(item, Clip):
            raise InvalidInputError("it is a sound, and no image")
        if isinstance(item, np.ndarray):
            yield pillow.fromarray(item)
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damage that does not concern the pixels
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            with pillow.open(openable(item), formats=FORMATS) as image:
                what = "it is damaged or truncated"
                if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_OPENED_SIDE:
                    raise InvalidInputError(
                        f"it is too large: {image.width:,} x {image.height:,} pixels, where at most {MAX_PIXELS:,} are "
                        f"read, and {MAX_OPENED_SIDE:,} in a row"
                    )
                if image.mode == "F":
                    raise InvalidInputError("its values are floating-point numbers; save it with 8 or 16 bits")
                # The decoder of packed tiff writes a line to the terminal for each strip that is damaged.
                with without_output() if image.format == "TIFF" else nullcontext():
                    yield image
    except (InvalidInputError, MissingPackageError):
        raise
    except (pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
        raise InvalidInputError(f"it is too large ({error})") from error
    except Exception as error:  # Pillow raises many types for damaged data
        raise InvalidInputError(reason_of(error, what)) from error


def is_grey_image(image: Any) -> bool:
    """Say whether an image has one value per pixel, with or without transparency. Its pixels must not be read yet."""
    return image.mode in GREY_MODES or _raw_mode(image).startswith("LA")


def is_sixteen_bit(image: Any) -> bool:
    """Say whether the values of an image have 16 bits in the file. Its pixels must not be read yet."""
    return image.mode.startswith("I") or (image.format == "PNG" and _raw_mode(image).endswith(";16B"))


def loses_low_bytes(image: Any) -> bool:
    """Say whether Pillow reads only the high byte of 16-bit colours, and cannot be made to read the other."""
    return ";16" in _raw_mode(image) and not is_sixteen_bit(image)


def sixteen_bit_values(image: Any, item: Item) -> np.ndarray:
    """
    Read the values of a 16-bit file, whose pixels must not be read yet. Transparency is left out.

    Pillow keeps only the high byte of colours. The file is therefore decoded twice, the second time as if the low byte were
    the first, and both bytes are combined.

    :param item: What the image was opened from.
    :return: (H, W) or (H, W, 3), uint16.
    """
    raw_mode = _raw_mode(image)
    high = np.asarray(image)
    if image.mode.startswith("I"):
        return high.clip(0, 2**16 - 1).astype(np.uint16)
    if not isinstance(item, (Path, bytes)):
        raise InvalidInputError("its values cannot be read again")
    with import_optional("PIL.Image").open(openable(item), formats=("PNG",)) as again:
        again.tile = [tile._replace(args=LOW_BYTES[raw_mode]) for tile in again.tile]
        low = np.asarray(again)
    colours = (0, 1) if raw_mode.startswith("LA") else (slice(0, 3), slice(0, 3))  # the bytes of LA: grey, then alpha
    values: np.ndarray = high[..., colours[0]].astype(np.uint16) << 8 | low[..., colours[1]]
    return values


def eight_bit(values: np.ndarray, depth: int) -> tuple[Any, bool]:
    """
    Give a picture of 8-bit values, and whether some values were larger than the depth allows.

    :param values: Values, (H, W) or (H, W, 3), uint16.
    :param depth: Number of bits. The largest value with this number of bits becomes 255.
    """
    largest = 2**depth - 1
    scale = (np.arange(2**16).clip(0, largest) * (255 / largest)).round().astype(np.uint8)
    return import_optional("PIL.Image").fromarray(scale[values]), bool(values.max() > largest)


def orientation_of(image: Any) -> int:
    """
    Read the orientation of the camera from the EXIF data, 1 to 8. 1 is upright; from 5 on, the picture lies on a side.

    If the EXIF data are damaged, the result is upright, because the pixels may be intact. Pillow turns a tiff by itself.
    """
    if image.format == "TIFF":
        return 1
    if image.format == "PNG" and not any(name in image.info for name in EXIF_NAMES):
        return 1  # Pillow would decode the pixels to look for EXIF data behind them
    try:
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # Pillow raises many types for damaged EXIF data
        return 1
    return orientation if orientation in range(1, 9) else 1


def upright(image: Any, orientation: int) -> Any:
    """
    Rotate or mirror a picture so that it is upright.

    :param orientation: Result of :func:`orientation_of`.
    """
    if orientation == 1:
        return image
    return image.transpose(import_optional("PIL.Image").Transpose[TURNS[orientation]])


def upright_size(image: Any) -> tuple[int, int]:
    """Give the width and the height of the upright picture."""
    width, height = image.size
    return (height, width) if orientation_of(image) >= 5 else (width, height)


def _raw_mode(image: Any) -> str:
    """Give Pillow's name for the format of the values in the file, such as "RGB;16B"."""
    tile = getattr(image, "tile", None)  # a picture that was not opened from a file has none
    arguments = tile[0][3] if tile else ""
    return str(arguments if isinstance(arguments, str) else arguments[0])
