"""Image files as strangers have them: every mode, depth, turn and damage, each with the line that a scan says of it."""

from __future__ import annotations

import io
import itertools
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import pytest

from art_plugins.errors import InvalidInputError
from art_plugins.files.image_files import ImageReader, choose_image_reader

Image = pytest.importorskip("PIL.Image")

SIZE = (24, 16)
READERS = {True: ImageReader(SIZE, is_grey=True), False: ImageReader(SIZE, is_grey=False)}
UNREADABLE = "skipped: it is not a readable image file"
DAMAGED = "skipped: it is damaged or truncated"
GREY = "grey among coloured files"


class Case(NamedTuple):
    """
    ``line``: "read", "mended: ...", or "skipped: ..." with a regular expression for the reason, for a reader of pictures
    in colour or in grey; ``tolerance``: how far the values may lie from the picture's; ``None``: they are not compared.
    """

    name: str
    content: bytes
    line: str
    is_grey: bool = False
    tolerance: float | None = None


def picture(width: int = SIZE[0], height: int = SIZE[1]) -> np.ndarray:
    """A step from dark at the left to bright at the right, and a bright band at the top: (height, width, 3), grey."""
    values = np.full((height, width), 40, dtype=np.uint8)
    values[:, width // 2 :] = 120
    values[: height // 4] = 255
    return np.repeat(values[:, :, None], 3, axis=2)


def encoded(image, format: str, **kwargs) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **kwargs)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(bits: int, kind: int, rows: bytes, *before: bytes, size: tuple[int, int] = SIZE) -> bytes:
    """A file by hand: kind 0 grey, 2 colour, 3 palette, 4 grey and alpha, 6 colour and alpha."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(before) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def rows(values: np.ndarray, dtype: str) -> bytes:
    return b"".join(b"\0" + row.astype(dtype).tobytes() for row in values)


def line_of(*mended: str) -> str:
    return f"mended: {'; '.join(mended)}" if mended else "read"


def healthy() -> Iterator[Case]:
    """Files that hold the same picture in every form."""
    for is_grey, (width, height) in itertools.product((False, True), (SIZE, (48, 32), (240, 160), (12, 8))):
        whole = Image.fromarray(picture(width, height))
        deep = Image.fromarray(picture(width, height)[..., 0] * np.uint16(257))
        resized = [] if (width, height) == SIZE else ["of another size, resized"]
        colour = ["coloured among grey files"] if is_grey else []
        grey = [] if is_grey else [GREY]
        tolerance = 3 if not resized else None
        for mode, mended in {
            "RGB": colour,
            "RGBA": [*colour, "transparency dropped"],
            "P": colour,
            "L": grey,
            "LA": [*grey, "transparency dropped"],
            "I;16": ["16-bit, made 8-bit", *grey],
        }.items():
            image = whole.quantize(16) if mode == "P" else deep if mode == "I;16" else whole.convert(mode)
            name = f"{mode}-{width}x{height}-{'grey' if is_grey else 'colour'}"
            yield Case(f"{name}.png", encoded(image, "PNG"), line_of(*mended, *resized), is_grey, tolerance)
        for mode, progressive in itertools.product(("RGB", "L", "CMYK"), (False, True)):
            mended = (grey if mode == "L" else colour) + resized
            content = encoded(whole.convert(mode), "JPEG", quality=95, progressive=progressive)
            name = f"{mode}-{width}x{height}-{'grey' if is_grey else 'colour'}-{progressive}.jpg"
            yield Case(name, content, line_of(*mended), is_grey, 25 if not resized else None)
    for bits in (1, 2, 4):
        row = bytes(SIZE[0] * bits // 8)
        black = png(bits, 0, b"".join(b"\0" + row for _ in range(SIZE[1])))
        yield Case(f"{bits}-bit-grey.png", black, line_of(GREY, "one colour only"))
    deep = picture().astype(np.uint16) * 257
    yield Case("16-bit-colour.png", png(16, 2, rows(deep, ">u2")), line_of("16-bit, made 8-bit"), False, 1)
    both = np.stack([deep[..., 0], np.full_like(deep[..., 0], 65_535)], axis=-1)
    yield Case(
        "16-bit-grey-and-alpha.png",
        png(16, 4, rows(both, ">u2")),
        line_of("16-bit, made 8-bit", GREY, "transparency dropped"),
        False,
        1,
    )
    for name, value in (("black", 0), ("white", 255)):
        content = encoded(Image.fromarray(np.full_like(picture(), value)), "PNG")
        yield Case(f"{name}.png", content, "mended: one colour only")
    frames = [Image.fromarray(picture()), Image.fromarray(255 - picture())]
    yield Case(
        "moving.png",
        encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        "mended: first frame of several",
        False,
        1,
    )
    for pixels in ((1, 1), (1, 300), (300, 1)):
        tiny = encoded(Image.new("RGB", pixels, (9, 9, 9)), "PNG")
        yield Case(f"{pixels[0]}x{pixels[1]}.png", tiny, line_of("of another size, resized", "one colour only"))


def turned() -> Iterator[Case]:
    """Files whose EXIF data ask for a turn: camera pictures, those with a second picture behind (MPO), and png files."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's numbers of the transpositions that bring the picture there
    for orientation, form in itertools.product(range(10), ("JPEG", "MPO", "PNG")):
        lying = Image.fromarray(picture())
        if orientation in undo:
            lying = lying.transpose(undo[orientation])
        exif = Image.Exif()
        exif[0x0112] = orientation
        more = {"save_all": True, "append_images": [Image.new("RGB", SIZE)]} if form == "MPO" else {}
        content = encoded(lying, form, exif=exif, **({} if form == "PNG" else {"quality": 95}), **more)
        mended = ["first frame of several"] if form == "MPO" else []
        mended += ["turned upright"] if orientation in undo else []
        yield Case(f"{form}-{orientation}.{'png' if form == 'PNG' else 'jpg'}", content, line_of(*mended), False, 25)
    for name, exif in {
        "text": b"Exif\0\0garbage",
        "far": b"Exif\0\0II*\0\xff\xff\xff\x7f",
        "loop": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0",
        "none": b"",
    }.items():
        for form in ("JPEG", "PNG"):
            content = encoded(Image.fromarray(picture()), form, exif=exif)
            yield Case(f"exif-{name}.{'png' if form == 'PNG' else 'jpg'}", content, "read", False, 25)


def damaged() -> Iterator[Case]:
    """What is no picture, or says so."""
    random = np.random.default_rng(0)
    noise = Image.fromarray(random.integers(0, 256, size=(*SIZE[::-1], 3), dtype=np.uint8))
    for form, suffix in (("PNG", "png"), ("JPEG", "jpg"), ("JPEG", "jpeg")):
        content = encoded(noise, form)
        yield Case(f"empty.{suffix}", b"", r"skipped: it is empty \(0 bytes\)")
        for n_bytes in (1, 2, 4, 8, 16):
            yield Case(f"{n_bytes}-bytes.{suffix}", content[:n_bytes], UNREADABLE)
        for part in (0.3, 0.5, 0.7, 0.9):
            yield Case(f"cut-at-{part}.{suffix}", content[: int(part * len(content))], f"{UNREADABLE}|{DAMAGED}")
        yield Case(f"junk-behind.{suffix}", content + b"junk" * 30, "read")
        yield Case(f"junk-before.{suffix}", b"junk" * 4 + content, UNREADABLE)
        for name, junk in {
            "text": b"no picture at all, only text",
            "page": b"<!DOCTYPE html><html>404 not found</html>",
            "drawing": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 8044\n",
            "zeros": bytes(5_000),
            "ones": b"\xff" * 5_000,
            "noise": random.bytes(5_000),
            "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        }.items():
            yield Case(f"{name}.{suffix}", junk, UNREADABLE)
        for other in ("TIFF", "BMP", "GIF", "WEBP"):
            yield Case(f"{other}-under-the-name-of.{suffix}", encoded(noise, other), "read")
        yield Case(f"ICO-under-the-name-of.{suffix}", encoded(noise, "ICO"), UNREADABLE)
    content = encoded(noise, "PNG")
    yield Case("jpg-under-the-name-of.png", encoded(noise, "JPEG"), "read")
    yield Case("png-under-the-name-of.jpg", content, "read")
    grey = rows(picture()[..., 0], "u1")
    palette = chunk(b"PLTE", bytes(range(255, 0, -1)))
    yield Case("palette.png", png(8, 3, grey, palette), "read")
    yield Case("palette-missing.png", png(8, 3, grey), DAMAGED)
    yield Case("palette-too-short.png", png(8, 3, grey, chunk(b"PLTE", b"\1\2\3")), "read|mended: |skipped: ")
    yield Case("palette-of-4-bytes.png", png(8, 3, grey, chunk(b"PLTE", b"\1\2\3\4")), "read|mended: |skipped: ")
    yield Case("too-few-rows.png", png(8, 0, grey[:100]), f"mended: {GREY}|{DAMAGED}")  # Pillow fills up with black
    yield Case("too-many-rows.png", png(8, 0, grey * 3), f"mended: {GREY}")
    yield Case("filter-99.png", png(8, 0, b"\x63" + grey[1:]), DAMAGED)
    for bits, kind in ((3, 0), (8, 1), (8, 5), (16, 3), (4, 2), (0, 0)):
        yield Case(f"{bits}-bits-of-kind-{kind}.png", png(bits, kind, grey), f"{UNREADABLE}|{DAMAGED}")
    for size in ((0, 16), (24, 0), (0, 0)):
        yield Case(f"{size[0]}x{size[1]}.png", png(8, 0, grey, size=size), f"{UNREADABLE}|{DAMAGED}")
    for size in ((2**31 - 1, 2**31 - 1), (1, 80_000_000), (80_000_000, 1), (60_000, 60_000), (2**32 - 1, 1)):
        yield Case(
            f"{size[0]}x{size[1]}.png", png(8, 0, grey, size=size), f"skipped: it is too large|{UNREADABLE}|{DAMAGED}"
        )
    yield Case("no-pixels.png", content[:33] + chunk(b"IEND", b""), f"{UNREADABLE}|{DAMAGED}")
    yield Case("text-that-unpacks-to-too-much.png", png(8, 0, grey, text_bomb()), f"{UNREADABLE}|mended: {GREY}")
    for place in (17, 25, 30, 40, 60, 300, 700):
        wrong = bytearray(content)
        wrong[place] ^= 0xFF
        yield Case(f"byte-{place}.png", bytes(wrong), "skipped: ")
    jpg = encoded(noise, "JPEG", quality=95)
    frame = jpg.index(b"\xff\xc0")
    for height, width in ((65_500, 65_500), (0, 24), (16, 0)):
        wrong = bytearray(jpg)
        struct.pack_into(">HH", wrong, frame + 5, height, width)
        yield Case(f"says-{width}x{height}.jpg", bytes(wrong), f"skipped: it is too large|{UNREADABLE}|{DAMAGED}")
    for place in (4, 30, 170, 400, 600):
        wrong = bytearray(jpg)
        wrong[place] ^= 0xFF
        yield Case(f"byte-{place}.jpg", bytes(wrong), "read|mended: |skipped: ")
    yield Case("end-marker-missing.jpg", jpg[:-2], f"read|{DAMAGED}")


def text_bomb() -> bytes:
    return chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(20_000_000)))


