"""Image files of any size and mode -> pictures of one size, all in colour or all grey."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.files.open_image import (
    eight_bit,
    is_grey_image,
    is_sixteen_bit,
    loses_low_bytes,
    open_image,
    orientation_of,
    sixteen_bit_values,
    upright,
    upright_size,
)
from art_plugins.files.sources.items import Item, Items
from art_plugins.optional import import_optional
from art_plugins.parameters import shown

__all__ = ["ImageReader", "check_size", "choose_image_reader", "find_depth", "png_bytes"]

MIN_SIDE = 4
MAX_SIDE = 1024
MAX_CHOSEN_SIDE = 128  # longest side that is chosen without being asked for; the autoencoder grows with the area
MAX_THUMBNAIL_SIDE = 160
FULL_DEPTH = 16  # bits of a grey value, at most
DEPTH_QUANTILE = 0.95  # of the 16-bit files; a few with a lone bright pixel must not darken all the others
N_DEPTH_FILES = 500  # at most, of the 16-bit ones, are decoded to find the depth


class ImageReader:
    """
    Reads image files into pictures of one size.

    :param size: Width and height of the pictures.
    :param is_grey: Whether they have one value per pixel; else red, green and blue.
    :param common_size: Most common width and height among the files; others are counted as odd. ``None``: ``size``.
    :param common_is_grey: Whether most of the files are grey; others are counted as odd. ``None``: ``is_grey``.
    :param notes: Sentences on how size, colours and depth were chosen.
    :param depth: Number of bits that the values of 16-bit files use; the largest value of so many bits becomes 255.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        size: tuple[int, int],
        is_grey: bool,
        common_size: tuple[int, int] | None = None,
        common_is_grey: bool | None = None,
        notes: tuple[str, ...] = (),
        depth: int = FULL_DEPTH,
    ) -> None:
        self.size = size
        self.is_grey = is_grey
        self.common_size = common_size or size
        self.common_is_grey = is_grey if common_is_grey is None else common_is_grey
        self.notes = notes
        self.depth = depth

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one picture: (height, width) or (height, width, 3)."""
        return (self.size[1], self.size[0]) if self.is_grey else (self.size[1], self.size[0], 3)

    def read(self, item: Item) -> tuple[np.ndarray, list[str]]:
        """
        One picture, and what had to be done to the file to get it.

        :param item: A file, the content of a file, or a picture of any size.
        :return: Values 0 to 255, of :attr:`shape`, uint8; and any of "of another size, resized", "turned upright",
            "grey among coloured files", "coloured among grey files", "transparency dropped", "16-bit, made 8-bit",
            "brighter than the depth of the others, clipped", "first frame of several", "one colour only".
        :raises InvalidInputError: With the reason: empty, truncated, not an image, or too large.
        """
        with open_image(item) as image:
            return self._picture(image, item)

    def _picture(self, image: Any, item: Item) -> tuple[np.ndarray, list[str]]:
        mended = ["first frame of several"] if getattr(image, "n_frames", 1) > 1 else []
        # How the file holds them is asked first: Pillow forgets it when it reads the pixels.
        is_grey, is_deep, orientation = is_grey_image(image), is_sixteen_bit(image), orientation_of(image)
        is_shortened = loses_low_bytes(image)
        values = sixteen_bit_values(image, item) if is_deep else None
        image.load()
        if orientation != 1:
            mended.append("turned upright")
        if image.has_transparency_data:
            mended.append("transparency dropped")
        plain, has_clipped = (image, False) if values is None else eight_bit(values, self.depth)
        if is_deep or is_shortened:
            mended.append("16-bit, made 8-bit")
        if has_clipped:
            mended.append("brighter than the depth of the others, clipped")
        turned = upright(plain, orientation)
        if is_grey != self.common_is_grey:
            mended.append("grey among coloured files" if is_grey else "coloured among grey files")
        mode = "L" if self.is_grey else "RGB"
        turned = turned if turned.mode == mode else turned.convert(mode)
        if turned.size != self.common_size:
            mended.append("of another size, resized")
        if turned.size != self.size:
            turned = turned.resize(self.size, import_optional("PIL.Image").Resampling.BILINEAR, reducing_gap=3.0)
        picture = np.asarray(turned, dtype=np.uint8)
        if (picture == picture[0, 0]).all():
            mended.append("one colour only")
        return picture, mended


def choose_image_reader(items: Sequence[Item], size: tuple[int, int] | None = None) -> ImageReader:
    """
    A reader for the most common size among the files; grey if they are all grey.

    :param items: Files, contents of files or pictures; those whose header cannot be read do not count.
    :param size: Width and height; ``None``: the most common, reduced to at most 128 pixels on the longer side.
    :raises InvalidInputError: If no file can be read, or ``size`` is not two whole numbers from 4 to 1024.
    """
    check_size(size)
    sizes: Counter[tuple[int, int]] = Counter()
    n_grey = 0
    deep: list[int] = []
    reason = "there is none"
    for index in range(len(items)):
        try:
            with open_image(items[index]) as image:
                sizes[upright_size(image)] += 1
                n_grey += is_grey_image(image)
                deep += [index] if is_sixteen_bit(image) else []
        except InvalidInputError as error:
            reason = str(error)
    if not sizes:
        raise InvalidInputError(f"None of the {len(items)} images can be read; the last one: {reason}.")
    n_read = sizes.total()
    common, n_files = min(sizes.items(), key=lambda item: (-item[1], item[0]))
    of_all = f"that of {n_files:,} of the {n_read:,} files with a readable header"
    notes = [f"{common[0]} x {common[1]} pixels is the most common size, {of_all}."]
    if size is None:
        shrink = min(1.0, MAX_CHOSEN_SIDE / max(common))
        size = (max(MIN_SIDE, round(common[0] * shrink)), max(MIN_SIDE, round(common[1] * shrink)))
    if size != common:
        notes.append(f"All images are read at {size[0]} x {size[1]} pixels; use --size for another size.")
    depth = find_depth(Items(len(deep), lambda row: items[deep[row]]))
    if depth < FULL_DEPTH:
        notes.append(f"The 16-bit files use only {depth} bits, so the value {2**depth - 1:,} is shown as white.")
    is_grey = n_grey == n_read
    notes.append("All files are grey, so they are read in grey." if is_grey else "Images are read in colour.")
    return ImageReader(size, is_grey, common, 2 * n_grey > n_read, tuple(notes), depth)


def find_depth(items: Sequence[Item]) -> int:
    """
    The number of bits that the values of 16-bit files use, 8 to 16; cameras and scanners often use 12.

    All files get one scale, since pictures of different scales could not be compared.

    :param items: As for :func:`choose_image_reader`; those that do not have 16 bits, or cannot be read, do not count.
    """
    largest = []
    for index in range(0, len(items), max(1, math.ceil(len(items) / N_DEPTH_FILES))):
        try:
            with open_image(item := items[index]) as image:
                if is_sixteen_bit(image):
                    largest.append(int(sixteen_bit_values(image, item).max()))
        except InvalidInputError:
            continue  # reading it will give the reason
    if not largest:
        return FULL_DEPTH
    brightest = int(np.quantile(largest, DEPTH_QUANTILE, method="inverted_cdf"))
    return min(max(brightest.bit_length(), 8), FULL_DEPTH)


def check_size(size: tuple[int, int] | None) -> None:
    """
    :raises InvalidInputError: If the size is not a width and a height from 4 to 1024 pixels.
    """
    if size is None:
        return
    pair = isinstance(size, (tuple, list)) and len(size) == 2
    if not pair or not all(isinstance(side, int) and MIN_SIDE <= side <= MAX_SIDE for side in size):
        raise InvalidInputError(
            f"size must be a width and a height, whole numbers from {MIN_SIDE} to {MAX_SIDE}; received {shown(size)}."
        )


def png_bytes(picture: np.ndarray) -> bytes:
    """A picture as a png file of at most 160 pixels on the longer side."""
    image = import_optional("PIL.Image").fromarray(picture)
    image.thumbnail((MAX_THUMBNAIL_SIDE, MAX_THUMBNAIL_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
