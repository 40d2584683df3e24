"""Image files of any size and mode -> pictures of one size, all in colour or all grey."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError, MissingPackageError

MIN_SIDE = 4
MAX_SIDE = 1024
MAX_CHOSEN_SIDE = 128  # longest side that is chosen without being asked for; the autoencoder grows with the area
MAX_THUMBNAIL_SIDE = 160
GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B")
ORIENTATION_TAG = 0x0112


class ImageReader:
    """
    Reads png and jpg files into pictures of one size.

    :param size: Width and height of the pictures.
    :param is_grey: Whether they have one value per pixel; else red, green and blue.
    :param common_size: Most common width and height among the files; others are counted as odd. ``None``: ``size``.
    :param common_is_grey: Whether most of the files are grey; others are counted as odd. ``None``: ``is_grey``.
    :param notes: Sentences on how size and colours were chosen.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        size: tuple[int, int],
        is_grey: bool,
        common_size: tuple[int, int] | None = None,
        common_is_grey: bool | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.size = size
        self.is_grey = is_grey
        self.common_size = common_size or size
        self.common_is_grey = is_grey if common_is_grey is None else common_is_grey
        self.notes = notes

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one picture: (height, width) or (height, width, 3)."""
        return (self.size[1], self.size[0]) if self.is_grey else (self.size[1], self.size[0], 3)

    def read(self, path: str | Path) -> tuple[np.ndarray, list[str]]:
        """
        One picture, and what had to be done to the file to get it.

        :return: Values 0 to 255, of :attr:`shape`, uint8; and any of "of another size, resized", "turned upright",
            "grey among coloured files", "coloured among grey files", "transparency dropped", "16-bit, made 8-bit", "first
            frame of several", "one colour only".
        :raises InvalidInputError: With the reason: empty, truncated, not an image, or too large.
        """
        with _open(Path(path)) as image:
            try:
                mended = ["first frame of several"] if getattr(image, "n_frames", 1) > 1 else []
                image.load()
                turned = _orientation(image) != 1
                upright = import_pillow("ImageOps").exif_transpose(image) if turned else image
            except Exception as error:  # Pillow raises many types for damaged data
                raise InvalidInputError(f"it is damaged or truncated ({error})") from error
            if turned:
                mended.append("turned upright")
            is_grey = image.mode in GREY_MODES
            if image.has_transparency_data:
                mended.append("transparency dropped")
        if upright.mode.startswith("I"):
            mended.append("16-bit, made 8-bit")
            upright = _eight_bit(upright)
        if is_grey != self.common_is_grey:
            mended.append("grey among coloured files" if is_grey else "coloured among grey files")
        upright = upright.convert("L" if self.is_grey else "RGB")
        if upright.size != self.common_size:
            mended.append("of another size, resized")
        if upright.size != self.size:
            upright = upright.resize(self.size, import_pillow("Image").Resampling.BILINEAR, reducing_gap=3.0)
        picture = np.asarray(upright, dtype=np.uint8)
        if (picture == picture[0, 0]).all():
            mended.append("one colour only")
        return picture, mended


def choose_image_reader(paths: Sequence[str | Path], size: tuple[int, int] | None = None) -> ImageReader:
    """
    A reader for the most common size among the files; grey if they are all grey.

    :param paths: Files; those whose header cannot be read have no say.
    :param size: Width and height; ``None``: the most common, reduced to at most 128 pixels on the longer side.
    :raises InvalidInputError: If no file can be read, or ``size`` is not two whole numbers from 4 to 1024.
    """
    check_size(size)
    sizes: Counter[tuple[int, int]] = Counter()
    n_grey = 0
    reason = "there is none"
    for path in paths:
        try:
            with _open(Path(path)) as image:
                sizes[_upright_size(image)] += 1
                n_grey += image.mode in GREY_MODES
        except Exception as error:  # Pillow raises many types for damaged EXIF data; reading will give the reason
            if isinstance(error, MissingPackageError):
                raise
            reason = str(error)
    if not sizes:
        raise InvalidInputError(f"None of the {len(paths)} images can be read; the last one: {reason}.")
    common, n_files = min(sizes.items(), key=lambda item: (-item[1], item[0]))
    notes = [f"{common[0]} x {common[1]} pixels is the most common size, that of {n_files} of the {sizes.total()} files."]
    if size is None:
        shrink = min(1.0, MAX_CHOSEN_SIDE / max(common))
        size = (max(MIN_SIDE, round(common[0] * shrink)), max(MIN_SIDE, round(common[1] * shrink)))
    if size != common:
        notes.append(f"All are read at {size[0]} x {size[1]}; give --size for another.")
    is_grey = n_grey == sizes.total()
    notes.append("All files are grey, and are read so." if is_grey else "Pictures are read in colour.")
    return ImageReader(size, is_grey, common, 2 * n_grey > sizes.total(), tuple(notes))


def check_size(size: tuple[int, int] | None) -> None:
    """
    :raises InvalidInputError: If the size is not a width and a height from 4 to 1024 pixels.
    """
    if size is None:
        return
    if len(size) != 2 or not all(isinstance(side, int) and MIN_SIDE <= side <= MAX_SIDE for side in size):
        raise InvalidInputError(
            f"size must be a width and a height, whole numbers from {MIN_SIDE} to {MAX_SIDE}; received {size!r}."
        )


def png_bytes(picture: np.ndarray) -> bytes:
    """A picture as a png file of at most 160 pixels on the longer side."""
    image = import_pillow("Image").fromarray(picture)
    image.thumbnail((MAX_THUMBNAIL_SIDE, MAX_THUMBNAIL_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def import_pillow(module: str) -> Any:
    """
    A module of Pillow, imported only where images are read or written.

    :raises MissingPackageError: If Pillow is not installed.
    """
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise MissingPackageError(
            f'Images need the package Pillow ({error}); run: pip install "art-plugins[report]"'
        ) from error
    return {"Image": PIL.Image, "ImageOps": PIL.ImageOps}[module]


def _open(path: Path) -> Any:
    """The opened file; its header has been read, its pixels have not."""
    pillow = import_pillow("Image")
    if not path.is_file():
        raise InvalidInputError("it is not a file, or a link that leads nowhere")
    if path.stat().st_size == 0:
        raise InvalidInputError("it is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            return pillow.open(path, formats=("PNG", "JPEG"))
    except (pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
        raise InvalidInputError(f"it is too large ({error})") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InvalidInputError("it is not a readable png or jpg file") from error


def _upright_size(image: Any) -> tuple[int, int]:
    """Width and height after the turn that a camera asks for in the file's EXIF data."""
    width, height = image.size
    return (height, width) if _orientation(image) >= 5 else (width, height)


def _orientation(image: Any) -> int:
    """1 to 8, 1 = upright, 5 and more = lying on its side; asked of jpg files only, since a png would be decoded for it."""
    if image.format != "JPEG":
        return 1
    orientation = image.getexif().get(ORIENTATION_TAG, 1)
    return orientation if orientation in range(1, 9) else 1


def _eight_bit(image: Any) -> Any:
    """Pillow clips 16-bit grey values at 255; a division keeps the picture."""
    values = np.asarray(image).astype(np.float64)
    return import_pillow("Image").fromarray((values.clip(0, 65535) / 257).round().astype(np.uint8))