CASES = [*healthy(), *turned(), *damaged()]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_odd_image_gives_its_line(tmp_path, case):
    path = tmp_path / f"a.{case.name.rpartition('.')[2]}"
    path.write_bytes(case.content)
    reader = READERS[case.is_grey]
    try:
        found, mended = reader.read(path)
    except InvalidInputError as error:
        line = f"skipped: {error}"
    else:
        line = line_of(*mended)
        assert found.shape == reader.shape
        assert found.dtype == np.uint8
        if case.tolerance is not None:
            expected = picture()[..., 0] if case.is_grey else picture()
            assert np.abs(found.astype(int) - expected).max() <= case.tolerance
    if case.line.startswith("mended: ") and "|" not in case.line:
        assert set(line.removeprefix("mended: ").split("; ")) == set(case.line.removeprefix("mended: ").split("; "))
    else:
        assert line == case.line or re.match(case.line, line), line
    with suppress(InvalidInputError):  # and never another
        assert min(choose_image_reader([path]).size) >= 4


def test_odd_images_are_many_and_their_names_differ():
    assert len(CASES) > 200
    assert len({case.name for case in CASES}) == len(CASES)


def test_reason_is_the_same_for_a_file_and_its_content(tmp_path):
    (tmp_path / "a.gif").write_bytes(b"GIF8" + bytes(50))
    for item in (tmp_path / "a.gif", (tmp_path / "a.gif").read_bytes()):
        with pytest.raises(InvalidInputError, match=r"^it is not a readable image file \(cannot identify image file\)$"):
            READERS[True].read(item)
